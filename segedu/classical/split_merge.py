"""Split and merge (Horowitz and Pavlidis 1976): cut an image into uniform blocks, then join those that fit together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch

from segedu.arrays import Array, in_memory, takes_arrays
from segedu.classical.regions import as_channels, check_neighbours, neighbour_pairs

STRIP = 512
"""Rows whose pixels are measured at a time, an even number: keeps the first level of the pyramid small."""

Statistics = tuple[Array, ...]


@dataclass(frozen=True)
class Rule:
    """Which regions are uniform, told from a few numbers of each; as the rule of `split_and_merge`, it is fast.

    `max_range` and `max_variance` make rules. To make one of your own, give three functions. They get NumPy arrays if
    the image is in the CPU's memory, else tensors.

    Attributes:
        of_pixels: the numbers of regions of one pixel, from pixels (..., C, H, W): a tuple of arrays of that shape.
        join: the numbers of unions of two regions, from the numbers of one and of the other.
        holds: which regions are uniform: from the numbers, one argument each, (..., C, H, W), to bool (..., H, W).
    """

    of_pixels: Callable[[Array], Statistics]
    join: Callable[[Statistics, Statistics], Statistics]
    holds: Callable[..., Array]


def max_range(limit: float) -> Rule:
    """Regions whose greatest value exceeds the least by at most `limit`, in the image's units and in each channel."""
    _check_limit(limit)

    def join(one: Statistics, other: Statistics) -> Statistics:
        library = _library(one[0])
        return library.minimum(one[0], other[0]), library.maximum(one[1], other[1])

    return Rule(
        of_pixels=lambda pixels: (pixels, pixels),
        join=join,
        holds=lambda least, greatest: (greatest - least <= limit).all(-3),
    )


def max_variance(limit: float) -> Rule:
    """Regions whose variance (mean squared deviation from the mean) is at most `limit`, in each channel."""
    _check_limit(limit)

    def of_pixels(pixels: Array) -> Statistics:
        mean = _double(pixels)
        return mean * 0 + 1, mean, mean * 0

    def join(one: Statistics, other: Statistics) -> Statistics:
        # Chan, Golub and LeVeque 1979: exact where all values are equal, unlike the difference of two sums.
        (count_1, mean_1, deviation_1), (count_2, mean_2, deviation_2) = one, other
        count, gap = count_1 + count_2, mean_2 - mean_1
        change = gap * count_2 / count
        return count, mean_1 + change, deviation_1 + deviation_2 + gap * change * count_1

    return Rule(of_pixels, join, holds=lambda count, mean, deviation: (deviation <= limit * count).all(-3))


@dataclass(frozen=True, eq=False)
class SplitAndMerge:
    """What `split_and_merge` found.

    Attributes:
        labels: int32 (..., H, W), regions 1, 2, ... in each image, in reading order of their first pixels.
        levels: uint8 (..., H, W), for each pixel the level of its leaf in the split tree: its side is `2**level`.
    """

    labels: Array
    levels: Array

    @property
    def leaves(self) -> Array:
        """Blocks that were not split: int32 (N, 4), (x, y, width, height), in reading order. Waits for the device."""
        levels = self._levels_of_one_image()
        y, x = torch.nonzero(_corners(levels[None])[0]).T
        return self._boxes(x, y, 1 << levels[y, x].long())

    @property
    def blocks(self) -> Array:
        """All blocks of the split tree from the root down, each level in reading order; else as `leaves`."""
        levels = self._levels_of_one_image()
        found = []
        for level in range(_root_level(*levels.shape), -1, -1):
            side = 1 << level
            y, x = torch.nonzero(levels[::side, ::side] <= level).T * side
            found.append((x, y, torch.full_like(x, side)))
        return self._boxes(*map(torch.cat, zip(*found, strict=True)))

    def _levels_of_one_image(self) -> torch.Tensor:
        if self.levels.ndim != 2:
            raise ValueError(f"blocks are listed for one image, got {tuple(self.levels.shape)}: split one at a time")
        return torch.as_tensor(self.levels)

    def _boxes(self, x: torch.Tensor, y: torch.Tensor, side: torch.Tensor) -> Array:
        H, W = self.levels.shape
        boxes = torch.stack([x, y, side.minimum(W - x), side.minimum(H - y)], 1).int()
        return boxes.numpy() if isinstance(self.levels, np.ndarray) else boxes


