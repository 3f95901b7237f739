"""The confusion matrix of a whole data set, and the four metrics of Long et al. (2015) that come from it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Self

import cv2
import numpy as np
import torch

Array = np.ndarray | torch.Tensor

TILE = 1 << 18  # pixels counted at a time on the host: small enough for the cache, and for OpenCV's float32 counts


class ConfusionMatrix:
    """Counts pixels by true and by predicted class, batch after batch; the metrics are those of all pixels so far.

    The metrics are those of Long, Shelhamer and Darrell (2015), section 5, with n_ij the pixels of class i that were
    predicted as class j, and t_i = Σ_j n_ij all pixels of class i. They belong to the data set as a whole: the mean of
    the metrics of single images is a different number, in which a class's few pixels in one image weigh as much as its
    many in another. Nothing counted yet gives NaN.

    Args:
        num_classes: C; the classes are 0..C-1.
        ignore_index: pixels with this target are not counted, whatever is predicted there. It must not be a class;
            None counts every pixel.

    Attributes:
        matrix: the n_ij, int64 (C, C): rows are the truth, columns the prediction. A NumPy array until tensors are
            counted, then a tensor on their device.

    Example:
        >>> cm = ConfusionMatrix(num_classes=2)
        >>> cm.update(pred=np.array([[0, 1], [1, 1]]), target=np.array([[0, 0], [1, 255]]))
        >>> cm.mean_iou()
        0.5
    """

    def __init__(self, num_classes: int, ignore_index: int | None = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if ignore_index is not None and 0 <= ignore_index < num_classes:
            raise ValueError(
                f"ignore_index must not be one of the classes 0..{num_classes - 1}, got {ignore_index}: to leave out "
                f"the pixels of class {ignore_index}, give them another number in target; to leave the class out of "
                "the mean, average iou_per_class() without it"
            )
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        """Forget all counts."""
        self.matrix: Array = np.zeros((self.num_classes, self.num_classes), np.int64)

    def update(self, pred: Array, target: Array) -> None:
        """Count the pixels of one more image or batch. Waits for the device.

        On the CPU, up to 255 classes are counted fastest from uint8 labels.

        Args:
            pred: integer labels (..., H, W) from 0 to C-1; where the target is ignored, any value.
            target: integer labels of the same shape, from 0 to C-1 or ignore_index.

        Raises:
            TypeError: if labels are not integers; scores need an argmax first.
            ValueError: if the shapes differ, or a label is not a class; then nothing has been counted.
        """
        _check_labels(pred, target)
        on_host = isinstance(pred, np.ndarray) or pred.device.type == "cpu"
        counts, ignored = self._count_in_tiles(pred, target) if on_host else self._count(pred, target)
        if int(counts.sum() + ignored) != int(np.prod(target.shape)):
            self._explain(pred, target)
        self._add(counts)

    def merge(self, other: Self) -> None:
        """Add the counts of another matrix, say of another process, to this one."""
        if (self.num_classes, self.ignore_index) != (other.num_classes, other.ignore_index):
            raise ValueError(
                "matrices to merge must agree in num_classes and ignore_index, got "
                f"{(self.num_classes, self.ignore_index)} and {(other.num_classes, other.ignore_index)}"
            )
        self._add(other.matrix)

    def __add__(self, other: Self) -> Self:
        """Return a new matrix with the counts of both."""
        total = type(self)(self.num_classes, self.ignore_index)
        total.merge(self)
        total.merge(other)
        return total

    def pixel_accuracy(self) -> float:
        """Σ_i n_ii / Σ_i t_i: the share of pixels that are right, from 0 to 1. Waits for the device."""
        hits, truth, _ = self._totals()
        return float(_divide(hits.sum(), truth.sum()))

    def mean_accuracy(self) -> float:
        """(1/n) Σ_i n_ii / t_i over the n classes that have pixels in the truth, from 0 to 1. Waits for the device."""
        return _mean(self._accuracies())

    def mean_iou(self) -> float:
        """(1/n) Σ_i n_ii / (t_i + Σ_j n_ji - n_ii), from 0 to 1. Waits for the device.

        Over the n classes that have pixels in the truth or in the prediction. A class that is in neither was neither
        found nor missed: counting it as 0 or as 1 would move the mean for no reason that the pixels give.
        """
        return _mean(self._ious())

    def frequency_weighted_iou(self) -> float:
        """Σ_i t_i IoU_i / Σ_k t_k: the IoUs weighted by the classes' true pixels, from 0 to 1. Waits for the device."""
        truth = self._totals()[1]
        return float(_divide(np.nansum(truth * self._ious()), truth.sum()))

    def iou_per_class(self) -> Array:
        """Give IoU_i = n_ii / (t_i + Σ_j n_ji - n_ii), float64 (C,), from 0 to 1. Waits for the device.

        NaN for a class that has no pixel in the truth nor in the prediction. An array or a tensor as `matrix` is.
        """
        return self._like_matrix(self._ious())

    def accuracy_per_class(self) -> Array:
        """Give n_ii / t_i, the recall of each class, float64 (C,), from 0 to 1. Waits for the device.

        NaN for a class that has no pixel in the truth. An array or a tensor as `matrix` is.
        """
        return self._like_matrix(self._accuracies())

    def _totals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the pixels found (n_ii), true (t_i) and predicted (Σ_j n_ji) of each class, on the host."""
        matrix = self.matrix if isinstance(self.matrix, np.ndarray) else self.matrix.cpu().numpy()
        return matrix.diagonal(), matrix.sum(1), matrix.sum(0)

    def _accuracies(self) -> np.ndarray:
        hits, truth, _ = self._totals()
        return _divide(hits, truth)

    def _ious(self) -> np.ndarray:
        hits, truth, predicted = self._totals()
        return _divide(hits, truth + predicted - hits)

    def _like_matrix(self, values: np.ndarray) -> Array:
        return values if isinstance(self.matrix, np.ndarray) else torch.from_numpy(values).to(self.matrix.device)

    def _add(self, counts: Array) -> None:
        if isinstance(counts, torch.Tensor):
            self.matrix = torch.as_tensor(self.matrix, device=counts.device)
        elif isinstance(self.matrix, torch.Tensor):
            counts = torch.from_numpy(counts).to(self.matrix.device)
        self.matrix = self.matrix + counts

    def _count(self, pred: Array, target: Array) -> tuple[Array, Array]:
        """Count pairs of classes, (C, C), and ignored pixels, with NumPy or with torch on any device."""
        library, classes = torch if isinstance(pred, torch.Tensor) else np, self.num_classes
        pred, target = _to_int64(pred), _to_int64(target)
        inside = (pred >= 0) & (pred < classes) & (target >= 0) & (target < classes)
        pair = library.where(inside, target * classes + pred, classes**2)  # one bin more for all other pixels
        counts = library.bincount(pair.reshape(-1), minlength=classes**2 + 1)[:-1].reshape(classes, classes)
        return counts, self._ignored(target).sum()

    def _ignored(self, target: Array) -> Array:
        """Mark the pixels that are not to be counted; none without an ignore_index."""
        return target != target if self.ignore_index is None else target == self.ignore_index

    def _count_in_tiles(self, pred: Array, target: Array) -> tuple[Array, int]:
        """Count as `_count` does, but tile by tile, in threads, and, where labels fit into uint8, by OpenCV: faster."""
        if isinstance(pred, torch.Tensor):
            counts, ignored = self._count_in_tiles(pred.numpy(), target.numpy())
            return torch.from_numpy(counts), ignored
        pred, target, classes = pred.reshape(-1), target.reshape(-1), self.num_classes

        def count(start: int) -> tuple[np.ndarray, int]:
            labels = target[start : start + TILE], pred[start : start + TILE]
            small = [_to_uint8(values) for values in labels]
            if classes < 256 and all(values is not None for values in small):
                # OpenCV leaves out what is not within the ranges, as `_count` does.
                counts = cv2.calcHist(small, [0, 1], None, [classes, classes], [0, classes, 0, classes])
                return counts.astype(np.int64), np.count_nonzero(self._ignored(small[0]))
            counts, ignored = self._count(labels[1], labels[0])
            return counts, int(ignored)

        starts = range(0, target.size, TILE)
        if len(starts) > 2:  # OpenCV and NumPy let other threads run meanwhile
            with ThreadPoolExecutor(torch.get_num_threads()) as threads:
                parts = list(threads.map(count, starts))
        else:
            parts = [count(start) for start in starts]
        nothing = np.zeros((classes, classes), np.int64)
        return sum((counts for counts, _ in parts), nothing), sum(ignored for _, ignored in parts)

    def _explain(self, pred: Array, target: Array) -> None:
        """Say which labels could not be counted."""
        pred, target, last = _to_int64(pred), _to_int64(target), self.num_classes - 1
        counted = (target >= 0) & (target <= last)
        unknown = target[~counted & ~self._ignored(target)]
        if len(unknown):
            raise ValueError(
                f"target must hold classes 0..{last} or ignore_index {self.ignore_index}, got {int(unknown[0])}: "
                f"if that marks unlabelled pixels, make it the ignore_index, else raise num_classes"
            )
        wrong = pred[counted & ((pred < 0) | (pred > last))]
        raise ValueError(
            f"pred must hold classes 0..{last} wherever the target is not ignored, got {int(wrong[0])}: "
            "give every pixel its best class, or raise num_classes"
        )


def _to_uint8(labels: np.ndarray) -> np.ndarray | None:
    """Return labels as uint8, or None if one of them does not fit."""
    if labels.dtype.itemsize == 1:
        return labels.view(np.uint8) if labels.dtype != np.int8 or labels.min() >= 0 else None
    # Seen as unsigned, negative labels are very large ones, and one look at the largest is enough.
    if labels.view(f"{labels.dtype.byteorder}u{labels.dtype.itemsize}").max() > 255:
        return None
    return labels.astype(np.uint8)


def _to_int64(labels: Array) -> Array:
    return labels.long() if isinstance(labels, torch.Tensor) else labels.astype(np.int64)


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide as float64; 0 / 0 is NaN."""
    with np.errstate(invalid="ignore"):
        return np.divide(part, whole)


