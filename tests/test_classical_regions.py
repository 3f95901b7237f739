"""Regions against OpenCV, scikit-image, SciPy, plain Python on sets and fractions, and cases worked by hand."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.segmentation import flood
from torch._subclasses.fake_tensor import FakeTensorMode

from segedu.classical import (
    Rule,
    connected_components,
    grow_region,
    max_range,
    max_variance,
    merging,
    regions,
    split_and_merge,
    split_merge,
)
from segedu.datasets import photos

pytestmark = pytest.mark.usefixtures("one_thread")

# What SciPy calls 4 and 8 neighbours.
STRUCTURE = {4: None, 8: np.ones((3, 3))}
LECTURE = np.array([[1, 1, 5, 6], [2, 1, 6, 7], [3, 2, 7, 4], [1, 0, 5, 5]], np.uint8)

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
grey = sizes.flatmap(lambda size: hnp.arrays(np.uint8, size, elements=st.integers(0, 6)))
neighbourhoods = st.sampled_from([4, 8])


def photograph(name: str) -> np.ndarray:
    """A photograph as uint8 (H, W) or (3, H, W)."""
    image = photos.load(name).image
    return np.ascontiguousarray(image.transpose(2, 0, 1)) if image.ndim == 3 else image.copy()


def grey_photograph(name: str) -> np.ndarray:
    image = photograph(name)
    return image if image.ndim == 2 else image[1]


@pytest.fixture
def no_shortcuts(monkeypatch):
    """Let every function take the way that it takes on other devices."""
    for module in (regions, split_merge):
        monkeypatch.setattr(module, "in_memory", lambda tensor: False)


# ---------------------------------------------------------------------------------------------- connected components


def test_corners_connect_among_eight_neighbours_only():
    mask = np.array([[0, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]], bool)
    np.testing.assert_array_equal(connected_components(mask), [[0, 1, 0, 2], [1, 0, 0, 2], [0, 0, 0, 0], [3, 3, 0, 4]])
    assert connected_components(mask, neighbours=4).max() == 5


@pytest.mark.parametrize("name", photos.names())
@pytest.mark.parametrize("neighbours", [4, 8])
def test_components_equal_scipy_on_photographs(name, neighbours):
    mask = grey_photograph(name) > 110
    ours = connected_components(mask, neighbours)
    assert ours.dtype == np.int32
    np.testing.assert_array_equal(ours, ndimage.label(mask, STRUCTURE[neighbours])[0])


@given(sizes.flatmap(lambda size: hnp.arrays(bool, size)), neighbourhoods)
def test_components_equal_scipy(mask, neighbours):
    np.testing.assert_array_equal(connected_components(mask, neighbours), ndimage.label(mask, STRUCTURE[neighbours])[0])


@given(grey, neighbourhoods)
def test_components_of_a_label_map_are_those_of_each_label(labels, neighbours):
    ours = connected_components(labels, neighbours)
    np.testing.assert_array_equal(ours == 0, labels == 0)
    for label in set(labels[labels > 0].tolist()):
        expected, count = ndimage.label(labels == label, STRUCTURE[neighbours])
        found = ours * (labels == label)
        assert len(set(zip(expected.ravel().tolist(), found.ravel().tolist(), strict=True)) - {(0, 0)}) == count
    firsts = np.unique(ours[ours > 0], return_index=True)
    assert firsts[0].tolist() == list(range(1, len(firsts[0]) + 1)) and (np.diff(firsts[1]) > 0).all()


def snake(height: int, width: int) -> np.ndarray:
    """A path one pixel wide from corner to corner, the longest way for labels to travel."""
    mask = np.zeros((height, width), bool)
    mask[::2] = True
    mask[1::4, -1] = True
    mask[3::4, 0] = True
    return mask


@pytest.mark.parametrize("neighbours", [4, 8])
def test_components_by_torch_alone(no_shortcuts, neighbours):
    masks = np.stack([snake(61, 80), np.random.default_rng(0).random((61, 80)) < 0.5])
    ours = connected_components(torch.from_numpy(masks), neighbours)
    assert ours.dtype == torch.int32
    for mask, labels in zip(masks, ours.numpy(), strict=True):
        np.testing.assert_array_equal(labels, ndimage.label(mask, STRUCTURE[neighbours])[0])


@given(grey, neighbourhoods)
def test_components_of_a_label_map_by_torch_alone(labels, neighbours):
    expected = connected_components(labels, neighbours)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "in_memory", lambda tensor: False)
        np.testing.assert_array_equal(connected_components(labels, neighbours), expected)


# ------------------------------------------------------------------------------------------------------ grow from seeds


def flood_fill(image: np.ndarray, seed: tuple[int, int], tolerance: float, neighbours: int) -> np.ndarray:
    """OpenCV's answer, for (H, W) and (3, H, W)."""
    picture = image.copy() if image.ndim == 2 else np.ascontiguousarray(image.transpose(1, 2, 0))
    mask = np.zeros((picture.shape[0] + 2, picture.shape[1] + 2), np.uint8)
    flags = neighbours | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY
    cv2.floodFill(picture, mask, seed, 0, (tolerance,) * 3, (tolerance,) * 3, flags)
    return mask[1:-1, 1:-1] == 1


