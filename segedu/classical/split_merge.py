"""Split and merge (Horowitz and Pavlidis 1976): cut an image into uniform blocks, then join those that fit together."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from segedu.arrays import Array, in_memory, takes_arrays
from segedu.classical.regions import as_channels, check_neighbours, neighbour_pairs

STRIP = 512
"""Rows whose pixels are measured at a time, an even number: keeps the first level of the pyramid small."""

Statistics = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Rule:
    """Which regions are uniform, told from a few numbers of each; as the rule of `split_and_merge`, it is fast.

    `max_range` and `max_variance` make rules. To make one of your own, give three functions on tensors:

    Attributes:
        of_pixels: the numbers of regions of one pixel, from pixels (..., C, H, W): a tuple of tensors of that shape.
        join: the numbers of unions of two regions, from the numbers of one and of the other.
        holds: which regions are uniform: from the numbers, one argument each, (..., C, H, W), to bool (..., H, W).
    """

    of_pixels: Callable[[torch.Tensor], Statistics]
    join: Callable[[Statistics, Statistics], Statistics]
    holds: Callable[..., torch.Tensor]


def max_range(limit: float) -> Rule:
    """Regions whose greatest value exceeds the least by at most `limit`, in the image's units and in each channel."""
    _check_limit(limit)
    return Rule(
        of_pixels=lambda pixels: (pixels, pixels),
        join=lambda one, other: (torch.minimum(one[0], other[0]), torch.maximum(one[1], other[1])),
        holds=lambda least, greatest: (greatest - least <= float(limit)).all(-3),
    )


def max_variance(limit: float) -> Rule:
    """Regions whose variance (mean squared deviation from the mean) is at most `limit`, in each channel."""
    _check_limit(limit)

    def join(one: Statistics, other: Statistics) -> Statistics:
        # Chan, Golub and LeVeque 1979: exact where all values are equal, unlike the difference of two sums.
        (count_1, mean_1, deviation_1), (count_2, mean_2, deviation_2) = one, other
        count, gap = count_1 + count_2, mean_2 - mean_1
        share = gap * (count_2 / count)
        return count, mean_1 + share, deviation_1 + deviation_2 + gap * share * count_1

    return Rule(
        of_pixels=lambda pixels: (*(x.double() for x in (torch.ones_like(pixels), pixels, torch.zeros_like(pixels))),),
        join=join,
        holds=lambda count, mean, deviation: (deviation <= limit * count).all(-3),
    )


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
    images, shape = as_channels(image)  # (B, C, H, W)
    pyramid = _pyramid(images, predicate) if isinstance(predicate, Rule) else []
    levels = _split(images, predicate, pyramid, min_size)
    labels = _number(levels)
    if merge:
        for b, (pixels, leaves) in enumerate(zip(images, labels, strict=True)):
            if isinstance(predicate, Rule):
                statistics = _of_leaves(pixels, levels[b], predicate, [[x[b] for x in level] for level in pyramid])
                regions = _Measured(predicate, statistics)
            else:
                regions = _Listed(predicate, pixels, leaves)
            labels[b] = _merge(pixels, leaves, regions, neighbours)
    return SplitAndMerge(labels.reshape(shape), levels.reshape(shape))


def _pyramid(images: torch.Tensor, rule: Rule) -> list[Statistics]:
    """The statistics of all blocks of side 2, 4, ..., as tensors (B, C, h, w)."""
    strips = [_halve(rule.of_pixels(strip), rule) for strip in images.split(STRIP, dim=-2)]
    levels = [tuple(torch.cat(parts, -2) for parts in zip(*strips, strict=True))]
    while max(levels[-1][0].shape[-2:]) > 1:
        levels.append(_halve(levels[-1], rule))
    return levels


def _halve(blocks: Statistics, rule: Rule) -> Statistics:
    """Join blocks two by two, those above each other and then those side by side; an odd last one stays alone."""
    for dim in (-2, -1):
        count = blocks[0].shape[dim] // 2
        pairs = (x.narrow(dim, 0, 2 * count).unflatten(dim, (count, 2)).unbind(dim) for x in blocks)
        joined = rule.join(*zip(*pairs, strict=True))
        if blocks[0].shape[dim] % 2:
            joined = tuple(
                torch.cat([x, y.narrow(dim, 2 * count, 1)], dim) for x, y in zip(joined, blocks, strict=True)
            )
        blocks = joined
    return blocks


