"""What automatic masks go through: a grid of points, crops, how stable and where a mask is, and which to keep.

Source: Kirillov et al. 2023, appendix B, "Automatic mask generation details".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from segedu.arrays import in_memory, takes_arrays
from segedu.masks import rle_encode

NEAR = 20.0  # pixels from an edge of its crop within which a mask counts as cut off by it

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Candidate:
    """A mask that may become a record.

    Attributes:
        rle: the mask, as COCO's compressed run lengths over the whole image.
        area: in pixels.
        box: its first column and row, and its last ones; zeros if it is empty.
        predicted_iou: what the model expects.
        stability_score: see `stability_score`.
        point: the click that it answers, (x, y) in the image.
        crop: (x0, y0, x1, y1), the part of the image that the model saw.
    """

    rle: dict[str, Any]
    area: int
    box: Box
    predicted_iou: float
    stability_score: float
    point: tuple[float, float]
    crop: Box


def point_grid(n: int) -> np.ndarray:
    """The centres of n x n equal cells of the unit square: (x, y), float64 (n * n, 2), row by row.

    Raises:
        ValueError: if n is less than 1.
    """
    if n < 1:
        raise ValueError(f"a grid must have at least 1 point a side, got {n}")
    centres = np.linspace(0.5 / n, 1 - 0.5 / n, n)
    return np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 2)


@takes_arrays
def stability_score(logits: Tensor, threshold: float = 0.0, offset: float = 1.0) -> Tensor:
    """How little masks depend on where their logits are cut: the IoU of a stricter cut and a laxer one.

    Args:
        logits: (..., H, W).
        threshold: the cut that makes the masks.
        offset: how much stricter and laxer, in logits.

    Returns:
        float32 (...) in [0, 1]: pixels above threshold + offset, over those above threshold - offset. The former are
        all among the latter, so this is their IoU. It is 0 where there are none of either.
    """
    if offset < 0:
        raise ValueError(f"offset must be at least 0, got {offset}")
    strict, lax = (count_above(logits, cut) for cut in (threshold + offset, threshold - offset))
    return strict / lax.clamp(min=1)


def count_above(logits: Tensor, threshold: float) -> Tensor:
    """How many values of each (H, W) map in (..., H, W) are above a threshold: int64 (...)."""
    mask = above(logits, threshold)
    if in_memory(mask):
        maps = mask.numpy().reshape(-1, mask.shape[-2] * mask.shape[-1])
        return torch.tensor([np.count_nonzero(one) for one in maps], dtype=torch.long).reshape(mask.shape[:-2])
    return mask.sum((-2, -1))


def above(logits: Tensor, threshold: float) -> Tensor:
    """Which values are above a threshold: bool, of the same shape."""
    return torch.from_numpy(logits.numpy() > threshold) if in_memory(logits) else logits > threshold


def crop_boxes(height: int, width: int, layers: int, overlap_ratio: float = 512 / 1500) -> list[tuple[int, Box]]:
    """Cut an image into crops that overlap: layer 0 is the whole, layer i has 2^i x 2^i crops.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        layers: of crops, besides the whole.
        overlap_ratio: how far crops of layer 1 overlap, as a part of the image's shorter side; half as far in the
            next layer, and so on.

    Returns:
        Layer and (x0, y0, x1, y1) of each crop, columns of crops from left to right. An image too small for so many
        crops gets fewer.
    """
    boxes = [(0, (0, 0, width, height))]
    for layer in range(1, layers + 1):
        n = 2**layer
        overlap = int(overlap_ratio * min(height, width) * 2 / n)
        w, h = (math.ceil((overlap * (n - 1) + side) / n) for side in (width, height))
        corners = product([(w - overlap) * i for i in range(n)], [(h - overlap) * i for i in range(n)])
        boxes += [
            (layer, (x, y, min(x + w, width), min(y + h, height))) for x, y in corners if x < width and y < height
        ]
    return boxes


def box_of(mask: np.ndarray) -> Box:
    """First column and row, and last column and row, of a bool mask (H, W); zeros if it is empty."""
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    return (x, y, x + w - 1, y + h - 1) if w else (0, 0, 0, 0)


def is_cut_off(box: Box, crop: Box, height: int, width: int) -> bool:
    """Whether a box ends at an edge of its crop that is none of the image (H, W), so that more of it may lie beyond."""
    edges = zip(box, crop, (0, 0, width, height), strict=True)
    return any(abs(side - cut) <= NEAR and abs(side - end) > NEAR for side, cut, end in edges)


def suppress(candidates: list[Candidate], scores: Sequence[float], threshold: float) -> list[Candidate]:
    """Of candidates whose boxes overlap by an IoU above the threshold, keep the best: non-maximum suppression.

    Returns:
        Those kept, the best first.
    """
    from torchvision.ops import nms  # here, for torchvision takes as long to import as all the rest

    boxes = torch.tensor([candidate.box for candidate in candidates], dtype=torch.float32).reshape(-1, 4)
    keep = nms(boxes, torch.tensor(scores, dtype=torch.float32), threshold)
    return [candidates[i] for i in keep.tolist()]


def remove_small_regions(mask: np.ndarray, min_area: float) -> np.ndarray:
    """Fill holes and drop islands of fewer than `min_area` pixels, 8-connected; the largest island always stays.

    Args:
        mask: bool (H, W).
        min_area: in pixels.

    Returns:
        bool (H, W); the mask itself if there is nothing to do.
    """
    holes, areas = _regions(~mask)
    small = areas < min_area
    small[0] = False
    if small.any():
        mask = mask | small[holes]
    islands, areas = _regions(mask)
    small = areas < min_area
    if small[1:].any():
        small[0] = True
        small[1 + areas[1:].argmax()] = False
        mask = ~small[islands]
    return mask


def _regions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the regions of a mask, 0 outside, int32 (H, W), and the area of each number."""
    _, regions, measures, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    return regions, measures[:, cv2.CC_STAT_AREA]


def encode(mask: np.ndarray, crop: Box, height: int, width: int) -> dict[str, Any]:
    """The run lengths of a crop's mask, bool (h, w), over the whole image (H, W)."""
    x0, y0, x1, y1 = crop
    if mask.shape != (height, width):
        whole = np.zeros((height, width), bool)
        whole[y0:y1, x0:x1] = mask
        mask = whole
    return rle_encode(mask)