def grown_by_mean(image: np.ndarray, seed: tuple[int, int], tolerance: float, neighbours: int, relative: bool) -> set:
    """The definition in words, on sets of points and with exact fractions."""
    H, W = image.shape
    tolerance = Fraction(tolerance)
    region = {seed}
    while True:
        mean = Fraction(sum(int(image[y, x]) for x, y in region), len(region))
        limit = tolerance * mean if relative else tolerance
        beside = {
            (x + dx, y + dy)
            for x, y in region
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
            if 0 <= x + dx < W and 0 <= y + dy < H and (neighbours == 8 or dx == 0 or dy == 0)
        }
        joining = {(x, y) for x, y in beside - region if abs(int(image[y, x]) - mean) <= limit}
        if not joining:
            return region
        region |= joining


@pytest.mark.parametrize("name", photos.names())
@pytest.mark.parametrize("neighbours", [4, 8])
def test_growing_by_the_seed_equals_opencv_and_scikit_image_on_photographs(name, neighbours):
    image = photograph(name)
    height, width = image.shape[-2:]
    for x, y in ((width // 2, height // 2), (width // 5, height // 3), (width - 1, height - 1)):
        region = grow_region(image, (x, y), 25, neighbours)
        assert region.dtype == bool
        np.testing.assert_array_equal(region, flood_fill(image, (x, y), 25, neighbours))
    channel = image if image.ndim == 2 else image[0]
    for picture, tolerance in ((channel, 25), (channel / 256, 25 / 256), (channel.astype(np.float32) / 256, 25 / 256)):
        expected = flood(picture, (y, x), connectivity=neighbours // 4, tolerance=tolerance)
        np.testing.assert_array_equal(grow_region(picture, (x, y), tolerance, neighbours), expected)


@given(grey, neighbourhoods, st.integers(0, 3), st.data())
def test_growing_by_the_seed_equals_opencv(image, neighbours, tolerance, data):
    seed = data.draw(st.tuples(st.integers(0, image.shape[1] - 1), st.integers(0, image.shape[0] - 1)))
    expected = flood_fill(image, seed, tolerance, neighbours)
    np.testing.assert_array_equal(grow_region(image, seed, tolerance, neighbours), expected)
    np.testing.assert_array_equal(grow_region(image, seed, tolerance + 0.75, neighbours), expected)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_a_tie_with_the_mean_is_one_although_a_division_rounds(kind):
    # On its way the region meets a pixel of exactly three times its mean, and that mean is no binary fraction.
    image = np.zeros((3, 6), np.uint8)
    image[0, 1] = 1
    image[1, 3] = 3
    for seed in ((3, 1), (0, 0), (5, 2)):
        region = grow_region(kind(image), seed, 2, 8, compare="mean", relative=True)
        found = {(x, y) for y, x in np.argwhere(np.asarray(region)).tolist()}
        assert found == grown_by_mean(image, seed, 2, 8, True)


@given(grey, neighbourhoods, st.sampled_from([0, 0.25, 0.5, 1, 1.5, 2]), st.booleans(), st.data())
def test_growing_by_the_mean_as_defined(image, neighbours, tolerance, relative, data):
    seed = data.draw(st.tuples(st.integers(0, image.shape[1] - 1), st.integers(0, image.shape[0] - 1)))
    region = grow_region(image, seed, tolerance, neighbours, compare="mean", relative=relative)
    found = {(x, y) for y, x in np.argwhere(region).tolist()}
    assert found == grown_by_mean(image, seed, tolerance, neighbours, relative)


def test_a_ramp_tells_the_seed_from_the_mean():
    ramp = np.arange(0, 100, 2, dtype=np.uint8)[None]
    by_seed = grow_region(ramp, (0, 0), 10)
    by_mean = grow_region(ramp, (0, 0), 10, compare="mean")
    assert by_seed.sum() == 6  # 0, 2, ..., 10
    # The mean of 0, 2, ..., 2(n - 1) is n - 1, and the next value, 2n, is n + 1 more: at most 10 while n is at most 9.
    assert by_mean.sum() == 10


def test_a_relative_tolerance_is_a_share_of_what_is_compared_with():
    row = np.array([[100, 110, 90, 121]], np.uint8)
    assert grow_region(row, (0, 0), 0.1, relative=True).tolist() == [[True, True, True, False]]
    assert grow_region(row, (3, 0), 0.1, relative=True).tolist() == [[False, False, False, True]]
    colour = np.stack([row, row // 2])  # both channels within a tenth of their own value
    assert grow_region(colour, (0, 0), 0.1, relative=True).tolist() == [[True, True, True, False]]
    assert grow_region(colour, (0, 0), 10).tolist() == [[True, True, True, False]]
    assert not grow_region(colour, (0, 0), 5)[0, 1]


def test_points_are_x_and_y_and_seeds_grow_apart():
    image = np.zeros((3, 5), np.uint8)
    image[:, 2] = 9
    assert np.flatnonzero(grow_region(image, (4, 0), 0).any(0)).tolist() == [3, 4]
    both = grow_region(image, [(4, 0), (2, 2)], 0)
    assert np.flatnonzero(both.any(0)).tolist() == [2, 3, 4]
    np.testing.assert_array_equal(both, grow_region(image, np.array([[2, 2], [4, 0]]), 0))


@pytest.mark.parametrize("compare", ["seed", "mean"])
@pytest.mark.parametrize("relative", [False, True])
def test_growing_by_torch_alone_is_the_same_bit_for_bit(monkeypatch, compare, relative):
    tolerance = 0.2 if relative else 21.5
    for name in ("coins", "coffee", "chelsea"):
        image = photograph(name)[..., ::3, ::3].copy()
        for neighbours in (4, 8):
            expected = grow_region(image, [(60, 70), (20, 30)], tolerance, neighbours, compare, relative)
            with monkeypatch.context() as patch:
                patch.setattr(regions, "in_memory", lambda tensor: False)
                alone = grow_region(image, [(60, 70), (20, 30)], tolerance, neighbours, compare, relative)
            np.testing.assert_array_equal(alone, expected)


@pytest.mark.parametrize("compare", ["seed", "mean"])
def test_images_of_a_batch_grow_from_seeds_of_their_own(compare):
    colour = photograph("coffee")[:, 100:200, 100:220]
    batch = torch.from_numpy(np.stack([colour, colour[::-1]])[None])  # 1, 2, 3, H, W
    seeds = torch.tensor([[[[10, 20], [60, 50]], [[99, 80], [3, 4]]]])
    result = grow_region(batch, seeds, 30, compare=compare)
    assert result.shape == (1, 2, 100, 120)
    for index in range(2):
        expected = grow_region(batch[0, index], seeds[0, index], 30, compare=compare)
        assert torch.equal(result[0, index], expected)
    assert grow_region(batch, [(1, 2)], 30, compare=compare).shape == (1, 2, 100, 120)


@pytest.mark.parametrize("compare", ["seed", "mean"])
def test_a_seed_that_is_no_number_gives_no_more_than_itself(compare):
    image = np.full((2, 3), np.nan)
    image[0, 0] = 1
    with np.errstate(invalid="ignore"):
        assert grow_region(image, (1, 1), 5, compare=compare).sum() <= 1
    assert grow_region(image, (0, 0), 5, compare=compare).sum() == 1
    assert grow_region(torch.ones(2, 3, dtype=torch.bfloat16), (0, 0), 0, compare=compare).all()


def test_growing_rejects_what_it_cannot_use():
    image = np.zeros((4, 6), np.uint8)
    for seeds in ((6, 0), (0, 4), (-1, 0)):
        with pytest.raises(ValueError, match="inside the image, 6 wide and 4 high"):
            grow_region(image, seeds, 1)
    with pytest.raises(ValueError, match="integer points"):
        grow_region(image, (1.5, 2.0), 1)
    with pytest.raises(ValueError, match="tolerance must be 0 or more, got -1"):
        grow_region(image, (0, 0), -1)
    with pytest.raises(ValueError, match="compare must be 'seed' or 'mean', got 'median'"):
        grow_region(image, (0, 0), 1, compare="median")
    with pytest.raises(ValueError, match="neighbours must be 4 or 8, got 6"):
        grow_region(image, (0, 0), 1, neighbours=6)
    with pytest.raises(TypeError, match="uint8 or floating point"):
        grow_region(image.astype(int), (0, 0), 1)
    with pytest.raises(TypeError, match="bool or integer"):
        connected_components(image / 2)
    with pytest.raises(ValueError, match="at least one pixel"):
        connected_components(np.zeros((0, 3), bool))


# ---------------------------------------------------------------------------------------------------------------- split


def recursive_leaves(image: np.ndarray, uniform, min_size: int = 1) -> list[tuple[int, int, int, int]]:
    """The rule as one would say it: (x, y, width, height) of each leaf, by recursion."""
    H, W = image.shape[-2:]
    leaves = []

    def split(x, y, side):
        block = image[..., y : y + side, x : x + side]
        if block.size == 0:
            return
        if side == 1 or side // 2 < min_size or uniform(block):
            leaves.append((x, y, block.shape[-1], block.shape[-2]))
            return
        half = side // 2
        for corner in ((x, y), (x + half, y), (x, y + half), (x + half, y + half)):
            split(*corner, half)

    side = 1
    while side < max(H, W):
        side *= 2
    split(0, 0, side)
    return leaves


def test_the_split_of_the_lecture():
    found = split_and_merge(LECTURE, max_range(2), merge=False)
    assert found.leaves.tolist() == [
        *([0, 0, 2, 2], [2, 0, 2, 2]),  # ranges 1 and 2
        *([0, 2, 1, 1], [1, 2, 1, 1], [2, 2, 1, 1], [3, 2, 1, 1]),  # ranges 3 and 3 above: single pixels here
        *([0, 3, 1, 1], [1, 3, 1, 1], [2, 3, 1, 1], [3, 3, 1, 1]),
    ]
    assert found.labels.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 4, 5, 6], [7, 8, 9, 10]]
    assert found.levels.tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert len(found.blocks) == 1 + 4 + 8 and found.blocks[:3].tolist() == [[0, 0, 4, 4], [0, 0, 2, 2], [2, 0, 2, 2]]
    assert len(split_and_merge(LECTURE, max_range(3), merge=False).leaves) == 4
    assert len(split_and_merge(LECTURE, max_range(7), merge=False).leaves) == 1


def range_at_most(limit):
    return lambda block: np.ptp(block.astype(int), axis=(-2, -1)).max() <= limit


def variance_at_most(limit):
    return lambda block: np.var(block, axis=(-2, -1)).max() <= limit + 1e-9


RULES = {"range": (max_range, range_at_most), "variance": (max_variance, variance_at_most)}


@pytest.mark.parametrize("name", photos.names())
@pytest.mark.parametrize(("rule", "limit"), [("range", 60), ("variance", 400)])
def test_the_split_of_photographs_equals_a_plain_recursion(name, rule, limit):
    image = photograph(name)
    fast, plain = RULES[rule]
    for min_size in (1, 4):
        found = split_and_merge(image, fast(limit), min_size, merge=False)
        assert sorted(map(tuple, found.leaves.tolist())) == sorted(recursive_leaves(image, plain(limit), min_size))


@given(grey, st.sampled_from(["range", "variance"]), st.integers(0, 4), st.integers(1, 6))
def test_leaves_tile_the_image_and_are_those_of_a_plain_recursion(image, rule, limit, min_size):
    fast, plain = RULES[rule]
    found = split_and_merge(image, fast(limit), min_size, merge=False)
    boxes = found.leaves.tolist()
    assert sorted(map(tuple, boxes)) == sorted(recursive_leaves(image, plain(limit), min_size))
    painted = np.zeros(image.shape, int)
    for number, (x, y, width, height) in enumerate(boxes, start=1):
        painted[y : y + height, x : x + width] += number
        assert len(set(found.levels[y : y + height, x : x + width].ravel().tolist())) == 1
    np.testing.assert_array_equal(painted, found.labels)
    assert set(map(tuple, boxes)) <= set(map(tuple, found.blocks.tolist()))


@given(grey, st.integers(0, 4))
def test_a_function_does_what_its_rule_does(image, limit):
    by_rule = split_and_merge(image, max_range(limit))
    by_function = split_and_merge(image, lambda values: int(values.max()) - int(values.min()) <= limit)
    np.testing.assert_array_equal(by_rule.labels, by_function.labels)
    np.testing.assert_array_equal(by_rule.levels, by_function.levels)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("rule", [max_range(2), max_variance(1.5)], ids=["range", "variance"])
def test_the_split_by_torch_alone_is_the_same(monkeypatch, rule, dtype):
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (1, 9), (11, 3), (3, 33, 20), (2, 3, 16, 16), (2, 2, 1, 5, 7)):
        image = rng.integers(0, 5, shape).repeat(2, -1).repeat(2, -2).astype(dtype)
        expected = split_and_merge(image, rule, merge=False)
        with monkeypatch.context() as patch:
            patch.setattr(split_merge, "in_memory", lambda tensor: False)
            alone = split_and_merge(torch.from_numpy(image), rule, merge=False)
        assert (alone.labels.dtype, alone.levels.dtype) == (torch.int32, torch.uint8)
        np.testing.assert_array_equal(alone.labels.numpy(), expected.labels)
        np.testing.assert_array_equal(alone.levels.numpy(), expected.levels)


def test_the_split_runs_on_any_device_without_waiting_and_compiles():
    with FakeTensorMode():
        for rule, dtype in ((max_range(9), torch.uint8), (max_variance(0.1), torch.float32)):
            image = torch.empty(2, 3, 40, 50, dtype=dtype, device="cuda")
            found = split_and_merge(image, rule, merge=False)
            assert found.labels.device.type == found.levels.device.type == "cuda"
            assert found.labels.shape == found.levels.shape == (2, 40, 50)

    image = torch.from_numpy(np.random.default_rng(2).integers(0, 60, (3, 10, 12), np.uint8))
    for rule in (max_range(40), max_variance(300)):
        expected = split_and_merge(image, rule, merge=False)
        compiled = torch.compile(split_and_merge, fullgraph=True, backend="eager")
        assert torch.equal(compiled(image, rule, merge=False).labels, expected.labels)


# ---------------------------------------------------------------------------------------------------------------- merge


def test_the_merge_of_the_lecture_worked_by_hand():
    # Round 1: the block of 1 and 2 joins the 2 below it, 1 joins 0, the block of 5 to 7 joins the 7, and 5 joins 5.
    # Round 2: the first two of these join (0 to 2), and the two fives join the 4, which is closer than 5 to 7.
    # Now 3 would make a range of 3 with 0 to 2, and 4 to 5 one of 3 with 5 to 7.
    found = split_and_merge(LECTURE, max_range(2))
    assert found.labels.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 1, 2, 4], [1, 1, 4, 4]]
    assert len(found.leaves) == 10


