"""The reference solution of ps01 against peers, and the numbers in its notebook's text."""

from pathlib import Path

import nbformat
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from sklearn import metrics as sklearn_metrics

NAME = "ps01-masks-and-iou"
NOTEBOOK = nbformat.read(Path(__file__).parents[1] / "solutions" / NAME / f"{NAME}.ipynb", 4)


@pytest.fixture(scope="module")
def reference(reference_of):
    return reference_of(NAME)


def random_masks(rng: np.random.Generator):
    for _ in range(50):
        height, width = rng.integers(1, 30, 2)
        yield rng.random((height, width)) < rng.random()


def test_rle_is_that_of_pycocotools(reference):
    rng = np.random.default_rng(0)
    for mask in random_masks(rng):
        counts = reference["rle_encode"](mask)
        theirs = coco_mask.frPyObjects({"size": list(mask.shape), "counts": counts}, *mask.shape)
        assert theirs == coco_mask.encode(np.asfortranarray(mask, np.uint8))
        np.testing.assert_array_equal(reference["rle_decode"](counts, mask.shape), coco_mask.decode(theirs))


def test_confusion_matrix_is_that_of_scikit_learn(reference):
    rng = np.random.default_rng(1)
    for classes in (2, 5, 21):
        pred, target = rng.integers(0, classes, (2, 40, 50)).astype(np.uint8)
        target[rng.random(target.shape) < 0.1] = 255
        counted = target != 255
        theirs = sklearn_metrics.confusion_matrix(target[counted], pred[counted], labels=range(classes))
        np.testing.assert_array_equal(reference["confusion_matrix"](pred, target, classes), theirs)


def test_metrics_are_those_of_scikit_learn(reference):
    rng = np.random.default_rng(2)
    for classes in (2, 6, 12):
        pred, target = rng.integers(0, classes, (2, 500))
        matrix = sklearn_metrics.confusion_matrix(target, pred, labels=range(classes + 1))  # the last is nowhere
        assert reference["pixel_accuracy"](matrix) == pytest.approx(sklearn_metrics.accuracy_score(target, pred))
        balanced = sklearn_metrics.balanced_accuracy_score(target, pred)
        assert reference["mean_accuracy"](matrix) == pytest.approx(balanced)
        ious = [sklearn_metrics.jaccard_score(target, pred, average=how) for how in ("macro", "weighted")]
        assert reference["mean_iou"](matrix) == pytest.approx(ious[0])
        assert reference["frequency_weighted_iou"](matrix) == pytest.approx(ious[1])


def test_iou_and_dice_are_those_of_pycocotools_and_scikit_learn(reference):
    rng = np.random.default_rng(3)
    for pred in random_masks(rng):
        target = rng.random(pred.shape) < rng.random()
        if not (pred | target).any():
            continue
        rles = [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in (pred, target)]
        theirs = coco_mask.iou(rles[:1], rles[1:], [0])[0, 0]
        assert reference["iou"](pred, target) == pytest.approx(theirs)
        f1 = sklearn_metrics.f1_score(target.ravel(), pred.ravel(), zero_division=0)
        assert reference["dice"](pred, target) == pytest.approx(f1)


def test_numbers_in_the_text_are_those_of_the_models(reference):
    space = dict(reference)
    for cell in NOTEBOOK.cells:
        if cell.id in ("picture-scene", "picture-models"):
            exec("from segedu.datasets import shapes\nfrom segedu.plots import *\n" + cell.source, space)
    (text,) = (cell.source for cell in NOTEBOOK.cells if cell.id == "task-8")
    for name in ("sloppy", "careless"):
        (row,) = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
        labels, counted = range(7), space["truth"] != 255
        truth, pred = space["truth"][counted], space[name][counted]
        accuracy = sklearn_metrics.accuracy_score(truth, pred)
        mean_accuracy = sklearn_metrics.recall_score(truth, pred, labels=labels, average="macro")
        ious = [sklearn_metrics.jaccard_score(truth, pred, labels=labels, average=how) for how in ("macro", "weighted")]
        assert row.split("|")[2:-1] == [f" {value:.3f} " for value in (accuracy, mean_accuracy, *ious)]
