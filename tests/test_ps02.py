"""The reference solution of ps02 against OpenCV, scikit-image and SciPy, and the numbers in its notebook's text."""

import re
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage import exposure, filters, morphology, transform

from segedu.datasets import photos

NAME = "ps02-thresholding"
NOTEBOOK = nbformat.read(Path(__file__).parents[1] / "solutions" / NAME / f"{NAME}.ipynb", 4)
PHOTOS = ("coins", "page", "cell", "camera")

small_images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@pytest.fixture(scope="module")
def reference(reference_of):
    return reference_of(NAME)


@pytest.fixture(scope="module", params=PHOTOS)
def image(request) -> np.ndarray:
    return photos.load(request.param).image


def test_global_threshold_is_that_of_opencv(reference, image):
    for threshold in (0, 107, 200):
        _, theirs = cv2.threshold(image, threshold, 1, cv2.THRESH_BINARY)
        np.testing.assert_array_equal(reference["global_threshold"](image, threshold), theirs.astype(bool))


def test_histogram_is_that_of_opencv_and_scikit_image(reference, image):
    counts = reference["histogram"](image)
    np.testing.assert_array_equal(counts, cv2.calcHist([image], [0], None, [256], [0, 256])[:, 0])
    theirs, values = exposure.histogram(image, source_range="dtype")
    np.testing.assert_array_equal(counts, theirs)
    np.testing.assert_array_equal(values, np.arange(256))


def test_otsu_is_that_of_opencv_and_scikit_image(reference, image):
    threshold = reference["otsu_threshold"](reference["histogram"](image))
    assert threshold == cv2.threshold(image, 0, 1, cv2.THRESH_OTSU)[0] == filters.threshold_otsu(image)


@given(small_images)
def test_otsu_is_as_good_as_scikit_image_s(reference_of, image):
    assume(image.min() < image.max())
    functions = reference_of(NAME)
    variance = functions["between_class_variance"](functions["histogram"](image))
    assert variance[filters.threshold_otsu(image)] == pytest.approx(variance.max())


@given(small_images, st.integers(0, 255))
def test_variances_between_and_within_add_up_to_the_whole(reference_of, image, threshold):
    functions = reference_of(NAME)
    between = functions["between_class_variance"](functions["histogram"](image))[threshold]
    classes = [image[image <= threshold], image[image > threshold]]
    within = sum(values.size / image.size * np.var(values) for values in classes if values.size)
    assert between + within == pytest.approx(np.var(image), abs=1e-9)


def test_integral_image_is_that_of_opencv_and_scikit_image(reference, image):
    for pixels in (image, image / 255):
        integral = reference["integral_image"](pixels)
        np.testing.assert_allclose(integral, cv2.integral(pixels), rtol=1e-9)
        np.testing.assert_allclose(integral[1:, 1:], transform.integral_image(pixels), rtol=1e-9)


@given(small_images, st.data())
def test_box_sum_is_that_of_a_slice(reference_of, image, data):
    (top, bottom), (left, right) = (
        sorted(data.draw(st.lists(st.integers(0, side), min_size=2, max_size=2))) for side in image.shape
    )
    box_sum = reference_of(NAME)["box_sum"]
    found = box_sum(cv2.integral(image), top, left, bottom, right)
    assert found == image[top:bottom, left:right].sum(dtype=int)


@pytest.mark.parametrize("block_size", [1, 3, 35, 101])
def test_local_mean_is_that_of_opencv_and_scipy(reference, image, block_size):
    mean = reference["local_mean"](image, block_size)
    pixels, block = image.astype(float), (block_size, block_size)
    np.testing.assert_allclose(mean, cv2.blur(pixels, block, borderType=cv2.BORDER_REPLICATE), atol=1e-8)
    np.testing.assert_allclose(mean, ndimage.uniform_filter(pixels, block_size, mode="nearest"), atol=1e-8)


@pytest.mark.parametrize("offset", [15, 0, -10])
def test_adaptive_threshold_is_that_of_opencv_on_the_mean_that_it_rounds(reference, image, offset):
    mean = cv2.blur(image, (35, 35), borderType=cv2.BORDER_REPLICATE | cv2.BORDER_ISOLATED)
    theirs = cv2.adaptiveThreshold(image, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 35, offset)
    np.testing.assert_array_equal(reference["adaptive_threshold"](image, mean, offset), theirs.astype(bool))


