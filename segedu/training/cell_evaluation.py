"""What a trained model makes of an image of cells, and how good that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skimage.metrics import adapted_rand_error
from torch import Tensor, nn
from torch.utils.data import Dataset

from segedu.instances import Separation, compare_cells, connected_cells, watershed_cells
from segedu.masks import rle_encode
from segedu.metrics import ConfusionMatrix, average_precision
from segedu.models.tiling import overlap_tile
from segedu.training.tasks import Track

DARK, LIGHT = 0.01, 0.998  # shares of the pixels below black and white
TILE, MARGIN = 256, 32  # together a multiple of the networks' strides
SEPARATE: dict[str, Callable[[np.ndarray], np.ndarray]] = {"components": connected_cells, "watershed": watershed_cells}


def stretch(image: Tensor) -> Tensor:
    """Grey, from 0 for the darkest hundredth of the pixels to 1 for nearly the brightest, and a little beyond.

    Fluorescent nuclei may be 20 or 250 of 255, depending on dye and exposure, neither of which says where they are.

    Args:
        image: uint8 (C, H, W), grey or RGB.

    Returns:
        Float32 (1, H, W).
    """
    grey = image.float().mean(0, keepdim=True).round().long()
    up_to = torch.bincount(grey.flatten(), minlength=256).cumsum(0)  # pixels that are at most so bright
    dark, light = torch.searchsorted(up_to, up_to[-1] * torch.tensor([DARK, LIGHT], device=image.device))
    return (grey - dark) / (light - dark).clamp_min(1)


@torch.inference_mode()
def cell_probability(model: nn.Module, image: Tensor) -> Tensor:
    """The probability of each pixel to be of a cell: float (H, W), of a uint8 image (C, H, W) of any size.

    Large images go through the model in tiles; all are seen with some pixels of their mirror image around them.
    """
    logits = overlap_tile(model, stretch(image)[None], tile=TILE, margin=MARGIN)
    return logits[0].float().softmax(0)[1]


def evaluate_cells(
    model: nn.Module, dataset: Dataset, device: torch.device, track: Track, separate: str = "watershed"
) -> dict[str, float]:
    """Measure a model in evaluation mode on a data set of cells: by all pixels, and cell by cell. Waits.

    Args:
        model: takes float (B, 1, H, W), on the device.
        dataset: of uint8 images of any size, and of instances or of classes; see `has_instances`.
        device: of the model.
        track: see `segedu.training.tasks`.
        separate: one of `SEPARATE`, for `evaluate_membranes`; with instances, all of them are compared.

    Returns:
        What `evaluate_instances` or `evaluate_membranes` does.
    """
    if has_instances(dataset):
        return evaluate_instances(model, dataset, device, track)
    return evaluate_membranes(model, dataset, device, track, separate)


def has_instances(dataset: Dataset) -> bool:
    """Whether targets are instances, int32 (H, W), or else classes, uint8 (H, W), with one that is called "cell"."""
    return dataset[0][1].dtype != torch.uint8


def evaluate_instances(model: nn.Module, dataset: Dataset, device: torch.device, track: Track) -> dict[str, float]:
    """COCO's AP of the cells that are found, and whether those that touch come apart; arguments: `evaluate_cells`.

    All is measured twice, with the cells of `connected_cells` ("components/...") and with those of `watershed_cells`
    ("watershed/..."). A cell's score is the mean probability of its pixels.

    Returns:
        `cells` and `touching_pairs` of the truth; `cell_iou`, of all pixels; and of either step `AP` and `AP50`, for
        which COCO counts the best 100 cells of an image; `F1`, at an IoU of 0.5, for which all count;
        `touching_apart`, the share of touching pairs that came apart; `merges` and `splits`, as of `Separation`.
    """
    truth: dict[str, list] = {"images": [], "annotations": [], "categories": [{"id": 1}]}
    detections: dict[str, list] = {step: [] for step in SEPARATE}
    counts = dict.fromkeys(SEPARATE, Separation())
    confusion = ConfusionMatrix(2)
    for number, (image, target) in enumerate(track(dataset, "validating"), 1):
        true = target.numpy()
        probability = cell_probability(model, image.to(device)).cpu().numpy()
        confusion.update((probability > 0.5).astype(np.uint8), (true > 0).astype(np.uint8))
        truth["images"].append({"id": number, "height": true.shape[0], "width": true.shape[1]})
        truth["annotations"] += _records(number, true)
        for step, find in SEPARATE.items():
            cells = find(probability)
            scores = cell_scores(cells, probability)
            detections[step] += [
                {**record, "score": score} for record, score in zip(_records(number, cells), scores, strict=True)
            ]
            counts[step] += compare_cells(cells, true)
    first = counts["components"]
    results = {"cells": first.cells, "touching_pairs": first.touching, "cell_iou": float(confusion.iou_per_class()[1])}
    for step, count in counts.items():
        precision = average_precision(truth, detections[step])
        measures = {
            "AP": precision["AP"],
            "AP50": precision["AP50"],
            "F1": count.f1,
            "touching_apart": count.share_apart,
            "merges": count.merges,
            "splits": count.splits,
        }
        results |= {f"{step}/{name}": value for name, value in measures.items()}
    return results


def evaluate_membranes(
    model: nn.Module, dataset: Dataset, device: torch.device, track: Track, separate: str
) -> dict[str, float]:
    """The IoU of membranes and of cells, and Rand's F-score; arguments: `evaluate_cells`.

    Returns:
        `membrane_iou`, `cell_iou` and their mean, `mean_iou`, over all pixels; and `rand_f1`, the mean over the images:
        of all pairs of pixels that are of cells in truth, it compares those in one true cell with those in one
        predicted cell (Arganda-Carreras et al. 2015, section 2.3.1; without their thinning of membranes, and at a
        probability of 1/2, where they take the best threshold).
    """
    cell = dataset.classes.index("cell")
    confusion, rand = ConfusionMatrix(2), []
    for image, target in track(dataset, "validating"):
        probability = cell_probability(model, image.to(device)).cpu().numpy()
        true = target.numpy() == cell
        confusion.update((probability > 0.5).astype(np.uint8), true.astype(np.uint8))
        cells = connected_cells(true.astype(np.float32), smallest=1)
        rand.append(1 - adapted_rand_error(cells, SEPARATE[separate](probability))[0])
    membrane_iou, cell_iou = confusion.iou_per_class().tolist()
    return {
        "mean_iou": float(confusion.mean_iou()),
        "membrane_iou": membrane_iou,
        "cell_iou": cell_iou,
        "rand_f1": float(np.mean(rand)),
    }


def cell_scores(cells: np.ndarray, probability: np.ndarray) -> list[float]:
    """The mean probability of the pixels of each cell, 1, 2, ..."""
    pixels = np.bincount(cells.ravel())
    return (np.bincount(cells.ravel(), probability.ravel())[1:] / pixels[1:]).tolist()


def _records(image_id: int, cells: np.ndarray) -> list[dict[str, Any]]:
    """COCO's records of cells, in the order of their numbers."""
    return [
        {"image_id": image_id, "category_id": 1, "segmentation": rle_encode(cells == number)}
        for number in np.unique(cells[cells > 0])
    ]
