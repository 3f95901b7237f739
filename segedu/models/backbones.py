"""Encoders by name: the trunks that decoders here can be put on."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from segedu.models.encoders import efficientnet_lite0
from segedu.models.resnet import resnet50, resnet101


class Encoder(Protocol):
    """A module that gives features of an image, finest first.

    Attributes:
        channels: of each feature.
        strides: of each feature: it is (B, channels[i], ceil(H / strides[i]), ceil(W / strides[i])).
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __call__(self, images: Tensor) -> list[Tensor]: ...


ENCODERS = {"efficientnet_lite0": efficientnet_lite0, "resnet50": resnet50, "resnet101": resnet101}


def build_encoder(name: str, **arguments: object) -> Encoder:
    """The encoder of this name: "efficientnet_lite0", "resnet50" or "resnet101".

    Args:
        name: of the encoder.
        arguments: of its builder, such as `output_stride=16`, or `pretrained=True` for EfficientNet-Lite0.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in ENCODERS:
        raise ValueError(f"there is no encoder {name!r}; there are: {', '.join(sorted(ENCODERS))}")
    return ENCODERS[name](**arguments)


def imagenet_normalise(images: Tensor) -> Tensor:
    """Subtract ImageNet's mean colour from RGB images in [0, 1], float (..., 3, H, W), and divide by its deviation.

    The weights of torchvision's models, and of VGG16 and ResNets here, were trained on images like these.
    """
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).to(images)[..., None, None]
    return (images - mean) / deviation
