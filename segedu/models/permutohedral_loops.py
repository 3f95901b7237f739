"""The permutohedral lattice in the CPU's memory: what `segedu.models.permutohedral` does, compiled and in threads.

Import this only when it is needed: Numba alone takes half a second.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from torch import Tensor

from segedu.models.simplices import elevate, key_strides, neighbour_steps

if TYPE_CHECKING:
    from segedu.models.permutohedral import PermutohedralLattice

LANES = 8  # values that are filtered together: they fill a vector register
SHARE = 1 << 12  # points that a thread takes at a time: so few that torch starts no threads of its own

compiled = numba.njit(cache=True, nogil=True)


def build(features: Tensor, entry: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the lattice points around each point, their weights, and their neighbours: see `PermutohedralLattice`.

    Args:
        features: float32 (N, D), those of all entries of the batch one after the other.
        entry: how many points each entry has.
    """
    N, C = len(features), features.shape[1] + 1
    elevated, weights = np.empty((2, N, C), np.float32)
    keys, vertices = np.empty((N, C), np.int64), np.empty((N, C), np.int32)

    def elevate_share(begin: int) -> tuple[np.ndarray, np.ndarray]:
        share = elevate(features[begin : begin + SHARE]).numpy()
        elevated[begin : begin + SHARE] = share
        return share.min(0), share.max(0)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        low, high = zip(*pool.map(elevate_share, range(0, N, SHARE)), strict=True)
        extent = torch.from_numpy(np.min(low, 0)), torch.from_numpy(np.max(high, 0))
        strides, span = key_strides(*extent, N // entry)
        steps = neighbour_steps(strides)
        given = elevated, strides.numpy(), steps.numpy(), entry, span.item()
        list(pool.map(functools.partial(_enclose, *given, keys, weights), range(0, N, SHARE)))
        points, slots = _number(keys.reshape(-1), C, vertices.reshape(-1))
        neighbours = np.empty((C, 2, len(points) + 1), np.int32)
        list(pool.map(functools.partial(_meet, points, slots), steps.numpy(), neighbours))
    return torch.from_numpy(vertices), torch.from_numpy(weights), torch.from_numpy(neighbours)


class Buffers:
    """A lattice's memory while rows of values (N, G, LANES) are filtered: two values for each lattice point."""

    def __init__(self, lattice: PermutohedralLattice, groups: int) -> None:
        # Unsigned indices need no test for negative ones.
        self.vertices = lattice.vertices.numpy().view(np.uint32)
        self.neighbours = lattice.neighbours.numpy().view(np.uint32)
        self.weights, self.gain = lattice.weights.numpy(), lattice.gain
        self.values, self.blurred = np.empty((2, groups, self.neighbours.shape[2], LANES), np.float32)

    def splat_and_blur(self, rows: np.ndarray, group: int) -> None:
        """Do the first two steps for one group of values."""
        buffers = self.values[group], self.blurred[group]
        _splat_and_blur(rows, self.vertices, self.weights, self.neighbours, *buffers, group)

    def slice(self, start: np.ndarray, target: np.ndarray, begin: int, weight: float = 1) -> None:
        """Let `target` (n, G, LANES) be `start` plus `weight` times the results of the n points from `begin` on."""
        gain = np.float32(self.gain * weight)
        _slice(self.values, self.vertices, self.weights, gain, start, target, begin)


def splat_blur_slice(lattice: PermutohedralLattice, values: Tensor) -> Tensor:
    """What `PermutohedralLattice.filter` does, for float32 values in memory."""
    N, K = len(lattice.vertices), values.shape[-1]
    groups = -(-K // LANES)
    rows, result = np.zeros((2, N, groups, LANES), np.float32)
    rows.reshape(N, -1)[:, :K] = values.reshape(N, K).numpy()
    buffers = Buffers(lattice, groups)

    def slice_share(begin: int) -> None:
        share = result[begin : begin + SHARE]
        buffers.slice(share, share, begin)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(functools.partial(buffers.splat_and_blur, rows), range(groups)))
        list(pool.map(slice_share, range(0, N, SHARE)))
    return torch.from_numpy(result).view(*values.shape[:-1], -1)[..., :K]


@compiled
def _enclose(elevated, strides, steps, entry, span, keys, weights, begin):
    """Find the simplex around each of SHARE points."""
    C = elevated.shape[1]
    D = C - 1
    multiples, rank, by_rank = np.empty(C, np.int64), np.empty(C, np.int64), np.empty(C, np.int64)
    from_nearest, weight = np.empty(C, np.float32), np.empty(C + 1, np.float32)
    for n in range(begin, min(begin + SHARE, len(elevated))):
        off_plane = 0
        for i in range(C):
            multiples[i] = np.int64(np.rint(elevated[n, i] * np.float32(1 / C)))
            from_nearest[i] = elevated[n, i] - C * multiples[i]
            off_plane += multiples[i]
        rank[:] = off_plane
        for i in range(C):
            for j in range(i + 1, C):
                if from_nearest[i] < from_nearest[j]:
                    rank[i] += 1
                else:
                    rank[j] += 1
        weight[:] = 0
        key = n // entry * span
        for i in range(C):
            walk = (rank[i] < 0) - (rank[i] > D)
            rank[i] += C * walk
            by_rank[rank[i]] = steps[i]
            part = (from_nearest[i] - C * walk) / C
            weight[D - rank[i]] += part
            weight[C - rank[i]] -= part
            key += C * (multiples[i] + walk) * strides[i]
        weight[0] += 1 + weight[C]
        for r in range(C):
            keys[n, r], weights[n, r] = key, weight[r]
            key -= by_rank[D - r]


@compiled
def _slot_of(key, points, slots):
    """Find the slot of a hash table where the number of this key stands, or would stand."""
    last = np.uint64(len(slots) - 1)  # the length is a power of two
    slot = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32) & last
    while slots[slot] >= 0 and points[slots[slot]] != key:
        slot = (slot + np.uint64(1)) & last
    return slot