def test_channels_count_by_the_largest_difference():
    # The first two values differ by (4, 3), the last two by (5, 0): the first two are closer, and all three do not fit.
    first, second, third, far = (0, 0), (4, 3), (9, 3), (99, 99)
    image = np.array([[far, first, second, far], [far, far, third, far]], np.uint8).transpose(2, 0, 1)
    assert split_and_merge(image, max_range(5)).labels.tolist() == [[1, 2, 2, 3], [1, 1, 4, 3]]


def check_merge(image: np.ndarray, labels: np.ndarray, leaves: np.ndarray, uniform, neighbours: int) -> None:
    """Regions are connected unions of leaves, numbered in reading order; all but leaves fit, no two neighbours do."""
    count = labels.max()
    firsts = [np.flatnonzero(labels == label)[0] for label in range(1, count + 1)]
    assert firsts == sorted(firsts)
    values = {label: image[..., labels == label] for label in range(1, count + 1)}
    for label in values:
        assert ndimage.label(labels == label, STRUCTURE[neighbours])[1] == 1
        of_leaves = set(leaves[labels == label].tolist())
        assert np.isin(leaves, list(of_leaves)).sum() == values[label].shape[-1]
        assert len(of_leaves) == 1 or uniform(values[label])
    steps = [(0, 1), (1, 0)] + [(1, 1), (1, -1)] * (neighbours == 8)
    touching = {
        (int(labels[y, x]), int(labels[y + dy, x + dx]))
        for y in range(labels.shape[0])
        for x in range(labels.shape[1])
        for dy, dx in steps
        if 0 <= y + dy < labels.shape[0] and 0 <= x + dx < labels.shape[1]
    }
    for one, other in touching:
        assert one == other or not uniform(np.concatenate([values[one], values[other]], axis=-1))