@takes_arrays
def split_and_merge(
    image: Array,
    predicate: Rule | Callable[[np.ndarray], bool],
    min_size: int = 1,
    merge: bool = True,
    neighbours: int = 4,
) -> SplitAndMerge:
    """Split an image into quadrants until all are uniform, then merge neighbours that are uniform together.

    The split starts with the smallest square whose side is a power of two that holds the image at its upper left, and
    looks only at pixels inside the image. The merge goes in rounds: of all pairs of neighbours whose union is uniform,
    those join that are each other's closest in mean value (largest difference of a channel), until no such pair is
    left. Between equally close pairs a fixed shuffle decides, so the result is always the same.

    With a rule and `merge=False` it does not wait for the device; else it does.

    Args:
        image: uint8 or float, grey (H, W), or (..., C, H, W), so that a batch of grey images is (B, 1, H, W).
        predicate: which regions are uniform: `max_range(limit)`, `max_variance(limit)` or another `Rule`; or a function
            from the values of a region, an array (N,) or (C, N), to True or False, which is called for each block and
            for each pair of neighbours, and therefore slow.
        min_size: a block is not split into blocks with a side below this, even if it is not uniform.
        merge: False if neighbours shall stay apart: each leaf is a region of its own.
        neighbours: 4 or 8: are regions neighbours that touch only at a corner?

    Returns:
        `SplitAndMerge` with `labels`, `levels`, `leaves` and `blocks`.

    Source: Horowitz and Pavlidis 1976, who start from the middle of the tree, where we start from its root.
    """
    check_neighbours(neighbours)
    if not callable(predicate) and not isinstance(predicate, Rule):
        raise TypeError(f"predicate must be a rule, such as max_range(20), or a function, got {predicate!r}")
    if min_size < 1:
        raise ValueError(f"min_size must be 1 or more, got {min_size}")
    tensors, shape = as_channels(image)  # (B, C, H, W)
    images = _in_numpy(tensors) if merge or in_memory(tensors) or not isinstance(predicate, Rule) else tensors
    pyramid = _pyramid(images, predicate) if isinstance(predicate, Rule) else []
    levels = _split(images, predicate, pyramid, min_size)
    labels = _number(levels)
    if merge:
        for b, pixels in enumerate(images):
            if isinstance(predicate, Rule):
                regions = _Measured(predicate, pixels, levels[b], [tuple(x[b] for x in level) for level in pyramid])
            else:
                regions = _Listed(predicate, pixels, labels[b])
            labels[b] = _merge(pixels, labels[b], regions, neighbours)
    labels, levels = (torch.as_tensor(x, device=image.device).reshape(shape) for x in (labels, levels))
    return SplitAndMerge(labels, levels)


def _pyramid(images: Array, rule: Rule) -> list[Statistics]:
    """The statistics of all blocks of side 2, 4, ..., as arrays (B, C, h, w)."""
    strips = (images[..., y : y + STRIP, :] for y in range(0, images.shape[-2], STRIP))
    halved = [_halve(rule.of_pixels(strip), rule) for strip in strips]
    levels = [tuple(_library(images).concatenate(parts, -2) for parts in zip(*halved, strict=True))]
    while max(levels[-1][0].shape[-2:]) > 1:
        levels.append(_halve(levels[-1], rule))
    return levels


def _halve(blocks: Statistics, rule: Rule) -> Statistics:
    """Join blocks two by two, those above each other and then those side by side; an odd last one stays alone."""
    for dim, rest in ((-2, (slice(None),)), (-1, ())):
        pairs = blocks[0].shape[dim] // 2 * 2
        first, second, last = (
            tuple(x[(..., part, *rest)] for x in blocks)
            for part in (slice(0, pairs, 2), slice(1, pairs, 2), slice(pairs, None))
        )
        joined = rule.join(first, second)
        if last[0].shape[dim]:
            joined = tuple(_library(x).concatenate([x, y], dim) for x, y in zip(joined, last, strict=True))
        blocks = joined
    return blocks


def _split(images: Array, predicate: Rule | Callable, pyramid: list[Statistics], min_size: int) -> Array:
    """For each pixel the level of its leaf, uint8 (B, H, W), from the root down."""
    library = _library(images)
    H, W = images.shape[-2:]
    levels = library.zeros_like(images[:, 0, :1, :1], dtype=library.uint8)  # 0 where no leaf is found yet
    for level in range(_root_level(H, W), 0, -1):
        if 1 << level < 2 * min_size:
            uniform = True  # or at least not to be split
        elif isinstance(predicate, Rule):
            uniform = predicate.holds(*pyramid[level - 1])
        else:
            uniform = _holds_for_blocks(predicate, images, level, levels == 0)
        levels = library.where((levels == 0) & uniform, level, levels)
        h, w = -(-H >> level - 1), -(-W >> level - 1)  # four pixels of the next level lie under each of this
        levels = library.stack([levels, levels], 3).reshape(len(images), -1, 2 * levels.shape[2])[:, :, :w]
        levels = library.stack([levels, levels], 2).reshape(len(images), -1, w)[:, :h]
    return levels


