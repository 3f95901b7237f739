"""segedu.classical.threshold against OpenCV, scikit-image, SciPy, NumPy, exact fractions and cases worked by hand."""

import itertools
from contextlib import contextmanager
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage import filters
from torch._subclasses.fake_tensor import FakeTensorMode

from segedu.classical import (
    adaptive_threshold,
    global_threshold,
    histogram,
    hysteresis_threshold,
    multi_otsu_thresholds,
    otsu_threshold,
    threshold,
)
from segedu.datasets import photos

KINDS = {"mean": cv2.ADAPTIVE_THRESH_MEAN_C, "gaussian": cv2.ADAPTIVE_THRESH_GAUSSIAN_C}
both_routes = pytest.mark.parametrize("route", ["opencv", "torch"])

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)
few_levels = st.lists(st.integers(0, 255), min_size=1, max_size=5, unique=True)
images = shapes.flatmap(
    lambda shape: st.one_of(
        hnp.arrays(np.uint8, shape),
        few_levels.flatmap(lambda levels: hnp.arrays(np.uint8, shape, elements=st.sampled_from(levels))),
    )
)

pytestmark = pytest.mark.usefixtures("one_thread")

numbers = st.one_of(st.integers(-300, 300), st.integers(-600, 600).map(lambda n: n / 2), st.floats(-300, 300))


@contextmanager
def through(route):
    """Take the readable route even where the fast one is open."""
    with pytest.MonkeyPatch.context() as patch:
        if route == "torch":
            patch.setattr(threshold, "in_memory", lambda tensor: False)
        yield


@pytest.fixture(scope="module")
def grey_photos():
    colour_or_grey = {name: photos.load(name).image for name in photos.names()}
    return {
        name: image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        for name, image in colour_or_grey.items()
    }


# One threshold


@both_routes
@given(images, numbers)
def test_global_equals_opencv(route, image, level):
    with through(route):
        ours = global_threshold(image, level)
    assert ours.dtype == bool
    np.testing.assert_array_equal(ours, cv2.threshold(image, level, 1, cv2.THRESH_BINARY)[1] == 1)


@both_routes
@pytest.mark.parametrize(
    "level, above", [(-1, 3), (0, 2), (254.5, 1), (255, 0), (256, 0), (float("inf"), 0), (float("-inf"), 3)]
)
def test_global_does_not_wrap_round(route, level, above):
    image = np.array([[0, 128, 255]], np.uint8)
    with through(route):
        assert global_threshold(image, level).sum() == above
        assert global_threshold(image, np.asarray(level)).sum() == above
        assert global_threshold(image[None], np.array([level])).sum() == above


def test_global_with_a_threshold_for_each_image():
    image = np.random.default_rng(0).random((2, 3, 8, 9), np.float32)
    levels = np.random.default_rng(1).random((2, 3), np.float32)
    ours = global_threshold(image, levels)
    for place in np.ndindex(2, 3):
        np.testing.assert_array_equal(ours[place], image[place] > levels[place])
    with pytest.raises(ValueError, match=r"threshold must be a number or have shape \(2, 3\).*, got \(3,\)"):
        global_threshold(image, levels[0])


# Histogram


@both_routes
@given(images)
def test_histogram_of_levels_equals_numpy(route, image):
    with through(route):
        counts, levels = histogram(image)
    np.testing.assert_array_equal(counts, np.bincount(image.ravel(), minlength=256))
    np.testing.assert_array_equal(levels, np.arange(256))


def test_histogram_counts_all_pixels_of_images_too_large_for_float32(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (50, 30), dtype=np.uint8)
    for largest in (1, 30, 100, 1499):
        monkeypatch.setattr(threshold, "LARGEST_COUNT", largest)
        np.testing.assert_array_equal(histogram(image)[0], np.bincount(image.ravel(), minlength=256))


@given(
    st.sampled_from([np.float32, np.float64]).flatmap(
        lambda dtype: hnp.arrays(dtype, shapes, elements=st.floats(0, 1, width=np.dtype(dtype).itemsize * 8))
    ),
    st.integers(1, 300),
)
def test_histogram_of_floats_equals_numpy(image, bins):
    assume(np.ptp(image) > 1e-3)
    counts, centres = histogram(image, bins)
    expected, edges = np.histogram(image, bins)
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_allclose(centres, (edges[1:] + edges[:-1]) / 2, rtol=1e-6)


# Otsu