@settings(max_examples=60)
@given(grey, neighbourhoods, st.integers(0, 3), st.integers(1, 3))
def test_merged_regions_keep_what_is_promised(image, neighbours, limit, min_size):
    for rule, uniform in (
        (max_range(limit), lambda v: np.ptp(v.astype(int)) <= limit),
        (max_variance(limit + 0.123), lambda v: np.var(v) <= limit + 0.123),
    ):
        found = split_and_merge(image, rule, min_size, neighbours=neighbours)
        leaves = split_and_merge(image, rule, min_size, merge=False).labels
        check_merge(image, found.labels, leaves, uniform, neighbours)


@pytest.mark.parametrize("neighbours", [4, 8])
def test_merged_regions_of_a_colour_photograph(neighbours):
    image = photograph("coffee")[:, 60:130, 200:300]
    found = split_and_merge(image, max_range(50), neighbours=neighbours)
    leaves = split_and_merge(image, max_range(50), merge=False).labels
    assert 20 < found.labels.max() < leaves.max() / 2
    check_merge(image, found.labels, leaves, lambda v: np.ptp(v.astype(int), axis=1).max() <= 50, neighbours)


def test_the_same_in_small_parts(monkeypatch):
    image = grey_photograph("page")
    for rule in (max_range(40), max_variance(90)):
        expected = split_and_merge(image, rule, neighbours=8)
        with monkeypatch.context() as patch:
            patch.setattr(split_merge, "STRIP", 6)
            patch.setattr(merging, "STRIP", 7)
            patch.setattr(merging, "PART", 100)
            in_parts = split_and_merge(image, rule, neighbours=8)
        np.testing.assert_array_equal(in_parts.labels, expected.labels)
        np.testing.assert_array_equal(in_parts.levels, expected.levels)


