"""How well outlines agree: boundary IoU (Cheng et al. 2021) and boundary F1 (Csurka et al. 2013)."""

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from segedu.arrays import Array, in_memory, takes_arrays
from segedu.metrics.overlap import check_pair, iou


@takes_arrays
def boundary_iou(pred: Array, target: Array, dilation_ratio: float = 0.02) -> Array:
    """Intersection over union of the pixels close to the outlines, `|P_d ∩ T_d| / |P_d ∪ T_d|`.

    P_d and T_d hold the pixels of P and T within d of what lies outside the mask, see `mask_boundary`. The inside of a
    large object, which no method gets wrong, is left out. A mask that is nowhere wider than 2d is all boundary, and its
    boundary IoU is its IoU.

    Args:
        pred: bool (..., H, W).
        target: bool (..., H, W), the same shape.
        dilation_ratio: d as a share of the image's diagonal; rounded to whole pixels, at least 1.

    Returns:
        Float (...), from 0 to 1, one number for each pair of masks; NaN where both masks are empty, as `iou`.

    Source: Cheng et al. (2021), "Boundary IoU"; d and the image's border as in the authors' program.
    """
    check_pair(pred, target)
    distance = max(1, round(dilation_ratio * math.hypot(*pred.shape[-2:])))
    return _each_pair(lambda p, t: iou(mask_boundary(p, distance), mask_boundary(t, distance)), pred, target)


@takes_arrays
def boundary_f1(pred: Array, target: Array, tolerance: float) -> Array:
    """F1 score of the outlines, where a boundary pixel is right if the other boundary has one within `tolerance`.

    Precision is the share of P's boundary that is near T's, recall the share of T's that is near P's, and the score
    `2 precision recall / (precision + recall)`. Boundaries are those of `mask_boundary` with a distance of 1.

    Args:
        pred: bool (..., H, W).
        target: bool (..., H, W), the same shape.
        tolerance: the largest Euclidean distance between pixels' centres that counts as near, in pixels. Csurka et al.
            take 0.75 %, DAVIS 0.8 % of the image's diagonal.

    Returns:
        Float (...), from 0 to 1, one number for each pair of masks. 0 where one of the two masks is empty, and NaN
        where both are: nothing was to be found and nothing was.

    Source: Csurka et al. (2013), "What is a good evaluation measure for semantic segmentation?"
    """
    check_pair(pred, target)
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be a distance in pixels, 0 or more, got {tolerance}")
    return _each_pair(lambda p, t: _f1(mask_boundary(p), mask_boundary(t), tolerance), pred, target)


@takes_arrays
def mask_boundary(mask: Array, distance: int = 1) -> Array:
    """Keep the pixels of a mask that erosion by a square of side 2 distance + 1 takes away.

    These are the pixels within `distance` of one outside the mask, by steps to any of 8 neighbours. What lies beyond
    the image is outside the mask, so that an object cut by the image's border has a boundary there.

    Args:
        mask: bool (..., H, W).
        distance: in pixels, 1 or more.

    Returns:
        Bool (..., H, W).
    """
    check_pair(mask, mask)
    if distance < 1:
        raise ValueError(f"distance must be at least 1 pixel, got {distance}")
    if in_memory(mask) and mask.numel():
        return _mask_boundary_on_host(mask, distance)
    solid = F.pad(mask, (distance,) * 4)
    for axis in (-1, -2):
        solid = _slide(solid, 2 * distance + 1, axis, torch.logical_and)
    return mask & ~solid


def _mask_boundary_on_host(mask: torch.Tensor, distance: int) -> torch.Tensor:
    """Do as `mask_boundary`, by OpenCV within the smallest box around each mask."""
    boundary = np.zeros(mask.shape, bool)
    height, width = mask.shape[-2:]
    square = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    for source, result in zip(
        mask.reshape(-1, height, width).numpy().view(np.uint8),
        boundary.reshape(-1, height, width),
        strict=True,
    ):
        x, y, w, h = cv2.boundingRect(source)
        box = source[y : y + h, x : x + w]
        if box.size:
            inside = cv2.erode(box, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
            np.not_equal(box, inside, out=result[y : y + h, x : x + w])
    return torch.from_numpy(boundary)


def _f1(pred: Array, target: Array, tolerance: float) -> torch.Tensor:
    """F1 score of boundaries (..., H, W)."""
    masks = pred & _within(target, tolerance), pred, target & _within(pred, tolerance), target
    right, wanted_p, found, wanted_t = (torch.as_tensor(mask.sum((-2, -1))).double() for mask in masks)
    # With precision r/p and recall f/t, 2PR / (P + R) is 2rf / (rt + fp): no division by an empty boundary.
    score = 2 * right * found / (right * wanted_t + found * wanted_p)
    return torch.where(wanted_p + wanted_t > 0, score.nan_to_num(0), score)


def _within(mask: Array, distance: float) -> Array:
    """Mark the pixels that have one of the mask's within a Euclidean distance: a disc around each, row by row."""
    squared = math.floor(distance**2)  # squared distances between pixels' centres are whole numbers
    if isinstance(mask, np.ndarray):  # one mask, by way of `_each_pair`
        if not mask.any():
            return mask
        distances = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return distances < math.sqrt(squared + 0.5)
    radius, height = math.isqrt(squared), mask.shape[-2]
    near = F.pad(mask, (0, 0, radius, radius))
    for dy in range(radius + 1):
        half = math.isqrt(squared - dy**2)
        row = _slide(F.pad(mask, (half, half)), 2 * half + 1, -1, torch.logical_or)
        for top in {radius - dy, radius + dy}:
            near[..., top : top + height, :] |= row
    return near[..., radius : radius + height, :]


def _slide(mask: torch.Tensor, length: int, axis: int, combine: Callable) -> torch.Tensor:
    """Combine every `length` neighbours along an axis, which gets `length - 1` shorter, in log2(length) steps."""
    combined = 1  # so many neighbours in each pixel by now
    while combined < length:
        step = min(combined, length - combined)
        size = mask.shape[axis] - step
        mask = combine(mask.narrow(axis, 0, size), mask.narrow(axis, step, size))
        combined += step
    return mask


def _each_pair(measure: Callable, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Measure masks (..., H, W); on the host pair by pair, as arrays cut to the smallest box around both: much faster.

    What lies outside the box is no mask, as is what lies beyond the image.
    """
    if not (in_memory(pred) and in_memory(target) and pred.numel()):
        return measure(pred, target)
    height, width = pred.shape[-2:]
    pairs = zip(*(mask.reshape(-1, height, width).numpy() for mask in (pred, target)), strict=True)
    values = []
    for p, t in pairs:
        x, y, w, h = cv2.boundingRect((p | t).view(np.uint8))
        values.append(float(measure(p[y : y + h, x : x + w], t[y : y + h, x : x + w])))
    return torch.tensor(values, dtype=torch.float64).view(pred.shape[:-2])
