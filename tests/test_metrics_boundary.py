"""Boundary IoU and F1 against the reference program's arithmetic, SciPy, scikit-image and cases worked by hand."""

import math

import cv2
import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.segmentation import find_boundaries
from torch._subclasses.fake_tensor import FakeTensorMode

from segedu.datasets import photos
from segedu.masks import rle_decode, rle_encode
from segedu.metrics import boundary_f1, boundary_iou, iou, mask_boundary

sizes = st.tuples(st.integers(1, 14), st.integers(1, 14))
masks = sizes.flatmap(lambda size: hnp.arrays(bool, size))
pairs = sizes.flatmap(lambda size: hnp.arrays(bool, (2, *size)))


def reference_boundary(mask: np.ndarray, distance: int) -> np.ndarray:
    """The arithmetic of Cheng et al.'s program: pad by one pixel, erode by 3 x 3 as often as `distance` says."""
    height, width = mask.shape
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)
    return mask & ~eroded[1 : height + 1, 1 : width + 1].astype(bool)


def by_distances(pred: np.ndarray, target: np.ndarray, tolerance: float) -> float:
    """Boundary F1 from SciPy's distances and scikit-image's boundaries."""
    boundaries = [find_boundaries(np.pad(mask, 1), connectivity=2, mode="inner")[1:-1, 1:-1] for mask in (pred, target)]
    if not all(boundary.any() for boundary in boundaries):
        return 0.0 if any(boundary.any() for boundary in boundaries) else math.nan
    far = [ndimage.distance_transform_edt(~boundary) for boundary in boundaries]
    precision = np.mean(far[1][boundaries[0]] <= tolerance)
    recall = np.mean(far[0][boundaries[1]] <= tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def on_any_device(function, *arrays: np.ndarray, **kwargs) -> np.ndarray:
    """What the path gives that runs on devices; tracing takes it on the CPU, too."""
    torch.compiler.reset()
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    return compiled(*map(torch.from_numpy, arrays), **kwargs).numpy()


def photo_masks(count: int = 6) -> np.ndarray:
    return photos.load("coins").instances[:count]


def test_boundary_worked_by_hand():
    square = np.zeros((7, 7), bool)
    square[1:6, 1:6] = True  # 25 pixels: a ring of 16, then one of 8, then the middle
    for distance, area in ((1, 16), (2, 24), (3, 25)):
        assert mask_boundary(square, distance).sum() == area
    assert mask_boundary(np.ones((4, 5), bool)).sum() == 4 * 5 - 2 * 3  # cut by the image's border


def test_boundary_iou_worked_by_hand():
    # A 5 x 5 square and the same with its middle pixel missing. Around the hole, 8 pixels more are boundary.
    square = np.zeros((7, 7), bool)
    square[1:6, 1:6] = True
    holed = square.copy()
    holed[3, 3] = False
    assert boundary_iou(holed, square) == pytest.approx(16 / 24)
    assert iou(holed, square) == pytest.approx(24 / 25)


@given(masks, st.integers(1, 9))
def test_boundary_equals_iterated_erosion(mask, distance):
    expected = mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance)
    np.testing.assert_array_equal(mask_boundary(mask, distance), expected)
    np.testing.assert_array_equal(mask_boundary(mask, distance), reference_boundary(mask, distance))


@pytest.mark.parametrize("distance", [1, 2, 3, 7, 8, 16, 200])
def test_boundary_on_other_devices_is_the_same(distance):
    stack = photo_masks()
    np.testing.assert_array_equal(
        on_any_device(mask_boundary, stack, distance=distance), mask_boundary(stack, distance)
    )


@pytest.mark.parametrize("ratio", [0.0, 0.005, 0.02, 0.1])
def test_boundary_iou_equals_the_reference_program_on_photographs(ratio):
    target = photo_masks()
    pred = np.roll(target, (3, -4), (1, 2))
    height, width = target.shape[1:]
    distance = max(1, round(ratio * np.sqrt(height**2 + width**2)))
    for p, t, ours in zip(pred, target, boundary_iou(pred, target, ratio), strict=True):
        p, t = reference_boundary(p, distance), reference_boundary(t, distance)
        assert ours == (p & t).sum() / (p | t).sum()


def test_boundaries_equal_those_of_faster_coco_eval():
    for mask in photo_masks():
        code = rle_encode(mask)
        theirs = coco.rleToBoundary({**code, "counts": code["counts"].encode()}, 0.02, backend="opencv")
        distance = round(0.02 * math.hypot(*mask.shape))
        np.testing.assert_array_equal(mask_boundary(mask, distance), rle_decode(theirs))


