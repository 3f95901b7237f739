"""Mean field in the CPU's memory: what `DenseCRF` does, in threads and without new memory at every step.

Import this only when it is needed, for it imports Numba.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segedu.models.permutohedral import PermutohedralLattice
from segedu.models.permutohedral_loops import LANES, Buffers, add, compiled

SHARE = 1 << 17  # probabilities that a thread takes at a time: they fit into its second cache
BLOCK = 1 << 11  # of those, the ones whose exponentials are computed at a time, in its first cache
LOG2E = np.float32(math.log2(math.e))
TAYLOR = tuple(np.float32(math.log(2) ** n / math.factorial(n)) for n in range(7))  # of 2^x
WHOLE = np.float32(3 << 22)  # floats of this size have no fraction


def mean_field(
    scores: Tensor,
    lattices: Sequence[PermutohedralLattice],
    weights: Sequence[float],
    compatibility: Tensor | None,
    iterations: int,
) -> Iterator[Tensor]:
    """Yield the probabilities before the first iteration, and after each, in the same memory.

    Args:
        scores: float32 (B, N, K).
        lattices: those of the kernels.
        weights: those of the kernels.
        compatibility: float32 (K, K); None is Potts's.
        iterations: as for `DenseCRF`.
    """
    B, N, K = scores.shape
    groups = -(-K // LANES)
    # NumPy asks for huge pages, torch does not: with small ones, much of the time goes by until all are there.
    start_groups, Q_groups = np.full((2, B * N, groups, LANES), -np.inf, np.float32)  # no pixel has classes beyond K
    start_groups.reshape(B, N, -1)[..., :K] = scores.numpy()
    Q = torch.from_numpy(Q_groups).view(B * N, -1)
    pull = Q
    if compatibility is not None:
        beyond = groups * LANES - K
        pull, attraction = torch.empty_like(Q), -F.pad(compatibility, (0, beyond, 0, beyond)).T
    pull_groups = pull.numpy().reshape(Q_groups.shape)
    kernels = [(Buffers(lattice, groups), weight) for lattice, weight in zip(lattices, weights, strict=True)]
    tasks = [(buffers, group) for buffers, _ in kernels for group in range(groups)]
    tasks.sort(key=lambda task: task[0].vertices.size, reverse=True)  # so that the threads end together
    share = max(1, SHARE // Q.shape[1])  # of pixels
    shares = range(0, B * N, share)

    def splat_and_blur(task: tuple[Buffers, int]) -> None:
        task[0].splat_and_blur(pull_groups, task[1])

    def update(kernels: list[tuple[Buffers, float]], begin: int) -> None:
        start, target = start_groups[begin : begin + share], Q_groups[begin : begin + share]
        for buffers, weight in kernels:
            buffers.slice(start, target, begin, weight)
            start = target
        _softmax(start, target)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(functools.partial(update, []), shares))
        yield Q.view(B, N, -1)[..., :K]
        for _ in range(iterations):
            if compatibility is not None:
                torch.matmul(Q, attraction, out=pull)
            list(pool.map(splat_and_blur, tasks))
            list(pool.map(functools.partial(update, kernels), shares))
            yield Q.view(B, N, -1)[..., :K]


@compiled
def _softmax(scores, target):
    """Let `target` be the softmax of each row of groups (n, G, LANES); both may be the same."""
    N, G = scores.shape[:2]
    zero, ones, total = np.zeros((3, 1, LANES), np.float32)
    ones[:] = 1
    for n in range(N):
        highest = scores[n, 0, 0]
        for g in range(G):
            for lane in range(LANES):
                highest = scores[n, g, lane] if scores[n, g, lane] > highest else highest
        for g in range(n * G, n * G + G):
            add(target, g, scores, g, -highest, ones, 0)
    x = target.reshape(-1)
    for begin in range(0, len(x), BLOCK):
        _exp(x[begin : begin + BLOCK])
    for n in range(N):
        total[:] = 0
        for g in range(n * G, n * G + G):
            add(total, 0, total, 0, np.float32(1), target, g)
        part = np.float32(1) / total.sum()
        for g in range(n * G, n * G + G):
            add(target, g, zero, 0, part, target, g)


@compiled
def _exp(x):
    """Let x be exp(x), for x <= 0, in loops of which LLVM makes vector instructions; the relative error is 1e-6."""
    fraction, rounded = np.empty_like(x), np.empty_like(x)
    for i in range(len(x)):
        t = LOG2E * x[i]
        t = np.float32(-127) if t < -127 else t
        rounded[i] = t + WHOLE  # t, rounded, in the last bits
        fraction[i] = t - (rounded[i] - WHOLE)
    exponents = rounded.view(np.int32)
    powers = np.empty_like(exponents)
    for i in range(len(x)):
        powers[i] = (exponents[i] + np.int32(127)) << np.int32(23)  # 2 to the rounded t, and zero below 2^-126
    scale = powers.view(np.float32)
    for i in range(len(x)):
        f, y = fraction[i], TAYLOR[6]
        for n in range(5, -1, -1):
            y = y * f + TAYLOR[n]
        x[i] = y * scale[i]
