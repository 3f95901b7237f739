"""NumPy in, NumPy out: what functions on tensors need to take images from either library."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

Array = np.ndarray | torch.Tensor
Function = TypeVar("Function", bound=Callable)


def takes_arrays(function: Function) -> Function:
    """Let a function on tensors take NumPy arrays as well.

    If any argument is an array, every array becomes a tensor that shares its memory, and every tensor in the result,
    also within tuples, lists, dicts and dataclasses, an array. Arrays and tensors cannot be mixed in one call.

    Raises:
        TypeError: if one argument is an array and another a tensor.
    """

    @functools.wraps(function)
    def on_either(*args: Any, **kwargs: Any) -> Any:
        values = (*args, *kwargs.values())
        if not any(isinstance(value, np.ndarray) for value in values):
            return function(*args, **kwargs)
        if any(isinstance(value, torch.Tensor) for value in values):
            raise TypeError(f"{function.__name__} takes NumPy arrays or PyTorch tensors, got both: convert one of them")
        args = tuple(_tensor(value) for value in args)
        kwargs = {name: _tensor(value) for name, value in kwargs.items()}
        return _arrays(function(*args, **kwargs))

    return on_either


def check_image(image: torch.Tensor, name: str = "image") -> None:
    """Require a uint8 or floating-point tensor (..., H, W) with at least one pixel.

    Raises:
        TypeError: if it is no tensor, or has another dtype.
        ValueError: if it has fewer than two axes, or no pixels.
    """
    if not isinstance(image, torch.Tensor):
        raise TypeError(f"{name} must be a NumPy array or a PyTorch tensor, got {type(image).__name__}")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise TypeError(f"{name} must be uint8 or floating point, got {image.dtype}: convert it first")
    if image.ndim < 2 or 0 in image.shape[-2:]:
        raise ValueError(f"{name} must have shape (..., H, W) and at least one pixel, got {tuple(image.shape)}")


def in_memory(tensor: torch.Tensor) -> bool:
    """Whether `tensor.numpy()` gives its values at once: a real tensor on the CPU that nobody traces or differentiates.

    Functions ask this before they hand an image to OpenCV, NumPy or Numba instead of computing with torch.
    """
    return (
        type(tensor) is torch.Tensor
        and tensor.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not tensor.requires_grad
    )


def _tensor(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    # Torch shares memory only with arrays that it may write to and that run forwards.
    shareable = value.flags.writeable and all(stride >= 0 for stride in value.strides)
    return torch.from_numpy(value if shareable else value.copy())


def _arrays(value: Any) -> Any:
    """Make arrays of all tensors within tuples (named ones too), lists, dicts and dataclasses."""
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_arrays, value))
    if isinstance(value, tuple | list):
        return type(value)(map(_arrays, value))
    if isinstance(value, dict):
        return {key: _arrays(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _arrays(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
        return dataclasses.replace(value, **fields)
    return value
