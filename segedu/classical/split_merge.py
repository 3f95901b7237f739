"""Split and merge (Horowitz and Pavlidis 1976): cut an image into uniform blocks, then join those that fit together."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from segedu.arrays import Array, in_memory, takes_arrays
from segedu.classical.merging import STRIP, Listed, Measured, merge_regions, values_of
from segedu.classical.regions import as_channels, check_neighbours
from segedu.classical.uniformity import Rule, Statistics, library_of


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
        """The blocks (x, y, width, height) that were not split, int32 (N, 4), in reading order.

        Waits for the device, and takes the result of a single image.
        """
        levels = self._levels_of_one_image()
        y, x = torch.nonzero(_corners(levels[None])[0]).T
        return self._boxes(x, y, 1 << levels[y, x].long())

    @property
    def blocks(self) -> Array:
        """The blocks of the whole tree as in `leaves`, from the root down and in reading order within a level."""
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
    those join that are each other's closest in mean value (the largest difference of a channel). Pairs that did not
    fit are looked at again when no others are left; it ends when no two neighbours fit. Between equally close pairs a
    fixed shuffle decides, so the result is always the same.

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
                of_image = [tuple(statistic[b] for statistic in level) for level in pyramid]
                regions = Measured(predicate, _of_leaves(pixels, levels[b], predicate, of_image))
            else:
                regions = Listed(predicate, pixels, labels[b])
            labels[b] = merge_regions(pixels, labels[b], regions, neighbours)
    labels += 1
    labels, levels = (torch.as_tensor(x, device=image.device).reshape(shape) for x in (labels, levels))
    return SplitAndMerge(labels, levels)


def _pyramid(images: Array, rule: Rule) -> list[Statistics]:
    """The statistics of all blocks of side 2, 4, ..., as arrays (B, C, h, w)."""
    strips = (images[..., y : y + STRIP, :] for y in range(0, images.shape[-2], STRIP))
    halved = [_halve(rule.of_pixels(strip), rule) for strip in strips]
    levels = [tuple(library_of(images).concatenate(parts, -2) for parts in zip(*halved, strict=True))]
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
            joined = tuple(library_of(x).concatenate([x, y], dim) for x, y in zip(joined, last, strict=True))
        blocks = joined
    return blocks


def _split(images: Array, predicate: Rule | Callable, pyramid: list[Statistics], min_size: int) -> Array:
    """For each pixel the level of its leaf, uint8 (B, H, W), from the root down."""
    library = library_of(images)
    H, W = images.shape[-2:]
    levels = library.zeros_like(images[:, 0, :1, :1], dtype=library.uint8)  # 0 where no leaf is found yet
    for level in range(_root_level(H, W), 0, -1):
        if 1 << level < 2 * min_size:
            uniform = True  # or at least not to be split
        elif isinstance(predicate, Rule):
            uniform = predicate.holds(*pyramid[level - 1])
        else:
            uniform = _holds_for_blocks(predicate, images, level, levels == 0)
        levels = levels + ((levels == 0) & uniform).view(library.uint8) * level
        h, w = -(-H >> level - 1), -(-W >> level - 1)  # four pixels of the next level lie under each of this
        levels = library.stack([levels, levels], 3).reshape(len(images), -1, 2 * levels.shape[2])[:, :, :w]
        levels = library.stack([levels, levels], 2).reshape(len(images), -1, w)[:, :h]
    return levels


def _holds_for_blocks(predicate: Callable, images: np.ndarray, level: int, where: np.ndarray) -> np.ndarray:
    """Call a function on the blocks of a level for which `where` (B, h, w) is true."""
    holds, side = np.zeros_like(where), 1 << level
    for b, i, j in np.argwhere(where):
        holds[b, i, j] = predicate(values_of(images[b, :, i * side : (i + 1) * side, j * side : (j + 1) * side]))
    return holds


def _number(levels: Array) -> Array:
    """Number the leaves in each image from 0 in reading order, int32 (B, H, W)."""
    if isinstance(levels, np.ndarray):
        labels = np.empty(levels.shape, np.int32)
        _number_by_rows()(np.ascontiguousarray(levels), labels)
        return labels
    y, x = _coordinates(levels)
    number = _corners(levels).flatten(1).cumsum(1, dtype=torch.int32) - 1
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
            count = number = -1
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


def _of_leaves(image: np.ndarray, levels: np.ndarray, rule: Rule, pyramid: list[Statistics]) -> Statistics:
    """The statistics (C, 1, N) of the leaves of an image in reading order."""
    y, x = np.nonzero(_corners(torch.from_numpy(levels)).numpy())
    statistics = tuple(statistic.copy() for statistic in rule.of_pixels(image[:, y, x][:, None]))
    for level, blocks in enumerate(pyramid, start=1):
        at = np.flatnonzero(levels[y, x] == level)
        for statistic, block in zip(statistics, blocks, strict=True):
            statistic[:, 0, at] = block[:, y[at] >> level, x[at] >> level]
    return statistics


def _coordinates(levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    H, W = levels.shape[-2:]
    return torch.arange(H, device=levels.device)[:, None], torch.arange(W, device=levels.device)


def _root_level(H: int, W: int) -> int:
    return (max(H, W) - 1).bit_length()


def _in_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
