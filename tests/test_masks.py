"""segedu.masks against pycocotools, against hand-worked cases, and by properties that must always hold."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from local_data import need
from pycocotools import mask as coco
from torch._subclasses.fake_tensor import FakeTensorMode

from segedu import masks as m

# pycocotools' own decode still speaks NumPy 1.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# A busy machine is slow now and then; that is no failure.


sizes = st.tuples(st.integers(0, 13), st.integers(0, 13))
solid_sizes = st.tuples(st.integers(1, 13), st.integers(1, 13))
binary_masks = sizes.flatmap(lambda size: hnp.arrays(bool, size))
solid_masks = solid_sizes.flatmap(lambda size: hnp.arrays(bool, size))
label_maps = solid_sizes.flatmap(lambda size: hnp.arrays(np.int32, size, elements=st.sampled_from([0, 1, 2, 7, 255])))


def coco_encode(mask: np.ndarray) -> dict:
    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))


def coco_fill(polygons: list, height: int, width: int) -> np.ndarray:
    return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))).astype(bool)


def disc(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


# Run lengths


def test_rle_of_a_case_worked_by_hand():
    mask = np.array([[0, 1, 1], [0, 1, 0]], bool)  # column by column: 0 0 | 1 1 | 1 0
    assert m.rle_encode(mask, compressed=False) == {"size": [2, 3], "counts": [2, 3, 1]}
    assert m.rle_encode(~mask, compressed=False)["counts"] == [0, 2, 3, 1]


@given(binary_masks)
def test_rle_equals_pycocotools_and_comes_back(mask):
    code = m.rle_encode(mask)
    theirs = coco_encode(mask)
    assert code["size"] == theirs["size"]
    assert code["counts"].encode() == theirs["counts"]
    for form in (code, theirs, m.rle_encode(mask, compressed=False)):
        decoded = m.rle_decode(form)
        assert decoded.dtype == bool and decoded.flags.c_contiguous
        np.testing.assert_array_equal(decoded, mask)
        assert m.rle_area(form) == mask.sum() == coco.area(theirs)


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=12))
def test_counts_of_any_length_come_back_and_pycocotools_reads_them(counts):
    string = m.compress_counts(counts)
    assert m.decompress_counts(string).tolist() == counts
    assert m.decompress_counts(string.encode()).tolist() == counts
    if sum(counts) < 2**28:  # pycocotools' 32-bit numbers overflow beyond
        assert coco.area({"size": [1, sum(counts)], "counts": string.encode()}) == sum(counts[1::2])


@pytest.mark.parametrize("size", [(1, 1), (1, 4001), (3001, 1), (427, 640), (0, 5), (5, 0)])
@pytest.mark.parametrize("fill", ["empty", "full", "noise", "disc"])
def test_rle_of_large_and_narrow_masks(size, fill):
    noise = np.random.default_rng(0).random(size) < 0.4
    mask = {"empty": noise & False, "full": noise | True, "noise": noise, "disc": disc(*size, 200, 150, 101)}[fill]
    code = m.rle_encode(mask)
    assert code["counts"].encode() == coco_encode(mask)["counts"]
    np.testing.assert_array_equal(m.rle_decode(code), mask)


def test_rle_of_a_stack_and_of_any_binary_type_and_layout():
    stack = np.random.default_rng(0).random((3, 9, 14)) < 0.5
    codes = m.rle_encode(stack)
    assert codes == [m.rle_encode(mask) for mask in stack]
    np.testing.assert_array_equal(m.rle_decode(codes), stack)
    for same in (stack.astype(np.uint8), stack.astype(np.int64), np.asfortranarray(stack), torch.from_numpy(stack)):
        assert m.rle_encode(same) == codes
    assert m.rle_encode(stack[:, ::-1, ::2]) == m.rle_encode(stack[:, ::-1, ::2].copy())
    assert json.loads(json.dumps(codes)) == codes
    assert m.rle_encode(np.zeros((0, 4, 4), bool)) == []


def test_rle_refuses_labels_side_by_side():
    with pytest.raises(ValueError, match=r"only 0 and 1, got values 0\.\.2: choose one label first"):
        m.rle_encode(np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match=r"got values -1\.\.0"):
        m.rle_encode(np.array([[0, -1]]))
    with pytest.raises(TypeError, match="got float64"):
        m.rle_encode(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"\(H, W\) or \(N, H, W\), got \(4,\)"):
        m.rle_encode(np.zeros(4, bool))
    with pytest.raises(TypeError, match="got list"):
        m.rle_encode([[True]])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({"size": [2, 3], "counts": [2, 3]}, "add up to 2 x 3 = 6, got 5"),
        ({"size": [2, 3], "counts": [2**62] * 4 + [6]}, "got 18446744073709551622"),  # which int64 has as 6
        ({"size": [2, 3], "counts": [2, -1, 5]}, "at least 0, got -1"),
        ({"size": [-2, -3], "counts": [6]}, "size must be"),
        ({"size": [2, 3], "counts": [2.5, 4]}, "a list of integers, got"),
        ({"size": [2, 3], "counts": [[2], [4, 5]]}, "a list of integers, got"),
        ({"size": [2, 3], "counts": [10**30]}, "a list of integers, got"),
        ({"size": [2, 3]}, "a list of integers, got None"),
        ({"size": [2, 3], "counts": "6~"}, "from '0' to 'o', got b'~'"),
        ({"size": [2, 3], "counts": "6é"}, "from '0' to 'o'"),
        ({"size": [2, 3], "counts": b"6o"}, "cut short"),
        ({"size": [2, 3], "counts": "o" * 12 + "0"}, "13 characters"),
        ([], "no code at all"),
        ([{"size": [1, 1], "counts": [1]}, {"size": [1, 2], "counts": [2]}], "one common size"),
    ],
)
def test_rle_decode_says_what_is_wrong(code, message):
    with pytest.raises(ValueError, match=message):
        m.rle_decode(code)


@given(st.binary(max_size=30), st.integers(0, 9), st.integers(0, 9))
def test_rle_decode_of_any_bytes_gives_a_mask_or_a_value_error(counts, height, width):
    try:
        mask = m.rle_decode({"size": [height, width], "counts": counts})
    except ValueError:
        return
    assert mask.shape == (height, width)


# Polygons


@settings(max_examples=300)
@given(
    st.lists(
        st.integers(3, 8).flatmap(
            lambda corners: st.lists(
                st.floats(-20, 60, allow_nan=False) | st.integers(-200, 600).map(lambda tenths: tenths / 10),
                min_size=2 * corners,
                max_size=2 * corners,
            )
        ),
        min_size=1,
        max_size=3,
    ),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_polygons_fill_as_in_pycocotools(polygons, height, width):
    np.testing.assert_array_equal(m.polygons_to_mask(polygons, height, width), coco_fill(polygons, height, width))


def test_polygons_of_a_rectangle_and_of_nothing():
    mask = m.polygons_to_mask([[1, 0, 4, 0, 4, 2, 1, 2]], 3, 5)  # from x = 1 to 4, from y = 0 to 2
    np.testing.assert_array_equal(mask, np.array([[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]], bool))
    assert not m.polygons_to_mask([], 3, 5).any()
    assert m.polygons_to_mask([[0, 0, 1, 0, 1, 1]], 0, 5).shape == (0, 5)


@given(solid_masks)
def test_outlines_fill_to_exactly_their_mask_holes_and_all(mask):
    polygons = m.mask_to_polygons(mask)
    np.testing.assert_array_equal(m.polygons_to_mask(polygons, *mask.shape), mask)
    if polygons:
        np.testing.assert_array_equal(coco_fill(polygons, *mask.shape), mask)
    xs, ys = ([np.array(p[axis::2]) for p in polygons] for axis in (0, 1))
    shoelace = sum((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2 for x, y in zip(xs, ys, strict=True))
    assert abs(shoelace) == mask.sum()


def test_outline_of_a_pixel_and_of_a_ring():
    pixel = np.zeros((3, 4), bool)
    pixel[1, 2] = True
    (outline,) = m.mask_to_polygons(pixel)
    assert {*zip(outline[::2], outline[1::2], strict=True)} == {(2, 1), (3, 1), (3, 2), (2, 2)}
    ring = disc(99, 120, 60, 48, 40) & ~disc(99, 120, 55, 50, 20)
    assert len(m.mask_to_polygons(ring)) == 1
    np.testing.assert_array_equal(m.polygons_to_mask(m.mask_to_polygons(torch.from_numpy(ring)), 99, 120), ring)
    assert m.mask_to_polygons(np.zeros((3, 4), bool)) == m.mask_to_polygons(np.zeros((0, 4), bool)) == []


@pytest.mark.parametrize("polygon", [[0, 0, 5, 5], [0, 0, 5, 5, 1], [[0, 0], [5, 5], [0, 5]], [0, 0, 5, np.nan, 5, 5]])
def test_polygons_that_are_none(polygon):
    with pytest.raises(ValueError, match="a polygon must"):
        m.polygons_to_mask([polygon], 9, 9)


# Label maps, instances, panoptic maps


SEMANTIC = np.array([[3, 3, 7], [9, 9, 7]])
THINGS = np.array([[[1, 0, 0], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]]], bool)
PANOPTIC = np.array([[[4, 1], [3, 0], [7, 0]], [[4, 1], [5, 2], [7, 0]]])


def test_conversions_of_a_case_worked_by_hand():
    np.testing.assert_array_equal(m.instances_to_panoptic(THINGS, np.array([4, 5]), SEMANTIC), PANOPTIC)
    np.testing.assert_array_equal(m.panoptic_to_semantic(PANOPTIC), [[4, 3, 7], [4, 5, 7]])
    masks, categories = m.panoptic_to_instances(PANOPTIC)
    np.testing.assert_array_equal(masks, THINGS)
    np.testing.assert_array_equal(categories, [4, 5])
    np.testing.assert_array_equal(m.instances_to_labels(THINGS), [[1, 0, 0], [1, 2, 0]])
    np.testing.assert_array_equal(m.instances_to_labels(THINGS, [4, 5], background=255), [[4, 255, 255], [4, 5, 255]])
    masks, values = m.labels_to_instances(SEMANTIC, ignore=[7])
    assert values.tolist() == [3, 9]
    np.testing.assert_array_equal(masks, [[[1, 1, 0], [0, 0, 0]], [[0, 0, 0], [1, 1, 0]]])


def test_later_masks_are_in_front():
    both = np.ones((2, 1, 2), bool)
    both[1, 0, 0] = False
    assert m.instances_to_labels(both).tolist() == [[1, 2]]


def test_instances_numbered_afresh_in_each_category_stay_apart():
    masks, categories = m.panoptic_to_instances(np.array([[[8, 1], [2, 1], [8, 2], [8, 0]]], np.uint8))
    assert categories.tolist() == [2, 8, 8]
    np.testing.assert_array_equal(masks[:, 0], [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]])


@given(label_maps)
def test_labels_come_back_from_their_masks(labels):
    masks, values = m.labels_to_instances(labels)
    assert masks.shape == (len(values), *labels.shape) and 0 not in values
    np.testing.assert_array_equal(masks.sum(0), labels != 0)
    np.testing.assert_array_equal(m.instances_to_labels(masks, values), labels)


@given(label_maps, label_maps)
def test_panoptic_maps_come_back_from_their_parts(instances, semantic):
    semantic = np.resize(semantic, instances.shape)
    masks, _ = m.labels_to_instances(instances)
    categories = np.arange(len(masks)) * 3 + 1
    panoptic = m.instances_to_panoptic(masks, categories, semantic)
    found, found_categories = m.panoptic_to_instances(panoptic)
    np.testing.assert_array_equal(found, masks)
    np.testing.assert_array_equal(found_categories, categories)
    np.testing.assert_array_equal(m.panoptic_to_semantic(panoptic)[instances == 0], semantic[instances == 0])


@given(sizes.flatmap(lambda size: hnp.arrays(np.int64, size, elements=st.integers(0, 256**3 - 1))))
def test_ids_come_back_from_their_colours(ids):
    assert m.ids_to_rgb(ids).dtype == np.uint8
    np.testing.assert_array_equal(m.rgb_to_ids(m.ids_to_rgb(ids)), ids)


def test_colour_of_an_id_worked_by_hand():
    assert m.ids_to_rgb(np.array([[1 + 256 * 2 + 65536 * 3]])).tolist() == [[[1, 2, 3]]]
    with pytest.raises(ValueError, match=r"0\.\.16777215 to fit a colour, got -1\.\.5"):
        m.ids_to_rgb(np.array([[-1, 5]]))
    with pytest.raises(ValueError, match="rgb must be uint8"):
        m.rgb_to_ids(PANOPTIC)


def test_tensors_give_tensors_with_the_same_values():
    pairs = [
        (m.labels_to_instances, (SEMANTIC,)),
        (m.panoptic_to_instances, (PANOPTIC,)),
        (m.panoptic_to_semantic, (PANOPTIC,)),
        (m.instances_to_labels, (THINGS, np.array([4, 5]))),
        (m.instances_to_panoptic, (THINGS, np.array([4, 5]), SEMANTIC)),
        (m.ids_to_rgb, (SEMANTIC,)),
        (m.rgb_to_ids, (m.ids_to_rgb(SEMANTIC),)),
    ]
    for function, arrays in pairs:
        ours, theirs = function(*arrays), function(*map(torch.from_numpy, arrays))
        if not isinstance(ours, tuple):
            ours, theirs = (ours,), (theirs,)
        for array, tensor in zip(ours, theirs, strict=True):
            assert isinstance(tensor, torch.Tensor) and str(array.dtype) == str(tensor.dtype).removeprefix("torch.")
            np.testing.assert_array_equal(array, tensor.numpy())


def test_batches_convert_as_their_parts_do():
    things, semantic = np.stack([THINGS, ~THINGS]), np.stack([SEMANTIC, SEMANTIC + 1])
    panoptic = m.instances_to_panoptic(things, np.array([4, 5]), semantic)
    assert panoptic.shape == (2, 2, 3, 2)
    for one, parts in zip(panoptic, zip(things, semantic, strict=True), strict=True):
        np.testing.assert_array_equal(one, m.instances_to_panoptic(parts[0], np.array([4, 5]), parts[1]))


def test_conversions_without_a_wait_run_on_any_device_and_compile():
    with FakeTensorMode():
        things = torch.zeros(2, 5, 4, 6, dtype=torch.bool, device="cuda")
        semantic = torch.zeros(2, 4, 6, dtype=torch.uint8, device="cuda")
        panoptic = m.instances_to_panoptic(things, torch.zeros(5, dtype=torch.int64, device="cuda"), semantic)
        assert panoptic.shape == (2, 4, 6, 2) and panoptic.device.type == "cuda"
        assert m.panoptic_to_semantic(panoptic).device.type == "cuda"
        assert m.rgb_to_ids(torch.zeros(4, 6, 3, dtype=torch.uint8, device="cuda")).device.type == "cuda"
    compiled = torch.compile(m.instances_to_panoptic, fullgraph=True, backend="eager")
    arrays = (torch.from_numpy(THINGS), torch.tensor([4, 5]), torch.from_numpy(SEMANTIC))
    np.testing.assert_array_equal(compiled(*arrays), PANOPTIC)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: m.labels_to_instances(np.zeros((2, 2))), TypeError, "labels must be integers, got float64"),
        (lambda: m.labels_to_instances(np.zeros((2, 2, 2), int)), ValueError, "one map at a time"),
        (lambda: m.instances_to_labels(THINGS.astype(int)), ValueError, "masks must be bool"),
        (lambda: m.instances_to_labels(THINGS, [1]), ValueError, "each of the 2 masks, got 1"),
        (lambda: m.instances_to_panoptic(THINGS, [4, 5], SEMANTIC[:1]), ValueError, "semantic must have the masks'"),
        (lambda: m.panoptic_to_semantic(SEMANTIC), ValueError, r"panoptic must have shape \(\.\.\., H, W, 2\)"),
        (lambda: m.panoptic_to_instances(PANOPTIC[None]), ValueError, "one map at a time"),
    ],
)
def test_errors_name_what_was_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_masks_do_not_import_torch():
    code = (
        "import sys, segedu.masks as m, numpy as np; m.rle_encode(np.eye(3, dtype=bool)); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# Real annotations


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_all_annotations_of_coco_tiny160(split):
    path = need(f"coco_tiny160/annotations/instances_{split}.json")
    truth = json.loads(path.read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    assert truth["annotations"]
    for annotation in truth["annotations"]:
        size, segmentation = sizes[annotation["image_id"]], annotation["segmentation"]
        if isinstance(segmentation, dict):  # a crowd, as plain run lengths
            mask, theirs = m.rle_decode(segmentation), coco.frPyObjects(segmentation, *size)
        else:
            mask, theirs = m.polygons_to_mask(segmentation, *size), coco.merge(coco.frPyObjects(segmentation, *size))
        np.testing.assert_array_equal(mask, coco.decode(theirs))
        code = m.rle_encode(mask)
        assert code["counts"].encode() == coco_encode(mask)["counts"]
        assert m.rle_area(code) == coco.area(theirs) == mask.sum()
        np.testing.assert_array_equal(m.polygons_to_mask(m.mask_to_polygons(mask), *size), mask)
