"""Where points lie in the permutohedral lattice: the simplices around them, and which of their corners are neighbours.

Source: Adams, Baek and Davis 2010, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", sections 3 and 4.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segedu.arrays import in_memory

NO_KEY = 1 << 62  # larger than any key, and far enough from the largest integer for a neighbour's key


def elevate(features: Tensor) -> Tensor:
    """Put points (N, D) into the plane of D + 1 coordinates whose sum is zero, in units of the lattice.

    They are scaled so that splatting, blurring and slicing together have the variance 1 along each feature.
    """
    D = features.shape[1]
    # Rounded, and added in this order, as in Kraehenbuehl's code: so the same points lie on the borders of simplices.
    deviation = float(np.float32(math.sqrt(2 / 3) * (D + 1)))
    tail, elevated = torch.zeros_like(features[:, 0]), []
    for axis in range(D, 0, -1):
        scaled = features[:, axis - 1] * (deviation / math.sqrt(axis * (axis + 1)))
        elevated.append(tail - axis * scaled)
        tail = tail + scaled
    return torch.stack([tail, *reversed(elevated)], 1)


def key_strides(low: Tensor, high: Tensor, entries: int) -> tuple[Tensor, Tensor]:
    """Lay out keys, integers that no two lattice points share: sums of coordinates, each times its stride.

    Args:
        low: the least coordinates (D + 1,) of the points that the lattice is for.
        high: their greatest.
        entries: of the batch.

    Returns:
        The coordinates' strides, int64 (D + 1,), of which the last is zero, for the others say all; and what each entry
        of the batch adds to the keys of the one before.
    """
    C = len(low)
    spans = (high - low)[:-1].ceil().double() + 6 * C  # a simplex reaches beyond its point, and its neighbours do, too
    if in_memory(low) and not spans.prod() * entries < NO_KEY:
        raise ValueError("features must be finite and spread less: divide them by larger standard deviations")
    products = spans.long().cumprod(0)
    return F.pad(products[:-1], (1, 1)) + (torch.arange(C, device=low.device) == 0), products[-1]


def neighbour_steps(strides: Tensor) -> Tensor:
    """What keys change by along each direction j: D more in coordinate j, and 1 less in all others."""
    return len(strides) * strides - strides.sum()


def enclosing_simplex(elevated: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """Find the D + 1 lattice points around each point, and its barycentric coordinates among them.

    Returns:
        The lattice points' keys, int64 (N, D + 1): coordinates times `strides`, added up; and the barycentric
        coordinates, float32 (N, D + 1). Corner r is the one whose coordinates leave the remainder r.
    """
    C = elevated.shape[1]
    D = C - 1
    # The nearest point whose coordinates are multiples of D + 1, which may lie off the plane by a few steps...
    multiples = (elevated * (1 / C)).round()
    off_plane = multiples.sum(1, keepdim=True).long()
    from_nearest = elevated - C * multiples
    rank = from_nearest.argsort(dim=1, descending=True, stable=True).argsort(dim=1) + off_plane
    # ...so that the coordinates that are farthest out walk back.
    walk = (rank < 0).long() - (rank > D).long()
    rank, multiples, from_nearest = rank + C * walk, multiples + walk, from_nearest - C * walk

    falling = torch.empty_like(elevated).scatter(1, rank, from_nearest)
    gaps = (falling[:, :-1] - falling[:, 1:]) / C
    weights = torch.cat([1 - gaps.sum(1, keepdim=True), gaps.flip(1)], 1)

    # From the nearest point, one step back along each direction leads around the simplex, the farthest out first.
    nearest = (C * multiples.long() * strides).sum(1, keepdim=True)
    steps = torch.empty_like(rank).scatter(1, rank, neighbour_steps(strides).expand_as(rank))
    corners = nearest - F.pad(steps.flip(1)[:, :-1].cumsum(1), (1, 0))
    return corners, weights


def number(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Give equal keys the same number.

    Returns:
        Numbers from 0, int32, of the keys' shape; the keys in the order of their numbers, int64 (keys.numel(),), which
        rise and end with NO_KEY where numbers are fewer than keys.
    """
    rising, order = keys.flatten().sort()
    numbers = F.pad((rising[1:] != rising[:-1]).long(), (1, 0)).cumsum(0)
    points = torch.full_like(rising, NO_KEY).scatter(0, numbers, rising)
    return torch.empty_like(order).scatter(0, order, numbers).view_as(keys).int(), points


def find_neighbours(points: Tensor, steps: Tensor) -> Tensor:
    """Find the numbers of both neighbours of each lattice point along each direction: int32 (D + 1, 2, M + 1).

    Args:
        points: their keys, int64 (M,), rising.
        steps: those of `neighbour_steps`, which are the same everywhere, as keys are sums.
    """
    M = len(points)
    wanted = points + torch.stack([-steps, steps], 1)[..., None]  # D + 1, 2, M
    found = torch.searchsorted(points, wanted).clamp(max=M - 1)
    found = torch.where(points[found] == wanted, found, M)
    return F.pad(found, (0, 1), value=M).int()
