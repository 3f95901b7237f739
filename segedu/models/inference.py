"""Make a trained network faster to ask."""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from segedu.models.memory_format import weights_channels_last


def for_inference(model: nn.Module) -> nn.Module:
    """A copy that gives the same, up to rounding, in less time, and cannot be trained.

    In evaluation mode batch normalisation multiplies and adds numbers that are fixed, as the convolution before it
    does: its numbers go into the convolution's weights. One that comes before a convolution stays, as zeros of padding
    are not normalised. Weights are laid out as the features are.

    Args:
        model: one in which a batch normalisation that is registered right after a convolution follows it, as all
            models here are.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    _fold(model)
    weights_channels_last(model)
    return model


def _fold(module: nn.Module) -> None:
    before_name, before = "", None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            setattr(module, before_name, fuse_conv_bn_eval(before, child))
            setattr(module, name, nn.Identity())
        _fold(child)
        before_name, before = name, child
