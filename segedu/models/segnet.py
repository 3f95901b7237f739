"""SegNet (Badrinarayanan, Kendall and Cipolla 2017): a decoder that remembers only where each maximum was."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import Encoder, build_encoder
from segedu.models.checks import check_batch
from segedu.models.classifiers import VGG16_BLOCKS, vgg16_weights
from segedu.models.upsampling import interpolate


def pool_with_indices(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima of 2 x 2 windows, and where in its window each was; the last window of an odd size is half a one.

    Args:
        x: float (B, C, H, W).

    Returns:
        Maxima, (B, C, ceil(H / 2), ceil(W / 2)), and their places, uint8 of that shape: 0 and 1 in the upper row of
        the window, 2 and 3 in the lower one. PyTorch's own indices are int64 and count over the whole map.

    Source: section 3.1: 2 bits for each window are enough.
    """
    maxima, flat = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
    row, column = flat // x.shape[-1], flat % x.shape[-1]
    return maxima, (row % 2 * 2 + column % 2).to(torch.uint8)


def unpool(x: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
    """Put each value at its place in a window of 2 x 2, and zeros everywhere else.

    Args:
        x: float (B, C, h, w).
        places: uint8 (B, C, h, w), from `pool_with_indices`.
        size: (H, W) of what was pooled.

    Returns:
        Float (B, C, H, W), sparse: a quarter of it can differ from 0.
    """
    H, W = size
    spread, asked = F.interpolate(x, scale_factor=2.0), F.interpolate(places, scale_factor=2.0)
    rows, columns = (torch.arange(2 * n, device=x.device) % 2 for n in x.shape[2:])
    here = (2 * rows[:, None] + columns).to(torch.uint8)
    return torch.where(asked == here, spread, 0)[..., :H, :W]


def convolutions(channels: int, widths: list[int]) -> nn.Sequential:
    """3 x 3 convolutions, each with batch normalisation and a ReLU."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers)


class SegNet(nn.Module):
    """The 13 convolutions of VGG16 and 13 that mirror them; only the places of maxima go across.

    Images are float (B, 3, H, W); logits are (B, num_classes, H, W). Any size will do.

    Source: figure 2 and section 3.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        channels = 3
        for width, count in VGG16_BLOCKS:
            self.encoder.append(convolutions(channels, [width] * count))
            channels = width
        finer = [64, *(width for width, _ in VGG16_BLOCKS[:-1])]  # what each block passes on to the next finer one
        for (width, count), last in reversed(list(zip(VGG16_BLOCKS, finer, strict=True))):
            self.decoder.append(convolutions(width, [width] * (count - 1) + [last]))
        self.decoder[-1] = self.decoder[-1][:3]  # the last convolution gives the scores, without normalisation
        self.scores = nn.Conv2d(64, num_classes, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        check_batch(images, 3)
        x, crossing = images, []
        for block in self.encoder:
            x = block(x)
            size = x.shape[2:]
            x, places = pool_with_indices(x)
            crossing.append((places, size))
        for block in self.decoder:
            x = block(unpool(x, *crossing.pop()))
        return self.scores(x)


class SegNetBasic(nn.Module):
    """Four levels of one 7 x 7 convolution to 64 channels, for studies: no biases, and no ReLU in the decoder.

    Source: section 3.2.
    """

    def __init__(self, num_classes: int, width: int = 64) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(_seven(3 if level == 0 else width, width, nn.ReLU(True)) for level in range(4))
        self.decoder = nn.ModuleList(_seven(width, width) for _ in range(4))
        self.scores = nn.Conv2d(width, num_classes, 1)

    forward = SegNet.forward


def _seven(channels: int, width: int, *activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 7, padding=3, bias=False), nn.BatchNorm2d(width), *activation)


class EncoderSegNet(nn.Module):
    """SegNet's decoder on an encoder with strides in place of poolings.

    The encoder's features are pooled only for the places of their maxima: nothing else of them goes across. Where the
    encoder has few channels, the places of each serve several of the decoder.

    Args:
        encoder: with features of strides 2, 4, 8, ...
        shared: for each level from the coarsest, how many of the decoder's channels take one channel's places.
    """

    def __init__(self, encoder: Encoder, num_classes: int, shared: tuple[int, ...]) -> None:
        super().__init__()
        if len(set(encoder.strides)) != len(encoder.strides):
            raise ValueError(f"expected an encoder that halves the size at each level, got strides {encoder.strides}")
        if len(shared) != len(encoder.strides) - 1:
            raise ValueError(f"expected a number for each of {len(encoder.strides) - 1} levels as shared, got {shared}")
        self.encoder, self.shared = encoder, shared
        *finer, coarsest = encoder.channels
        self.project, self.decoder = nn.ModuleList(), nn.ModuleList()
        channels = coarsest
        for times, copied in zip(shared, reversed(finer), strict=True):
            width = times * copied
            self.project.append(convolutions(channels, [width]))
            self.decoder.append(convolutions(width, [width]))
            channels = width
        self.scores = nn.Conv2d(channels, num_classes, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        *features, x = self.encoder(images)
        crossing = [(pool_with_indices(feature)[1], feature.shape[2:]) for feature in features]
        for times, project, block in zip(self.shared, self.project, self.decoder, strict=True):
            places, size = crossing.pop()
            x = block(unpool(project(x), places.repeat(1, times, 1, 1), size))
        return interpolate(self.scores(x), like=images)


def segnet(num_classes: int = 11, weights: Mapping[str, Tensor] | None = None) -> SegNet:
    """SegNet as published: 29,449,355 parameters for CamVid's 11 classes.

    Args:
        num_classes: channels of the logits.
        weights: of `torchvision.models.vgg16` or of our `VGG16`; its 13 convolutions begin the encoder.

    Raises:
        ValueError: if the weights are of another network.
    """
    model = SegNet(num_classes)
    if weights is not None:
        _start_encoder(model, weights)
    return model


def segnet_basic(num_classes: int = 11) -> SegNetBasic:
    """SegNet-Basic: 1,416,075 parameters for 11 classes; the paper's table 2 has 1.425 million."""
    return SegNetBasic(num_classes)


def encoder_segnet(
    backbone: str = "efficientnet_lite0",
    num_classes: int = 11,
    shared: tuple[int, ...] = (1, 2, 3, 4),
    **encoder: object,
) -> EncoderSegNet:
    """SegNet's decoder on an encoder of `build_encoder`, which gets the further arguments."""
    return EncoderSegNet(build_encoder(backbone, **encoder), num_classes, shared)


def _start_encoder(model: SegNet, weights: Mapping[str, Tensor]) -> None:
    weights = vgg16_weights(weights)
    ours = [layer for layer in model.encoder.modules() if isinstance(layer, nn.Conv2d)]
    theirs = {key: value for key, value in weights.items() if key.startswith("features.")}
    if len(theirs) != 2 * len(ours):
        raise ValueError(f"expected the weights of VGG16, 13 convolutions, got {len(theirs) // 2}: {list(theirs)[:4]}")
    values = iter(theirs.values())
    with torch.no_grad():
        for layer in ours:
            layer.weight.copy_(next(values))
            layer.bias.copy_(next(values))
