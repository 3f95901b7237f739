"""Merge neighbouring regions of an image while their union is uniform, the most alike first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from segedu.classical.regions import neighbour_pairs
from segedu.classical.uniformity import Rule, Statistics

STRIP = 512
"""Rows of pixels that are looked at in one go, an even number."""

PART = 1 << 18
"""Pairs of regions that are looked at in one go."""


class Measured:
    """Regions of which a rule's statistics are known."""

    def __init__(self, rule: Rule, statistics: Statistics):
        self.rule, self.statistics = rule, statistics  # each (C, 1, N), like a row of pixels

    def unions(self, pairs: np.ndarray) -> Statistics:
        one, other = (tuple(statistic[..., of_pair] for statistic in self.statistics) for of_pair in pairs)
        return self.rule.join(one, other)

    def fit(self, pairs: np.ndarray) -> np.ndarray:
        return self.rule.holds(*self.unions(pairs))[0]

    def join(self, pairs: np.ndarray) -> None:
        for statistic, union in zip(self.statistics, self.unions(pairs), strict=True):
            statistic[..., pairs[0]] = union


class Listed:
    """Regions of which all values are known, for a function to look at."""

    def __init__(self, holds: Callable[[np.ndarray], bool], image: np.ndarray, leaves: np.ndarray):
        self.holds = holds
        order, ends = np.argsort(leaves, axis=None, kind="stable"), np.bincount(leaves.ravel())[:-1].cumsum()
        self.values = np.split(image.reshape(len(image), -1)[:, order], ends, axis=1)

    def unions(self, pairs: np.ndarray) -> Iterator[np.ndarray]:
        for one, other in pairs.T:
            yield np.concatenate([self.values[one], self.values[other]], axis=1)

    def fit(self, pairs: np.ndarray) -> np.ndarray:
        return np.fromiter((self.holds(values_of(union)) for union in self.unions(pairs)), bool, pairs.shape[1])

    def join(self, pairs: np.ndarray) -> None:
        for one, union in zip(pairs[0], self.unions(pairs), strict=True):
            self.values[one] = union


def merge_regions(image: np.ndarray, leaves: np.ndarray, regions: Measured | Listed, neighbours: int) -> np.ndarray:
    """Join neighbours until no two fit.

    Args:
        image: (C, H, W).
        leaves: int32 (H, W), the regions to start with, numbered from 0 in reading order.
        regions: the same regions, able to tell which pairs fit and to join them.
        neighbours: 4 or 8.

    Returns:
        int32 (H, W), the regions numbered from 0 in reading order.
    """
    count, total = _sums(image, leaves)
    into = np.arange(len(count), dtype=np.int32)  # a region is named by its first leaf; others lead to it
    while True:
        pairs = _touching(into[leaves], neighbours)  # 2, E
        pairs = pairs[:, _in_parts(regions.fit, pairs)]
        if not pairs.size:
            break
        while pairs.size:
            one, other = chosen = _mutually_closest(pairs, total, count)
            regions.join(chosen)
            total[:, one] += total[:, other]
            count[one] += count[other]
            into[other] = one
            changed = np.zeros(len(count), bool)
            changed[chosen] = True
            stale = changed[pairs[0]] | changed[pairs[1]]
            renewed = _distinct(*into[pairs[:, stale]])
            pairs = np.concatenate([pairs[:, ~stale], renewed[:, _in_parts(regions.fit, renewed)]], axis=1)
        while (into[into] != into).any():
            into = into[into]
    number = np.cumsum(into == np.arange(len(into)), dtype=np.int32) - 1
    return number[into][leaves]


def _sums(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of pixels of each label (N,) and the sums of their values (C, N)."""
    size = labels.max() + 1
    count, total = np.zeros(size), np.zeros((len(image), size))
    for y in range(0, len(labels), STRIP):
        strip = labels[y : y + STRIP].ravel()
        count += np.bincount(strip, minlength=size)
        for channel, values in zip(total, image[:, y : y + STRIP], strict=True):
            channel += np.bincount(strip, values.ravel(), minlength=size)
    return count, total


def _touching(labels: np.ndarray, neighbours: int) -> np.ndarray:
    """All pairs of labels that touch, (2, E), the lower one first."""
    found = []
    for y in range(0, len(labels), STRIP):
        strip = labels[y : y + STRIP + 1]
        for here, there in neighbour_pairs(neighbours):
            differ = strip[here] != strip[there]
            found.append(_distinct(strip[here][differ], strip[there][differ]))
    return _distinct(*np.concatenate(found, axis=1))


def _distinct(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The different pairs among pairs of numbers, int32 (2, E), the lower first, without pairs of equals."""
    keys = np.minimum(one, other).astype(np.int64) << 32
    keys |= np.maximum(one, other)
    keys.sort()
    keys = keys[np.concatenate([np.ones(min(1, len(keys)), bool), keys[1:] != keys[:-1]])]
    pairs = np.stack([(keys >> 32).astype(np.int32), keys.astype(np.int32)])
    return pairs[:, pairs[0] != pairs[1]]


def _mutually_closest(pairs: np.ndarray, total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Those of the pairs (2, E) of which each is the other's closest by mean value; no region is in two of them."""

    def gap(pairs: np.ndarray) -> np.ndarray:
        one, other = (total[:, of_pair] / count[of_pair] for of_pair in pairs)
        return np.nan_to_num(np.abs(one - other).max(0), nan=np.inf)

    def shuffle(pairs: np.ndarray) -> np.ndarray:
        # Among equals, take the pairs in no visible order: in reading order, a row of equals would join one by one.
        # Multiplying by an odd number modulo 2^64, here 2^64 over the golden ratio, keeps different numbers different.
        return (pairs[0].astype(np.uint64) << 32 | pairs[1].astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)

    for order in (gap, shuffle):
        pairs = _mutually_least(pairs, _in_parts(order, pairs), len(count))
    return pairs


def _in_parts(function: Callable[[np.ndarray], np.ndarray], pairs: np.ndarray) -> np.ndarray:
    """What a function gives for pairs (2, E), computed for some at a time to save memory."""
    parts = range(0, max(pairs.shape[1], 1), PART)
    return np.concatenate([function(pairs[:, start : start + PART]) for start in parts])


def _mutually_least(pairs: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Those of the pairs (2, E) whose value is the least among all pairs of either."""
    least = np.full(size, values.max(), values.dtype)
    for of_pair in pairs:
        np.minimum.at(least, of_pair, values)
    return pairs[:, (values == least[pairs[0]]) & (values == least[pairs[1]])]


def values_of(pixels: np.ndarray) -> np.ndarray:
    """The values of pixels (C, ...) as a function of the user's gets them."""
    values = pixels.reshape(len(pixels), -1)
    return values[0] if len(values) == 1 else values