def _holds_for_blocks(predicate: Callable, images: np.ndarray, level: int, where: np.ndarray) -> np.ndarray:
    """Call a function on the blocks of a level for which `where` (B, h, w) is true."""
    holds, side = np.zeros_like(where), 1 << level
    for b, i, j in np.argwhere(where):
        holds[b, i, j] = predicate(_values(images[b, :, i * side : (i + 1) * side, j * side : (j + 1) * side]))
    return holds


def _number(levels: Array) -> Array:
    """Number the leaves in each image from 1 in reading order, int32 (B, H, W)."""
    if isinstance(levels, np.ndarray):
        labels = np.empty(levels.shape, np.int32)
        _number_by_rows()(levels, labels)
        return labels
    y, x = _coordinates(levels)
    number = _corners(levels).flatten(1).cumsum(1, dtype=torch.int32)
    mine = (y >> levels << levels) * levels.shape[-1] + (x >> levels << levels)  # the corner of each pixel's leaf
    return number.gather(1, mine.flatten(1)).view(levels.shape)


@functools.cache
def _number_by_rows() -> Callable:
    """Compile the loop behind `_number`; Numba is loaded only now because that takes long."""
    import numba

    @numba.njit(cache=True)
    def number_by_rows(levels, labels):
        B, H, W = levels.shape
        for b in range(B):
            count = number = 0
            for y in range(H):
                leaf, above, result = levels[b, y], labels[b, y - 1], labels[b, y]
                for x in range(W):
                    inside = (1 << leaf[x]) - 1  # x & inside: how far x is inside its leaf
                    if x & inside == 0:
                        if y & inside == 0:
                            count += 1
                            number = count
                        else:
                            number = above[x]
                    result[x] = number

    return number_by_rows


def _corners(levels: torch.Tensor) -> torch.Tensor:
    """Bool (B, H, W): is this the upper left pixel of its leaf?"""
    y, x = _coordinates(levels)
    return (y | x) & ((1 << levels.int()) - 1) == 0