def between_class_variance(image, thresholds):
    """Exactly, up to what all thresholds have in common: the sum of (sum of levels)² / pixels over the classes."""
    levels = image.ravel().astype(int)
    classes = np.searchsorted(np.asarray(thresholds, float), levels)
    groups = [levels[classes == number] for number in range(len(thresholds) + 1)]
    return sum(Fraction(int(group.sum()) ** 2, group.size) for group in groups if group.size)


def test_otsu_worked_by_hand():
    # Levels 0, 1, 3, 4 with 2, 1, 1, 2 of 6 pixels. Means left and right of 0 | 1: 0 and 3; of 1 | 3: 1/3 and 11/3.
    # Shares times squared difference: 2/6 4/6 3² = 2 and 3/6 3/6 (10/3)² = 25/9; 3 | 4 is 0 | 1 mirrored.
    image = np.array([[0, 0, 1], [3, 4, 4]], np.uint8)
    assert otsu_threshold(image) == 1
    assert isinstance(otsu_threshold(image), float)
    # From any level to the one below the next, the classes are the same: the lowest is chosen.
    assert otsu_threshold(np.array([[10, 10, 200]], np.uint8)) == 10


@both_routes
@given(images)
@example(np.array([[0, 100, 200]], np.uint8))
def test_otsu_is_the_exact_optimum_and_the_lowest(route, image):
    with through(route):
        ours = otsu_threshold(image)
    assert (image == ours).any()
    occurring = np.unique(image)[:-1]
    if occurring.size:
        variances = {level: between_class_variance(image, [level]) for level in occurring.tolist()}
        assert variances[ours] == max(variances.values())
        assert ours == min(level for level, variance in variances.items() if variance == variances[ours])
        opencv, _ = cv2.threshold(image, 0, 255, cv2.THRESH_OTSU)  # may take another one of those that tie
        assert between_class_variance(image, [opencv]) == pytest.approx(variances[ours], rel=1e-12)


@both_routes
def test_otsu_equals_opencv_and_scikit_image_on_photographs(route, grey_photos):
    with through(route):
        for name, image in grey_photos.items():
            opencv, _ = cv2.threshold(image, 0, 255, cv2.THRESH_OTSU)
            assert otsu_threshold(image) == opencv == filters.threshold_otsu(image), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bins", [10, 256])
def test_otsu_on_floats_equals_scikit_image(grey_photos, dtype, bins):
    for name, image in grey_photos.items():
        image = image.astype(dtype) / 255
        assert otsu_threshold(image, bins) == pytest.approx(filters.threshold_otsu(image, bins), abs=1e-6), name


def test_otsu_on_constant_images_finds_nothing_above():
    for image in (np.full((4, 5), 7, np.uint8), np.full((4, 5), 255, np.uint8), np.full((4, 5), 0.3, np.float32)):
        for level in (otsu_threshold(image), *multi_otsu_thresholds(image, 3)):
            assert level == image[0, 0]
            assert not global_threshold(image, level).any()


# Several thresholds


@given(hnp.arrays(np.uint8, shapes, elements=st.integers(0, 9)), st.integers(2, 5))
def test_several_thresholds_are_the_best_of_all(image, classes):
    levels = np.unique(image)
    assume(len(levels) >= classes)
    ours = multi_otsu_thresholds(image, classes)
    every = itertools.combinations(levels[:-1].tolist(), classes - 1)
    variances = {thresholds: between_class_variance(image, thresholds) for thresholds in every}
    best = max(variances.values())
    # The table sums floats, so that thresholds that tie exactly may differ by their rounding.
    assert variances[tuple(ours.tolist())] == pytest.approx(best, rel=1e-12)


@given(images)
def test_one_of_several_thresholds_is_otsu(image):
    single = otsu_threshold(image)
    ours = multi_otsu_thresholds(image, 2)
    assert between_class_variance(image, ours) == pytest.approx(between_class_variance(image, [single]), rel=1e-12)


def test_several_thresholds_are_never_worse_than_scikit_image(grey_photos):
    differ = 0
    for image in grey_photos.values():
        for classes in (2, 3, 4):
            ours, theirs = multi_otsu_thresholds(image, classes), filters.threshold_multiotsu(image, classes)
            # scikit-image keeps its sums in float32 and now and then misses the best by one level.
            np.testing.assert_allclose(ours, theirs, atol=1)
            assert between_class_variance(image, ours) >= between_class_variance(image, theirs)
            differ += (ours != theirs).any()
    assert differ < len(grey_photos)


