"""ResNet-50 and ResNet-101 as trunks for segmentation, with torchvision's names for their weights."""

from __future__ import annotations

from torch import Tensor, nn

from segedu.models.checks import check_batch
from segedu.models.memory_format import channels_last


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut. The 3 x 3 one has the stride, as in torchvision.

    In He et al.'s own network the first 1 x 1 one has it; sizes and parameters are the same.

    Source: He et al. 2016, figure 5, right.
    """

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        out = self.expansion * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """The convolutions of a ResNet; strides of the last stages may become atrous rates.

    Images are float (B, 3, H, W), normalised with ImageNet's mean and standard deviation (`imagenet_normalise`).

    Args:
        blocks: how many bottlenecks the four stages have: (3, 4, 6, 3) or (3, 4, 23, 3).
        output_stride: 32 as published, 16 or 8: where a stage would go beyond it, its stride of 2 becomes 1, and what
            follows gets twice the rate. The first block of that stage keeps the old rate, as in torchvision.

    Source: He et al. 2016, table 1; Chen et al. 2017 (DeepLab v3), section 3.2.
    """

    channels = (64, 256, 512, 1024, 2048)

    def __init__(self, blocks: tuple[int, int, int, int], output_stride: int = 32) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride!r}")
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        strides, rate = [2, 4], 1
        for stage, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), 1):
            stride, first_rate = 1 if stage == 1 else 2, rate
            if stride * strides[-1] > output_stride:
                stride, rate = 1, 2 * rate
            layers = [Bottleneck(self.channels[stage - 1], width, stride, first_rate)]
            layers += [Bottleneck(self.channels[stage], width, dilation=rate) for _ in range(1, count)]
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
            if stage > 1:
                strides.append(strides[-1] * stride)
        self.strides = tuple(strides)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of each stage, finest first: float (B, channels[i], H / strides[i], W / strides[i])."""
        check_batch(images, 3)
        features = [self.relu(self.bn1(self.conv1(channels_last(images))))]
        x = self.maxpool(features[0])
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features


def resnet50(output_stride: int = 32) -> ResNet:
    """ResNet-50's trunk: 23,508,032 parameters."""
    return ResNet((3, 4, 6, 3), output_stride)


def resnet101(output_stride: int = 32) -> ResNet:
    """ResNet-101's trunk: 42,500,160 parameters."""
    return ResNet((3, 4, 23, 3), output_stride)