def _coordinates(levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    H, W = levels.shape[-2:]
    return torch.arange(H, device=levels.device)[:, None], torch.arange(W, device=levels.device)


def _root_level(H: int, W: int) -> int:
    return (max(H, W) - 1).bit_length()


class _Measured:
    """Regions of which a rule's statistics are known, at first those of the leaves in reading order."""

    def __init__(self, rule: Rule, image: np.ndarray, levels: np.ndarray, pyramid: list[Statistics]):
        self.rule = rule
        y, x = np.nonzero(_corners(torch.from_numpy(levels)).numpy())
        self.statistics = tuple(of_pixel.copy() for of_pixel in rule.of_pixels(image[:, y, x]))  # each (C, N)
        for level, blocks in enumerate(pyramid, start=1):
            at = np.flatnonzero(levels[y, x] == level)
            for statistic, block in zip(self.statistics, blocks, strict=True):
                statistic[:, at] = block[:, y[at] >> level, x[at] >> level]

    def unions(self, pairs: np.ndarray) -> Statistics:
        one, other = (tuple(statistic[:, of_pair] for statistic in self.statistics) for of_pair in pairs)
        return self.rule.join(one, other)

    def fit(self, pairs: np.ndarray) -> np.ndarray:
        return self.rule.holds(*(statistic[:, None] for statistic in self.unions(pairs)))[0]

    def join(self, pairs: np.ndarray) -> None:
        for statistic, union in zip(self.statistics, self.unions(pairs), strict=True):
            statistic[:, pairs[0]] = union


class _Listed:
    """Regions of which all values are known, for a function to look at."""

    def __init__(self, holds: Callable[[np.ndarray], bool], image: np.ndarray, leaves: np.ndarray):
        self.holds = holds
        order, ends = np.argsort(leaves, axis=None, kind="stable"), np.bincount(leaves.ravel())[1:-1].cumsum()
        self.values = np.split(image.reshape(len(image), -1)[:, order], ends, axis=1)

    def unions(self, pairs: np.ndarray) -> Iterator[np.ndarray]:
        for one, other in pairs.T:
            yield np.concatenate([self.values[one], self.values[other]], axis=1)

    def fit(self, pairs: np.ndarray) -> np.ndarray:
        return np.fromiter((self.holds(_values(union)) for union in self.unions(pairs)), bool, pairs.shape[1])

    def join(self, pairs: np.ndarray) -> None:
        for one, union in zip(pairs[0], self.unions(pairs), strict=True):
            self.values[one] = union


def _merge(image: np.ndarray, leaves: np.ndarray, regions: _Measured | _Listed, neighbours: int) -> np.ndarray:
    """Join neighbours until no two fit; return the labels of all pixels, int32 (H, W) from 1 in reading order."""
    numbers = leaves.ravel() - 1
    count = np.bincount(numbers)
    total = np.stack([np.bincount(numbers, channel.ravel()) for channel in image])  # C, N
    itself = np.arange(len(count))
    region = itself  # the region in which each leaf is, named by the first of its leaves
    pairs = _touching(leaves - 1, neighbours)  # 2, E
    fits = regions.fit(pairs)
    while fits.any():
        one, other = chosen = _mutually_closest(pairs[:, fits], total / count)
        regions.join(chosen)
        total[:, one] += total[:, other]
        count[one] += count[other]
        into = itself.copy()
        into[other] = one
        region = into[region]

        changed = np.zeros(len(count), bool)
        changed[chosen] = True
        stale = changed[pairs[0]] | changed[pairs[1]]
        renewed = _distinct(into[pairs[:, stale]], len(count))
        pairs = np.concatenate([pairs[:, ~stale], renewed], axis=1)
        fits = np.concatenate([fits[~stale], regions.fit(renewed)])
    number = np.cumsum(region == itself, dtype=np.int32)
    return number[region[numbers]].reshape(leaves.shape)


def _touching(labels: np.ndarray, neighbours: int) -> np.ndarray:
    """All pairs of labels that touch, (2, E), the lower one first."""
    sides = [
        _distinct(np.stack([labels[here].ravel(), labels[there].ravel()]), labels.size)
        for here, there in neighbour_pairs(neighbours)
    ]
    return _distinct(np.concatenate(sides, axis=1), labels.size)


def _distinct(pairs: np.ndarray, base: int) -> np.ndarray:
    """Drop pairs of equals and repetitions from (2, E), and put the lower number of each pair first."""
    low, high = np.minimum(*pairs), np.maximum(*pairs)
    differ = low != high
    keys = np.sort(low[differ] * np.int64(base) + high[differ])
    keys = keys[np.diff(keys, prepend=-1) != 0]
    return np.stack(np.divmod(keys, base))


def _mutually_closest(pairs: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Those of the pairs (2, E) of which each is the other's closest by means (C, N); no region is in two of them."""
    for order in (_gaps, _shuffled):
        value = order(pairs, mean)
        least = np.full(mean.shape[1], np.inf if value.dtype.kind == "f" else np.iinfo(value.dtype).max, value.dtype)
        for of_pair in pairs:
            np.minimum.at(least, of_pair, value)
        pairs = pairs[:, (value == least[pairs[0]]) & (value == least[pairs[1]])]
    return pairs


def _gaps(pairs: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return np.abs(mean[:, pairs[0]] - mean[:, pairs[1]]).max(0)


def _shuffled(pairs: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Give each pair a number of its own, in no visible order: in reading order, a row of equals would join one by one.

    Multiplying by an odd number modulo 2^64 keeps numbers apart; this one is 2^64 over the golden ratio (Knuth 1998).
    """
    numbers = pairs[0].astype(np.uint64) * np.uint64(mean.shape[1]) + pairs[1].astype(np.uint64)
    return numbers * np.uint64(0x9E3779B97F4A7C15)


def _values(pixels: np.ndarray) -> np.ndarray:
    """The values of pixels (C, ...) as a function of the user's gets them."""
    values = pixels.reshape(len(pixels), -1)
    return values[0] if len(values) == 1 else values


def _library(array: Array) -> ModuleType:
    return torch if isinstance(array, torch.Tensor) else np


def _double(array: Array) -> Array:
    return array.double() if isinstance(array, torch.Tensor) else array.astype(np.float64)


def _in_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _check_limit(limit: float) -> None:
    if not limit >= 0:
        raise ValueError(f"limit must be 0 or more, got {limit}")
