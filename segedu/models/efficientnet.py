"""EfficientNet-Lite0: a small trunk with ImageNet's knowledge that every decoder here can be put on.

The Lite variant is EfficientNet-B0 made easy for every device: no squeeze-and-excitation, ReLU6 in place of swish, and
a stem and head that keep their widths at every scale. Padding is TensorFlow's "same": so the weights were trained.

Sources: Tan and Le 2019, table 1; "EfficientNet-Lite" in the authors' repository tensorflow/tpu, 2020.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.checks import check_batch
from segedu.models.memory_format import channels_last

# The stages of table 1, from its second row on: expansion, channels, blocks, stride of the first block, kernel.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
LAST_AT_STRIDE = (0, 1, 2, 4, 6)  # the last stage before each halving: what a decoder wants


class SameConv2d(nn.Conv2d):
    """A convolution that gives ceil(H / stride) x ceil(W / stride), padded with zeros as TensorFlow pads.

    Where the padding is odd, the extra row goes below and the extra column to the right. A kernel of stride 2 is then
    centred on odd pixels of an even side, and on even pixels of an odd one.
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, rate: int = 1, groups: int = 1) -> None:
        self.reach = rate * (kernel - 1)
        even = self.reach // 2 if stride == 1 else 0
        super().__init__(channels, out, kernel, stride, even, dilation=rate, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] > 1:
            below, right = (max(self.reach - (side - 1) % self.stride[0], 0) for side in x.shape[2:])
            x = F.pad(x, (right // 2, right - right // 2, below // 2, below - below // 2))
        if self.groups > 1 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):  # in bfloat16 their gradient takes four times as long
                return super().forward(x.float())
        return super().forward(x)


class ConvNorm(nn.Sequential):
    """A convolution and batch normalisation with the constants that the weights were trained with."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, rate: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = SameConv2d(channels, out, kernel, stride, rate, groups)
        self.norm = nn.BatchNorm2d(out, eps=1e-3, momentum=0.01)


class MBConv(nn.Module):
    """The inverted bottleneck: widen, filter each channel by itself, narrow without a nonlinearity, add the input.

    Source: Sandler et al. 2018 (MobileNetV2), figure 3(b).
    """

    def __init__(self, channels: int, out: int, expansion: int, kernel: int, stride: int = 1, rate: int = 1) -> None:
        super().__init__()
        width = expansion * channels
        self.relu6 = nn.ReLU6(inplace=True)
        self.expand = ConvNorm(channels, width, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(width, width, kernel, stride, rate, groups=width)
        self.project = ConvNorm(width, out, 1)
        self.shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.expand is not None:
            x = self.relu6(self.expand(x))
        x = self.relu6(self.depthwise(x))
        x = self.project(x)
        return x + shortcut if self.shortcut else x


class EfficientNetLite0(nn.Module):
    """The trunk of EfficientNet-Lite0: what comes before the head's 1280 channels.

    Images are float (B, in_channels, H, W) in [0, 1], RGB where there are three channels; the trunk itself scales them
    to what its weights were trained on.

    Args:
        output_stride: 32 as published, 16 or 8: where a stage would go beyond it, its stride of 2 becomes 1, and what
            follows gets twice the rate. So it computes what the published network does, and between its pixels too.
        in_channels: of the images.

    Attributes:
        channels: of each feature.
        strides: of each feature; the last ones repeat `output_stride`.

    Raises:
        ValueError: for another output_stride, or images of another shape.
        TypeError: for images that are not floating point.

    Source: table 1; for output_stride, Chen et al. 2017 (DeepLab v3), section 3.1.
    """

    channels = tuple(STAGES[stage][1] for stage in LAST_AT_STRIDE)

    def __init__(self, output_stride: int = 32, in_channels: int = 3) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride!r}")
        self.in_channels = in_channels
        self.stem = ConvNorm(in_channels, 32, 3, stride=2)
        self.relu6 = nn.ReLU6(inplace=True)
        self.stages = nn.ModuleList()
        channels, reached, rate, strides = 32, 2, 1, []
        for expansion, out, count, stride, kernel in STAGES:
            first_rate = rate
            if reached * stride > output_stride:
                rate, stride = rate * stride, 1
            reached *= stride
            blocks = [MBConv(channels, out, expansion, kernel, stride, first_rate)]
            blocks += [MBConv(out, out, expansion, kernel, rate=rate) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels = out
            strides.append(reached)
        self.strides = tuple(strides[stage] for stage in LAST_AT_STRIDE)
        initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features, finest first: float (B, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))."""
        check_batch(images, self.in_channels)
        x = (images * 255 - 127) / 128
        x = self.relu6(self.stem(channels_last(x)))
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return [features[stage] for stage in LAST_AT_STRIDE]


class EfficientNetLite0Classifier(nn.Module):
    """EfficientNet-Lite0 with its head: 4,652,008 parameters for 1000 classes.

    Images are as the trunk takes them; the weights were trained on 224 x 224 pixels, but any size will do.
    """

    def __init__(self, num_classes: int = 1000, output_stride: int = 32, in_channels: int = 3) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0(output_stride, in_channels)
        self.head = ConvNorm(self.trunk.channels[-1], 1280, 1)
        self.relu6 = nn.ReLU6(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, num_classes)
        initialise(self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes)."""
        x = self.relu6(self.head(self.trunk(images)[-1]))
        return self.classifier(self.dropout(self.pool(x).flatten(1)))

    def score_map(self, images: Tensor) -> Tensor:
        """Logits at each position of the last feature: (B, num_classes, H / output_stride, W / output_stride).

        In evaluation mode their mean over all positions is what `forward` gives, for the head is linear after pooling.

        Source: Zhou et al. 2016 (class activation mapping), equation 2.
        """
        x = self.relu6(self.head(self.trunk(images)[-1]))
        return F.conv2d(x, self.classifier.weight[..., None, None], self.classifier.bias)


def initialise(module: nn.Module) -> None:
    """Draw convolutions' weights from a normal distribution that keeps the gradient's variance (He et al. 2015).

    A depthwise convolution sends each input to one output only; `nn.init.kaiming_normal_` would count them all.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.weight[0, 0].numel() * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, std=(2 / fan_out) ** 0.5)
