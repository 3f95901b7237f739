"""Networks as torchvision builds them: a head on a ResNet with atrous convolutions, and its names of weights."""

from __future__ import annotations

from torch import Tensor, nn

from segedu.models.memory_format import weights_channels_last
from segedu.models.resnet import ResNet
from segedu.models.upsampling import interpolate


class FCNHead(nn.Sequential):
    """A 3 x 3 convolution to a quarter of the channels, and the scores."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels // 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels // 4),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(channels // 4, num_classes, 1),
        )


class OnResNet(nn.Module):
    """A head on the last features of a ResNet at stride 8, and bilinear interpolation.

    Images are float (B, 3, H, W), normalised by `imagenet_normalise`; logits are (B, num_classes, H, W).

    Args:
        backbone: the ResNet.
        classifier: the head, from 2048 channels to the classes.
        num_classes: of the auxiliary head.
        auxiliary: have the second head, on layer3, that torchvision trains along, as its COCO weights do. It is used
            by `forward_auxiliary` alone.
    """

    def __init__(self, backbone: ResNet, classifier: nn.Module, num_classes: int, *, auxiliary: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.aux_classifier = FCNHead(1024, num_classes) if auxiliary else None
        weights_channels_last(self)

    def forward(self, images: Tensor) -> Tensor:
        *_, layer4 = self.backbone(images)
        return interpolate(self.classifier(layer4), like=images)

    def forward_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both heads, for a loss such as torchvision's: that of the first plus half that of the second."""
        if self.aux_classifier is None:
            raise ValueError("this network has no auxiliary head: build it with auxiliary=True")
        *_, layer3, layer4 = self.backbone(images)
        heads = (self.classifier, layer4), (self.aux_classifier, layer3)
        return tuple(interpolate(head(layer), like=images) for head, layer in heads)
