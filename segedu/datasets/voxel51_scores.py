"""What FiftyOne makes of predictions, beside our own numbers: objects by COCO's protocol, and label maps by pixels.

Both are there to be compared. They agree but for two things. FiftyOne (1.22) measures the IoU of masks with a crowd as
with any other object, where COCO divides by the area of the prediction alone: predictions within a crowd, which COCO
leaves out, count as wrong in FiftyOne. And of predictions in different images with the very same score, FiftyOne takes
the right ones first, COCO those of the first image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segedu.datasets.coco import Record
from segedu.datasets.coco_panoptic import VOID
from segedu.datasets.coco_subset import Subset
from segedu.datasets.voxel51 import FOUND, FOUND_LABELS, TRUE_LABELS, TRUTH
from segedu.metrics import ConfusionMatrix, average_precision

if TYPE_CHECKING:
    import fiftyone

OBJECTS_KEY, PIXELS_KEY = "eval", "eval_semantic"
PERFECT = {"AP50": 0.5, "AP75": 0.75}

Scores = dict[str, tuple[float, float | None]]  # ours, and FiftyOne's if it has such a number


def score_objects(
    dataset: fiftyone.Dataset,
    subset: Subset,
    found: Mapping[int, Sequence[Record]],
    progress: bool | Callable = False,
) -> Scores:
    """Compare the fields `predictions` and `ground_truth` by their masks.

    Objects get FiftyOne's `eval` ("tp", "fp" or "fn" at an IoU of 0.5), `eval_iou` and `eval_id`; samples its counts
    `eval_tp`, `eval_fp`, `eval_fn`, and our average precision of the image alone, `AP`.

    Args:
        dataset: of `to_fiftyone`, with predictions.
        subset: it was made from.
        found: the predictions, as `add_predictions` got them.
        progress: FiftyOne's bar; a function is called with it.

    Returns:
        COCO's 12 numbers from 0 to 1, -1 where there is no such object.
    """
    truth = subset.truth()
    ours = average_precision(truth, [record for records in found.values() for record in records])
    results = dataset.evaluate_detections(
        FOUND,
        gt_field=TRUTH,
        eval_key=OBJECTS_KEY,
        method="coco",
        use_masks=True,
        iou=0.5,
        compute_mAP=True,
        progress=progress,
    )
    theirs = {"AP": float(results.mAP()), "AR100": float(results.mAR())}
    for name, iou in PERFECT.items():
        (at,) = np.flatnonzero(np.isclose(results.iou_threshs, iou))
        of_classes = results.precision[at].mean(-1)  # -1 for those that are predicted only
        theirs[name] = float(of_classes[of_classes > -1].mean()) if (of_classes > -1).any() else -1.0
    _set_numbers(dataset, "AP", _alone(subset, found))
    return {name: (value, theirs.get(name)) for name, value in ours.items()}


def score_label_maps(
    dataset: fiftyone.Dataset,
    subset: Subset,
    maps: Mapping[int, np.ndarray],
    progress: bool | Callable = False,
) -> Scores:
    """Compare the fields `predicted_semantic` and `semantic`, where the truth is not void.

    Samples get FiftyOne's `eval_semantic_accuracy`, `..._precision` and `..._recall`, and our `mean_iou` of the image.

    Args:
        dataset: of `to_fiftyone`, with predicted label maps.
        subset: it was made from.
        maps: the predictions, as `add_label_maps` got them, without void.
        progress: FiftyOne's bar; a function is called with it.

    Returns:
        The four metrics of `ConfusionMatrix`, from 0 to 1: of our counts of pixels, and of FiftyOne's.
    """
    classes = len(subset.panoptic.names)
    total, mean_ious = ConfusionMatrix(classes, VOID), {}
    for image in subset.images:
        one = ConfusionMatrix(classes, VOID)
        one.update(np.asarray(maps[image["id"]]), subset.labels(image))
        mean_ious[image["id"]] = one.mean_iou() if one.matrix.any() else None
        total.merge(one)
    results = dataset.evaluate_segmentations(
        FOUND_LABELS,
        gt_field=TRUE_LABELS,
        eval_key=PIXELS_KEY,
        mask_targets=dataset.mask_targets[TRUE_LABELS],
        progress=progress,
    )
    _set_numbers(dataset, "mean_iou", mean_ious)
    theirs = ConfusionMatrix(classes, VOID)
    theirs.matrix = results.pixel_confusion_matrix
    names = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")
    return {name: (getattr(total, name)(), getattr(theirs, name)()) for name in names}


def _set_numbers(dataset: fiftyone.Dataset, field: str, values: Mapping[int, float | None]) -> None:
    """Set a number for each image; the field has to be made first, as its kind cannot be told if all are None."""
    from fiftyone import FloatField

    dataset.add_sample_field(field, FloatField)
    dataset.set_values(field, values, key_field="image_id", progress=False)


def _alone(subset: Subset, found: Mapping[int, Sequence[Record]]) -> dict[int, float | None]:
    """The average precision of each image as if it were the only one; None where it has no object."""
    scores: dict[int, Any] = {}
    for image in subset.images:
        truth = subset.truth() | {"images": [image], "annotations": subset.instances.annotations[image["id"]]}
        score = average_precision(truth, list(found.get(image["id"], ())))["AP"]
        scores[image["id"]] = None if score < 0 else score
    return scores
