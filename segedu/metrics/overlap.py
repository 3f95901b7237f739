"""Overlap of binary masks: intersection over union (Jaccard 1912) and Dice's coefficient (Dice 1945)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from faster_coco_eval.core import mask as coco

from segedu.arrays import Array, in_memory
from segedu.masks import compress_counts, rle_encode

TILE = 1 << 12  # pixels of each mask that `mask_iou` multiplies at a time


def iou(pred: Array, target: Array) -> Array:
    """Intersection over union of masks, `|P ∩ T| / |P ∪ T|`, also known as the Jaccard index.

    Args:
        pred: bool (..., H, W).
        target: bool (..., H, W), the same shape.

    Returns:
        Float (...), from 0 to 1, one number for each pair of masks. NaN where both masks are empty: nothing was to be
        found and nothing was, so the ratio 0 / 0 says neither good nor bad; leave it out of a mean (``nanmean``).
    """
    shared, areas = _shared_and_areas(pred, target)
    return _ratio(shared, areas - shared)


def dice(pred: Array, target: Array) -> Array:
    """Dice's coefficient of masks, `2 |P ∩ T| / (|P| + |T|)`, also known as the F1 score of the pixels.

    It ranks two predictions of one mask as `iou` does, since Dice = 2 IoU / (1 + IoU), but is never the lower number.

    Args:
        pred: bool (..., H, W).
        target: bool (..., H, W), the same shape.

    Returns:
        Float (...), from 0 to 1, one number for each pair of masks; NaN where both masks are empty, as `iou`.
    """
    shared, areas = _shared_and_areas(pred, target)
    return _ratio(2 * shared, areas)


def mask_iou(pred: Array, target: Array, crowd: Array | None = None) -> Array:
    """Intersection over union of every mask with every other, as matching detections to objects needs it.

    Args:
        pred: bool (N, H, W).
        target: bool (M, H, W).
        crowd: bool (M,), the targets that stand for a crowd of objects. For these, COCO divides by the prediction's
            area instead of the union, so that a prediction inside the crowd scores 1 (COCO API, mask.iou).

    Returns:
        Float (N, M), from 0 to 1; NaN where both masks are empty.
    """
    _check_masks(pred, target)
    if pred.ndim != 3 or target.ndim != 3 or pred.shape[1:] != target.shape[1:]:
        raise ValueError(
            f"masks must have shapes (N, H, W) and (M, H, W), got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    if isinstance(pred, torch.Tensor) and in_memory(pred) and in_memory(target):
        return torch.from_numpy(mask_iou(pred.numpy(), target.numpy(), None if crowd is None else crowd.numpy()))
    pixels = pred.shape[1] * pred.shape[2]
    if isinstance(pred, np.ndarray):
        # Most masks have few runs, and to compare these is much faster than to compare pixels.
        codes = rle_encode(pred), rle_encode(target)
        if sum(len(code["counts"]) for code in (*codes[0], *codes[1])) < (len(pred) + len(target)) * pixels / 32:
            return rle_iou(*codes, crowd)
    library = torch if isinstance(pred, torch.Tensor) else np
    rows, columns = pred.reshape(len(pred), pixels), target.reshape(len(target), pixels)
    shared, areas_p, areas_t = 0.0, 0.0, 0.0
    # A product of 0/1 matrices counts shared pixels. Tiles of pixels keep the float copies in the processor's cache,
    # and their sums far below 2^24, up to which float32 counts exactly.
    for start in range(0, max(pixels, 1), TILE):
        p = library.asarray(rows[:, start : start + TILE], dtype=library.float32)
        t = library.asarray(columns[:, start : start + TILE], dtype=library.float32)
        shared = shared + library.asarray(p @ t.T, dtype=library.float64)
        areas_p = areas_p + library.asarray(p.sum(1), dtype=library.float64)
        areas_t = areas_t + library.asarray(t.sum(1), dtype=library.float64)
    union = areas_p[:, None] + areas_t - shared
    return _ratio(shared, union if crowd is None else library.where(crowd, areas_p[:, None], union))


def rle_iou(
    pred: Sequence[dict[str, Any]], target: Sequence[dict[str, Any]], crowd: Sequence[bool] | None = None
) -> np.ndarray:
    """Intersection over union of every mask with every other, from COCO's run lengths, without decoding them.

    Args:
        pred: N codes of `segedu.masks.rle_encode` or of COCO's programs, counts as a list, ``str`` or ``bytes``.
        target: M codes of the same size.
        crowd: M flags, as in `mask_iou`.

    Returns:
        Float64 (N, M), the numbers of `mask_iou`: NaN where both masks are empty (COCO's own programs say 0).

    Raises:
        ValueError: if codes differ in size, or `crowd` has not M flags.
    """
    sizes = {tuple(rle["size"]) for rle in (*pred, *target)}
    if len(sizes) > 1:
        raise ValueError(f"masks to compare must have one size, got codes of sizes {sorted(sizes)}")
    crowd = [False] * len(target) if crowd is None else list(crowd)
    if len(crowd) != len(target):
        raise ValueError(f"crowd must hold a flag for each of the {len(target)} targets, got {len(crowd)}")
    if not (len(pred) and len(target)):
        return np.empty((len(pred), len(target)))
    codes = _compressed(pred), _compressed(target)
    ious = np.array(coco.iou(*codes, [int(flag) for flag in crowd]))
    empty_p, empty_t = (np.asarray(coco.area(one)) == 0 for one in codes)
    ious[np.logical_and.outer(empty_p, np.logical_or(empty_t, crowd))] = np.nan
    return ious


def _compressed(codes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return codes whose counts are a string."""
    return [
        rle if isinstance(rle["counts"], str | bytes) else {**rle, "counts": compress_counts(rle["counts"])}
        for rle in codes
    ]


def check_pair(pred: Array, target: Array) -> None:
    """Require two bool arrays or tensors of one shape (..., H, W).

    Raises:
        TypeError: if they are neither two arrays nor two tensors, or not bool.
        ValueError: if their shapes differ, or have fewer than two axes.
    """
    _check_masks(pred, target)
    if pred.shape != target.shape:
        raise ValueError(f"masks must have the same shape, got {tuple(pred.shape)} and {tuple(target.shape)}")


def _shared_and_areas(pred: Array, target: Array) -> tuple[Array, Array]:
    """Count the pixels in both masks, and those of one plus those of the other."""
    check_pair(pred, target)
    if isinstance(pred, torch.Tensor):
        if in_memory(pred) and in_memory(target):
            return tuple(map(torch.as_tensor, _shared_and_areas(pred.numpy(), target.numpy())))
        areas = torch.count_nonzero(pred, (-2, -1)) + torch.count_nonzero(target, (-2, -1))
        return torch.count_nonzero(pred & target, (-2, -1)), areas
    return _area(pred & target), _area(pred) + _area(target)


def _area(masks: np.ndarray) -> np.ndarray:
    """Count the pixels of each mask."""
    *batch, height, width = masks.shape
    # NumPy counts a whole array much faster than it counts along axes.
    flat = masks.reshape(math.prod(batch), height * width)
    return np.array([np.count_nonzero(mask) for mask in flat], np.int64).reshape(batch)


def _ratio(part: Array, whole: Array) -> Array:
    """Divide counts as float64; 0 / 0 is NaN."""
    if isinstance(whole, torch.Tensor):
        return part.double() / whole
    with np.errstate(invalid="ignore"):
        return np.divide(part, whole)


def _check_masks(pred: Array, target: Array) -> None:
    if not any(isinstance(pred, kind) and isinstance(target, kind) for kind in (np.ndarray, torch.Tensor)):
        raise TypeError(
            "masks must both be NumPy arrays or both be PyTorch tensors, "
            f"got {type(pred).__name__} and {type(target).__name__}"
        )
    for mask in (pred, target):
        if mask.dtype not in (torch.bool, np.bool_):
            raise TypeError(f"masks must be bool, got {mask.dtype}: compare first, as in labels == 3 or scores > 0.5")
        if mask.ndim < 2:
            raise ValueError(f"masks must have shape (..., H, W), got {tuple(mask.shape)}")
