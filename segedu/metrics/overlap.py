"""Overlap of binary masks: intersection over union (Jaccard 1912) and Dice's coefficient (Dice 1945)."""

import numpy as np
import torch

Array = np.ndarray | torch.Tensor

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
    library = torch if isinstance(pred, torch.Tensor) else np
    pixels = pred.shape[1] * pred.shape[2]
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


def _shared_and_areas(pred: Array, target: Array) -> tuple[Array, Array]:
    """Count the pixels in both masks, and those of one plus those of the other."""
    _check_masks(pred, target)
    if pred.shape != target.shape:
        raise ValueError(f"masks must have the same shape, got {tuple(pred.shape)} and {tuple(target.shape)}")
    count = np.count_nonzero if isinstance(pred, np.ndarray) else torch.count_nonzero
    return count(pred & target, (-2, -1)), count(pred, (-2, -1)) + count(target, (-2, -1))


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
