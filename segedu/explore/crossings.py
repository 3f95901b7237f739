"""Where a polygon crosses itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLOCK = 512  # sides that are compared with all others at a time


def self_crossings(polygon: Sequence[float]) -> np.ndarray:
    """Find the sides of a closed polygon that cross.

    Two sides cross if each has its ends on different sides of the other one's line. To touch is not to cross: COCO's
    form has no holes, so an outline may run to a hole and back on the same line. Corners are rounded to hundredths of
    a pixel, as COCO writes them, which makes all products exact.

    Args:
        polygon: `[x0, y0, x1, y1, ...]` in pixels. Side i runs from corner i to the next.

    Returns:
        Pairs of numbers of sides, int64 (C, 2), the lower one first.
    """
    start = np.rint(100 * np.asarray(polygon, float)).reshape(-1, 2)
    along = np.roll(start, -1, axis=0) - start
    count = len(start)
    parts = np.empty((count, count), bool)  # whether the line of side i parts the ends of side j
    for first in range(0, count, BLOCK):
        own = slice(first, first + BLOCK)
        to_corner = start - start[own, None]  # (sides, corners, 2)
        hand = np.sign(along[own, None, 0] * to_corner[..., 1] - along[own, None, 1] * to_corner[..., 0])
        parts[own] = hand * np.roll(hand, -1, axis=1) < 0
    return np.argwhere(np.triu(parts & parts.T))
