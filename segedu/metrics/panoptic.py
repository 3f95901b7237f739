"""Panoptic quality (Kirillov et al. 2019), counted by the rules of COCO's panopticapi."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch

from segedu.arrays import Array, in_memory

CROWD = -(1 << 31)  # the instance number of a crowd's pixels within this file
ALL_OF_CROWD = 0xFFFFFFFF  # the same in a segment's key


class Quality(NamedTuple):
    """Averages over classes: panoptic quality and its two parts, from 0 to 1; NaN if no class was there."""

    pq: float
    sq: float
    rq: float


class ClassQuality(NamedTuple):
    """One class: its matched segments (tp), made-up ones (fp), missed ones (fn), and the sum of the matches' IoUs."""

    tp: int
    fp: int
    fn: int
    iou: float

    @property
    def pq(self) -> float:
        """Panoptic quality, Σ IoU / (TP + FP / 2 + FN / 2); NaN for a class that is in neither map."""
        return self.iou / (self.tp + self.fp / 2 + self.fn / 2) if self.tp + self.fp + self.fn else math.nan

    @property
    def sq(self) -> float:
        """Segmentation quality, the matches' mean IoU; 0 without a match, NaN for a class that is in neither map."""
        return self.iou / self.tp if self.tp else 0 * self.pq

    @property
    def rq(self) -> float:
        """Recognition quality, TP / (TP + FP / 2 + FN / 2), the F1 score of the segments."""
        return self.tp / (self.tp + self.fp / 2 + self.fn / 2) if self.tp + self.fp + self.fn else math.nan


@dataclass(frozen=True)
class PanopticResult:
    """Panoptic quality of a whole set.

    `pq`, `sq` and `rq` are means over all classes that are in the truth or in the prediction; so are those of `things`
    and `stuff`. `per_class` has every class by its number.
    """

    pq: float
    sq: float
    rq: float
    things: Quality
    stuff: Quality
    per_class: dict[int, ClassQuality]