@compiled
def _number(keys, period, numbers):
    """Give equal keys the same number, in the order in which they come; return keys by number, and the hash table."""
    M = 0
    slots, points = np.full(1 << 16, -1, np.int32), np.empty(1 << 15, np.int64)
    for k in range(len(keys)):
        if k >= period and keys[k] == keys[k - period]:  # the point before is in the same simplex
            numbers[k] = numbers[k - period]
            continue
        slot = _slot_of(keys[k], points, slots)
        if slots[slot] < 0:
            if len(points) == M:
                points = np.concatenate((points, np.empty(M, np.int64)))
                slots = np.full(4 * M, -1, np.int32)
                for m in range(M):
                    slots[_slot_of(points[m], points, slots)] = m
                slot = _slot_of(keys[k], points, slots)
            slots[slot], points[M] = M, keys[k]
            M += 1
        numbers[k] = slots[slot]
    return points[:M].copy(), slots


@compiled
def _meet(points, slots, step, neighbours):
    """Find the neighbours of all lattice points along one direction."""
    M = len(points)
    before, after = neighbours
    neighbours[:] = M
    for m in range(M):
        other = slots[_slot_of(points[m] + step, points, slots)]
        if other >= 0:
            after[m], before[other] = other, m


@intrinsic
def add(typing, to, i, x, j, *terms):
    """Let `to[i]` be `x[j] + w * y[k] + ...` for terms w, y, k, ...: rows of LANES floats, each a vector in a register.

    LLVM makes no vector instructions of loops as short as a row, so this writes them.
    """
    index = types.uint64

    def generate(context, builder, signature, arguments):
        row, integer = ir.VectorType(ir.FloatType(), LANES), ir.IntType(32)
        kinds = [*signature.args[:4], *signature.args[4].types]
        to, i, x, j, terms = arguments
        values = [to, i, x, j, *cgutils.unpack_tuple(builder, terms)]

        def place(which):
            array = make_array(kinds[which])(context, builder, values[which])
            first = builder.mul(values[which + 1], ir.Constant(ir.IntType(64), LANES))
            return builder.bitcast(builder.gep(array.data, [first]), row.as_pointer())

        total = builder.load(place(2), align=4)
        for term in range(4, len(values), 3):
            one = builder.insert_element(ir.Constant(row, ir.Undefined), values[term], ir.Constant(integer, 0))
            w = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(integer, LANES), [0] * LANES))
            product = builder.fmul(w, builder.load(place(term + 1), align=4), flags=["contract"])
            total = builder.fadd(total, product, flags=["contract"])
        builder.store(total, place(0), align=4)
        return context.get_dummy_value()

    each = (types.float32, None, index) * (len(terms) // 3)
    kinds = types.Tuple([kind or given for kind, given in zip(each, terms, strict=True)])
    return types.void(to, index, x, index, kinds), generate


@compiled
def _splat_and_blur(rows, vertices, weights, neighbours, lattice, blurred, g):
    """Leave group g of values, splatted and blurred, in `lattice`."""
    N, C = vertices.shape
    G, M = rows.shape[1], len(lattice) - 1
    half = np.float32(0.5)
    lattice[:] = 0
    blurred[M] = 0
    for n in range(N):
        for r in range(C):
            add(lattice, vertices[n, r], lattice, vertices[n, r], weights[n, r], rows, n * G + g)
    source, target = lattice, blurred
    for j in range(C):
        before, after = neighbours[j]
        for m in range(M):
            add(target, m, source, m, half, source, before[m], half, source, after[m])
        source, target = target, source
    if C % 2:
        lattice[:] = blurred


@compiled
def _slice(lattice, vertices, weights, gain, start, target, begin):
    """Let each point's row of groups be that of `start`, plus `gain` times what it finds in its lattice points."""
    N, G = target.shape[:2]
    C, M = vertices.shape[1], lattice.shape[1]
    for n in range(N):
        w, v = weights[begin + n], vertices[begin + n]
        for g in range(G):
            to, first = n * G + g, g * M
            add(target, to, start, to, gain * w[0], lattice, first + v[0], gain * w[1], lattice, first + v[1])
            for r in range(2, C - 1, 2):
                w0, w1 = gain * w[r], gain * w[r + 1]
                add(target, to, target, to, w0, lattice, first + v[r], w1, lattice, first + v[r + 1])
            if C % 2:
                add(target, to, target, to, gain * w[C - 1], lattice, first + v[C - 1])
