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
    end = np.roll(start, -1, axis=0)

    def hand(sides: slice, points: np.ndarray) -> np.ndarray:
        """On which hand of some sides' lines points lie: 1, -1, or 0 for on the line; (sides, points)."""
        x, y = (end[sides] - start[sides]).T[..., None]
        to_x, to_y = (points - start[sides, None]).transpose(2, 0, 1)
        return np.sign(x * to_y - y * to_x)

    found = [np.empty((0, 2), np.int64)]
    every = slice(None)
    for first in range(0, len(start), BLOCK):
        block = slice(first, first + BLOCK)
        parts = hand(block, start) * hand(block, end) < 0  # whether the line of side i parts the ends of side j
        parted = hand(every, start[block]) * hand(every, end[block]) < 0  # and the other way round
        found.append(np.argwhere(np.triu(parts & parted.T, first)) + np.array((first, 0)))
    return np.concatenate(found)
