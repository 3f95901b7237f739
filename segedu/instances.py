"""Cells one by one: out of a map of probabilities, and held against the truth where they touch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from skimage.measure import label
from skimage.morphology import disk, local_maxima, reconstruction
from skimage.segmentation import watershed
from torch import Tensor

from segedu.arrays import Array, takes_arrays
from segedu.distances import distance_inside

__all__ = ["Separation", "compare_cells", "connected_cells", "touching_pairs", "watershed_cells"]


@takes_arrays
def connected_cells(probability: Array, *, threshold: float = 0.5, smallest: int = 16) -> Array:
    """Number the connected regions of what is probably cell.

    1. A pixel is cell if its probability is above the threshold.
    2. Pixels of cells that share an edge are of one cell; those that meet at a corner only are not.
    3. Cells of fewer than `smallest` pixels are background.

    Args:
        probability: float (H, W), from 0 to 1, that a pixel is of any cell.
        threshold: from 0 to 1.
        smallest: pixels.

    Returns:
        Int32 (H, W): 0 is background, and the cells are 1, 2, ... Waits for the device: regions are found on the CPU.

    Raises:
        TypeError: if the probabilities are not floating point.
        ValueError: for another shape, or values that are no probabilities.
    """
    mask = _mask(probability, threshold)
    return _as_tensor(_without_small(label(mask, connectivity=1), smallest), probability)


@takes_arrays
def watershed_cells(probability: Array, *, threshold: float = 0.5, smallest: int = 16, depth: float = 1.0) -> Array:
    """Number what is probably cell, and cut connected cells at their necks.

    1. A pixel is cell if its probability is above the threshold.
    2. For each pixel of a cell we take its distance to the background: it is high in the middle of a cell, and low in
       a neck between two.
    3. A hill of these distances is a cell of its own if one must go down by more than `depth` to get to a higher one.
       Lower hills are bumps in an outline.
    4. Turned upside down, the distances are flooded from these hills; where two floods meet is the border of cells.
    5. Cells of fewer than `smallest` pixels are background.

    Args:
        probability: float (H, W), from 0 to 1, that a pixel is of any cell.
        threshold: from 0 to 1.
        smallest: pixels.
        depth: pixels, above 0. Less cuts more.

    Returns:
        As `connected_cells` does.

    Raises:
        TypeError: if the probabilities are not floating point.
        ValueError: for another shape, values that are no probabilities, or a depth that is not above 0.

    Source: Vincent and Soille 1991, "Watersheds in digital spaces"; the hills are the extended maxima of Soille 2003,
    "Morphological image analysis", section 6.3.4.
    """
    if not depth > 0:
        raise ValueError(f"depth must be above 0, got {depth}")
    mask = _mask(probability, threshold)
    if mask.all():  # without background there are no distances
        return _as_tensor(_without_small(mask.astype(np.int32), smallest), probability)
    distance = distance_inside(mask)
    # So deep lies the background that even the flattest cell is a hill.
    distance[~mask] = -depth
    levelled = reconstruction(distance - depth, distance, footprint=disk(1))
    hills = label(local_maxima(levelled, connectivity=1) & mask, connectivity=1)
    return _as_tensor(_without_small(watershed(-distance, hills, mask=mask), smallest), probability)


@takes_arrays
def touching_pairs(instances: Array, *, distance: float = 2.0) -> Array:
    """Which cells touch: those of which two pixels are no further apart than `distance`, from centre to centre.

    At 2, cells touch that share an edge or a corner, and those with one pixel between them in a row or a column.

    Args:
        instances: integer (H, W), 0 for background, one number above 0 for each cell.
        distance: pixels, at least 1.

    Returns:
        The numbers of the cells, int64 (P, 2), the lower one of each pair first, in order. Waits for the device.

    Raises:
        TypeError: if instances are not of an integer type.
        ValueError: for another shape, or a distance below 1.
    """
    if not distance >= 1:
        raise ValueError(f"distance must be at least 1 pixel, got {distance}")
    cells = _instances(instances, "instances").astype(np.int64)
    H, W = cells.shape
    reach = int(distance)
    pairs = [np.empty((0, 2), np.int64)]
    for dy in range(min(reach, H - 1) + 1):
        for dx in range(-min(reach, W - 1), min(reach, W - 1) + 1):
            if (dy, dx) <= (0, 0) or dy * dy + dx * dx > distance * distance:
                continue
            one = cells[: H - dy, max(-dx, 0) : W - max(dx, 0)]
            other = cells[dy:, max(dx, 0) : W - max(-dx, 0)]
            touch = (one != other) & (one > 0) & (other > 0)
            pairs.append(np.sort(np.stack([one[touch], other[touch]], axis=1), axis=1))
    return torch.from_numpy(np.unique(np.concatenate(pairs), axis=0)).to(instances.device)


@dataclass(frozen=True)
class Separation:
    """How well cells were told apart, counted over images: two of them can be added.

    A true cell is found if its IoU with a predicted one is above 0.5. No two cells can be found by the same one then.

    Attributes:
        cells: true cells.
        predicted: predicted cells.
        found: true cells that were found.
        touching: pairs of true cells that touch; see `touching_pairs`.
        apart: those of them of which both cells were found, and so came apart.
        merges: predicted cells that hold more than half of each of two or more true cells.
        splits: true cells that hold more than half of each of two or more predicted cells.
    """

    cells: int = 0
    predicted: int = 0
    found: int = 0
    touching: int = 0
    apart: int = 0
    merges: int = 0
    splits: int = 0

    def __add__(self, other: Separation) -> Separation:
        return Separation(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def share_apart(self) -> float:
        """The share of touching pairs that came apart; NaN if none touch."""
        return self.apart / self.touching if self.touching else float("nan")

    @property
    def f1(self) -> float:
        """Dice of the sets of true and predicted cells, at an IoU of 0.5; NaN if there are none of either."""
        return 2 * self.found / (self.cells + self.predicted) if self.cells + self.predicted else float("nan")


def compare_cells(predicted: Array, true: Array) -> Separation:
    """Count how well true cells, and above all those that touch, were told apart. Waits for the device.

    Args:
        predicted: integer (H, W), 0 for background, one number above 0 for each cell.
        true: as `predicted`.

    Raises:
        TypeError: if one is not of an integer type.
        ValueError: for shapes that differ, or are not (H, W).

    Source: merges and splits as in Caicedo et al. 2019, "Evaluation of deep learning strategies for nucleus
    segmentation in fluorescence images"; touching pairs are our measure.
    """
    (of_true, t), (of_predicted, p) = (
        np.unique(_instances(one, name), return_inverse=True)
        for one, name in ((true, "true"), (predicted, "predicted"))
    )
    if t.shape != p.shape:
        raise ValueError(f"predicted and true must have the same shape, got {p.shape} and {t.shape}")
    both = np.bincount((t * len(of_predicted) + p).ravel(), minlength=len(of_true) * len(of_predicted))
    both = both.reshape(len(of_true), len(of_predicted))
    true_area, predicted_area = both.sum(1, keepdims=True), both.sum(0, keepdims=True)
    both = both[np.ix_(of_true > 0, of_predicted > 0)]
    true_area, predicted_area = true_area[of_true > 0], predicted_area[:, of_predicted > 0]

    found = (2 * both > true_area + predicted_area - both).any(1)  # IoU above a half
    names = of_true[of_true > 0]
    pairs = np.searchsorted(names, touching_pairs(_instances(true, "true")))
    return Separation(
        cells=len(true_area),
        predicted=predicted_area.shape[1],
        found=int(found.sum()),
        touching=len(pairs),
        apart=int(found[pairs].all(1).sum()),
        merges=int(((2 * both > true_area).sum(0) > 1).sum()),
        splits=int(((2 * both > predicted_area).sum(1) > 1).sum()),
    )


def _mask(probability: Tensor, threshold: float) -> np.ndarray:
    if not probability.is_floating_point():
        raise TypeError(f"probability must be floating point, got {probability.dtype}")
    if probability.ndim != 2 or 0 in probability.shape:
        raise ValueError(f"probability must have shape (H, W) and pixels, got {tuple(probability.shape)}")
    values = probability.detach().float().cpu().numpy()
    if not (values.min() >= 0 and values.max() <= 1):  # so that NaN fails, too
        raise ValueError(
            f"probability must be from 0 to 1, got {values.min()} to {values.max()}: logits need a soft-max first"
        )
    return values > threshold


def _instances(instances: Array, name: str) -> np.ndarray:
    array = instances.cpu().numpy() if isinstance(instances, Tensor) else np.asarray(instances)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be numbered by integers, 0 for background, got {array.dtype}")
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{name} must have shape (H, W) and pixels, got {array.shape}")
    return array


def _without_small(labels: np.ndarray, smallest: int) -> np.ndarray:
    """The cells of enough pixels, numbered afresh in their order."""
    kept = np.bincount(labels.ravel()) >= smallest
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0)[labels].astype(np.int32)


def _as_tensor(labels: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(labels).to(like.device)
