"""DeepLab (Chen et al. 2015, 2018, 2017): atrous convolutions keep resolution, several rates see several scales."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from segedu.models.checks import check_batch, load_weights
from segedu.models.classifiers import VGG16_BLOCKS, vgg16_weights
from segedu.models.resnet import ResNet, resnet101
from segedu.models.upsampling import interpolate

FC6 = {"7x7": (7, 4, 4096), "4x4-narrow": (4, 4, 4096), "4x4": (4, 8, 4096), "large_fov": (3, 12, 1024)}
RATES = {"S": (2, 4, 8, 12), "L": (6, 12, 18, 24)}


def vgg16_atrous() -> nn.Sequential:
    """VGG16's convolutions at stride 8: pool4 and pool5 do not stride, so conv5 has an atrous rate of 2.

    Poolings are 3 x 3, unlike VGG16's own, as in the authors' files.

    Source: Chen et al. 2015 ("DeepLab-CRF"), section 3.1.
    """
    layers, channels = OrderedDict(), 3
    for number, (width, convolutions) in enumerate(VGG16_BLOCKS, 1):
        rate, stride = 2 if number == 5 else 1, 1 if number > 3 else 2
        for i in range(1, convolutions + 1):
            layers[f"conv{number}_{i}"] = nn.Conv2d(channels, width, 3, padding=rate, dilation=rate)
            layers[f"relu{number}_{i}"] = nn.ReLU(inplace=True)
            channels = width
        layers[f"pool{number}"] = nn.MaxPool2d(3, stride, padding=1)
    return nn.Sequential(layers)


def vgg16_head(kernel: int, rate: int, width: int, num_classes: int) -> nn.Sequential:
    """fc6 with an atrous rate, fc7 and fc8, all as convolutions that keep the size."""
    return nn.Sequential(
        OrderedDict(
            fc6=nn.Conv2d(512, width, kernel, padding=rate * (kernel - 1) // 2, dilation=rate),
            relu6=nn.ReLU(inplace=True),
            drop6=nn.Dropout(),
            fc7=nn.Conv2d(width, width, 1),
            relu7=nn.ReLU(inplace=True),
            drop7=nn.Dropout(),
            fc8=nn.Conv2d(width, num_classes, 1),
        )
    )


class SumOfBranches(nn.ModuleList):
    """Heads side by side on the same features; their scores are added: atrous spatial pyramid pooling of v2.

    Source: Chen et al. 2018, figure 7(b).
    """

    def forward(self, features: Tensor) -> Tensor:
        return sum(branch(features) for branch in self)


class DeepLab(nn.Module):
    """A trunk at stride 8, a head that scores its features, and bilinear interpolation: versions 1 and 2.

    Images are float (B, 3, H, W), in the scale of the trunk's weights (`imagenet_normalise` for torchvision's); logits
    are (B, num_classes, H, W). `DenseCRF` sharpens them afterwards.
    """

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def coarse(self, images: Tensor) -> Tensor:
        """Logits at stride 8, before interpolation."""
        check_batch(images, 3)
        features = self.features(images)
        return self.head(features[-1] if isinstance(features, list) else features)

    def forward(self, images: Tensor) -> Tensor:
        return interpolate(self.coarse(images), like=images)


def deeplab_v1(num_classes: int = 21, fc6: str = "large_fov", weights: Mapping[str, Tensor] | None = None) -> DeepLab:
    """DeepLab of 2015 on VGG16, in the four variants of its table 2.

    | fc6        | kernel, rate | "field of view" of fc6 | parameters, 21 classes |
    |------------|--------------|------------------------|------------------------|
    | 7x7        | 7, 4         | 224                    | 134,346,581            |
    | 4x4-narrow | 4, 4         | 128                    | 65,140,565             |
    | 4x4        | 4, 8         | 224                    | 65,140,565             |
    | large_fov  | 3, 12        | 224                    | 20,505,429             |

    Args:
        num_classes: channels of the logits.
        fc6: the variant.
        weights: of `torchvision.models.vgg16` or of our `VGG16`, for the 13 convolutions.

    Raises:
        ValueError: for an unknown variant, or weights of another network.
    """
    if fc6 not in FC6:
        raise ValueError(f"fc6 must be one of {', '.join(FC6)}, got {fc6!r}")
    return DeepLab(_vgg16(weights), vgg16_head(*FC6[fc6], num_classes))


def deeplab_v2(
    backbone: str = "resnet101", num_classes: int = 21, aspp: str = "L", weights: Mapping[str, Tensor] | None = None
) -> DeepLab:
    """DeepLab of 2018 with ASPP: four branches at rates 6, 12, 18, 24 ("L") or 2, 4, 8, 12 ("S").

    On VGG16 each branch has its own fc6, fc7 and fc8 (37,877,652 parameters for 21 classes); on ResNet-101 it is one
    convolution to the scores (44,048,532).

    Args:
        backbone: "resnet101" or "vgg16".
        num_classes: channels of the logits.
        aspp: which rates.
        weights: of torchvision's network of that name, for the trunk.

    Raises:
        ValueError: for an unknown backbone or aspp, or weights of another network.
    """
    if aspp not in RATES:
        raise ValueError(f"aspp must be 'S' or 'L', got {aspp!r}")
    if backbone == "vgg16":
        branches = SumOfBranches(vgg16_head(3, rate, 1024, num_classes) for rate in RATES[aspp])
        return DeepLab(_vgg16(weights), branches)
    if backbone == "resnet101":
        branches = SumOfBranches(nn.Conv2d(2048, num_classes, 3, padding=rate, dilation=rate) for rate in RATES[aspp])
        return DeepLab(_resnet101(weights), branches)
    raise ValueError(f"backbone must be 'resnet101' or 'vgg16', got {backbone!r}")


def _vgg16(weights: Mapping[str, Tensor] | None) -> nn.Sequential:
    trunk = vgg16_atrous()
    if weights is not None:
        ours = vgg16_weights(weights).items()
        convolutions = {".".join(key.split(".")[-2:]): value for key, value in ours if ".conv" in key}
        load_weights(trunk, convolutions, "VGG16")
    return trunk


def _resnet101(weights: Mapping[str, Tensor] | None) -> ResNet:
    trunk = resnet101(output_stride=8)
    if weights is not None:
        load_weights(trunk, {key: value for key, value in weights.items() if not key.startswith("fc.")}, "ResNet-101")
    return trunk
