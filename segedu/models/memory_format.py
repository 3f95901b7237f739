"""The order of numbers in memory with which convolutions are fastest: the channels of a pixel side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def channels_last(x: Tensor) -> Tensor:
    """The same numbers (B, C, H, W) in that order."""
    return x.contiguous(memory_format=torch.channels_last)


def weights_channels_last(model: nn.Module) -> None:
    """Put the weights of all convolutions into that order, too: else each call copies them into it."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight = nn.Parameter(channels_last(layer.weight.detach()), layer.weight.requires_grad)