def test_adaptive_threshold_is_that_of_scikit_image(reference, image):
    # Half an offset more, so that no pixel equals its threshold: the mean of 1225 integers is never a half.
    threshold = filters.threshold_local(image, 35, method="mean", offset=12.5, mode="nearest")
    mean = reference["local_mean"](image, 35)
    np.testing.assert_array_equal(reference["adaptive_threshold"](image, mean, 12.5), image > threshold)


def test_gaussian_weights_are_those_of_opencv(reference):
    for block_size in (1, 3, 5, 11, 35, 101):
        sigma = 0.3 * ((block_size - 1) * 0.5 - 1) + 0.8
        theirs = cv2.getGaussianKernel(block_size, sigma)[:, 0]
        np.testing.assert_allclose(reference["gaussian_weights"](block_size), theirs, atol=1e-12)
    for block_size in (11, 35, 101):  # smaller ones OpenCV takes from a table when it chooses sigma by itself
        theirs = cv2.getGaussianKernel(block_size, 0)[:, 0]
        np.testing.assert_allclose(reference["gaussian_weights"](block_size), theirs, atol=1e-12)


@pytest.mark.parametrize("block_size", [3, 35])
def test_weighted_mean_is_that_of_opencv_and_scipy(reference, image, block_size):
    weights = reference["gaussian_weights"](block_size)
    mean = reference["weighted_mean"](image, weights)
    theirs = cv2.sepFilter2D(image.astype(float), cv2.CV_64F, weights, weights, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(mean, theirs, atol=1e-9)
    both = ndimage.correlate1d(
        ndimage.correlate1d(image.astype(float), weights, 0, mode="nearest"), weights, 1, mode="nearest"
    )
    np.testing.assert_allclose(mean, both, atol=1e-9)


def test_hysteresis_is_that_of_scipy(reference, image):
    labels, _ = ndimage.label(image > 115, np.ones((3, 3)))
    strong = np.unique(labels[image > 155])
    np.testing.assert_array_equal(reference["hysteresis"](image, 115, 155), np.isin(labels, strong) & (labels > 0))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 4)))
def test_hysteresis_is_a_reconstruction(reference_of, image):
    strong, weak = (image > 3).astype(np.uint8), (image > 1).astype(np.uint8)
    theirs = morphology.reconstruction(strong, weak, footprint=np.ones((3, 3)))
    np.testing.assert_array_equal(reference_of(NAME)["hysteresis"](image, 1, 3), theirs.astype(bool))


# ------------------------------------------------------------------------------------------- numbers in the notebook


def source(name: str) -> str:
    (found,) = (cell.source for cell in NOTEBOOK.cells if cell.id == name)
    return found


def test_thresholds_in_the_pictures_are_otsu_s():
    for cell, name in (("adaptive", "page"), ("adaptive", "coins"), ("block-sizes", "cell")):
        found = re.search(rf"{name} > (\d+)", source(f"picture-{cell}"))[1]
        assert int(found) == filters.threshold_otsu(photos.load(name).image)


def test_numbers_in_the_text_are_those_of_the_coins():
    coins = photos.load("coins")
    truth = coins.panoptic[..., 1] > 0
    masks = (coins.image > threshold for threshold in range(255))
    best = max((mask & truth).sum() / (mask | truth).sum() for mask in masks)
    assert f"global thresholds reaches {best:.3f}" in source("task-8")
    diameters = [2 * np.sqrt(mask.sum() / np.pi) for mask in coins.instances]
    assert f"({min(diameters):.0f} to {max(diameters):.0f} pixels)" in source("which-threshold")
    assert f"{truth.size:,} pixels" in source("task-4").replace("\n", " ")
    assert round(75 * 75 * truth.size, -7) == 650_000_000


def test_paper_in_the_shadow_is_as_dark_as_ink_in_the_light():
    page = photos.load("page")
    ink = page.semantic == page.categories.index("text line")
    paper = page.semantic == page.categories.index("paper")
    shadow, light = np.s_[150:, :40], np.s_[30:110, 250:]  # lower left, upper right
    dark_paper, light_ink = page.image[shadow][paper[shadow]], page.image[light][ink[light]]
    assert np.median(dark_paper) < np.median(light_ink)
    assert np.quantile(dark_paper, 0.25) < 80 < np.quantile(light_ink, 0.75)