def _mean(values: np.ndarray) -> float:
    """Average what is not NaN; NaN if nothing is left."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def _check_labels(pred: Array, target: Array) -> None:
    if not any(isinstance(pred, kind) and isinstance(target, kind) for kind in (np.ndarray, torch.Tensor)):
        raise TypeError(
            "pred and target must both be NumPy arrays or both be PyTorch tensors, "
            f"got {type(pred).__name__} and {type(target).__name__}"
        )
    for name, labels in (("pred", pred), ("target", target)):
        floating = labels.dtype.kind not in "uib" if isinstance(labels, np.ndarray) else labels.is_floating_point()
        if floating:
            raise TypeError(
                f"{name} must hold integer labels, got {labels.dtype}: "
                "take the best class of each pixel first, as in scores.argmax(1) for scores (B, C, H, W)"
            )
    if pred.shape != target.shape:
        hint = ": take the best class first, as in scores.argmax(1)" if pred.ndim == target.ndim + 1 else ""
        raise ValueError(
            f"pred and target must have the same shape, got {tuple(pred.shape)} and {tuple(target.shape)}{hint}"
        )
    if isinstance(pred, torch.Tensor) and pred.device != target.device:
        raise ValueError(f"pred and target must be on one device, got {pred.device} and {target.device}")
