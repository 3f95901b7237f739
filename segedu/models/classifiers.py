"""The classifiers that FCN and its successors began from, as their authors trained them.

Images are float (B, 3, H, W); a classifier takes the size it was trained on and gives logits (B, num_classes). The
trunk of each, `features`, takes any size from 100 x 100 pixels or so on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segedu.models.checks import check_batch


class Classifier(nn.Module):
    """A trunk of convolutions, `features`, and a dense head, `classifier`."""

    features: nn.Sequential
    classifier: nn.Sequential
    size: int  # of the images, in pixels
    grid: tuple[int, int, int]  # shape of what the trunk hands to the head

    def forward(self, images: Tensor) -> Tensor:
        check_batch(images, 3)
        if tuple(images.shape[2:]) != (self.size, self.size):
            raise ValueError(
                f"a dense head takes images of one size, {self.size} x {self.size}, got {tuple(images.shape[2:])}: "
                "resize and crop them, or make convolutions of the head (segedu.models.convolutionize)"
            )
        return self.classifier(self.features(images))


def dense_head(grid: tuple[int, int, int], num_classes: int) -> nn.Sequential:
    """fc6, fc7 and fc8 of AlexNet and VGG16: from a grid of features (C, h, w) to one vector to the classes."""
    C, h, w = grid
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc6=nn.Linear(C * h * w, 4096),
            relu6=nn.ReLU(inplace=True),
            drop6=nn.Dropout(),
            fc7=nn.Linear(4096, 4096),
            relu7=nn.ReLU(inplace=True),
            drop7=nn.Dropout(),
            fc8=nn.Linear(4096, num_classes),
        )
    )


def alexnet_features() -> nn.Sequential:
    """The convolutions of AlexNet: two groups in conv2, conv4 and conv5, for the two GPUs it was trained on.

    Pooling comes before normalisation, as in Caffe's copy, CaffeNet; the parameters are the same. Poolings round up.

    Source: Krizhevsky, Sutskever and Hinton 2012, section 3.5.
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 96, 11, stride=4),
            relu1=nn.ReLU(inplace=True),
            pool1=nn.MaxPool2d(3, 2, ceil_mode=True),
            norm1=nn.LocalResponseNorm(5),
            conv2=nn.Conv2d(96, 256, 5, padding=2, groups=2),
            relu2=nn.ReLU(inplace=True),
            pool2=nn.MaxPool2d(3, 2, ceil_mode=True),
            norm2=nn.LocalResponseNorm(5),
            conv3=nn.Conv2d(256, 384, 3, padding=1),
            relu3=nn.ReLU(inplace=True),
            conv4=nn.Conv2d(384, 384, 3, padding=1, groups=2),
            relu4=nn.ReLU(inplace=True),
            conv5=nn.Conv2d(384, 256, 3, padding=1, groups=2),
            relu5=nn.ReLU(inplace=True),
            pool5=nn.MaxPool2d(3, 2, ceil_mode=True),
        )
    )


class AlexNet(Classifier):
    """AlexNet in Caffe's version (`alexnet_features`): 60,965,224 parameters."""

    size, grid = 227, (256, 6, 6)

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.features = alexnet_features()
        self.classifier = dense_head(self.grid, num_classes)


VGG16_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions


def vgg16_features() -> nn.Sequential:
    """The five blocks of VGG16, each of 3 x 3 convolutions and a pooling that rounds up.

    Source: Simonyan and Zisserman 2015, table 1, column D.
    """
    blocks, channels = OrderedDict(), 3
    for number, (width, convolutions) in enumerate(VGG16_BLOCKS, 1):
        block = OrderedDict()
        for i in range(1, convolutions + 1):
            block[f"conv{number}_{i}"] = nn.Conv2d(channels, width, 3, padding=1)
            block[f"relu{number}_{i}"] = nn.ReLU(inplace=True)
            channels = width
        block[f"pool{number}"] = nn.MaxPool2d(2, 2, ceil_mode=True)
        blocks[f"block{number}"] = nn.Sequential(block)
    return nn.Sequential(blocks)


