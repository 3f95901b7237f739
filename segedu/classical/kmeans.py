"""k-means: K centres that stand for all pixels of an image, by Lloyd's algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from segedu.arrays import Array, in_memory, takes_arrays
from segedu.classical.lloyd import HELD, lloyd
from segedu.classical.regions import as_channels


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
@torch.no_grad()
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
    its own centre, as in scikit-learn. Waits for the device; no gradient passes.

    On a CPU, rounds are compiled by Numba; the first call of an installation takes some seconds for that.

    Args:
        image: uint8 or float, (..., C, H, W) or grey (H, W). Each image of a batch is clustered for itself.
        k: number of clusters, at most the number of pixels.
        start: "k-means++", where each further centre is a pixel drawn with a chance in proportion to its squared
            distance to the nearest centre so far, once as in the paper (scikit-learn draws several and keeps the best);
            "random", k different pixels; or the centres themselves, (k, D) or (..., k, D).
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
        found = lloyd(points, centres, iterations, tolerance)
        best = found if best is None else _better(best, found)
    labels, centres, inertia, rounds, converged = best
    batch = shape[:-2]
    return KMeans(
        labels.reshape(shape),
        centres.reshape(*batch, *centres.shape[1:]),
        inertia.reshape(batch),
        rounds.reshape(batch),
        converged.reshape(batch),
        images.shape[1],
    )


def _features(images: torch.Tensor, position_weight: float) -> torch.Tensor:
    """Images (B, C, H, W) as points (B, D, N): the channels, and x and y if they count."""
    B, _, H, W = images.shape
    unit = 255.0 if images.dtype == torch.uint8 else 1.0
    points = images if images.dtype == torch.float64 else _float32(images)
    if position_weight:
        scale = unit * position_weight / max(H, W)
        x = (scale * torch.arange(W, dtype=points.dtype, device=points.device)).expand(B, 1, H, W)
        y = (scale * torch.arange(H, dtype=points.dtype, device=points.device))[:, None].expand(B, 1, H, W)
        points = torch.cat([points, x, y], 1)
    return points.flatten(2).contiguous()


def _float32(images: torch.Tensor) -> torch.Tensor:
    """The images as float32; NumPy converts bytes in one thread sooner than torch has woken several."""
    if images.dtype == torch.uint8 and in_memory(images):
        return torch.from_numpy(images.numpy().astype(np.float32))
    return images.float()


def _plus_plus(points: torch.Tensor, k: int, generator: torch.Generator) -> torch.Tensor:
    """Draw pixels by k-means++, (B, K, D); the same random numbers serve all images of a batch."""
    B, _, N = points.shape
    each = torch.arange(B, device=points.device)
    uniforms = torch.rand(k, generator=generator, dtype=torch.float64).tolist()
    chosen = torch.full((B,), int(uniforms[0] * N), device=points.device)
    centres = [points[each, :, chosen]]
    nearest = torch.full((B, N), torch.inf, dtype=torch.float64, device=points.device)  # squared distances
    running = torch.empty_like(nearest)
    # So few fit into a CPU's cache, and torch does not start threads for them, which on a busy machine cost more.
    tile = 1 << 15 if in_memory(points) else HELD
    for uniform in uniforms[1:]:
        for part, nearest_of_part in zip(points.split(tile, -1), nearest.split(tile, -1), strict=True):
            distances = sum((part[:, d] - centres[-1][:, d, None]) ** 2 for d in range(part.shape[1]))
            torch.minimum(nearest_of_part, distances, out=nearest_of_part)
        torch.cumsum(nearest, -1, out=running)
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
