"""What every model asks of its input and weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


def check_batch(images: torch.Tensor, channels: int, least: int = 1) -> None:
    """Require a floating-point batch (B, channels, H, W) with H and W of at least `least` pixels.

    Raises:
        TypeError: if it is no tensor, or not floating point.
        ValueError: if it has another number of axes or channels, or is too small.
    """
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"images must be a PyTorch tensor, got {type(images).__name__}")
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point, got {images.dtype}: scale them to [0, 1] first")
    shape = tuple(images.shape)
    if images.ndim != 4:
        raise ValueError(f"images must be (B, {channels}, H, W), got {shape}: add the batch axis by images[None]")
    if shape[1] != channels:
        raise ValueError(f"this model takes {channels} channels, (B, {channels}, H, W), got {shape}")
    if min(shape[2:]) < least:
        raise ValueError(f"this model takes images of {least} x {least} pixels or more, got {shape[2]} x {shape[3]}")


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Give a model its weights, all of them and no others.

    Raises:
        ValueError: if they are not of the network that is called `name`.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"these weights are not of {name}: {error}") from error
