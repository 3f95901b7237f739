"""DeepLab v3 (Chen et al. 2017), with torchvision's names for its weights, and v3+ (Chen et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segedu.models.backbones import Encoder, build_encoder
from segedu.models.memory_format import weights_channels_last
from segedu.models.on_resnet import OnResNet
from segedu.models.upsampling import interpolate


def _convolution(channels: int, width: int, kernel: int, rate: int = 1) -> list[nn.Module]:
    padding = rate * (kernel - 1) // 2
    return [
        nn.Conv2d(channels, width, kernel, padding=padding, dilation=rate, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]


class ImagePooling(nn.Sequential):
    """The mean of the whole map, through a 1 x 1 convolution, at every pixel."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_convolution(channels, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        pooled = super().forward(x)
        return pooled.expand(-1, -1, *x.shape[2:])


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling of v3: a 1 x 1 convolution, three 3 x 3 ones at rates, the image's mean.

    Source: Chen et al. 2017, figure 5.
    """

    def __init__(self, channels: int, rates: tuple[int, ...], width: int, dropout: float) -> None:
        super().__init__()
        branches = [nn.Sequential(*_convolution(channels, width, 1))]
        branches += [nn.Sequential(*_convolution(channels, width, 3, rate)) for rate in rates]
        self.convs = nn.ModuleList([*branches, ImagePooling(channels, width)])
        self.project = nn.Sequential(*_convolution(len(self.convs) * width, width, 1), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([branch(x) for branch in self.convs], dim=1))


class DeepLabV3Plus(nn.Module):
    """ASPP on any encoder, and a decoder that sharpens it with the encoder's features of stride 4.

    Logits are (B, num_classes, H, W), of images as the encoder takes them.

    Args:
        encoder: of output stride 8 or 16; the rates are 12, 24, 36 or 6, 12, 18.
        width: channels of ASPP and the decoder, 256 in the paper.
        low_width: to which the features of stride 4 are reduced, 48 in the paper.

    Source: Chen et al. 2018, "Encoder-decoder with atrous separable convolution", figure 2. Their convolutions are
    separable where the trunk is Xception; ours are plain, as theirs on ResNet-101.
    """

    def __init__(self, encoder: Encoder, num_classes: int, width: int = 256, low_width: int = 48) -> None:
        super().__init__()
        self.encoder = encoder
        self.low = encoder.strides.index(4)
        rates = tuple(rate * 16 // encoder.strides[-1] for rate in (6, 12, 18))
        self.aspp = ASPP(encoder.channels[-1], rates, width, dropout=0.1)
        self.reduce = nn.Sequential(*_convolution(encoder.channels[self.low], low_width, 1))
        self.decoder = nn.Sequential(
            *_convolution(width + low_width, width, 3),
            *_convolution(width, width, 3),
            nn.Conv2d(width, num_classes, 1),
        )
        weights_channels_last(self)

    def forward(self, images: Tensor) -> Tensor:
        features = self.encoder(images)
        low = self.reduce(features[self.low])
        high = interpolate(self.aspp(features[-1]), like=low)
        return interpolate(self.decoder(torch.cat([high, low], dim=1)), like=images)


def deeplab_v3(backbone: str = "resnet50", num_classes: int = 21, *, auxiliary: bool = False) -> OnResNet:
    """ASPP on a ResNet at stride 8: 39,638,869 parameters on ResNet-50 for 21 classes.

    It takes the weights of torchvision's `deeplabv3_resnet50` or `deeplabv3_resnet101` strictly. To train it, a batch
    needs two images or more: ASPP normalises the mean of each image over the batch, as in every implementation.

    Args:
        backbone: "resnet50" or "resnet101".
        num_classes: channels of the logits.
        auxiliary: see `OnResNet`.

    Raises:
        ValueError: for another backbone.
    """
    if backbone not in ("resnet50", "resnet101"):
        raise ValueError(
            f"backbone must be 'resnet50' or 'resnet101', got {backbone!r}: deeplab_v3plus takes others, too"
        )
    classifier = nn.Sequential(
        ASPP(2048, (12, 24, 36), 256, dropout=0.5), *_convolution(256, 256, 3), nn.Conv2d(256, num_classes, 1)
    )
    return OnResNet(build_encoder(backbone, output_stride=8), classifier, num_classes, auxiliary=auxiliary)


def deeplab_v3plus(
    backbone: str = "resnet101",
    num_classes: int = 21,
    *,
    output_stride: int = 16,
    width: int = 256,
    low_width: int = 48,
    **encoder: object,
) -> DeepLabV3Plus:
    """`DeepLabV3Plus` on an encoder of `build_encoder`, which gets the further arguments."""
    trunk = build_encoder(backbone, output_stride=output_stride, **encoder)
    return DeepLabV3Plus(trunk, num_classes, width, low_width)
