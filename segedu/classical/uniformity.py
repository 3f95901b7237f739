"""Which regions are uniform: rules for split and merge that know a region by a few numbers, whatever its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch

from segedu.arrays import Array

Statistics = tuple[Array, ...]


@dataclass(frozen=True)
class Rule:
    """Which regions are uniform, told from a few numbers of each; as the rule of `split_and_merge`, it is fast.

    `max_range` and `max_variance` make rules. To make one of your own, give three functions. They get NumPy arrays if
    the image is in the CPU's memory, else tensors.

    Attributes:
        of_pixels: the numbers of regions of one pixel, from pixels (..., C, H, W): a tuple of arrays of that shape.
        join: the numbers of unions of two regions, from the numbers of one and of the other.
        holds: which regions are uniform: from the numbers, one argument each, (..., C, H, W), to bool (..., H, W).
    """

    of_pixels: Callable[[Array], Statistics]
    join: Callable[[Statistics, Statistics], Statistics]
    holds: Callable[..., Array]


def max_range(limit: float) -> Rule:
    """Regions whose greatest value exceeds the least by at most `limit`, in the image's units and in each channel."""
    _check_limit(limit)

    def join(one: Statistics, other: Statistics) -> Statistics:
        library = library_of(one[0])
        return library.minimum(one[0], other[0]), library.maximum(one[1], other[1])

    return Rule(
        of_pixels=lambda pixels: (pixels, pixels),
        join=join,
        holds=lambda least, greatest: (greatest - least <= limit).all(-3),
    )


def max_variance(limit: float) -> Rule:
    """Regions whose variance (mean squared deviation from the mean) is at most `limit`, in each channel."""
    _check_limit(limit)

    def of_pixels(pixels: Array) -> Statistics:
        mean = _double(pixels)
        return mean * 0 + 1, mean, mean * 0

    def join(one: Statistics, other: Statistics) -> Statistics:
        # Chan, Golub and LeVeque 1979: exact where all values are equal, unlike the difference of two sums.
        (count_1, mean_1, deviation_1), (count_2, mean_2, deviation_2) = one, other
        count, gap = count_1 + count_2, mean_2 - mean_1
        change = gap * count_2 / count
        return count, mean_1 + change, deviation_1 + deviation_2 + gap * change * count_1

    return Rule(of_pixels, join, holds=lambda count, mean, deviation: (deviation <= limit * count).all(-3))


def library_of(array: Array) -> ModuleType:
    """NumPy or PyTorch, whichever the array is from."""
    return torch if isinstance(array, torch.Tensor) else np


def _double(array: Array) -> Array:
    return array.double() if isinstance(array, torch.Tensor) else array.astype(np.float64)


def _check_limit(limit: float) -> None:
    if not limit >= 0:
        raise ValueError(f"limit must be 0 or more, got {limit}")