@given(images, st.integers(2, 6))
def test_several_thresholds_with_too_few_levels(image, classes):
    levels = np.unique(image)
    ours = multi_otsu_thresholds(image, classes)
    assert ours.shape == (classes - 1,) and np.isin(ours, levels).all() and (np.diff(ours) >= 0).all()
    if len(levels) <= classes:
        np.testing.assert_array_equal(ours, np.pad(levels, (0, classes), mode="edge")[: classes - 1])


def test_several_thresholds_of_floats(grey_photos):
    image = grey_photos["coins"] / 255
    np.testing.assert_allclose(multi_otsu_thresholds(image, 3), filters.threshold_multiotsu(image, 3), atol=1e-6)


# A threshold for each neighbourhood


@both_routes
@given(images, st.sampled_from(sorted(KINDS)), st.sampled_from([3, 5, 7, 9, 11, 25, 63]), numbers)
def test_adaptive_equals_opencv(route, image, method, block_size, offset):
    theirs = cv2.adaptiveThreshold(image, 1, KINDS[method], cv2.THRESH_BINARY, block_size, offset) == 1
    with through(route):
        ours = adaptive_threshold(image, method, block_size, offset)
    if route == "torch" and method == "gaussian":
        # OpenCV's sums are float32, ours float64: means next to a half may be rounded apart.
        weights = cv2.getGaussianKernel(block_size, 0)
        mean = cv2.sepFilter2D(image, cv2.CV_64F, weights, weights, borderType=cv2.BORDER_REPLICATE)
        clear = np.abs(mean % 1 - 0.5) > 1e-4
        ours, theirs = ours[clear], theirs[clear]
    np.testing.assert_array_equal(ours, theirs)


@both_routes
@pytest.mark.parametrize("method", KINDS)
def test_adaptive_equals_opencv_on_photographs(route, method, grey_photos, monkeypatch):
    monkeypatch.setattr(threshold, "STRIP", 40_000)
    with through(route):
        for name, image in grey_photos.items():
            theirs = cv2.adaptiveThreshold(image, 1, KINDS[method], cv2.THRESH_BINARY, 35, 5) == 1
            wrong = (adaptive_threshold(image, method, 35, 5) != theirs).mean()
            assert wrong <= (1e-4 if (route, method) == ("torch", "gaussian") else 0), name


