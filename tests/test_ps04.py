"""The reference solution of ps04 against peers, and the numbers in its notebook's text."""

from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from scipy import ndimage
from scipy.cluster.hierarchy import DisjointSet
from skimage import graph, measure, segmentation, util

from segedu.datasets import photos

NAME = "ps04-regions"
NOTEBOOK = nbformat.read(Path(__file__).parents[1] / "solutions" / NAME / f"{NAME}.ipynb", 4)
LECTURE = np.array([[1, 1, 5, 6], [2, 1, 6, 7], [3, 2, 7, 4], [1, 0, 5, 5]], np.uint8)


@pytest.fixture(scope="module")
def reference(reference_of):
    return reference_of(NAME)


@pytest.fixture(scope="module")
def grey_photos():
    """Two photographs, as large as the notebook's."""
    return photos.load("camera").image[::2, ::2], photos.load("cell").image[::2, ::2]


any_value = st.integers(0, 255)
small_shapes = nps.array_shapes(min_dims=2, max_dims=2, max_side=12)


def images(values=any_value, shapes=small_shapes):
    return nps.arrays(np.uint8, shapes, elements=values)


squares = st.sampled_from([(1, 1), (2, 2), (4, 4), (8, 8), (16, 16)])


def flood_fill(image: np.ndarray, seed: tuple[int, int], tolerance: int) -> np.ndarray:
    mask = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY
    cv2.floodFill(image.copy(), mask, seed, 0, tolerance, tolerance, flags)
    return mask[1:-1, 1:-1] > 0


def dilate_by_mean(image: np.ndarray, seed: tuple[int, int], tolerance: int) -> np.ndarray:
    region = np.zeros(image.shape, bool)
    region[seed[1], seed[0]] = True
    while True:
        fits = np.abs(image - ndimage.mean(image, region)) <= tolerance
        larger = ndimage.binary_dilation(region, mask=fits | region)
        if (larger == region).all():
            return region
        region = larger


@pytest.mark.parametrize(("connectivity", "rank"), [(4, 1), (8, 2)])
def test_neighbours_are_what_a_dilation_adds(reference, connectivity, rank):
    structure = ndimage.generate_binary_structure(2, rank)
    for shape in ((1, 1), (1, 4), (3, 2), (5, 6)):
        for y, x in np.ndindex(shape):
            pixel = np.zeros(shape, bool)
            pixel[y, x] = True
            added = np.argwhere(ndimage.binary_dilation(pixel, structure) & ~pixel)
            got = reference["neighbours"](x, y, shape, connectivity)
            assert sorted(got) == sorted((a, b) for b, a in added.tolist())


@given(mask=nps.arrays(bool, nps.array_shapes(min_dims=2, max_dims=2, max_side=15)))
def test_components_are_those_of_scipy(reference, mask):
    for connectivity, rank in ((4, 1), (8, 2)):
        theirs, _ = ndimage.label(mask, ndimage.generate_binary_structure(2, rank))
        np.testing.assert_array_equal(reference["connected_components"](mask, connectivity), theirs)


def test_components_of_a_photograph_are_those_of_scikit_image(reference):
    mask = photos.load("coins").image > 145
    for connectivity, rank in ((4, 1), (8, 2)):
        theirs = measure.label(mask, connectivity=rank)
        np.testing.assert_array_equal(reference["connected_components"](mask, connectivity), theirs)


@given(image=images(), tolerance=st.integers(0, 255), data=st.data())
def test_region_is_that_of_opencv_and_scikit_image(reference, image, tolerance, data):
    x, y = seed = data.draw(st.integers(0, image.shape[1] - 1)), data.draw(st.integers(0, image.shape[0] - 1))
    got = reference["grow"](image, seed, tolerance)
    np.testing.assert_array_equal(got, flood_fill(image, seed, tolerance))
    theirs = segmentation.flood(image.astype(np.int16), (y, x), connectivity=1, tolerance=tolerance)
    np.testing.assert_array_equal(got, theirs)


def test_region_of_a_photograph_is_that_of_opencv(reference, grey_photos):
    for image in grey_photos:
        for seed, tolerance in (((70, 150), 60), ((210, 210), 40), ((0, 0), 15)):
            got = reference["grow"](image, seed, tolerance)
            np.testing.assert_array_equal(got, flood_fill(image, seed, tolerance))


@given(image=images(), tolerance=st.integers(0, 255), data=st.data())
def test_region_by_mean_is_that_of_dilations(reference, image, tolerance, data):
    seed = data.draw(st.integers(0, image.shape[1] - 1)), data.draw(st.integers(0, image.shape[0] - 1))
    got = reference["grow_by_mean"](image, seed, tolerance)
    np.testing.assert_array_equal(got, dilate_by_mean(image, seed, tolerance))


def test_region_by_mean_of_the_example(reference):
    got = reference["grow_by_mean"](np.array([[2, 4, 5, 8]], np.uint8), (0, 0), 2)
    np.testing.assert_array_equal(got, [[True, True, True, False]])


