"""Mean field in the CPU's memory: what `DenseCRF` does, in threads and without new memory at every step.

Import this only when it is needed, for it imports Numba.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segedu.models.permutohedral import PermutohedralLattice
from segedu.models.permutohedral_loops import LANES, Buffers

SHARE = 30_000  # probabilities that a thread takes at a time: so few that torch starts no threads of its own


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
    lanes = -K % LANES  # of classes that no pixel has
    rows = F.pad(scores, (0, lanes), value=-torch.inf).reshape(B * N, K + lanes).contiguous()
    Q = rows.softmax(1)
    yield Q.view(B, N, -1)[..., :K]

    pull = Q
    if compatibility is not None:
        pull, attraction = torch.empty_like(Q), -F.pad(compatibility, (0, lanes, 0, lanes)).T
    buffers = [Buffers(lattice, Q.shape[1] // LANES) for lattice in lattices]
    # Long tasks first, so that the threads end together.
    tasks = [(one, group) for one in buffers for group in range(Q.shape[1] // LANES)]
    tasks.sort(key=lambda task: task[0].vertices.size, reverse=True)
    share = max(1, SHARE // Q.shape[1])
    shares = [range(begin, min(begin + 8 * share, B * N), share) for begin in range(0, B * N, 8 * share)]
    score_groups, pull_groups = (tensor.numpy().reshape(B * N, -1, LANES) for tensor in (rows, pull))

    def splat_and_blur(task: tuple[Buffers, int]) -> None:
        task[0].splat_and_blur(pull_groups, task[1])

    @torch.inference_mode()  # threads do not inherit it; within it, any tensor may be written to
    def update(begins: range) -> None:
        for begin in begins:
            start = score_groups[begin : begin + share]
            total = np.empty_like(start)
            for one, weight in zip(buffers, weights, strict=True):
                one.slice(start, total, begin, weight)
                start = total
            torch.softmax(torch.from_numpy(total.reshape(len(total), -1)), 1, out=Q[begin : begin + share])

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in range(iterations):
            if compatibility is not None:
                torch.matmul(Q, attraction, out=pull)
            list(pool.map(splat_and_blur, tasks))
            list(pool.map(update, shares))
            yield Q.view(B, N, -1)[..., :K]