def test_a_thin_mask_is_all_boundary():
    thin = np.zeros((2, 60, 80), bool)
    thin[0, 20:24], thin[1, 21:25] = True, True
    assert boundary_iou(*thin) == iou(*thin) == 3 / 5


def test_boundary_f1_worked_by_hand():
    # Two rows of 5 pixels, 2 apart: near at a tolerance of 2, and not at one of 1.9.
    pred, target = np.zeros((2, 6, 9), bool)
    pred[1, 2:7] = target[3, 2:7] = True
    assert boundary_f1(pred, target, 2) == 1
    assert boundary_f1(pred, target, 1.9) == 0
    # One more row far away: all of the target is found, and half of the prediction is right.
    pred[5, 2:7] = True
    assert boundary_f1(pred, target, 0) == 0
    pred[3, 2:7] = True  # rows 1, 3, 5; only row 3 is right
    assert boundary_f1(pred, target, 1) == pytest.approx(2 * (1 / 3) * 1 / (1 / 3 + 1))


@given(pairs, st.sampled_from([0, 0.5, 1, 1.4, 1.5, 2, 2.3, 5, 13, 40]))
def test_boundary_f1_equals_distances_by_scipy(pair, tolerance):
    before = pair.copy()
    np.testing.assert_allclose(boundary_f1(*pair, tolerance), by_distances(*pair, tolerance))
    np.testing.assert_array_equal(pair, before)


@pytest.mark.parametrize("tolerance", [0, 1, 2.5, 6, 12.9, 13, 20])
def test_boundary_f1_on_photographs_and_on_other_devices(tolerance):
    target = photo_masks(4)
    pred = np.roll(target, (7, 9), (1, 2))
    ours = boundary_f1(pred, target, tolerance)
    np.testing.assert_allclose(ours, [by_distances(p, t, tolerance) for p, t in zip(pred, target, strict=True)])
    np.testing.assert_array_equal(on_any_device(boundary_f1, pred, target, tolerance=tolerance), ours)


@given(pairs, st.integers(1, 5))
def test_both_measures_are_symmetric_and_one_for_equal_masks(pair, tolerance):
    pred, target = pair
    for function in (boundary_iou, lambda p, t: boundary_f1(p, t, tolerance)):
        np.testing.assert_array_equal(function(pred, target), function(target, pred))
        assert function(pred, pred) == 1 or not pred.any()


def test_empty_masks_are_nan_only_where_both_are():
    none, some = np.zeros((5, 5), bool), np.eye(5, dtype=bool)
    for function in (boundary_iou, lambda p, t: boundary_f1(p, t, 2)):
        assert np.isnan(function(none, none)) and function(none, some) == function(some, none) == 0


def test_batches_tensors_views_and_no_masks_at_all():
    target = photo_masks(6)
    pred = np.roll(target, 3, 2)
    for function in (boundary_iou, lambda p, t: boundary_f1(p, t, 3)):
        flat = function(pred, target)
        assert flat.shape == (6,) and flat.dtype == np.float64
        deep = function(pred.reshape(2, 3, *pred.shape[1:]), target.reshape(2, 3, *pred.shape[1:]))
        np.testing.assert_array_equal(deep, flat.reshape(2, 3))
        tensor = function(torch.from_numpy(pred), torch.from_numpy(target))
        assert isinstance(tensor, torch.Tensor)
        np.testing.assert_array_equal(tensor.numpy(), flat)
        np.testing.assert_array_equal(function(pred[0].T, target[0].T), flat[0])
        assert function(pred[:0], target[:0]).shape == (0,)


def test_any_device():
    with FakeTensorMode():
        mask = torch.zeros(2, 20, 30, dtype=torch.bool, device="cuda")
        for result in (boundary_iou(mask, mask), boundary_f1(mask, mask, 2), mask_boundary(mask, 3)):
            assert result.device.type == "cuda"


def test_errors_name_what_was_expected():
    mask = np.zeros((4, 4), bool)
    for function in (boundary_iou, lambda p, t: boundary_f1(p, t, 1)):
        with pytest.raises(TypeError, match=r"masks must be bool, got torch\.int64"):
            function(mask, mask.astype(np.int64))
        with pytest.raises(ValueError, match=r"same shape, got \(4, 4\) and \(4, 3\)"):
            function(mask, mask[:, 1:])
    with pytest.raises(ValueError, match="tolerance must be a distance in pixels, 0 or more, got -1"):
        boundary_f1(mask, mask, -1)
    with pytest.raises(ValueError, match="distance must be at least 1 pixel, got 0"):
        mask_boundary(mask, 0)
    with pytest.raises(TypeError, match=r"masks must be bool, got torch\.float64"):
        mask_boundary(mask.astype(float))
