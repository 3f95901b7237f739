"""U-Net (Ronneberger, Fischer and Brox 2015): an encoder and a decoder of the same width, joined by copies."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import Encoder, build_encoder
from segedu.models.checks import check_batch
from segedu.models.upsampling import crop, interpolate


class TwoConvolutions(nn.Sequential):
    """Twice a 3 x 3 convolution and a ReLU; in between, if wanted, batch normalisation, which is younger than U-Net."""

    def __init__(self, channels: int, width: int, padding: int, batch_norm: bool) -> None:
        layers: list[nn.Module] = []
        for inputs in (channels, width):
            layers.append(nn.Conv2d(inputs, width, 3, padding=padding, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class UNet(nn.Module):
    """U-Net with valid convolutions: the output is smaller than the image, and no value of it saw padding.

    Images are float (B, in_channels, H, W); logits are (B, num_classes, H', W'), of the pixels in the centre. With
    depth 5, images of 572 x 572 give 388 x 388. Every pooling must get an even size (`output_size`, `valid_size`).

    Args:
        in_channels: of the images.
        num_classes: channels of the logits.
        depth: levels, of which all but the last end in a pooling.
        width: channels of the first level; each level has twice those of the level above.
        batch_norm: normalise after each convolution; not in the paper, but training needs less care.

    Source: figure 1; dropout "at the end of the contracting path": section 3.1.
    """

    padding = 0

    def __init__(self, in_channels: int, num_classes: int, depth: int, width: int, batch_norm: bool) -> None:
        super().__init__()
        if depth < 2 or width < 1:
            raise ValueError(f"depth must be at least 2 and width at least 1, got {depth} and {width}")
        self.in_channels, self.depth = in_channels, depth
        widths = [width * 2**level for level in range(depth)]
        inputs = [in_channels, *widths]
        self.down = nn.ModuleList(
            TwoConvolutions(inputs[level], widths[level], self.padding, batch_norm) for level in range(depth)
        )
        self.dropout = nn.Dropout()
        self.up_convolutions = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in reversed(range(depth - 1))
        )
        self.up = nn.ModuleList(
            TwoConvolutions(widths[level + 1], widths[level], self.padding, batch_norm)
            for level in reversed(range(depth - 1))
        )
        self.scores = nn.Conv2d(width, num_classes, 1)
        for module in self.modules():  # section 3: a deviation of sqrt(2 / N), N the inputs of one output
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        self.check(images)
        x, copies = images, []
        for level in self.down[:-1]:
            copies.append(level(x))
            x = F.max_pool2d(copies[-1], 2, ceil_mode=True)
        x = self.dropout(self.down[-1](x))
        for up_convolution, level in zip(self.up_convolutions, self.up, strict=True):
            x = level(self.join(copies.pop(), up_convolution(x)))
        return self.scores(x)

    def check(self, images: Tensor) -> None:
        """Require a size at which each pooling divides evenly."""
        check_batch(images, self.in_channels)
        for size in images.shape[2:]:
            if output_size(size, self.depth) is None:
                raise ValueError(
                    f"without padding, this U-Net cannot take a side of {size} pixels: some pooling would get an odd "
                    f"size. Take {valid_size(size, self.depth)}, use `overlap_tile`, or build it with padded=True"
                )

    def join(self, copied: Tensor, x: Tensor) -> Tensor:
        """Crop what the encoder copied to the centre, as the convolutions in between lost the rest."""
        margin = (copied.shape[-1] - x.shape[-1]) // 2
        rows = (copied.shape[-2] - x.shape[-2]) // 2
        copied = copied[..., rows : rows + x.shape[-2], margin : margin + x.shape[-1]]
        return torch.cat([copied, x], dim=1)


class PaddedUNet(UNet):
    """U-Net whose convolutions pad by 1, so that it takes images of any size and gives logits of the same.

    Where a size is odd, the pooling rounds up, and the decoder's last row or column is cut off.
    """

    padding = 1

    def check(self, images: Tensor) -> None:
        check_batch(images, self.in_channels)

    def join(self, copied: Tensor, x: Tensor) -> Tensor:
        return torch.cat([copied, crop(x, 0, like=copied)], dim=1)


class EncoderUNet(nn.Module):
    """U-Net's decoder on an encoder that halves the size at each level: any size in, logits of the same size out.

    What each level joins is normalised first: features of a trained encoder can deviate by twenty times what the
    up-convolution begins with, and would drown all that comes from below.

    Args:
        encoder: its features of all strides are copied; the finest has a stride of 2, so the logits are interpolated.
        widths: channels of the decoder's levels, from the coarsest.
    """

    def __init__(self, encoder: Encoder, num_classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        if len(set(encoder.strides)) != len(encoder.strides) or len(widths) != len(encoder.strides) - 1:
            raise ValueError(
                f"a U-Net halves the size at each level: expected an encoder of strides 2, 4, 8, ... and a width for "
                f"each but the last, got strides {encoder.strides} and {len(widths)} widths"
            )
        self.encoder = encoder
        *finer, channels = encoder.channels
        self.up_convolutions, self.up = nn.ModuleList(), nn.ModuleList()
        for copied, width in zip(reversed(finer), widths, strict=True):
            self.up_convolutions.append(nn.ConvTranspose2d(channels, width, 2, stride=2))
            joined = copied + width
            self.up.append(nn.Sequential(nn.BatchNorm2d(joined), TwoConvolutions(joined, width, 1, batch_norm=True)))
            channels = width
        self.scores = nn.Conv2d(channels, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        *copies, x = self.encoder(images)
        for up_convolution, level in zip(self.up_convolutions, self.up, strict=True):
            copied = copies.pop()
            x = level(torch.cat([copied, crop(up_convolution(x), 0, like=copied)], dim=1))
        return interpolate(self.scores(x), like=images)


def unet(
    in_channels: int = 1,
    num_classes: int = 2,
    *,
    depth: int = 5,
    width: int = 64,
    padded: bool = False,
    batch_norm: bool = False,
) -> UNet:
    """`UNet` as published (31,030,658 parameters, 23 convolutions), or `PaddedUNet`, which takes any size."""
    return (PaddedUNet if padded else UNet)(in_channels, num_classes, depth, width, batch_norm)


def encoder_unet(
    backbone: str = "efficientnet_lite0",
    num_classes: int = 2,
    widths: tuple[int, ...] = (192, 96, 64, 48),
    **encoder: object,
) -> EncoderUNet:
    """U-Net's decoder on an encoder of `build_encoder`, which gets the further arguments."""
    return EncoderUNet(build_encoder(backbone, **encoder), num_classes, widths)


def output_size(size: int, depth: int = 5) -> int | None:
    """How many pixels `UNet` predicts along an axis of `size` pixels; None if it cannot take that size."""
    for _ in range(depth - 1):
        size -= 4
        if size % 2:
            return None
        size //= 2
    size -= 4
    for _ in range(depth - 1):
        size = 2 * size - 4
    return size if size > 0 else None


def valid_size(size: int, depth: int = 5) -> int:
    """The least size from `size` on that `UNet` takes; 188 is the least of all for depth 5."""
    while output_size(size, depth) is None:
        size += 1
    return size