def _split(images: torch.Tensor, predicate: Rule | Callable, pyramid: list[Statistics], min_size: int) -> torch.Tensor:
    """For each pixel the level of its leaf, uint8 (B, H, W), from the root down."""
    B, _, H, W = images.shape
    levels = torch.zeros((B, 1, 1), dtype=torch.uint8, device=images.device)  # 0 where no leaf is found yet
    for level in range(_root_level(H, W), 0, -1):
        if 1 << level < 2 * min_size:
            uniform = True  # or at least not to be split
        elif isinstance(predicate, Rule):
            uniform = predicate.holds(*pyramid[level - 1])
        else:
            uniform = _holds_for_blocks(predicate, images, level, levels == 0)
        levels = torch.where((levels == 0) & uniform, level, levels)
        for dim, size in ((2, W), (1, H)):  # four pixels of the next level for each of this
            levels = torch.stack([levels, levels], dim + 1).flatten(dim, dim + 1)
            levels = levels.narrow(dim, 0, -(-size >> (level - 1)))
    return levels.contiguous()


def _holds_for_blocks(predicate: Callable, images: torch.Tensor, level: int, where: torch.Tensor) -> torch.Tensor:
    """Call a function on the blocks of a level for which `where` (B, h, w) is true."""
    holds, side = torch.zeros_like(where), 1 << level
    for b, i, j in where.nonzero().tolist():
        holds[b, i, j] = bool(predicate(_values(images[b, :, i * side : (i + 1) * side, j * side : (j + 1) * side])))
    return holds


def _number(levels: torch.Tensor) -> torch.Tensor:
    """Number the leaves in each image from 1 in reading order, int32 (B, H, W)."""
    if in_memory(levels):
        labels = torch.empty(levels.shape, dtype=torch.int32)
        _number_by_rows()(levels.numpy(), labels.numpy())
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
        for b in range(levels.shape[0]):
            count = 0
            for y in range(levels.shape[1]):
                x = 0
                while x < levels.shape[2]:
                    level = levels[b, y, x]
                    end = min(x + (1 << level), levels.shape[2])
                    if (y >> level) << level == y:
                        count += 1
                        number = count
                    else:
                        number = labels[b, y - 1, x]
                    while x < end:
                        labels[b, y, x] = number
                        x += 1

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


def _of_leaves(image: torch.Tensor, levels: torch.Tensor, rule: Rule, pyramid: list[list[torch.Tensor]]) -> Statistics:
    """The statistics (C, N) of the leaves in reading order."""
    y, x = torch.nonzero(_corners(levels[None])[0]).T
    level = levels[y, x]
    statistics = tuple(x.clone() for x in rule.of_pixels(image[:, y, x][..., None, :]))
    for number, blocks in enumerate(pyramid, start=1):
        at = torch.nonzero(level == number)[:, 0]
        for all_leaves, of_level in zip(statistics, blocks, strict=True):
            all_leaves[:, 0, at] = of_level[:, y[at] >> number, x[at] >> number]
    return tuple(x[:, 0] for x in statistics)


class _Measured:
    """Regions of which a rule's statistics are known."""

    def __init__(self, rule: Rule, statistics: Statistics):
        self.rule, self.statistics = rule, statistics  # each (C, N)

    def _joined(self, pairs: torch.Tensor) -> Statistics:
        one, other = (tuple(x[:, side] for x in self.statistics) for side in pairs)
        return self.rule.join(one, other)

    def fit(self, pairs: torch.Tensor) -> torch.Tensor:
        return self.rule.holds(*(x[:, None] for x in self._joined(pairs)))[0]

    def join(self, pairs: torch.Tensor) -> None:
        for statistic, joined in zip(self.statistics, self._joined(pairs), strict=True):
            statistic[:, pairs[0]] = joined


