"""Cells out of probabilities, and touching cells: held against SciPy, plain loops, and cases worked by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from segedu.instances import Separation, compare_cells, connected_cells, touching_pairs, watershed_cells
from segedu.metrics import panoptic_quality

Y, X = np.mgrid[:40, :60]


def discs(*circles):
    """The union of discs (row, column, radius), as probabilities."""
    return np.max([np.hypot(Y - row, X - column) <= radius for row, column, radius in circles], axis=0).astype(float)


masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))
blobs = masks.map(lambda mask: ndimage.zoom(mask, 2, order=0))
labels = hnp.arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 5))


# Connected cells


def test_connected_cells_by_hand():
    probability = np.array(
        [
            [0.9, 0.6, 0.1, 0.0],
            [0.2, 0.1, 0.7, 0.7],
            [0.5, 0.0, 0.8, 0.1],
            [0.0, 0.0, 0.0, 0.9],
        ]
    )
    expected = [[1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, 0], [0, 0, 0, 3]]
    np.testing.assert_array_equal(connected_cells(probability, smallest=1), expected)
    # The first and the last are too small, and the numbers begin at 1 again.
    np.testing.assert_array_equal(connected_cells(probability, smallest=3), np.array(expected) == 2)
    assert connected_cells(probability, threshold=0.4, smallest=1)[2, 0]


@given(mask=masks, smallest=st.integers(0, 6))
def test_connected_cells_are_scipy_s(mask, smallest):
    theirs, count = ndimage.label(mask)
    areas = ndimage.sum_labels(mask, theirs, range(1, count + 1))
    ours = connected_cells(mask.astype(np.float32), smallest=smallest)
    assert ours.dtype == np.int32
    assert same_partition(ours, np.where(np.isin(theirs, 1 + np.flatnonzero(areas >= smallest)), theirs, 0))
    assert set(np.unique(ours)) - {0} == set(range(1, int((areas >= smallest).sum()) + 1))


# Watershed


@pytest.mark.parametrize(
    ("circles", "connected", "cut"),
    [
        ([(20, 20, 9)], 1, 1),
        ([(20, 18, 9), (20, 33, 9)], 1, 2),
        ([(20, 18, 9), (20, 21, 9)], 1, 1),  # hardly longer than wide
        ([(12, 14, 8), (12, 28, 8), (25, 21, 8)], 1, 3),
        ([(20, 0, 9), (20, 14, 9)], 1, 2),  # one cut off by the image's edge
        ([(8, 10, 6), (30, 45, 8)], 2, 2),
    ],
)
def test_discs_that_overlap_come_apart(circles, connected, cut):
    probability = discs(*circles)
    assert connected_cells(probability).max() == connected
    assert watershed_cells(probability).max() == cut


def test_the_cut_is_at_the_neck():
    cells = watershed_cells(discs((20, 18, 9), (20, 33, 9)))
    left, right = cells[20, 18], cells[20, 33]
    assert left != right
    columns = X[cells == left].max(), X[cells == right].min()
    assert 24 <= columns[1] - 1 <= columns[0] <= 27  # half-way is 25.5


def test_discs_of_two_sizes_come_apart_where_the_neck_is_deep_enough():
    # Their circles cross at 2.5 above and below the line of their middles, so the neck is 2 to 3 high; the smaller hill
    # is the root of 26, as far as the nearest pixel outside its disc.
    probability = discs((20, 18, 9), (20, 31, 5))
    assert watershed_cells(probability, depth=1).max() == 2
    assert watershed_cells(probability, depth=4).max() == 1


@given(mask=blobs, depth=st.sampled_from([0.11, 0.47, 0.93, 1.71, 5.3]))
def test_a_cell_for_each_hill(mask, depth):
    cells = watershed_cells(mask.astype(np.float32), smallest=1, depth=depth)
    np.testing.assert_array_equal(cells > 0, mask)
    for number in range(1, cells.max() + 1):
        assert ndimage.label(cells == number)[1] == 1
    if not mask.all():
        assert cells.max() == hills(ndimage.distance_transform_edt(mask), depth)
    else:
        assert cells.max() == 1


@given(mask=blobs, depths=st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)))
def test_less_depth_cuts_more(mask, depths):
    cells = [watershed_cells(mask.astype(np.float32), smallest=1, depth=depth).max() for depth in sorted(depths)]
    assert cells[0] >= cells[1] >= connected_cells(mask.astype(np.float32), smallest=1).max()


def hills(height, depth):
    """Hills from which one must go down by more than `depth` to a higher one, pixel by pixel from the highest down."""
    hill_of, count = {}, 0

    def top(pixel):
        while hill_of[pixel] != pixel:
            pixel = hill_of[pixel]
        return pixel

    for pixel in sorted((p for p in np.ndindex(height.shape) if height[p] > 0), key=lambda p: -height[p]):
        hill_of[pixel] = pixel
        y, x = pixel
        for neighbour in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if neighbour in hill_of and top(neighbour) != top(pixel):
                low, high = sorted((top(neighbour), top(pixel)), key=lambda p: height[p])
                count += height[low] - height[pixel] > depth  # here the lower of two hills ends
                hill_of[low] = high
    return count + sum(hill == pixel for pixel, hill in hill_of.items())


# Touching pairs


def test_touching_pairs_by_hand():
    cells = np.array(
        [
            [1, 1, 0, 2, 0, 0],
            [0, 0, 0, 0, 0, 3],
            [0, 0, 0, 0, 3, 0],
            [4, 0, 0, 0, 0, 0],
        ]
    )
    # 2 and 3 are two columns and a row apart, √5; 1 and 4 three rows.
    assert touching_pairs(cells).tolist() == [[1, 2]]
    assert touching_pairs(cells, distance=1.5).tolist() == []
    assert touching_pairs(cells, distance=math.sqrt(5)).tolist() == [[1, 2], [2, 3]]
    assert touching_pairs(cells, distance=3).tolist() == [[1, 2], [1, 4], [2, 3]]


@given(cells=labels, distance=st.floats(1, 4))
def test_touching_pairs_are_those_of_a_slow_loop(cells, distance):
    pixels = [(int(cells[p]), p) for p in np.ndindex(cells.shape) if cells[p]]
    expected = {
        (min(a, b), max(a, b))
        for (a, p), (b, q) in itertools.combinations(pixels, 2)
        if a != b and (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 <= distance**2
    }
    assert touching_pairs(cells, distance=distance).tolist() == sorted(map(list, expected))


# Comparing


def test_separation_by_hand():
    true = np.array([[1, 1, 1, 2, 2, 2, 0, 3, 3, 3, 0, 5, 5, 5, 5]])
    merged = np.array([[7, 7, 7, 7, 7, 7, 0, 8, 8, 8, 0, 1, 1, 0, 2]])
    # 7 holds all of 1 and 2, with an IoU of 1/2 each, which is not above it; 5 is split, 2/4 and 1/4.
    assert compare_cells(merged, true) == Separation(
        cells=4, predicted=4, found=1, touching=3, apart=0, merges=1, splits=1
    )
    assert compare_cells(true * 10, true) == Separation(
        cells=4, predicted=4, found=4, touching=3, apart=3, merges=0, splits=0
    )
    nothing = compare_cells(np.zeros_like(true), true)
    assert (nothing.found, nothing.apart, nothing.predicted, nothing.share_apart) == (0, 0, 0, 0.0)


@given(pair=st.tuples(labels, labels))
def test_separation_is_that_of_sets_of_pixels(pair):
    H, W = np.minimum(pair[0].shape, pair[1].shape)
    predicted, true = pair[0][:H, :W], pair[1][:H, :W]
    guesses, truths = (
        {n: set(map(tuple, np.argwhere(m == n))) for n in np.unique(m[m > 0])} for m in (predicted, true)
    )
    found = {n for n, t in truths.items() if any(len(t & g) > 0.5 * len(t | g) for g in guesses.values())}
    pairs = touching_pairs(true).tolist()
    expected = Separation(
        cells=len(truths),
        predicted=len(guesses),
        found=len(found),
        touching=len(pairs),
        apart=sum(a in found and b in found for a, b in pairs),
        merges=sum(sum(len(t & g) > len(t) / 2 for t in truths.values()) > 1 for g in guesses.values()),
        splits=sum(sum(len(t & g) > len(g) / 2 for g in guesses.values()) > 1 for t in truths.values()),
    )
    assert compare_cells(predicted, true) == expected


@given(pair=st.tuples(labels, labels))
def test_f1_is_the_recognition_quality_of_panoptic_segmentation(pair):
    H, W = np.minimum(pair[0].shape, pair[1].shape)
    predicted, true = ((m[:H, :W] > 0) * np.ones((2, 1, 1), int) for m in pair)
    predicted[1], true[1] = pair[0][:H, :W], pair[1][:H, :W]
    theirs = panoptic_quality(np.moveaxis(predicted, 0, -1), np.moveaxis(true, 0, -1), things=[1], stuff=[0])
    ours = compare_cells(predicted[1], true[1]).f1
    np.testing.assert_allclose(ours, theirs.per_class[1].rq if true.any() or predicted.any() else np.nan)


def test_separations_add_up():
    total = Separation(4, 5, 3, 2, 1, 1, 0) + Separation(6, 5, 4, 2, 2, 0, 3)
    assert total == Separation(10, 10, 7, 4, 3, 1, 3)
    assert total.share_apart == 0.75
    assert total.f1 == 0.7
    assert math.isnan(Separation().f1)
    assert math.isnan(Separation().share_apart)


# Types, devices, errors


def test_tensors_give_tensors():
    probability = torch.from_numpy(discs((20, 18, 9), (20, 33, 9)))
    for separate in (connected_cells, watershed_cells):
        cells = separate(probability)
        assert cells.dtype == torch.int32
        np.testing.assert_array_equal(cells.numpy(), separate(probability.numpy()))
        np.testing.assert_array_equal(cells, separate(probability.bfloat16().requires_grad_()))
    cells = watershed_cells(probability)
    assert touching_pairs(cells).tolist() == [[1, 2]]
    assert compare_cells(cells, cells) == compare_cells(cells.numpy(), cells.numpy())


@pytest.mark.parametrize("separate", [connected_cells, watershed_cells])
def test_what_is_no_map_of_probabilities_is_refused(separate):
    with pytest.raises(TypeError, match=r"floating point, got torch\.int64"):
        separate(torch.ones(3, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(H, W\) and pixels, got \(1, 3, 3\)"):
        separate(torch.ones(1, 3, 3))
    with pytest.raises(ValueError, match=r"from 0 to 1, got -2\.0 to 3\.0: logits need a soft-max"):
        separate(np.array([[-2.0, 3.0]]))
    with pytest.raises(ValueError, match="from 0 to 1, got nan"):
        separate(np.array([[0.5, np.nan]]))


def test_what_are_no_cells_is_refused():
    with pytest.raises(TypeError, match="predicted must be numbered by integers"):
        compare_cells(np.ones((2, 2)), np.ones((2, 2), int))
    with pytest.raises(ValueError, match=r"same shape, got \(2, 3\) and \(2, 2\)"):
        compare_cells(np.ones((2, 3), int), np.ones((2, 2), int))
    with pytest.raises(ValueError, match="distance must be at least 1 pixel, got 0"):
        touching_pairs(np.ones((2, 2), int), distance=0)
    with pytest.raises(ValueError, match="depth must be above 0, got 0"):
        watershed_cells(np.ones((2, 2)), depth=0)


def same_partition(one, other):
    """Whether two maps have the same cells, by whatever numbers."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return (
        all(len(np.unique(side)) == pairs.shape[1] for side in pairs)
        and (pairs[0] == 0).tolist() == (pairs[1] == 0).tolist()
    )
