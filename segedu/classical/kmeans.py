"""k-means: K centres that stand for all pixels of an image, by Lloyd's algorithm."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from segedu.arrays import Array, in_memory, takes_arrays
from segedu.classical.regions import as_channels

TILE = 1 << 16  # pixels whose distances to all centres are held at a time


@dataclass(frozen=True, eq=False)
class KMeans:
    """What `kmeans` found.

    Attributes:
        labels: int32 (..., H, W), for each pixel the index of its centre. The indices mean nothing by themselves.
        centres: float (..., K, D) in the image's units: a colour, and if the place counted, x and y as the features
            have them.
        inertia: float64 (...), the sum over all pixels of the squared distance to their centre.
        iterations: int64 (...), rounds until it came to rest or was stopped.
        converged: bool (...), whether it came to rest.
        channels: the number of the image's channels: so many first numbers of a centre are its colour.
    """

    labels: Array
    centres: Array
    inertia: Array
    iterations: Array
    converged: Array
    channels: int

    def painted(self) -> Array:
        """The image with each pixel in the colour of its centre: float (..., C, H, W), in the image's units."""
        colours = torch.as_tensor(self.centres)[..., : self.channels].mT  # ..., C, K
        *batch, H, W = self.labels.shape
        index = torch.as_tensor(self.labels).long().reshape(*batch, 1, H * W).expand(*batch, self.channels, -1)
        painted = colours.gather(-1, index).unflatten(-1, (H, W))
        return painted.numpy() if isinstance(self.labels, np.ndarray) else painted


@takes_arrays
def kmeans(
    image: Array,
    k: int,
    *,
    start: str | Array = "k-means++",
    restarts: int = 1,
    iterations: int = 100,
    tolerance: float = 1e-4,
    position_weight: float = 0.0,
    seed: int = 0,
) -> KMeans:
    """Find k centres with a small sum of squared distances of all pixels to their nearest centre.

    In each round, every pixel goes to its nearest centre (the first of equally near ones), and every centre to the mean
    of its pixels. Neither step can make the sum larger. A centre without pixels goes to the pixel that is farthest from
    its own centre, as in scikit-learn. Waits for the device.

    On a CPU, rounds are compiled by Numba; the first call of an installation takes some seconds for that.

    Args:
        image: uint8 or float, (..., C, H, W) or grey (H, W). Each image of a batch is clustered for itself.
        k: number of clusters, at most the number of pixels.
        start: "k-means++", where each further centre is a pixel drawn with a chance in proportion to its squared
            distance to the nearest centre so far; "random", k different pixels; or the centres themselves, (k, D) or
            (..., k, D).
        restarts: how often to begin anew; the result with the least inertia is kept. 1 if `start` gives the centres.
        iterations: the most rounds.
        tolerance: it has come to rest when no label changes, or when the squared movements of all centres, added up,
            are at most this times the mean variance of the features. 0 waits for the labels.
        position_weight: 0 for colours alone. Else x and y are features too: divided by the longer side, multiplied by
            the weight, and for uint8 by 255, so that a weight means the same for both kinds of image.
        seed: of the random numbers; the same on every device.

    Returns:
        `KMeans`.

    Raises:
        ValueError: if k, a number of rounds or the shape of `start` cannot be, or the image has its channels last.

    Source:
        S. Lloyd, "Least squares quantization in PCM" (1982); D. Arthur and S. Vassilvitskii, "k-means++: the advantages
        of careful seeding" (2007), section 2.2.
    """
    images, shape = as_channels(image)
    _check(image, k, restarts, iterations, tolerance, position_weight)
    points = _features(images, position_weight)  # B, D, N
    if k > points.shape[-1]:
        raise ValueError(f"k must be at most the number of pixels, {points.shape[-1]}, got {k}")
    if isinstance(start, str) and start not in STARTS:
        raise ValueError(f"start must be 'k-means++', 'random' or the centres, got {start!r}")
    generator = torch.Generator().manual_seed(seed)
    best = None
    for _ in range(restarts if isinstance(start, str) else 1):
        centres = STARTS[start](points, k, generator) if isinstance(start, str) else _given(start, points, k, shape)
        found = _run(points, centres, iterations, tolerance)
        best = found if best is None else _better(best, found)
    labels, centres, inertia, rounds, converged = best
    batch = shape[:-2]
    return KMeans(
        labels.reshape(shape),
        centres.reshape(*batch, k, -1),
        inertia.reshape(batch),
        rounds.reshape(batch),
        converged.reshape(batch),
        images.shape[1],
    )


