"""The permutohedral lattice in the CPU's memory: what `segedu.models.permutohedral` does, compiled and in threads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LANES = 8  # values that are filtered together: they fill a vector register
SHARE = 1 << 14  # points that a thread takes at a time


def build(elevated: Tensor, strides: Tensor, steps: Tensor, entry: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the lattice points around each point, their weights, and their neighbours: see `PermutohedralLattice`.

    Args:
        elevated: float32 (N, D + 1), the points in the lattice's plane.
        strides: int64 (D + 1,), what each of D coordinates, and the batch entry, adds to a key.
        steps: int64 (D + 1,), what the key of a neighbour along each direction has more.
        entry: how many points each entry of the batch has.
    """
    compiled = _compiled()
    points = elevated.numpy()
    keys, weights = np.empty(points.shape, np.int64), np.empty_like(points)
    find = functools.partial(compiled.enclose, points, strides.numpy(), entry, keys, weights, SHARE)
    vertices = np.empty(points.shape, np.int32)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(find, range(0, len(points), SHARE)))
        lattice_points, slots = compiled.number(keys.reshape(-1), vertices.reshape(-1))
        neighbours = np.empty((len(steps), 2, len(lattice_points) + 1), np.int32)
        list(pool.map(functools.partial(compiled.meet, lattice_points, slots), steps.numpy(), neighbours))
    return torch.from_numpy(vertices), torch.from_numpy(weights), torch.from_numpy(neighbours)


def splat_blur_slice(values: Tensor, vertices: Tensor, weights: Tensor, neighbours: Tensor, gain: float) -> Tensor:
    """What `PermutohedralLattice.filter` does, for float32 values in memory. K of a multiple of LANES saves a copy."""
    K = values.shape[-1]
    rows = F.pad(values, (0, -K % LANES)).contiguous().view(len(vertices), -1, LANES)
    result = torch.empty_like(rows)
    # Unsigned indices need no test for negative ones, which would keep the compiler from vector instructions.
    lattice = vertices.numpy().view(np.uint32), weights.numpy(), neighbours.numpy().view(np.uint32), np.float32(gain)
    one_group = functools.partial(_compiled().filter_group, rows.numpy(), result.numpy(), *lattice)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(one_group, range(rows.shape[1])))
    return result.view(*values.shape[:-1], -1)[..., :K]


@functools.cache
def _compiled() -> SimpleNamespace:
    """Compile the loops. Numba is imported only here, for that alone takes half a second."""
    import numba

    compile = numba.njit(cache=True, nogil=True)

    @compile
    def enclose(elevated, strides, entry, keys, weights, share, begin):
        C = elevated.shape[1]
        D = C - 1
        multiples, rank = np.empty(C, np.int64), np.empty(C, np.int64)
        from_nearest, weight = np.empty(C, np.float32), np.empty(C + 1, np.float32)
        for n in range(begin, min(begin + share, len(elevated))):
            steps = 0
            for i in range(C):
                multiples[i] = np.int64(np.rint(elevated[n, i] / C))
                from_nearest[i] = elevated[n, i] - C * multiples[i]
                steps += multiples[i]
            rank[:] = steps
            for i in range(C):
                for j in range(i + 1, C):
                    if from_nearest[i] < from_nearest[j]:
                        rank[i] += 1
                    else:
                        rank[j] += 1
            weight[:] = 0
            nearest = n // entry * strides[D]
            for i in range(C):
                walk = (rank[i] < 0) - (rank[i] > D)
                rank[i] += C * walk
                multiples[i] += walk
                part = (from_nearest[i] - C * walk) / C
                weight[D - rank[i]] += part
                weight[C - rank[i]] -= part
                if i < D:
                    nearest += C * multiples[i] * strides[i]
            weight[0] += 1 + weight[C]
            for r in range(C):
                key = nearest
                for i in range(D):
                    key += (r - C * (rank[i] > D - r)) * strides[i]
                keys[n, r], weights[n, r] = key, weight[r]

    @compile
    def slot_of(key, points, slots):
        """The slot where the number of this key stands, or would stand."""
        size = np.uint64(len(slots))  # a power of two
        slot = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
        slot &= size - np.uint64(1)
        while slots[slot] >= 0 and points[slots[slot]] != key:
            slot = (slot + np.uint64(1)) & (size - np.uint64(1))
        return slot

    @compile
    def number(keys, numbers):
        M = 0
        slots, points = np.full(1 << 16, -1, np.int32), np.empty(1 << 15, np.int64)
        for k in range(len(keys)):
            slot = slot_of(keys[k], points, slots)
            if slots[slot] < 0:
                if M == len(points):
                    points = np.concatenate((points, np.empty(M, np.int64)))
                    slots = np.full(4 * M, -1, np.int32)
                    for m in range(M):
                        slots[slot_of(points[m], points, slots)] = m
                    slot = slot_of(keys[k], points, slots)
                slots[slot], points[M] = M, keys[k]
                M += 1
            numbers[k] = slots[slot]
        return points[:M].copy(), slots

    @compile
    def meet(points, slots, step, neighbours):
        M = len(points)
        before, after = neighbours
        neighbours[:] = M
        for m in range(M):
            other = slots[slot_of(points[m] + step, points, slots)]
            if other >= 0:
                after[m], before[other] = other, m

    # A tuple of eight numbers becomes a vector register: slices, or loops over the lanes, do not.
    @compile
    def load(a, i, g):
        return a[i, g, 0], a[i, g, 1], a[i, g, 2], a[i, g, 3], a[i, g, 4], a[i, g, 5], a[i, g, 6], a[i, g, 7]

    @compile
    def store(a, i, g, x):
        a[i, g, 0], a[i, g, 1], a[i, g, 2], a[i, g, 3], a[i, g, 4], a[i, g, 5], a[i, g, 6], a[i, g, 7] = x

    @numba.njit(cache=True, nogil=True, fastmath={"contract"})
    def add(x, w, y):
        return (
            x[0] + w * y[0],
            x[1] + w * y[1],
            x[2] + w * y[2],
            x[3] + w * y[3],
            x[4] + w * y[4],
            x[5] + w * y[5],
            x[6] + w * y[6],
            x[7] + w * y[7],
        )

    @compile
    def filter_group(values, result, vertices, weights, neighbours, gain, g):
        N, C = vertices.shape
        half = np.float32(0.5)
        lattice = np.zeros((neighbours.shape[2], 1, 8), np.float32)  # M + 1 points
        blurred = np.zeros_like(lattice)
        for n in range(N):
            value = load(values, n, g)
            for r in range(C):
                store(lattice, vertices[n, r], 0, add(load(lattice, vertices[n, r], 0), weights[n, r], value))
        for j in range(C):
            before, after = neighbours[j]
            for m in range(len(lattice) - 1):
                x = add(load(lattice, m, 0), half, load(lattice, before[m], 0))
                store(blurred, m, 0, add(x, half, load(lattice, after[m], 0)))
            lattice, blurred = blurred, lattice
        for n in range(N):
            w = gain * weights[n, 0]
            x = load(lattice, vertices[n, 0], 0)
            x = w * x[0], w * x[1], w * x[2], w * x[3], w * x[4], w * x[5], w * x[6], w * x[7]
            for r in range(1, C):
                x = add(x, gain * weights[n, r], load(lattice, vertices[n, r], 0))
            store(result, n, g, x)

    return SimpleNamespace(enclose=enclose, number=number, meet=meet, filter_group=filter_group)
