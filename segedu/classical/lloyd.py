"""Lloyd's algorithm on batches of points: each to its nearest centre, each centre to the mean of its points."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from segedu.arrays import Array, in_memory, takes_arrays

HELD = 1 << 21  # distances that are in memory at a time
SHARE = 1 << 16  # points that a thread takes at a time

Round = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]
Clusters = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@takes_arrays
def lloyd_round(points: Array, centres: Array) -> tuple[Array, Array, Array, Array]:
    """Give each point to its nearest centre, the first of equally near ones, and add up the points of each centre.

    Args:
        points: float (B, D, N), N points of D features each.
        centres: float (B, K, D).

    Returns:
        Labels, int64 (B, N); the sum of each centre's points, float64 (B, K, D); how many they are, int64 (B, K); and
        the inertia of these centres, float64 (B,). The next centres are the sums divided by the counts.
    """
    B, D, N = points.shape
    K = centres.shape[1]
    labels = torch.empty((B, N), dtype=torch.int64, device=points.device)
    sums = torch.zeros((B, K, D), dtype=torch.float64, device=points.device)
    counts = torch.zeros((B, K), dtype=torch.int64, device=points.device)
    inertia = torch.zeros(B, dtype=torch.float64, device=points.device)
    tile = max(1, HELD // max(1, B * K))
    for begin in range(0, N, tile):
        part = points[..., begin : begin + tile]
        distances = sum((part[:, None, d] - centres[:, :, d, None]) ** 2 for d in range(D))  # B, K, n: squared
        own = distances.argmin(1)
        labels[:, begin : begin + tile] = own
        sums.scatter_add_(1, own[..., None].expand(-1, -1, D), part.mT.double())
        counts.scatter_add_(1, own, torch.ones_like(own))
        inertia += distances.amin(1).sum(1, dtype=torch.float64)
    return labels, sums, counts, inertia


def lloyd(points: torch.Tensor, centres: torch.Tensor, iterations: int, tolerance: float) -> Clusters:
    """Repeat the round from given centres until nothing moves. Waits for the device after each round.

    Args:
        points: float (B, D, N).
        centres: float (B, K, D).
        iterations: the most rounds.
        tolerance: see `kmeans`.

    Returns:
        Labels, int32 (B, N); centres, as given (B, K, D); and for each of the batch inertia, rounds, and whether it
        has come to rest.
    """
    if not in_memory(points) or len(points) == 0:
        return _repeat(lloyd_round, points, centres, iterations, tolerance)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        in_threads = functools.partial(_compiled_round, pool)
        # One after the other: what has come to rest costs no more time.
        alone = [
            _repeat(in_threads, points[b : b + 1], centres[b : b + 1], iterations, tolerance)
            for b in range(len(points))
        ]
    return alone[0] if len(alone) == 1 else tuple(torch.cat(parts) for parts in zip(*alone, strict=True))


def _repeat(
    one_round: Round, points: torch.Tensor, centres: torch.Tensor, iterations: int, tolerance: float
) -> Clusters:
    """Do what `lloyd` does by this way to do a round."""
    still = tolerance * points.var(-1, correction=0).double().mean(-1) if tolerance and len(points) else 0.0
    rounds = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    at_rest = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    labels = None
    for _ in range(iterations):
        before, (labels, sums, counts, _) = labels, one_round(points, centres)
        if (counts == 0).any():
            _fill_empty(points, centres, labels, sums, counts)
        moved = torch.where(at_rest[:, None, None], centres, (sums / counts[..., None]).to(centres.dtype))
        rounds += ~at_rest
        at_rest |= ((moved - centres).double() ** 2).sum((-2, -1)) <= still
        centres = moved
        if before is not None:
            at_rest |= _same(labels, before)
        if at_rest.all():
            break
    labels, _, _, inertia = one_round(points, centres)
    return labels.int(), centres, inertia, rounds, at_rest


def _same(labels: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Whether the labels (B, N) of each of the batch are equal: (B,)."""
    if in_memory(labels):
        # NumPy compares in one thread; those of torch wait for each other longer than this takes.
        return torch.from_numpy((labels.numpy() == others.numpy()).all(-1))
    return (labels == others).all(-1)


def _fill_empty(
    points: torch.Tensor, centres: torch.Tensor, labels: torch.Tensor, sums: torch.Tensor, counts: torch.Tensor
) -> None:
    """Give each centre without points the point that is farthest from its own centre, and take it from that one."""
    distances = sum((points[:, d] - centres[..., d].gather(1, labels.long())) ** 2 for d in range(points.shape[1]))
    for b, k in (counts == 0).nonzero().tolist():
        while True:
            farthest = distances[b].argmax()
            donor = labels[b, farthest].long()
            distances[b, farthest] = -1
            if counts[b, donor] > 1:  # or the donor would be empty in its turn
                break
        point = points[b, :, farthest].double()
        sums[b, donor] -= point
        counts[b, donor] -= 1
        sums[b, k], counts[b, k] = point, 1


def _compiled_round(pool: ThreadPoolExecutor, points: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What `lloyd_round` does, for one (1, D, N) in memory; labels are int32."""
    N = points.shape[2]
    labels = torch.empty((1, N), dtype=torch.int32)
    arrays = points[0].numpy(), centres[0].numpy(), labels[0].numpy()
    begins = range(0, N, SHARE)
    # Shares are added up in their order, so that the result does not depend on the number of threads.
    shares = (pool.map if len(begins) > 1 else map)(functools.partial(_round_of_share(), *arrays, SHARE), begins)
    sums, counts, inertia = map(sum, zip(*shares, strict=True))
    inertia = torch.tensor([inertia], dtype=torch.float64)
    return labels, torch.from_numpy(sums)[None], torch.from_numpy(counts)[None], inertia


@functools.cache
def _round_of_share() -> Callable:
    """Compile the loop behind `_compiled_round`. Numba is imported only here, for that alone takes half a second."""
    import numba

    @numba.njit(cache=True, nogil=True)
    def round_of_share(points, centres, labels, share, begin):
        D, N = points.shape
        K = centres.shape[0]
        end = min(N, begin + share)
        # Four sums each, by turns: an addition need not wait for that of the point before.
        sums, counts, inertia = np.zeros((4, K, D)), np.zeros((4, K), np.int64), 0.0
        block = 1024  # points; what is held of them fits into the first cache
        nearest, distance = np.empty(block, points.dtype), np.empty(block, points.dtype)
        for first in range(begin, end, block):
            n = min(block, end - first)
            own = labels[first : first + n]
            # Inner loops run along rows and do not branch, so that the compiler makes vector instructions of them.
            nearest[:n], own[:] = np.inf, 0
            for k in range(K):
                distance[:n] = 0
                for d in range(D - 1):
                    row, centre = points[d, first : first + n], centres[k, d]
                    for i in range(n):
                        distance[i] += (row[i] - centre) * (row[i] - centre)
                row, centre = points[D - 1, first : first + n], centres[k, D - 1]
                for i in range(n):
                    new, old, label = distance[i] + (row[i] - centre) * (row[i] - centre), nearest[i], own[i]
                    own[i] = np.int32(k) if new < old else label
                    nearest[i] = new if new < old else old
            for d in range(D):
                row = points[d, first : first + n]
                for i in range(n):
                    sums[i & 3, own[i], d] += row[i]
            for i in range(n):
                counts[i & 3, own[i]] += 1
                inertia += nearest[i]
        return sums.sum(0), counts.sum(0), inertia

    return round_of_share