def lloyd_round(points: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Give each point to its nearest centre, and add up the points of each centre. Does not wait for the device.

    Args:
        points: float (B, D, N).
        centres: float (B, K, D).

    Returns:
        Labels, int64 (B, N); sums of each centre's points, float64 (B, K, D); their counts, int64 (B, K); the inertia
        before the centres move, float64 (B,).
    """
    B, D, N = points.shape
    labels = torch.empty((B, N), dtype=torch.int64, device=points.device)
    sums = torch.zeros(centres.shape, dtype=torch.float64, device=points.device)
    counts = torch.zeros(centres.shape[:2], dtype=torch.int64, device=points.device)
    inertia = torch.zeros(B, dtype=torch.float64, device=points.device)
    for begin in range(0, N, TILE):
        tile = points[..., begin : begin + TILE]
        squared = sum((tile[:, None, d] - centres[:, :, d, None]) ** 2 for d in range(D))  # B, K, n
        nearest, own = squared.min(1)  # the first of equals
        inertia += nearest.sum(1, dtype=torch.float64)
        labels[:, begin : begin + TILE] = own
        sums.scatter_add_(1, own[..., None].expand(-1, -1, D), tile.mT.double())
        counts.scatter_add_(1, own, torch.ones_like(own))
    return labels, sums, counts, inertia


def _run(points: torch.Tensor, centres: torch.Tensor, iterations: int, tolerance: float) -> tuple[torch.Tensor, ...]:
    """Labels (B, N), centres (B, K, D), inertia, rounds and rest (B,) of Lloyd's algorithm from these centres."""
    B = len(points)
    if in_memory(points) and B > 1:
        # One after the other: images that have come to rest cost no time.
        alone = [_run(points[b : b + 1], centres[b : b + 1], iterations, tolerance) for b in range(B)]
        return tuple(torch.cat(parts) for parts in zip(*alone, strict=True))
    step = _compiled_round if in_memory(points) else lloyd_round
    still = 0.0
    if tolerance:
        still = tolerance * torch.stack([line.double().var(-1, correction=0) for line in points.unbind(1)]).mean(0)
    rounds = torch.zeros(B, dtype=torch.int64, device=points.device)
    converged = torch.zeros(B, dtype=torch.bool, device=points.device)
    labels = None
    for _ in range(iterations):
        before, (labels, sums, counts, _) = labels, step(points, centres)
        if (counts == 0).any():
            _fill_empty(points, centres, labels, sums, counts)
        moved = (sums / counts[..., None]).to(centres.dtype)
        rounds += ~converged
        shift = ((moved - centres).double() ** 2).sum((-2, -1))
        centres = torch.where(converged[:, None, None], centres, moved)
        at_rest = shift <= still
        if before is not None:
            at_rest |= (labels == before).all(-1)
        converged |= at_rest
        if converged.all():
            break
    labels, _, _, inertia = step(points, centres)  # those of the last centres
    return labels.int(), centres, inertia, rounds, converged


def _fill_empty(
    points: torch.Tensor, centres: torch.Tensor, labels: torch.Tensor, sums: torch.Tensor, counts: torch.Tensor
) -> None:
    """Give each centre without points the point that is farthest from its centre, and take it from that centre."""
    squares = sum((points[:, d] - centres[..., d].gather(1, labels.long())) ** 2 for d in range(points.shape[1]))
    for b, k in (counts == 0).nonzero().tolist():
        while True:
            farthest = squares[b].argmax()
            donor = labels[b, farthest].long()
            squares[b, farthest] = -1
            if counts[b, donor] > 1:
                break
        point = points[b, :, farthest].double()
        sums[b, donor] -= point
        counts[b, donor] -= 1
        sums[b, k], counts[b, k] = point, 1


def _compiled_round(points: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What `lloyd_round` does for one image (1, D, N), in threads; labels are int32."""
    image, middles = points[0].numpy(), centres[0].numpy()
    N, threads = image.shape[1], torch.get_num_threads()
    labels = torch.empty((1, N), dtype=torch.int32)
    cuts = [N * part // threads for part in range(threads + 1)]

    def part(begin: int, end: int) -> tuple[np.ndarray, np.ndarray, float]:
        return _round_of_tile()(image, middles, labels[0].numpy(), begin, end)

    if threads == 1 or N < TILE:
        sums, counts, inertia = part(0, N)
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(part, cuts[:-1], cuts[1:]))
        sums, counts, inertia = (np.sum(values, axis=0) for values in zip(*parts, strict=True))
    inertia = torch.tensor([inertia], dtype=torch.float64)
    return labels, torch.from_numpy(np.ascontiguousarray(sums))[None], torch.from_numpy(counts)[None], inertia


@functools.cache
def _round_of_tile() -> Callable:
    """Compile the loop behind `_compiled_round`; Numba is loaded only now because that takes long."""
    import numba

    @numba.njit(cache=True, nogil=True)
    def round_of_tile(points, centres, labels, begin, end):
        D, K = points.shape[0], centres.shape[0]
        # Four sums each, by turns: an addition need not wait for that of the pixel before.
        sums, counts, inertia = np.zeros((D, 4, K)), np.zeros((4, K), np.int64), 0.0
        block = 1024  # pixels; what is held of them fits into the first cache
        nearest, squared = np.empty(block, points.dtype), np.empty(block, points.dtype)
        for first in range(begin, end, block):
            n = min(block, end - first)
            own = labels[first : first + n]
            # Loops of one statement over rows: these are what the compiler turns into vector instructions.
            for k in range(K):
                row, centre = points[0, first : first + n], centres[k, 0]
                for i in range(n):
                    squared[i] = (row[i] - centre) * (row[i] - centre)
                for d in range(1, D):
                    row, centre = points[d, first : first + n], centres[k, d]
                    for i in range(n):
                        squared[i] += (row[i] - centre) * (row[i] - centre)
                if k == 0:
                    nearest[:n], own[:] = squared[:n], 0
                for i in range(n):
                    new, old, label = squared[i], nearest[i], own[i]
                    own[i] = np.int32(k) if new < old else label
                    nearest[i] = new if new < old else old
            for d in range(D):
                row = points[d, first : first + n]
                for i in range(n):
                    sums[d, i & 3, own[i]] += row[i]
            for i in range(n):
                counts[i & 3, own[i]] += 1
                inertia += nearest[i]
        return sums.sum(1).T, counts.sum(0), inertia

    return round_of_tile


def _features(images: torch.Tensor, position_weight: float) -> torch.Tensor:
    """Images (B, C, H, W) as points (B, D, N): the channels, and x and y if they count."""
    B, _, H, W = images.shape
    unit = 255.0 if images.dtype == torch.uint8 else 1.0
    points = images if images.dtype == torch.float64 else images.float()
    if position_weight:
        scale = unit * position_weight / max(H, W)
        x = (scale * torch.arange(W, dtype=points.dtype, device=points.device)).expand(B, 1, H, W)
        y = (scale * torch.arange(H, dtype=points.dtype, device=points.device))[:, None].expand(B, 1, H, W)
        points = torch.cat([points, x, y], 1)
    return points.flatten(2).contiguous()


def _plus_plus(points: torch.Tensor, k: int, generator: torch.Generator) -> torch.Tensor:
    """Draw pixels by k-means++, (B, K, D); the same random numbers serve all images of a batch."""
    B, _, N = points.shape
    each = torch.arange(B, device=points.device)
    uniforms = torch.rand(k, generator=generator, dtype=torch.float64).tolist()
    chosen = torch.full((B,), int(uniforms[0] * N), device=points.device)
    centres = [points[each, :, chosen]]
    nearest = torch.full((B, N), torch.inf, dtype=points.dtype, device=points.device)
    for uniform in uniforms[1:]:
        squared = sum((points[:, d] - centres[-1][:, d, None]) ** 2 for d in range(points.shape[1]))
        nearest = torch.minimum(nearest, squared)
        running = nearest.cumsum(-1, dtype=torch.float64)
        chosen = torch.searchsorted(running, uniform * running[:, -1:], right=True).clamp_(max=N - 1)[:, 0]
        centres.append(points[each, :, chosen])
    return torch.stack(centres, 1)


def _random(points: torch.Tensor, k: int, generator: torch.Generator) -> torch.Tensor:
    """Draw k different pixels, the same places in all images of a batch: (B, K, D)."""
    places = torch.randperm(points.shape[-1], generator=generator)[:k].to(points.device)
    return points.index_select(-1, places).mT.contiguous()


STARTS = {"k-means++": _plus_plus, "random": _random}


def _given(start: Array | Sequence, points: torch.Tensor, k: int, shape: tuple[int, ...]) -> torch.Tensor:
    start = torch.as_tensor(start, dtype=points.dtype, device=points.device)
    wanted = (k, points.shape[1])
    if start.shape not in (wanted, (*shape[:-2], *wanted)):
        raise ValueError(f"start must have shape {wanted}, centres by features, got {tuple(start.shape)}")
    return start.expand(*shape[:-2], *wanted).reshape(-1, *wanted)


def _better(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """For each image, the result with the lower inertia; the first of equals."""
    first = one[2] <= other[2]
    return tuple(torch.where(first.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(one, other, strict=True))


def _check(image, k: int, restarts: int, iterations: int, tolerance: float, position_weight: float) -> None:
    if image.ndim > 2 and image.shape[-1] in (3, 4) and image.shape[-3] > 4:
        raise ValueError(
            f"image must have its channels first, (..., C, H, W), got {tuple(image.shape)}: "
            "use image.transpose(2, 0, 1) in NumPy or image.permute(2, 0, 1) in PyTorch"
        )
    for name, value in (("k", k), ("restarts", restarts), ("iterations", iterations)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, got {value}")
    for name, value in (("tolerance", tolerance), ("position_weight", position_weight)):
        if not value >= 0:
            raise ValueError(f"{name} must be 0 or more, got {value}")