def test_equal_neighbours_all_join():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[1::2] = 200
    found = split_and_merge(stripes, max_range(10))
    np.testing.assert_array_equal(found.labels, np.arange(1, 65)[:, None].repeat(64, 1))
    board = np.indices((16, 16)).sum(0).astype(np.uint8) % 2 * 255
    assert split_and_merge(board, max_range(0)).labels.max() == 256
    assert split_and_merge(board, max_range(0), neighbours=8).labels.max() == 2


def test_images_of_a_batch_are_merged_each_for_itself():
    images = np.stack([grey_photograph("coins")[:90, :80], grey_photograph("camera")[200:290, 200:280]])[:, None]
    for as_input in (np.asarray, torch.from_numpy):
        found = split_and_merge(as_input(images), max_variance(200))
        assert found.labels.shape == (2, 90, 80)
        for image, labels in zip(images, found.labels, strict=True):
            np.testing.assert_array_equal(labels, split_and_merge(image, max_variance(200)).labels)
        with pytest.raises(ValueError, match="one image"):
            _ = found.leaves
    one = split_and_merge(torch.from_numpy(images[0, 0]), max_range(30))
    assert isinstance(one.leaves, torch.Tensor) and one.leaves.dtype == torch.int32 and one.leaves.shape[1] == 4