class PanopticQuality:
    """Matches segments image by image and counts, batch after batch; `result` is that of all images so far.

    A panoptic map, integer (..., H, W, 2), says of each pixel (category, instance). A segment is what has the same pair
    in one image; of stuff, all that has the same category. Rules (Kirillov et al. 2019, section 4; panopticapi):

    - A predicted and a true segment of one class match if their IoU is above 1/2, which no two predictions of one true
      segment can reach. Void pixels of the truth do not count for the union.
    - True segments without a match are missed (FN), predicted ones made up (FP), unless more than half of a predicted
      segment's pixels are void in the truth, or of a crowd of its own class.
    - A crowd is no segment: it is neither found nor missed.
    - Predicted void pixels belong to no segment.

    A crowd's pixels are marked in a map of their own; all crowd pixels of a class in one image are one region.

    Args:
        things: the categories whose instances are told apart.
        stuff: the categories that have no instances; their instance numbers are not looked at.
        void: the category of pixels that nobody labelled; none of the others. COCO's own files say 0.

    Example:
        >>> truth = np.array([[[3, 1], [3, 1], [3, 1], [0, 0]]])
        >>> guess = np.array([[[3, 7], [3, 7], [0, 0], [0, 0]]])
        >>> quality = PanopticQuality(things=[3], stuff=[0])
        >>> quality.update(guess, truth)
        >>> quality.result().per_class[3]
        ClassQuality(tp=1, fp=0, fn=0, iou=0.6666666666666666)
        >>> quality.result().per_class[0]
        ClassQuality(tp=0, fp=1, fn=1, iou=0.0)
    """

    def __init__(self, things: Iterable[int], stuff: Iterable[int], void: int = 255) -> None:
        self.things, self.stuff, self.void = frozenset(things), frozenset(stuff), void
        if both := self.things & self.stuff:
            raise ValueError(f"a category must be either thing or stuff, got both for {sorted(both)}")
        if void in self.things | self.stuff:
            raise ValueError(f"void must not be a category, got {void}: give unlabelled pixels a number of their own")
        if min(self.things | self.stuff | {void}, default=0) < 0:
            raise ValueError(f"categories and void must be 0 or more, got {min(self.things | self.stuff | {void})}")
        self._labels = np.array(sorted(self.things | self.stuff | {void}), np.int64)
        self._is_thing = np.array([label in self.things for label in self._labels.tolist()])
        self.reset()

    def reset(self) -> None:
        """Forget all counts."""
        # One entry for each label; that of void is never read.
        self._tp, self._fp, self._fn = np.zeros((3, self._labels.size), np.int64)
        self._iou = np.zeros(self._labels.size)

    def update(self, pred: Array, target: Array, crowd: Array | None = None) -> None:
        """Match the segments of one more image, or of each image of a batch. Waits for the device.

        Args:
            pred: panoptic maps, integer (..., H, W, 2) of (category, instance), both from 0 to 2^31 - 1.
            target: panoptic maps of the same shape.
            crowd: bool (..., H, W), the pixels of the truth that are a crowd's.

        Raises:
            TypeError: if maps are not integer, or neither all arrays nor all tensors.
            ValueError: if shapes differ, or a category is neither thing nor stuff nor void; then nothing is counted.
        """
        _check(pred, target, crowd)
        # All images are read before any is counted, so that an error leaves the counts as they were.
        images = [self._segments(*pairs) for pairs in _pairs(pred, target, crowd)]
        for image in images:
            self._count(*image)

    def merge(self, other: Self) -> None:
        """Add the counts of another set, say of another process, to these."""
        if (self.things, self.stuff, self.void) != (other.things, other.stuff, other.void):
            raise ValueError("qualities to merge must agree in things, stuff and void")
        self._tp, self._fp = self._tp + other._tp, self._fp + other._fp
        self._fn, self._iou = self._fn + other._fn, self._iou + other._iou

    def result(self) -> PanopticResult:
        """Give the quality of all images so far."""
        counts = (self._labels, self._tp, self._fp, self._fn, self._iou)
        rows = zip(*(column.tolist() for column in counts), strict=True)
        per_class = {label: ClassQuality(*row) for label, *row in rows if label != self.void}
        scores = {label: (q.pq, q.sq, q.rq) for label, q in per_class.items() if q.tp + q.fp + q.fn}
        things, stuff = (
            _average([score for label, score in scores.items() if label in kind]) for kind in (self.things, self.stuff)
        )
        return PanopticResult(*_average(list(scores.values())), things, stuff, per_class)

    def _segments(self, pairs: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Number the segments of one image, given as `_pairs` gives it.

        Returns:
            Keys, int64 (N,), of the predicted and of the true segment of each pair: the label's index << 32, plus the
            instance; and the pairs' pixels.
        """
        keys = []
        for name, (category, instance) in {"pred": pairs[:2], "target": pairs[2:]}.items():
            index = np.minimum(np.searchsorted(self._labels, category), self._labels.size - 1)
            unknown = category[self._labels[index] != category]
            if unknown.size:
                raise ValueError(
                    f"{name} must hold things {sorted(self.things)}, stuff {sorted(self.stuff)} or void {self.void}, "
                    f"got category {unknown[0]}: add it to things or stuff, or make its pixels void"
                )
            crowd = (instance == CROWD) & (category != self.void)
            odd = self._is_thing[index] & ((instance < 0) | (instance >= 1 << 31)) & ~crowd
            if odd.any():
                raise ValueError(f"{name} must hold instances from 0 to 2^31 - 1, got {instance[odd][0]}")
            keys.append((index << 32) + np.where(crowd, ALL_OF_CROWD, np.where(self._is_thing[index], instance, 0)))
        return *keys, pixels

    def _count(self, pred_key: np.ndarray, target_key: np.ndarray, pixels: np.ndarray) -> None:
        """Match the segments of one image, given as `_segments` gives them, and count."""
        labels = self._labels.size
        pred, p = np.unique(pred_key, return_inverse=True)
        target, t = np.unique(target_key, return_inverse=True)
        pairs, run = np.unique(p * target.size + t, return_inverse=True)
        shared = np.bincount(run, pixels)
        p, t = np.divmod(pairs, target.size)  # from here on a row for each pair of segments that meet

        pred_area, target_area = np.bincount(p, shared), np.bincount(t, shared)
        pred_label, target_label, crowd = pred >> 32, target >> 32, (target & ALL_OF_CROWD) == ALL_OF_CROWD
        void = np.searchsorted(self._labels, self.void)

        same = pred_label[p] == target_label[t]
        in_void = np.bincount(p, shared * (target_label[t] == void), pred.size)
        in_crowd = np.bincount(p, shared * (same & crowd[t]), pred.size)
        could = same & ~crowd[t] & (target_label[t] != void)
        p, t, shared = p[could], t[could], shared[could]
        iou = shared / (pred_area[p] + target_area[t] - shared - in_void[p])
        match = iou > 0.5
        matched_label = pred_label[p[match]]

        made_up = 2 * (in_void + in_crowd) <= pred_area
        made_up[p[match]] = False
        missed = ~crowd
        missed[t[match]] = False
        self._tp += np.bincount(matched_label, minlength=labels)
        self._iou += np.bincount(matched_label, iou[match], labels)
        self._fp += np.bincount(pred_label[made_up], minlength=labels)
        self._fn += np.bincount(target_label[missed], minlength=labels)


def panoptic_quality(
    pred: Array,
    target: Array,
    things: Iterable[int],
    stuff: Iterable[int],
    crowd: Array | None = None,
    void: int = 255,
) -> PanopticResult:
    """Panoptic quality of one image, or of a batch as one set; `PanopticQuality` says how segments are matched.

    PQ of a class is `Σ IoU of the matches / (TP + FP / 2 + FN / 2)`: the product of SQ, the matches' mean IoU, and RQ,
    the segments' F1 score. The means of the three over classes are no longer a product. Waits for the device.

    Args:
        pred: panoptic maps, integer (..., H, W, 2) of (category, instance).
        target: panoptic maps of the same shape.
        things: the categories whose instances are told apart.
        stuff: the categories that have no instances.
        crowd: bool (..., H, W), the pixels of the truth that are a crowd's.
        void: the category of pixels that nobody labelled.

    Returns:
        `.pq`, `.sq`, `.rq`, and the same in `.things`, `.stuff` and for each category in `.per_class`.

    Source: Kirillov et al. (2019), "Panoptic segmentation", section 4.
    """
    quality = PanopticQuality(things, stuff, void)
    quality.update(pred, target, crowd)
    return quality.result()


def _average(scores: list[tuple[float, float, float]]) -> Quality:
    """Average (PQ, SQ, RQ) of classes."""
    return Quality(*(sum(column) / len(scores) for column in zip(*scores, strict=True)) if scores else 3 * [math.nan])


def _pairs(pred: Array, target: Array, crowd: Array | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Say of each image which labels meet, and in how many pixels.

    Yields:
        int64 (4, N), predicted category and instance, true category and instance; and pixels, (N,).
    """
    height, width = pred.shape[-3:-1]
    on_host = isinstance(pred, np.ndarray) or in_memory(pred)
    images = [one.reshape(-1, height * width, 2) for one in (pred, target)]
    crowds = [None] * len(images[0]) if crowd is None else crowd.reshape(-1, height * width)
    for pred, target, crowd in zip(*images, crowds, strict=True):
        if crowd is not None:
            library = np if isinstance(crowd, np.ndarray) else torch
            instance = library.asarray(target[:, 1], dtype=library.int64)
            target = library.stack([target[:, 0], library.where(crowd, CROWD, instance)], -1)
        yield _count_pairs(np.asarray(pred), np.asarray(target)) if on_host else _unique_pairs(pred, target)


def _unique_pairs(pred: torch.Tensor, target: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Count equal rows of labels (H W, 2) on any device."""
    pairs, pixels = torch.unique(torch.cat([pred.long(), target.long()], 1), dim=0, return_counts=True)
    return pairs.T.cpu().numpy(), pixels.cpu().numpy()


def _count_pairs(pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Do as `_unique_pairs` on the host, much faster: most pixels have the labels of the one before."""
    # Compiled for two types only, since that takes long.
    dtype = np.int32 if pred.dtype == target.dtype == np.int32 else np.int64
    maps = [np.require(one, dtype, ["C", "W"]) for one in (pred, target)]
    size = 1 << 12
    while (table := _compiled()(*maps, size)) is None:
        size *= 8
    labels = table[table[:, 4] > 0].T
    return labels[:4], labels[4]


@functools.cache
def _compiled() -> Callable:
    """Compile the loop behind `_count_pairs`; Numba is loaded only now because that takes long."""
    import numba

    @numba.njit(cache=True)
    def count_pairs(pred, target, size):
        """Return a table (size, 5) of labels and pixels, 0 in free rows; None if `size`, a power of 2, is too small."""
        # A hash table with open addressing; at most half of it is taken.
        table = np.zeros((size, 5), np.int64)
        a, b, c, d = pred[0, 0], pred[0, 1], target[0, 0], target[0, 1]
        start = taken = 0
        for end in range(1, len(pred) + 1):
            if end < len(pred) and not (
                (pred[end, 0] ^ a) | (pred[end, 1] ^ b) | (target[end, 0] ^ c) | (target[end, 1] ^ d)
            ):
                continue
            mixed = np.uint64(0)
            for label in (a, b, c, d):
                mixed = (mixed ^ np.uint64(label)) * np.uint64(0x9E3779B97F4A7C15)
                mixed ^= mixed >> np.uint64(32)
            place = np.int64(mixed & np.uint64(size - 1))
            row = table[place]
            while row[4] and ((row[0] ^ a) | (row[1] ^ b) | (row[2] ^ c) | (row[3] ^ d)):
                place = (place + 1) & (size - 1)
                row = table[place]
            if not row[4]:
                row[0], row[1], row[2], row[3] = a, b, c, d
                taken += 1
                if 2 * taken > size:
                    return None
            row[4] += end - start
            start = end
            if end < len(pred):
                a, b, c, d = pred[end, 0], pred[end, 1], target[end, 0], target[end, 1]
        return table

    return count_pairs


def _check(pred: Array, target: Array, crowd: Array | None) -> None:
    given = [one for one in (pred, target, crowd) if one is not None]
    if not any(all(isinstance(one, kind) for one in given) for kind in (np.ndarray, torch.Tensor)):
        kinds = ", ".join(type(one).__name__ for one in given)
        raise TypeError(f"maps must all be NumPy arrays or all be PyTorch tensors, got {kinds}")
    for name, one in (("pred", pred), ("target", target)):
        floating = one.dtype.kind not in "ui" if isinstance(one, np.ndarray) else one.is_floating_point()
        if floating:
            raise TypeError(f"{name} must hold integers, got {one.dtype}")
        if one.ndim < 3 or one.shape[-1] != 2 or 0 in one.shape[-3:]:
            raise ValueError(f"{name} must have shape (..., H, W, 2) of (category, instance), got {tuple(one.shape)}")
    if pred.shape != target.shape:
        raise ValueError(f"pred and target must have the same shape, got {tuple(pred.shape)} and {tuple(target.shape)}")
    if crowd is not None and (crowd.shape != target.shape[:-1] or crowd.dtype not in (np.bool_, torch.bool)):
        raise ValueError(
            f"crowd must be bool of shape {tuple(target.shape[:-1])}, got {crowd.dtype} {tuple(crowd.shape)}"
        )
