"""Fully convolutional networks (Long, Shelhamer and Darrell 2015): classifiers that answer for every pixel."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from segedu.models.backbones import Encoder, build_encoder
from segedu.models.checks import check_batch, load_weights
from segedu.models.classifiers import VGG16, AlexNet, Classifier, GoogLeNet, vgg16_weights
from segedu.models.convolutionize import convolutionize
from segedu.models.on_resnet import FCNHead, OnResNet
from segedu.models.resnet import resnet50
from segedu.models.upsampling import BilinearUpsampling, crop


class FCN32s(nn.Module):
    """A classifier's trunk and convolutionised head, a score for each class, upsampled 32 times in one step.

    Images are float (B, 3, H, W), in the classifier's own scale (`imagenet_normalise` for torchvision's weights);
    logits are (B, num_classes, H, W). The first convolution pads by 100 pixels, so that the head's window fits into
    small images; a crop aligns the scores with the image.

    Args:
        classifier: its layers become this network's.
        head: what the coarse scores are made from, after the trunk.
        channels: that the head gives.
        padding: of the first convolution.
        offset: of the crop, for which the centre of each score's field lies where its upsampled kernel's does.
        least: pixels of the smallest image that all poolings fit into.
    """

    def __init__(
        self,
        classifier: Classifier,
        head: nn.Module,
        channels: int,
        num_classes: int,
        padding: int,
        offset: int,
        least: int = 1,
    ) -> None:
        super().__init__()
        self.features = classifier.features
        first = next(layer for layer in self.features.modules() if isinstance(layer, nn.Conv2d))
        first.padding = (padding, padding)
        self.head = head
        self.score = _scores(channels, num_classes)
        self.upscore = BilinearUpsampling(num_classes, 32, learn=False)
        self.offset, self.least = offset, least

    def coarse(self, images: Tensor) -> Tensor:
        """Logits at stride 32, before upsampling."""
        check_batch(images, 3, self.least)
        return self.score(self.head(self.features(images)))

    def forward(self, images: Tensor) -> Tensor:
        return crop(self.upscore(self.coarse(images)), self.offset, images)


class FCN16s(nn.Module):
    """FCN-32s of VGG16 with scores of pool4 added at stride 16.

    Weights of `fcn32s` fit, but for `upscore`: load them with `strict=False`, as the paper trains one from the other.

    Source: section 4.2, figure 3.
    """

    def __init__(self, classifier: VGG16, num_classes: int) -> None:
        super().__init__()
        self.features = classifier.features
        self.features.block1.conv1_1.padding = (100, 100)
        self.head = convolutionize(classifier.classifier[:-1], classifier.grid)
        self.score = _scores(4096, num_classes)
        self.score_pool4 = _scores(512, num_classes)
        self.upscore2 = BilinearUpsampling(num_classes, 2, learn=True)
        self.upscore16 = BilinearUpsampling(num_classes, 16, learn=False)

    def forward(self, images: Tensor) -> Tensor:
        check_batch(images, 3)
        pool4 = self.features[:4](images)
        fc7 = self.head(self.features[4](pool4))
        scores = self.upscore2(self.score(fc7))
        scores = scores + crop(self.score_pool4(pool4), 5, like=scores)
        return crop(self.upscore16(scores), 27, like=images)


class FCN8s(nn.Module):
    """FCN-16s with scores of pool3 added at stride 8.

    Source: section 4.2, figure 3.
    """

    def __init__(self, classifier: VGG16, num_classes: int) -> None:
        super().__init__()
        self.features = classifier.features
        self.features.block1.conv1_1.padding = (100, 100)
        self.head = convolutionize(classifier.classifier[:-1], classifier.grid)
        self.score = _scores(4096, num_classes)
        self.score_pool4 = _scores(512, num_classes)
        self.score_pool3 = _scores(256, num_classes)
        self.upscore2 = BilinearUpsampling(num_classes, 2, learn=True)
        self.upscore_pool4 = BilinearUpsampling(num_classes, 2, learn=True)
        self.upscore8 = BilinearUpsampling(num_classes, 8, learn=False)

    def forward(self, images: Tensor) -> Tensor:
        check_batch(images, 3)
        pool3 = self.features[:3](images)
        pool4 = self.features[3](pool3)
        fc7 = self.head(self.features[4](pool4))
        scores = self.upscore2(self.score(fc7))
        scores = self.upscore_pool4(scores + crop(self.score_pool4(pool4), 5, like=scores))
        scores = scores + crop(self.score_pool3(pool3), 9, like=scores)
        return crop(self.upscore8(scores), 31, like=images)


class EncoderFCN(nn.Module):
    """The skips of FCN on an encoder that pads each convolution, so that no margin is needed and little is cropped.

    Args:
        encoder: gives features of several strides, of which those of `strides` get scores.
        strides: ascending, each twice the one before: (8, 16, 32) makes an FCN-8s, (32,) an FCN-32s.
    """

    def __init__(self, encoder: Encoder, num_classes: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = encoder
        self.levels = [encoder.strides.index(stride) for stride in strides]
        self.scores = nn.ModuleList(_scores(encoder.channels[level], num_classes) for level in self.levels)
        self.upscore2 = nn.ModuleList(
            BilinearUpsampling(num_classes, 2, learn=True, padding=1) for _ in self.levels[1:]
        )
        self.upscore = BilinearUpsampling(num_classes, strides[0], learn=False, padding=strides[0] // 2)

    def forward(self, images: Tensor) -> Tensor:
        features = self.encoder(images)
        maps = [score(features[level]) for score, level in zip(self.scores, self.levels, strict=True)]
        x = maps.pop()
        for upscore2 in self.upscore2:
            finer = maps.pop()
            x = finer + crop(upscore2(x), 0, like=finer)
        return crop(self.upscore(x), 0, like=images)


def _scores(channels: int, num_classes: int) -> nn.Conv2d:
    """Class scores, all zero at first as in the paper (section 4.3)."""
    convolution = nn.Conv2d(channels, num_classes, 1)
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    return convolution


def fcn32s(
    backbone: str = "vgg16", num_classes: int = 21, weights: Mapping[str, Tensor] | None = None, **encoder: object
) -> nn.Module:
    """FCN-32s of "alexnet", "vgg16" or "googlenet" as published, or of an encoder of `build_encoder`.

    Parameters without the upsampling, for 21 classes: 56,954,261, 134,346,581 and 5,995,077. GoogLeNet's 7 x 7 pooling
    is left out, as the paper says; its field is 715 then, and the 907 of the paper's table 1 is that with the pooling.

    Args:
        backbone: name of the classifier or encoder.
        num_classes: channels of the logits.
        weights: of the classifier, by name: of `torchvision.models.vgg16`, or of a classifier of ours.
        encoder: further arguments of `build_encoder`, such as `pretrained=True`.

    Raises:
        ValueError: for an unknown backbone, or weights of another one.
    """
    if backbone not in _CLASSIFIERS:
        return EncoderFCN(build_encoder(backbone, **encoder), num_classes, (32,))
    classifier = _classifier(backbone, weights)
    if backbone == "googlenet":
        return FCN32s(classifier, classifier.classifier.drop5, 1024, num_classes, padding=3, offset=1, least=31)
    head = convolutionize(classifier.classifier[:-1], classifier.grid)
    return FCN32s(classifier, head, 4096, num_classes, padding=100, offset=18 if backbone == "alexnet" else 19)


def fcn16s(
    backbone: str = "vgg16", num_classes: int = 21, weights: Mapping[str, Tensor] | None = None, **encoder: object
) -> nn.Module:
    """FCN-16s of VGG16 as published (134,815,994 parameters), or of an encoder of `build_encoder`.

    Arguments and errors as of `fcn32s`.
    """
    if backbone != "vgg16":
        return EncoderFCN(build_encoder(backbone, **encoder), num_classes, (16, 32))
    return FCN16s(_classifier(backbone, weights), num_classes)


def fcn8s(
    backbone: str = "vgg16", num_classes: int = 21, weights: Mapping[str, Tensor] | None = None, **encoder: object
) -> nn.Module:
    """FCN-8s of VGG16 as published (134,489,759 parameters), or of an encoder of `build_encoder`.

    Arguments and errors as of `fcn32s`.
    """
    if backbone != "vgg16":
        return EncoderFCN(build_encoder(backbone, **encoder), num_classes, (8, 16, 32))
    return FCN8s(_classifier(backbone, weights), num_classes)


def fcn_resnet50(num_classes: int = 21, *, auxiliary: bool = False) -> OnResNet:
    """An FCN on ResNet-50 at stride 8: 32,957,013 parameters for 21 classes.

    It takes the weights of `torchvision.models.segmentation.fcn_resnet50` strictly.

    Args:
        num_classes: channels of the logits.
        auxiliary: see `OnResNet`.
    """
    return OnResNet(resnet50(output_stride=8), FCNHead(2048, num_classes), num_classes, auxiliary=auxiliary)


_CLASSIFIERS = {"alexnet": AlexNet, "vgg16": VGG16, "googlenet": GoogLeNet}


def _classifier(backbone: str, weights: Mapping[str, Tensor] | None) -> Classifier:
    classifier = _CLASSIFIERS[backbone]()
    if weights is not None:
        weights = vgg16_weights(weights) if backbone == "vgg16" else weights
        load_weights(classifier, weights, type(classifier).__name__)
    return classifier
