"""Answers to prompts without a trained model: what one must be better than."""

from __future__ import annotations

import cv2
import numpy as np
from skimage.segmentation import slic

SEGMENTS = 64  # superpixels of an image
WORK_SIDE = 320  # pixels of the longer side in which GrabCut works, for it is slow
ROUNDS = 3  # of GrabCut


def fill_box(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The boxes (x0, y0, x1, y1), from first to last pixel, integer (P, 4), filled: bool (P, H, W)."""
    x0, y0, x1, y1 = np.moveaxis(boxes[:, :, None, None], 1, 0)
    y, x = np.ogrid[: size[0], : size[1]]
    return (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)


def boxes_around(points: np.ndarray, shares: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes of one size in the middle of which a point is.

    Args:
        points: (x, y), integer (P, 2).
        shares: of the image's width and height, two numbers from 0 to 1.
        size: height and width of the image.

    Returns:
        (x0, y0, x1, y1), from first to last pixel, integer (P, 4), within the image.
    """
    H, W = size
    sides = np.maximum(1, np.rint(shares * (W, H))).astype(int)
    first = points - sides // 2
    return np.concatenate([first, first + sides - 1], 1).clip(0, (W - 1, H - 1, W - 1, H - 1))


def superpixel(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The superpixel at each point.

    Args:
        image: uint8 (H, W, 3).
        points: (x, y), integer (P, 2).

    Returns:
        bool (P, H, W).

    Source: Achanta et al. 2012, SLIC, as in scikit-image.
    """
    segments = slic(image, n_segments=SEGMENTS, compactness=10, start_label=1)
    return segments == segments[points[:, 1], points[:, 0]][:, None, None]


def grab_cut(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The object in each box by its colours.

    Args:
        image: uint8 (H, W, 3).
        boxes: (x0, y0, x1, y1), from first to last pixel, integer (P, 4).

    Returns:
        bool (P, H, W); the whole box where GrabCut finds nothing in it, or nothing around it to learn from.

    Source: Rother, Kolmogorov and Blake 2004, as in OpenCV, in an image made smaller.
    """
    H, W = image.shape[:2]
    zoom = min(1.0, WORK_SIDE / max(H, W))
    small = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    masks = fill_box(boxes, (H, W))
    for mask, box in zip(masks, boxes, strict=True):
        found = _grab_cut(small, np.rint(box * zoom).astype(int))
        full = cv2.resize(found.astype(np.float32), (W, H), interpolation=cv2.INTER_LINEAR) > 0.5
        if (full & mask).any():
            mask &= full
    return masks


def _grab_cut(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = box
    labels = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    labels[y0 : y1 + 1, x0 : x1 + 1] = cv2.GC_PR_FGD
    if (labels == cv2.GC_PR_FGD).all():
        return np.ones(labels.shape, bool)
    cv2.setRNGSeed(0)  # it begins with k-means
    cv2.grabCut(image, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