class VGG16(Classifier):
    """VGG16: 138,357,544 parameters.

    `torchvision.models.vgg16` is the same network; `vgg16_from_torchvision` renames its weights.
    """

    size, grid = 224, (512, 7, 7)

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.features = vgg16_features()
        self.classifier = dense_head(self.grid, num_classes)


def vgg16_from_torchvision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of `torchvision.models.vgg16`, so that `VGG16().load_state_dict` takes them.

    Raises:
        ValueError: if they are not that network's (its variant with batch normalisation has others).
    """
    with torch.device("meta"):
        ours = VGG16().state_dict()
    theirs = [f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
    theirs += [f"classifier.{i}" for i in (0, 3, 6)]
    keys = [f"{layer}.{kind}" for layer in theirs for kind in ("weight", "bias")]
    if set(keys) != set(weights):
        raise ValueError(
            "expected the weights of torchvision.models.vgg16; "
            f"missing: {sorted(set(keys) - set(weights))[:4]}, unknown: {sorted(set(weights) - set(keys))[:4]}"
        )
    return {name: weights[key] for name, key in zip(ours, keys, strict=True)}


def vgg16_weights(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights of VGG16 under our names, whether they come under torchvision's or ours."""
    return vgg16_from_torchvision(weights) if "features.0.weight" in weights else weights


class Inception(nn.Module):
    """Four branches side by side, concatenated; 1 x 1 convolutions reduce the channels before the larger kernels.

    torchvision's has a 3 x 3 kernel in the 5 x 5 branch, as an early port to TensorFlow had.

    Source: Szegedy et al. 2015, figure 2(b).
    """

    def __init__(self, channels: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> None:
        super().__init__()
        self.one = _convolution(channels, one, 1)
        self.three = nn.Sequential(_convolution(channels, reduce3, 1), _convolution(reduce3, three, 3, padding=1))
        self.five = nn.Sequential(_convolution(channels, reduce5, 1), _convolution(reduce5, five, 5, padding=2))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), _convolution(channels, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


def _convolution(channels: int, width: int, kernel: int, **kwargs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, kernel, **kwargs), nn.ReLU(inplace=True))


def googlenet_features() -> nn.Sequential:
    """The convolutions of GoogLeNet, without batch normalisation, as published. Poolings round up.

    Source: Szegedy et al. 2015, table 1.
    """

    def pool() -> nn.MaxPool2d:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        OrderedDict(
            conv1=_convolution(3, 64, 7, stride=2, padding=3),
            pool1=pool(),
            norm1=nn.LocalResponseNorm(5),
            conv2_reduce=_convolution(64, 64, 1),
            conv2=_convolution(64, 192, 3, padding=1),
            norm2=nn.LocalResponseNorm(5),
            pool2=pool(),
            inception3a=Inception(192, 64, 96, 128, 16, 32, 32),
            inception3b=Inception(256, 128, 128, 192, 32, 96, 64),
            pool3=pool(),
            inception4a=Inception(480, 192, 96, 208, 16, 48, 64),
            inception4b=Inception(512, 160, 112, 224, 24, 64, 64),
            inception4c=Inception(512, 128, 128, 256, 24, 64, 64),
            inception4d=Inception(512, 112, 144, 288, 32, 64, 64),
            inception4e=Inception(528, 256, 160, 320, 32, 128, 128),
            pool4=pool(),
            inception5a=Inception(832, 256, 160, 320, 32, 128, 128),
            inception5b=Inception(832, 384, 192, 384, 48, 128, 128),
        )
    )


class GoogLeNet(Classifier):
    """GoogLeNet without its two auxiliary classifiers: 6,998,552 parameters."""

    size, grid = 224, (1024, 7, 7)

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.features = googlenet_features()
        self.classifier = nn.Sequential(
            OrderedDict(
                pool5=nn.AvgPool2d(7), flatten=nn.Flatten(), drop5=nn.Dropout(0.4), fc=nn.Linear(1024, num_classes)
            )
        )