@given(image=images(shapes=nps.array_shapes(min_dims=2, max_dims=2, max_side=6).map(lambda s: (2 * s[0], 2 * s[1]))))
def test_ranges_are_those_of_blocks(reference, image):
    blocks = util.view_as_blocks(image, (image.shape[0] // 2, image.shape[1] // 2))
    assert reference["quadrant_ranges"](image) == np.ptp(blocks, axis=(2, 3)).ravel().tolist()


def test_lecture_example(reference):
    assert reference["quadrant_ranges"](LECTURE) == [1, 2, 3, 3]
    boxes = reference["split"](LECTURE, 2)
    assert boxes[:2] == [(0, 0, 2, 2), (2, 0, 2, 2)]
    assert sorted(boxes[2:]) == [(x, y, 1, 1) for x in range(4) for y in (2, 3)]


@given(image=images(values=st.integers(0, 20), shapes=squares), tolerance=st.integers(0, 20))
def test_leaves_are_the_uniform_blocks_without_a_uniform_parent(reference, image, tolerance):
    side, due, inside_a_leaf = len(image), [], np.zeros(image.shape, bool)
    size = side
    while size:
        largest, smallest = (measure.block_reduce(image, (size, size), extreme) for extreme in (np.max, np.min))
        for row, column in np.argwhere(largest - smallest <= tolerance).tolist():
            block = np.s_[row * size : (row + 1) * size, column * size : (column + 1) * size]
            if not inside_a_leaf[block].any():
                due.append((column * size, row * size, size, size))
                inside_a_leaf[block] = True
        size //= 2
    assert sorted(reference["split"](image, tolerance)) == sorted(due)


label_maps = nps.arrays(np.uint8, nps.array_shapes(min_dims=2, max_dims=2, max_side=10), elements=st.integers(1, 12))


@given(labels=label_maps)
def test_pairs_are_the_edges_of_scikit_images_graph(reference, labels):
    edges = graph.RAG(labels, connectivity=1).edges
    assert reference["adjacent_pairs"](labels) == sorted((min(a, b), max(a, b)) for a, b in edges)


@given(image=images(values=st.integers(0, 12), shapes=squares), tolerance=st.integers(0, 12), data=st.data())
def test_merged_regions_are_those_of_disjoint_sets(reference, image, tolerance, data):
    numbers = 1 + np.arange(image.size).reshape(image.shape)
    pairs = data.draw(st.permutations(reference["adjacent_pairs"](numbers)))
    merged = reference["merge"](image, numbers, pairs, tolerance)
    value, sets = image.ravel(), DisjointSet(numbers.ravel().tolist())
    for a, b in pairs:
        both = [value[number - 1] for number in sets.subset(a) | sets.subset(b)]
        if max(both) - min(both) <= tolerance:
            sets.merge(a, b)
    assert {frozenset(numbers[merged == region].tolist()) for region in np.unique(merged)} == set(
        map(frozenset, sets.subsets())
    )


def test_merged_leaves_of_a_photograph_keep_the_rule(reference, grey_photos):
    image, tolerance = grey_photos[0][::4, ::4], 80
    leaves = np.zeros(image.shape, int)
    for number, (x, y, width, height) in enumerate(reference["split"](image, tolerance), start=1):
        leaves[y : y + height, x : x + width] = number
    assert (leaves > 0).all()
    merged = reference["merge"](image, leaves, reference["adjacent_pairs"](leaves), tolerance)

    def spread(*regions):
        return np.ptp(image[np.isin(merged, regions)])

    regions = np.unique(merged)
    assert regions.size < np.unique(leaves).size
    assert measure.label(merged, connectivity=1).max() == regions.size  # each is connected
    assert max(map(spread, regions)) <= tolerance
    # Once through the list is enough, as the text says: no two neighbours are left that could still be merged.
    assert min(spread(a, b) for a, b in graph.RAG(merged, connectivity=1).edges) > tolerance


def test_numbers_in_the_text_are_those_of_the_cell():
    cell = photos.load("cell")
    image, truth = np.ascontiguousarray(cell.image[::2, ::2]), cell.instances[0, ::2, ::2]
    (text,) = (part.source for part in NOTEBOOK.cells if part.id == "task-9")
    (question,) = (part.source for part in NOTEBOOK.cells if part.id == "question")
    methods = {"the seed": flood_fill, "the mean": dilate_by_mean}

    def score(method: str, seed: tuple[int, int], tolerance: int) -> str:
        region = methods[method](image, seed, tolerance)
        return f"{(region & truth).sum() / (region | truth).sum():.2f}"

    rows = [[entry.strip() for entry in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    tolerances = [int(entry.removeprefix("tolerance ")) for entry in rows[0][3:]]
    assert len(rows[2:]) == 6
    for method, place, value, *shown in rows[2:]:
        x, y = (int(number) for number in place.strip("()").split(","))
        assert int(value) == image[y, x]
        assert shown == [score(method, (x, y), tolerance) for tolerance in tolerances]
    for tolerance in (110, 115):
        assert f"tolerance {tolerance} gives {score('the mean', (220, 215), tolerance)}" in question


def test_coins_in_the_text_are_all_that_there_are():
    (text,) = (part.source for part in NOTEBOOK.cells if part.id == "specks")
    assert f"There are {len(photos.load('coins').instances)} coins" in text