def test_a_rule_of_ones_own():
    no_dark_pixel_beside_a_bright_one = Rule(
        of_pixels=lambda pixels: (pixels < 50, pixels > 200),
        join=lambda one, other: (one[0] | other[0], one[1] | other[1]),
        holds=lambda dark, bright: ~(dark & bright).any(-3),
    )
    image = grey_photograph("camera")[100:164, 200:264].copy()
    found = split_and_merge(image, no_dark_pixel_beside_a_bright_one)
    same = split_and_merge(image, lambda values: not ((values < 50).any() and (values > 200).any()))
    np.testing.assert_array_equal(found.labels, same.labels)


def test_values_that_are_no_numbers_stay_alone():
    image = np.ones((4, 4))
    image[1, 1] = np.nan
    for rule in (max_range(1), max_variance(1)):
        labels = split_and_merge(image, rule).labels
        assert labels.max() == 2 and (labels == labels[1, 1]).sum() == 1
    assert split_and_merge(image, lambda values: True).labels.max() == 1
    assert split_and_merge(np.full((2, 2), np.nan), lambda values: len(values) < 3).labels.max() == 2


def test_constant_floats_have_no_variance_however_they_round():
    assert split_and_merge(np.full((37, 53), 0.1), max_variance(0)).labels.max() == 1


def test_split_and_merge_rejects_what_it_cannot_use():
    with pytest.raises(TypeError, match=r"such as max_range\(20\)"):
        split_and_merge(LECTURE, 2)
    with pytest.raises(ValueError, match="min_size must be 1 or more, got 0"):
        split_and_merge(LECTURE, max_range(2), min_size=0)
    for rule in (max_range, max_variance):
        with pytest.raises(ValueError, match="limit must be 0 or more, got -1"):
            rule(-1)
    with pytest.raises(ValueError, match="neighbours must be 4 or 8, got 5"):
        split_and_merge(LECTURE, max_range(2), neighbours=5)
    with pytest.raises(ValueError, match="at least one channel"):
        split_and_merge(np.zeros((0, 4, 4)), max_range(2))