class _Listed:
    """Regions of which all values are known, for a function to look at."""

    def __init__(self, holds: Callable, image: torch.Tensor, leaves: torch.Tensor):
        order = leaves.flatten().argsort(stable=True)
        sizes = leaves.flatten().bincount()[1:].tolist()
        self.holds, self.values = holds, list(image.flatten(1)[:, order].split(sizes, 1))

    def _joined(self, pairs: torch.Tensor) -> list[torch.Tensor]:
        return [torch.cat([self.values[one], self.values[other]], 1) for one, other in pairs.T.tolist()]

    def fit(self, pairs: torch.Tensor) -> torch.Tensor:
        fits = [bool(self.holds(_values(joined))) for joined in self._joined(pairs)]
        return torch.tensor(fits, dtype=torch.bool, device=pairs.device)

    def join(self, pairs: torch.Tensor) -> None:
        for one, joined in zip(pairs[0].tolist(), self._joined(pairs), strict=True):
            self.values[one] = joined


def _values(pixels: torch.Tensor) -> np.ndarray:
    """The values of pixels (C, ...) as a function of the user's gets them."""
    values = pixels.flatten(1).cpu().numpy()
    return values[0] if len(values) == 1 else values


def _merge(image: torch.Tensor, leaves: torch.Tensor, regions: _Measured | _Listed, neighbours: int) -> torch.Tensor:
    """Join neighbours until no two fit; return the labels of all pixels, int32 (H, W) from 1 in reading order."""
    numbers = leaves.flatten().long() - 1
    count = numbers.bincount()
    total = torch.stack([numbers.bincount(channel.flatten().double()) for channel in image])  # C, N
    itself = torch.arange(len(count), device=image.device)
    region = itself  # the region in which each leaf is, named by the first of its leaves
    pairs = _neighbours(leaves.long() - 1, neighbours)  # 2, E
    fits = regions.fit(pairs)
    while fits.any():
        one, other = chosen = _mutually_closest(pairs[:, fits], total / count)
        regions.join(chosen)
        total[:, one] += total[:, other]
        count[one] += count[other]
        into = itself.clone()
        into[other] = one
        region = into[region]

        changed = torch.zeros_like(itself, dtype=torch.bool)
        changed[chosen] = True
        stale = changed[pairs[0]] | changed[pairs[1]]
        renewed = _distinct(into[pairs[:, stale]], len(count))
        pairs = torch.cat([pairs[:, ~stale], renewed], 1)
        fits = torch.cat([fits[~stale], regions.fit(renewed)])
    first = region == itself
    return first.cumsum(0, dtype=torch.int32)[region][numbers].view(leaves.shape)


def _neighbours(labels: torch.Tensor, neighbours: int) -> torch.Tensor:
    """All pairs of labels that touch, (2, E), the lower one first."""
    touching = [
        _distinct(torch.stack([labels[here].flatten(), labels[there].flatten()]), labels.numel())
        for here, there in neighbour_pairs(neighbours)
    ]
    return _distinct(torch.cat(touching, 1), labels.numel())


def _distinct(pairs: torch.Tensor, base: int) -> torch.Tensor:
    """Drop pairs of equals and repetitions from (2, E), and put the lower number of each pair first."""
    low, high = torch.minimum(*pairs), torch.maximum(*pairs)
    keys = (low * base + high)[low != high].unique()
    return torch.stack([keys // base, keys % base])


def _mutually_closest(pairs: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Those of the pairs (2, E) of which each is the other's closest by means (C, N); no region is in two of them."""
    count = mean.shape[1]

    def gap(pairs: torch.Tensor) -> torch.Tensor:
        return (mean[:, pairs[0]] - mean[:, pairs[1]]).abs().amax(0)

    def shuffle(pairs: torch.Tensor) -> torch.Tensor:
        # Between equals any fixed order would do, but in one that follows the image a row would join pixel by pixel.
        # Multiplying by an odd number (here 2^64 over the golden ratio) modulo 2^64 gives each pair a place of its own.
        return (pairs[0] * count + pairs[1]) * (0x9E3779B97F4A7C15 - (1 << 64))

    for order in (gap, shuffle):
        value = order(pairs)
        least = value.new_zeros(count).scatter_reduce(0, pairs.flatten(), value.repeat(2), "amin", include_self=False)
        pairs = pairs[:, (value == least[pairs]).all(0)]
    return pairs


def _check_limit(limit: float) -> None:
    if not limit >= 0:
        raise ValueError(f"limit must be 0 or more, got {limit}")
