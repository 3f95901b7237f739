"""segedu.metrics.ConfusionMatrix against scikit-learn, torchmetrics and a case worked by hand."""

import doctest
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from torchmetrics.classification import MulticlassConfusionMatrix

import segedu.metrics.confusion
from segedu.metrics import ConfusionMatrix

# A busy machine is slow now and then; that is no failure.

CLASSES = 5
DTYPES = ["uint8", "int8", "int16", "uint16", "int32", "int64"]


def maps(seed: int = 0, shape: tuple[int, ...] = (3, 40, 31), classes: int = CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """Predictions that are right more often than not, and a target with pixels to ignore (255)."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, shape)
    pred = np.where(rng.random(shape) < 0.6, target, rng.integers(0, classes, shape))
    return pred, np.where(rng.random(shape) < 0.1, 255, target)


def counted(pred, target, classes: int = CLASSES, ignore_index: int | None = 255) -> ConfusionMatrix:
    cm = ConfusionMatrix(classes, ignore_index)
    cm.update(pred, target)
    return cm


def test_two_classes_worked_by_hand():
    # 10 pixels: of 6 of class 0, 4 are found; of 4 of class 1, 3 are found.
    target = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 1]])
    pred = np.array([[0, 0, 0, 0, 1], [1, 1, 1, 1, 0]])
    cm = counted(pred, target, classes=2)
    np.testing.assert_array_equal(cm.matrix, [[4, 2], [1, 3]])
    assert cm.pixel_accuracy() == pytest.approx(7 / 10)
    assert cm.mean_accuracy() == pytest.approx((4 / 6 + 3 / 4) / 2)
    assert cm.mean_iou() == pytest.approx((4 / 7 + 3 / 6) / 2)
    assert cm.frequency_weighted_iou() == pytest.approx((6 * 4 / 7 + 4 * 3 / 6) / 10)
    np.testing.assert_allclose(cm.iou_per_class(), [4 / 7, 3 / 6])
    np.testing.assert_allclose(cm.accuracy_per_class(), [4 / 6, 3 / 4])
    for value in (cm.pixel_accuracy(), cm.mean_accuracy(), cm.mean_iou(), cm.frequency_weighted_iou()):
        assert type(value) is float


def test_the_docstring_example():
    assert doctest.testmod(segedu.metrics.confusion, extraglobs={"np": np}).attempted > 0
    assert doctest.testmod(segedu.metrics.confusion, extraglobs={"np": np}).failed == 0


@pytest.mark.parametrize("seed", range(3))
def test_all_metrics_equal_scikit_learn(seed):
    pred, target = maps(seed)
    cm = counted(pred, target)
    valid = target != 255
    t, p = target[valid], pred[valid]
    np.testing.assert_array_equal(cm.matrix, sk.confusion_matrix(t, p, labels=range(CLASSES)))
    np.testing.assert_allclose(cm.iou_per_class(), sk.jaccard_score(t, p, average=None))
    np.testing.assert_allclose(cm.accuracy_per_class(), sk.recall_score(t, p, average=None))
    assert cm.pixel_accuracy() == pytest.approx(sk.accuracy_score(t, p))
    assert cm.mean_accuracy() == pytest.approx(sk.balanced_accuracy_score(t, p))
    assert cm.mean_iou() == pytest.approx(sk.jaccard_score(t, p, average="macro"))
    assert cm.frequency_weighted_iou() == pytest.approx(sk.jaccard_score(t, p, average="weighted"))


@pytest.mark.parametrize("classes", [1, 2, 21, 254, 255, 256, 300])
def test_matrix_equals_torchmetrics(classes):
    pred, target = maps(classes=classes)
    ignore_index = 255 if classes < 256 else 1000
    target = np.where(target == 255, ignore_index, target)
    if classes == 1:  # torchmetrics takes two classes or more
        np.testing.assert_array_equal(counted(pred, target, 1).matrix, [[(target == 0).sum()]])
        return
    theirs = MulticlassConfusionMatrix(classes, ignore_index=ignore_index, validate_args=False)
    theirs = theirs(torch.from_numpy(pred), torch.from_numpy(target))
    np.testing.assert_array_equal(counted(pred, target, classes, ignore_index).matrix, theirs)
    np.testing.assert_array_equal(counted(*map(torch.from_numpy, (pred, target)), classes, ignore_index).matrix, theirs)


@pytest.mark.parametrize("pred_type", DTYPES)
@pytest.mark.parametrize("target_type", DTYPES)
def test_every_integer_type_gives_the_same_counts(pred_type, target_type):
    pred, target = maps()
    target = np.where(target == 255, 100, target)  # fits int8
    expected = sk.confusion_matrix(target[target != 100], pred[target != 100])
    pred, target = pred.astype(pred_type), target.astype(target_type)
    np.testing.assert_array_equal(counted(pred, target, ignore_index=100).matrix, expected)
    cm = counted(torch.from_numpy(pred), torch.from_numpy(target), ignore_index=100)
    assert isinstance(cm.matrix, torch.Tensor) and cm.matrix.dtype == torch.int64
    np.testing.assert_array_equal(cm.matrix, expected)


@pytest.mark.parametrize("ignore_index", [-1, -100, 254, 256, 1 << 40])
@pytest.mark.parametrize("dtype", ["int64", ">i8"])
def test_any_label_outside_the_classes_may_mean_ignore(ignore_index, dtype):
    pred, target = maps()
    moved = np.where(target == 255, ignore_index, target).astype(dtype)
    np.testing.assert_array_equal(counted(pred, moved, ignore_index=ignore_index).matrix, counted(pred, target).matrix)


def test_the_path_for_other_devices_counts_the_same():
    pred, target = maps(shape=(2, 300, 500))
    cm = counted(pred, target)
    for arrays in ((pred, target), tuple(map(torch.from_numpy, (pred, target)))):
        counts, ignored = cm._count(*arrays)
        np.testing.assert_array_equal(counts, cm.matrix)
        assert ignored == (target == 255).sum()


def test_bool_labels_views_and_read_only_arrays():
    rng = np.random.default_rng(0)
    pred, target = rng.random((2, 60, 80)) < 0.5
    expected = sk.confusion_matrix(target.ravel(), pred.ravel())
    np.testing.assert_array_equal(counted(pred, target, 2).matrix, expected)
    np.testing.assert_array_equal(counted(torch.from_numpy(pred), torch.from_numpy(target), 2).matrix, expected)
    np.testing.assert_array_equal(counted(pred[::-1].T, target[::-1].T, 2).matrix, expected)
    for array in (pred, target):
        array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(counted(pred, target, 2).matrix, expected)


def test_predictions_under_ignored_pixels_do_not_matter():
    pred, target = maps()
    expected = counted(pred, target).matrix
    for junk in (-7, 5, 255, 10_000):
        np.testing.assert_array_equal(counted(np.where(target == 255, junk, pred), target).matrix, expected)


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_batches_merged_matrices_and_one_shot_agree(first, seed):
    pred, target = maps(seed, (61, 4, 3))
    whole = counted(pred, target)
    streamed = counted(pred[:first], target[:first])
    streamed.update(pred[first:], target[first:])
    halves = counted(pred[:first], target[:first]) + counted(pred[first:], target[first:])
    merged = ConfusionMatrix(CLASSES)
    merged.merge(whole)
    for cm in (streamed, halves, merged):
        np.testing.assert_array_equal(cm.matrix, whole.matrix)
    assert whole.matrix.sum() == (target != 255).sum()


def test_more_pixels_than_a_tile():
    pred, target = maps(shape=(3, 512, 700))
    valid = target != 255
    pairs, expected = np.unique(target[valid] * CLASSES + pred[valid], return_counts=True)
    assert len(pairs) == CLASSES**2
    np.testing.assert_array_equal(counted(pred.astype(np.uint8), target.astype(np.uint8)).matrix.ravel(), expected)


def test_the_whole_set_is_not_the_mean_over_images():
    # One image is all class 0 and right; in the other, 1 of 4 pixels is class 1 and missed.
    target = np.array([[0, 0, 0, 0], [0, 0, 0, 1]])
    pred = np.zeros_like(target)
    images = [counted(p, t, 2).mean_iou() for p, t in zip(pred, target, strict=True)]
    assert np.mean(images) == pytest.approx((1 + (3 / 4 + 0) / 2) / 2)
    assert counted(pred, target, 2).mean_iou() == pytest.approx((7 / 8 + 0) / 2)


def test_absent_classes_are_left_out():
    # Class 2 is in neither map, class 3 only in the prediction.
    cm = counted(np.array([0, 1, 1, 3]), np.array([0, 1, 1, 1]), classes=4)
    np.testing.assert_allclose(cm.iou_per_class(), [1, 2 / 3, np.nan, 0])
    np.testing.assert_allclose(cm.accuracy_per_class(), [1, 2 / 3, np.nan, np.nan])
    assert cm.mean_iou() == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert cm.mean_accuracy() == pytest.approx((1 + 2 / 3) / 2)
    assert cm.frequency_weighted_iou() == pytest.approx((1 * 1 + 3 * 2 / 3) / 4)


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_nothing_counted_is_nan_without_a_warning(make):
    empty = make((0, 4, 4)).astype(np.int64) if make is np.zeros else make((0, 4, 4), dtype=torch.int64)
    cm = counted(empty, empty)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = cm.pixel_accuracy(), cm.mean_accuracy(), cm.mean_iou(), cm.frequency_weighted_iou()
    assert np.isnan(metrics).all() and np.isnan(np.asarray(cm.iou_per_class())).all()


def test_tensors_give_tensors_and_mix_with_arrays():
    pred, target = maps()
    cm = ConfusionMatrix(CLASSES)
    cm.update(pred, target)
    assert isinstance(cm.matrix, np.ndarray) and isinstance(cm.iou_per_class(), np.ndarray)
    cm.update(torch.from_numpy(pred), torch.from_numpy(target))
    assert isinstance(cm.matrix, torch.Tensor) and cm.iou_per_class().dtype == torch.float64
    cm.update(pred, target)
    np.testing.assert_array_equal(cm.matrix, 3 * counted(pred, target).matrix)
    np.testing.assert_allclose(cm.accuracy_per_class(), counted(pred, target).accuracy_per_class())
    cm.reset()
    np.testing.assert_array_equal(cm.matrix, np.zeros((CLASSES, CLASSES)))


@pytest.mark.parametrize("as_input", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        ([0, 1], [0, 11], "target must hold classes 0..4 or ignore_index 255, got 11: .* make it the ignore_index"),
        ([0, 1], [0, -1], "target must hold .* got -1"),
        ([0, 1], [0, 256], "target must hold .* got 256"),
        ([0, 255], [0, 0], "pred must hold classes 0..4 wherever the target is not ignored, got 255"),
        ([0, 5], [255, 4], "pred must hold .* got 5"),
        ([0, -1], [0, 0], "pred must hold .* got -1"),
        ([[0, 1]], [0, 1], r"same shape, got \(1, 2\) and \(2,\): take the best class first"),
    ],
)
def test_labels_that_are_no_classes_are_refused_and_not_counted(pred, target, message, as_input):
    cm = ConfusionMatrix(CLASSES)
    with pytest.raises(ValueError, match=message):
        cm.update(as_input(np.array(pred)), as_input(np.array(target)))
    assert cm.matrix.sum() == 0


def test_a_small_type_does_not_hide_a_wrong_label():
    target = np.array([250, 255], np.uint8)
    for ignore_index in (-1, None):  # -1 is 255 in uint8, but no pixel says -1
        with pytest.raises(ValueError, match="got 2"):
            counted(np.zeros(2, np.uint8), target, ignore_index=ignore_index)
        with pytest.raises(ValueError, match="got 2"):
            counted(torch.zeros(2, dtype=torch.uint8), torch.from_numpy(target), ignore_index=ignore_index)
    with pytest.raises(ValueError, match="got -100"):  # 156 if its bits are read as uint8
        counted(np.zeros(1, np.int8), np.array([-100], np.int8), classes=200)


def test_misuse_is_explained():
    pred, target = maps()
    for as_input in (np.asarray, torch.from_numpy):
        with pytest.raises(TypeError, match=r"pred must hold integer labels, got .*float64: .*argmax\(1\)"):
            ConfusionMatrix(CLASSES).update(as_input(pred.astype(float)), as_input(target))
    with pytest.raises(TypeError, match="both be NumPy arrays or both be PyTorch tensors, got ndarray and Tensor"):
        ConfusionMatrix(CLASSES).update(pred, torch.from_numpy(target))
    with pytest.raises(TypeError, match="got list and list"):
        ConfusionMatrix(CLASSES).update([[0, 1]], [[0, 1]])
    with pytest.raises(ValueError, match=r"ignore_index must not be one of the classes 0\.\.4, got 0"):
        ConfusionMatrix(CLASSES, ignore_index=0)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match=r"must agree in num_classes and ignore_index, got \(5, 255\) and \(5, 11\)"):
        ConfusionMatrix(CLASSES) + ConfusionMatrix(CLASSES, 11)