@pytest.mark.parametrize("size", range(3, 64, 2))
def test_gaussian_weights_equal_opencv(size):
    np.testing.assert_allclose(threshold._gaussian(size), cv2.getGaussianKernel(size, 0)[:, 0], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("strip", [1, 1 << 20])
def test_adaptive_on_floats_equals_scikit_image(grey_photos, monkeypatch, dtype, strip):
    monkeypatch.setattr(threshold, "STRIP", strip)
    image = (grey_photos["page"] / 255).astype(dtype)
    exact = image.astype(float)
    local = {
        "mean": filters.threshold_local(exact, 21, "mean", mode="nearest"),
        "gaussian": filters.threshold_local(exact, 21, "gaussian", mode="nearest", param=0.3 * (10 - 1) + 0.8),
    }
    # SciPy cuts its Gaussian off at four standard deviations instead of at the block's border.
    for method, tolerance in {"mean": 1e-6, "gaussian": 2e-3}.items():
        ours = adaptive_threshold(image, method, 21, 0.05)
        clear = np.abs(exact - local[method] + 0.05) > tolerance
        assert clear.mean() > 0.95
        np.testing.assert_array_equal(ours[clear], (exact > local[method] - 0.05)[clear])


@pytest.mark.parametrize("method", KINDS)
@given(value=st.floats(0, 1), shape=shapes)
def test_adaptive_finds_nothing_in_a_constant_float_image(method, value, shape):
    assert not adaptive_threshold(np.full(shape, value), method, 7).any()
    assert adaptive_threshold(np.full(shape, value), method, 7, 0.01).all()


# Two thresholds


@both_routes
@given(images, st.tuples(st.integers(-1, 256), st.integers(-1, 256)).map(sorted))
def test_hysteresis_equals_scikit_image_and_scipy(route, image, levels):
    low, high = levels
    with through(route):
        four, eight = (hysteresis_threshold(image, low, high, neighbours) for neighbours in (4, 8))
    wide = image.astype(int)  # scikit-image would compare -1 as uint8
    np.testing.assert_array_equal(four, filters.apply_hysteresis_threshold(wide, low, high))
    labels, count = ndimage.label(wide > low, np.ones((3, 3)))
    kept = [number for number in range(1, count + 1) if (wide[labels == number] > high).any()]
    np.testing.assert_array_equal(eight, np.isin(labels, kept))


@both_routes
def test_hysteresis_follows_a_path_to_its_end(route):
    snake = np.zeros((41, 41), np.float32)
    snake[::2] = 0.5
    snake[1::4, -1] = snake[3::4, 0] = 0.5
    with through(route):
        assert not hysteresis_threshold(snake, 0.4, 0.8).any()
        snake[0, 0] = 0.9
        np.testing.assert_array_equal(hysteresis_threshold(snake, 0.4, 0.8, neighbours=4), snake > 0.4)


# What all of them share

OPERATIONS = {
    "global": lambda image: global_threshold(image, 0.4),
    "histogram": lambda image: histogram(image)[0],
    "otsu": otsu_threshold,
    "several": multi_otsu_thresholds,
    "mean": lambda image: adaptive_threshold(image, "mean", 5, 0.01),
    "gaussian": lambda image: adaptive_threshold(image, "gaussian", 5, 0.01),
    "hysteresis": lambda image: hysteresis_threshold(image, 0.4, 0.8),
}
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


@every_operation
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_batch_equals_its_images(operation, dtype):
    scale = 255 if dtype == np.uint8 else 1
    batch = (np.random.default_rng(0).random((2, 3, 19, 14)) * scale).astype(dtype)
    ours = operation(batch)
    tensors = operation(torch.from_numpy(batch))
    assert isinstance(ours, np.ndarray) and isinstance(tensors, torch.Tensor)
    np.testing.assert_array_equal(ours, tensors.numpy())
    for place in np.ndindex(2, 3):
        np.testing.assert_array_equal(ours[place], operation(batch[place]))
    assert operation(batch[:0]).shape == (0, *ours.shape[1:])


@every_operation
def test_views_and_read_only_arrays(operation):
    image = np.random.default_rng(0).integers(0, 256, (20, 31), dtype=np.uint8)
    turned, expected = image.T, operation(image.T.copy())
    np.testing.assert_array_equal(operation(turned), expected)
    np.testing.assert_array_equal(operation(torch.from_numpy(image).T[None])[0].numpy(), expected)
    image.flags.writeable = False
    np.testing.assert_array_equal(operation(turned), expected)
    np.testing.assert_array_equal(operation(image[::-1, ::2]), operation(image[::-1, ::2].copy()))


@every_operation
def test_where_gradients_are_recorded(operation):
    batch = torch.rand(2, 9, 8)
    expected = operation(batch)
    assert torch.equal(operation(batch.requires_grad_()), expected)
    with torch.no_grad():
        assert torch.equal(operation(batch), expected)


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - {"hysteresis"}))  # which waits for the device
def test_any_device_and_compiled(name):
    operation = OPERATIONS[name]
    for image in (torch.rand(2, 9, 8), torch.randint(0, 256, (2, 9, 8), dtype=torch.uint8)):
        compiled = torch.compile(operation, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(image), operation(image))
        with FakeTensorMode():
            fake = torch.zeros(image.shape, dtype=image.dtype, device="cuda")
            assert operation(fake).device.type == "cuda"


def test_errors_name_what_was_expected():
    image = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="method must be 'mean' or 'gaussian', got 'median'"):
        adaptive_threshold(image, "median", 3)
    for block_size in (1, 4, -3):
        with pytest.raises(ValueError, match=f"block_size must be odd and 3 or more, got {block_size}"):
            adaptive_threshold(image, "mean", block_size)
    with pytest.raises(ValueError, match="low must not be greater than high, got 5 and 4"):
        hysteresis_threshold(image, 5, 4)
    with pytest.raises(ValueError, match="neighbours must be 4 or 8, got 6"):
        hysteresis_threshold(image, 4, 5, neighbours=6)
    for classes in (1, 257):
        with pytest.raises(ValueError, match=rf"classes must be from 2 to the number of bins \(256\), got {classes}"):
            multi_otsu_thresholds(image, classes)
    with pytest.raises(TypeError, match=r"image must be uint8 or floating point, got torch\.int64"):
        otsu_threshold(image.astype(np.int64))
