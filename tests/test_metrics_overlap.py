"""IoU and Dice of masks and of run lengths against scikit-learn, torchmetrics, pycocotools and cases worked by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco
from sklearn import metrics as sk
from torch._subclasses.fake_tensor import FakeTensorMode
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index

from segedu.masks import rle_encode
from segedu.metrics import dice, iou, mask_iou, rle_iou

pairs = st.tuples(st.integers(1, 8), st.integers(1, 8)).flatmap(lambda size: hnp.arrays(bool, (2, 3, *size)))


def discs(count: int, seed: int, height: int = 70, width: int = 90) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x, y, radius = rng.uniform([0, 0, 3], [width, height, 30], (count, 3)).T[:, :, None, None]
    rows, columns = np.mgrid[:height, :width]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_overlap_worked_by_hand():
    pred = np.array([[1, 1, 1, 0]], bool)
    target = np.array([[0, 1, 1, 1]], bool)
    assert iou(pred, target) == pytest.approx(2 / 4)
    assert dice(pred, target) == pytest.approx(2 * 2 / (3 + 3))
    assert iou(pred, ~pred) == dice(pred, ~pred) == 0
    assert iou(pred, pred) == dice(pred, pred) == 1


@given(pairs)
def test_overlap_equals_scikit_learn_and_torchmetrics(pair):
    pred, target = pair
    for p, t, i, d in zip(pred, target, iou(pred, target), dice(pred, target), strict=True):
        if not (p | t).any():
            assert np.isnan(i) and np.isnan(d)
            continue
        assert i == pytest.approx(sk.jaccard_score(t.ravel(), p.ravel()))
        assert d == pytest.approx(sk.f1_score(t.ravel(), p.ravel()))
        p, t = torch.from_numpy(p), torch.from_numpy(t)
        assert i == pytest.approx(binary_jaccard_index(p.int(), t.int()).item())
        assert d == pytest.approx(binary_f1_score(p.int(), t.int()).item())


@given(pairs)
def test_dice_is_a_function_of_iou_and_both_are_symmetric(pair):
    pred, target = pair
    ours = iou(pred, target)
    np.testing.assert_allclose(dice(pred, target), 2 * ours / (1 + ours))
    np.testing.assert_array_equal(ours, iou(target, pred))
    np.testing.assert_array_equal(dice(pred, target), dice(target, pred))


def test_batches_of_any_depth_and_tensors():
    pred, target = discs(6, 0).reshape(2, 3, 70, 90), discs(6, 1).reshape(2, 3, 70, 90)
    for function in (iou, dice):
        result = function(pred, target)
        assert result.shape == (2, 3) and result.dtype == np.float64
        assert result[1, 2] == function(pred[1, 2], target[1, 2])
        tensor = function(torch.from_numpy(pred), torch.from_numpy(target))
        assert tensor.dtype == torch.float64
        np.testing.assert_array_equal(result, tensor.numpy())


def test_empty_masks_are_nan_only_where_both_are():
    none, some = np.zeros((2, 2), bool), np.eye(2, dtype=bool)
    for function in (iou, dice):
        assert np.isnan(function(none, none)) and function(none, some) == function(some, none) == 0
    np.testing.assert_array_equal(mask_iou(np.stack([none, some]), np.stack([none, some])), [[np.nan, 0], [0, 1]])


@pytest.mark.parametrize("as_input", [np.asarray, torch.from_numpy])
def test_every_pair_as_in_pycocotools(as_input):
    pred, target, crowd = discs(7, 0), discs(5, 1), np.array([0, 1, 0, 0, 1], bool)
    codes = [coco.encode(np.asfortranarray(masks.transpose(1, 2, 0), np.uint8)) for masks in (pred, target)]
    ours = mask_iou(as_input(pred), as_input(target))
    assert isinstance(ours, type(as_input(pred))) and ours.shape == (7, 5)
    np.testing.assert_allclose(ours, coco.iou(*codes, [0] * 5))
    np.testing.assert_allclose(mask_iou(*map(as_input, (pred, target, crowd))), coco.iou(*codes, crowd.tolist()))


def test_every_pair_with_no_mask_at_all():
    masks = discs(4, 0)
    for library in (np.asarray, torch.from_numpy):
        assert mask_iou(library(masks[:0]), library(masks)).shape == (0, 4)
        assert mask_iou(library(masks), library(masks[:0])).shape == (4, 0)


@given(
    hnp.arrays(bool, st.tuples(st.integers(1, 5), st.just(6), st.just(7))),
    hnp.arrays(bool, st.tuples(st.integers(1, 5), st.just(6), st.just(7))),
    st.data(),
)
def test_run_lengths_give_the_same_as_masks_and_as_pycocotools(pred, target, data):
    crowd = np.array(data.draw(st.lists(st.booleans(), min_size=len(target), max_size=len(target))))
    as_text = [rle_encode(masks) for masks in (pred, target)]
    as_lists = [rle_encode(masks, compressed=False) for masks in (pred, target)]
    as_bytes = [[{**code, "counts": code["counts"].encode()} for code in codes] for codes in as_text]
    for flags in (None, crowd):
        expected = mask_iou(pred, target, flags)
        for codes in (as_text, as_lists, as_bytes):
            np.testing.assert_array_equal(rle_iou(*codes, flags), expected)
        theirs = coco.iou(*as_bytes, [0] * len(target) if flags is None else crowd.tolist())
        np.testing.assert_array_equal(np.nan_to_num(expected), theirs)


def test_run_lengths_of_no_mask_and_what_is_refused():
    codes = rle_encode(discs(3, 0))
    assert rle_iou([], codes).shape == (0, 3) and rle_iou(codes, []).shape == (3, 0)
    with pytest.raises(ValueError, match=r"one size, got codes of sizes \[\(70, 90\), \(90, 70\)\]"):
        rle_iou(codes, rle_encode(discs(1, 0, 90, 70)))
    with pytest.raises(ValueError, match="a flag for each of the 3 targets, got 2"):
        rle_iou(codes, codes, [True, False])


def test_views_and_read_only_arrays():
    masks = discs(3, 0)
    masks.flags.writeable = False
    turned = masks[:, ::-1].transpose(0, 2, 1)
    np.testing.assert_array_equal(mask_iou(turned, turned), mask_iou(masks, masks))
    np.testing.assert_array_equal(iou(turned, turned), [1, 1, 1])


def test_any_device_and_compiled():
    with FakeTensorMode():
        pred = torch.zeros(4, 9, 8, dtype=torch.bool, device="cuda")
        for result in (iou(pred, pred), dice(pred, pred), mask_iou(pred, pred)):
            assert result.device.type == "cuda"
    masks = torch.from_numpy(discs(4, 0))
    for function in (iou, dice, mask_iou):
        compiled = torch.compile(function, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(masks, masks.flip(0)), function(masks, masks.flip(0)))


@pytest.mark.parametrize("function", [iou, dice, mask_iou])
def test_errors_name_what_was_expected(function):
    masks = discs(3, 0)
    with pytest.raises(TypeError, match="masks must be bool, got int64: compare first"):
        function(masks, masks.astype(np.int64))
    with pytest.raises(TypeError, match=r"masks must be bool, got torch\.float32"):
        function(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4))
    with pytest.raises(TypeError, match="both be NumPy arrays or both be PyTorch tensors, got list and ndarray"):
        function([[True]], masks)
    with pytest.raises(ValueError, match=r"\(3, 70, 90\) and \(3, 70, 89\)"):
        function(masks, masks[..., 1:])
    with pytest.raises(ValueError, match=r"must have shape \(\.\.\., H, W\), got \(90,\)"):
        function(masks[0, 0], masks[0, 0])
