"""Regions that hang together: connected components, and regions that grow from a seed."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch

from segedu.arrays import Array, check_image, in_memory, takes_arrays

LATER = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, -1), (1, 0), (1, 1))}
"""Steps (dy, dx) to the neighbours that follow a pixel in reading order; those before it lie opposite."""


@takes_arrays
def connected_components(mask: Array, neighbours: int = 8) -> Array:
    """Number the connected parts of a mask, or of each label of a label map.

    Waits for the device.

    Args:
        mask: bool (..., H, W); or an integer label map (..., H, W), in which neighbours are connected if their labels
            are equal, and label 0 is background.
        neighbours: 4 or 8, how many pixels around a pixel are its neighbours.

    Returns:
        int32 (..., H, W): 0 for background, then 1, 2, ... in each image, in reading order of the components' first
        pixels.
    """
    check_neighbours(neighbours)
    if not isinstance(mask, torch.Tensor) or mask.is_floating_point() or mask.is_complex():
        raise TypeError(f"mask must be a bool or integer array, got {getattr(mask, 'dtype', type(mask).__name__)}")
    if mask.ndim < 2 or 0 in mask.shape[-2:]:
        raise ValueError(f"mask must have shape (..., H, W) and at least one pixel, got {tuple(mask.shape)}")
    images = mask.reshape(-1, *mask.shape[-2:])
    if in_memory(mask):
        labels = np.empty(images.shape, np.int32)
        for image, result in zip(images.numpy(), labels, strict=True):
            result[:] = _label(image, neighbours)
        return torch.from_numpy(labels).reshape(mask.shape)

    index = torch.arange(images.numel(), device=mask.device)
    first = index.view(images.shape)  # each pixel's guess at the first pixel of its component
    while True:
        # Each pixel asks its connected neighbours for an earlier guess, and passes it on to the pixel it guessed;
        earlier = first.clone()
        for here, there in neighbour_pairs(neighbours):
            connected = (images[here] == images[there]) & (images[here] != 0)
            earlier[here] = torch.where(connected, torch.minimum(earlier[here], first[there]), earlier[here])
            earlier[there] = torch.where(connected, torch.minimum(earlier[there], first[here]), earlier[there])
        told = first.flatten().scatter_reduce(0, first.flatten(), earlier.flatten(), "amin")
        # then it takes over the guess of its guess. Chains of guesses halve, so few rounds join long paths.
        told = told[told][told].view(images.shape)
        if torch.equal(told, first):
            break
        first = told
    starts = (first.flatten() == index).view(images.shape) & (images != 0)
    number = starts.flatten(1).cumsum(1, dtype=torch.int32).flatten()
    return torch.where(images != 0, number[first], 0).to(torch.int32).reshape(mask.shape)


@takes_arrays
def grow_region(
    image: Array,
    seeds: Array | Sequence,
    tolerance: float,
    neighbours: int = 4,
    compare: str = "seed",
    relative: bool = False,
) -> Array:
    """Grow a region from a seed over connected pixels of nearly the same value.

    With `compare="seed"`, all pixels that differ from the seed by at most the tolerance and are connected to it by
    such pixels (OpenCV's `floodFill` with a fixed range).

    With `compare="mean"` the region grows in rounds. In each, all neighbours of the region that differ from its mean
    by at most the tolerance join at once; then the mean is computed anew. It ends when a round adds none. No pixel
    goes before another, so the result depends on no order.

    Waits for the device.

    Args:
        image: uint8 or float; grey (H, W), or (..., C, H, W), so that a batch of grey images is (B, 1, H, W). A pixel
            of several channels differs by at most the tolerance if each channel does.
        seeds: points (x, y), integer: one (2,), or several (N, 2), the same in all images, or (..., N, 2). Several
            seeds each grow a region of their own, and the result is the union of these.
        tolerance: 0 or more, in the image's units.
        neighbours: 4 or 8, how many pixels around a pixel are its neighbours.
        compare: "seed" or "mean", what a pixel's value is compared with.
        relative: the tolerance is a fraction of what is compared with (0.1 for ten per cent), channel by channel.

    Returns:
        Bool (H, W) or (..., H, W), the pixels of the region.

    Source: Zucker 1976 surveys region growing; Adams and Bischof 1994 compare with the mean of the region.
    """
    check_neighbours(neighbours)
    if compare not in ("seed", "mean"):
        raise ValueError(f"compare must be 'seed' or 'mean', got {compare!r}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 or more, got {tolerance}")
    images, shape = as_channels(image)  # (B, C, H, W)
    on_arrays = in_memory(images) and images.dtype != torch.bfloat16  # which NumPy does not have
    one_image, all_images = (_flood, _grow_by_seed) if compare == "seed" else (_grow_front, _grow_by_mean)
    regions = torch.zeros_like(images[:, 0], dtype=torch.bool)
    for x, y in _seed_points(seeds, images, shape):
        if on_arrays:
            for region, *start in zip(regions.numpy(), images.numpy(), x.tolist(), y.tolist(), strict=True):
                region |= one_image(*start, tolerance, neighbours, relative)
        else:
            regions |= all_images(images, x, y, tolerance, neighbours, relative)
    return regions.reshape(shape)


def as_channels(image: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
    """View an image (H, W) or (..., C, H, W) as (B, C, H, W); also the shape (..., H, W) of its label map."""
    check_image(image)
    with_channels = image[None] if image.ndim == 2 else image
    if with_channels.shape[-3] == 0:
        raise ValueError(f"image must have at least one channel, got {tuple(image.shape)}")
    return with_channels.reshape(-1, *with_channels.shape[-3:]), (*with_channels.shape[:-3], *image.shape[-2:])


def check_neighbours(neighbours: int) -> None:
    """Require 4 or 8."""
    if neighbours not in LATER:
        raise ValueError(f"neighbours must be 4 or 8, got {neighbours!r}")


def neighbour_pairs(neighbours: int) -> Iterator[tuple[tuple, tuple]]:
    """Slices of (..., H, W) that lay each pixel beside its neighbour, once for each direction in `LATER`."""
    for dy, dx in LATER[neighbours]:
        rows, later_rows = (slice(None, -1), slice(1, None)) if dy else (slice(None), slice(None))
        columns, later_columns = {
            0: (slice(None), slice(None)),
            1: (slice(None, -1), slice(1, None)),
            -1: (slice(1, None), slice(None, -1)),
        }[dx]
        yield (..., rows, columns), (..., later_rows, later_columns)


def _grow_by_seed(
    images: torch.Tensor, x: torch.Tensor, y: torch.Tensor, tolerance: float, neighbours: int, relative: bool
) -> torch.Tensor:
    """Keep the component of nearly equal pixels in which the seed lies."""
    each = torch.arange(len(images), device=images.device)
    seed = images[each, :, y, x][..., None, None]  # B, C, 1, 1
    limit = tolerance * seed.double().abs() if relative else torch.full_like(seed, tolerance, dtype=torch.float64)
    if images.dtype == torch.uint8:
        seed, limit = seed.short(), limit.clamp(max=255).short()  # differences are whole numbers: round down
    near = ((images - seed).abs() <= limit.to(seed.dtype)).all(1)
    parts = connected_components(near, neighbours)
    return near & (parts == parts[each, y, x][:, None, None])


def _flood(image: np.ndarray, x: int, y: int, tolerance: float, neighbours: int, relative: bool) -> np.ndarray:
    """Do what `_grow_by_seed` does for one image (C, H, W), by OpenCV."""
    seed = image[:, y, x, None, None]
    limit = tolerance * np.abs(seed.astype(np.float64)) if relative else np.full(seed.shape, float(tolerance))
    if image.dtype == np.uint8:
        seed, limit = seed.astype(int), np.minimum(limit, 255).astype(int)
        bounds = zip(np.maximum(seed - limit, 0).ravel(), np.minimum(seed + limit, 255).ravel(), strict=True)
        planes = [cv2.inRange(plane, *map(int, bound)) for plane, bound in zip(image, bounds, strict=True)]
        near = functools.reduce(np.bitwise_and, planes)
    else:
        near = (np.abs(image - seed) <= limit.astype(image.dtype)).all(0).view(np.uint8)
    if near[y, x]:  # false if the seed is not a number
        cv2.floodFill(near, None, (x, y), 2, flags=neighbours)
    return near == 2


def _grow_by_mean(
    images: torch.Tensor, x: torch.Tensor, y: torch.Tensor, tolerance: float, neighbours: int, relative: bool
) -> torch.Tensor:
    """Let all nearly equal neighbours join, take the mean again, and repeat until none joins."""
    each = torch.arange(len(images), device=images.device)
    region = torch.zeros_like(images[:, 0], dtype=torch.bool)  # B, H, W
    region[each, y, x] = True
    while True:
        total = torch.where(region[:, None], images, 0).sum((-2, -1), keepdim=True, dtype=torch.float64)
        count = region.sum((-2, -1), dtype=torch.float64)[:, None, None, None]
        # Both sides are multiplied by the count: of whole numbers, no division may round a tie.
        limit = tolerance * (total.abs() if relative else count)
        near = ((images * count - total).abs() <= limit).all(1)
        grown = region | (_dilate(region, neighbours) & near)
        if torch.equal(grown, region):
            return region
        region = grown


def _grow_front(image: np.ndarray, x: int, y: int, tolerance: float, neighbours: int, relative: bool) -> np.ndarray:
    """Do what `_grow_by_mean` does for one image (C, H, W), looking only at the pixels around the region."""
    C, H, W = image.shape
    values = np.pad(image, ((0, 0), (1, 1), (1, 1))).reshape(C, -1)
    seen = np.pad(np.zeros((H, W), bool), 1, constant_values=True).ravel()  # the frame ends the region
    region = np.zeros_like(seen)
    steps = [dy * (W + 2) + dx for dy, dx in LATER[neighbours]]
    steps = np.array([*steps, *(-step for step in steps)])

    joining = np.array([(y + 1) * (W + 2) + x + 1])
    seen[joining] = True
    around = np.array([], dtype=joining.dtype)
    total, count = np.zeros(C), 0
    while joining.size:
        region[joining] = True
        total += values[:, joining].sum(1, dtype=np.float64)
        count += joining.size
        reached = (joining[:, None] + steps).ravel()
        reached = np.unique(reached[~seen[reached]])
        seen[reached] = True
        around = np.concatenate([around, reached])
        limit = tolerance * (np.abs(total[:, None]) if relative else count)
        near = (np.abs(values[:, around] * float(count) - total[:, None]) <= limit).all(0)
        joining, around = around[near], around[~near]
    return region.reshape(H + 2, W + 2)[1:-1, 1:-1]


def _dilate(mask: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Add to masks (B, H, W) the neighbours of their pixels."""
    wider = mask.clone()
    for here, there in neighbour_pairs(neighbours):
        wider[here] |= mask[there]
        wider[there] |= mask[here]
    return wider


def _label(image: np.ndarray, neighbours: int) -> np.ndarray:
    if image.dtype == bool:
        # OpenCV's other algorithms do not number in reading order.
        return cv2.connectedComponentsWithAlgorithm(image.view(np.uint8), neighbours, cv2.CV_32S, cv2.CCL_SAUF)[1]
    from skimage.measure import label

    return label(image, background=0, connectivity=neighbours // 4)


def _seed_points(
    seeds: Array | Sequence, images: torch.Tensor, shape: tuple[int, ...]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """One pair x (B,), y (B,) for each seed."""
    seeds = torch.as_tensor(seeds)
    if seeds.is_floating_point() or seeds.ndim == 0 or seeds.shape[-1] != 2:
        raise ValueError(f"seeds must be integer points (x, y) of shape (N, 2), got {seeds.dtype} {tuple(seeds.shape)}")
    seeds = seeds.reshape(1, 2) if seeds.ndim == 1 else seeds
    x, y = seeds[..., 0], seeds[..., 1]
    H, W = shape[-2:]
    if ((x < 0) | (x >= W) | (y < 0) | (y >= H)).any():
        raise ValueError(f"seeds (x, y) must lie inside the image, {W} wide and {H} high, got {seeds.tolist()}")
    seeds = seeds.long().to(images.device).expand(*shape[:-2], *seeds.shape[-2:])
    return [point.unbind(-1) for point in seeds.reshape(len(images), -1, 2).unbind(1)]
