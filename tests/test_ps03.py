"""The reference solution of ps03 against SciPy, OpenCV and scikit-image, and the numbers in its notebook's text."""

from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage import feature, filters, measure

from segedu.datasets import photos

NAME = "ps03-edges"
NOTEBOOK = nbformat.read(Path(__file__).parents[1] / "solutions" / NAME / f"{NAME}.ipynb", 4)


@pytest.fixture(scope="module")
def reference(reference_of):
    return reference_of(NAME)


@pytest.fixture(scope="module", params=["camera", "coins", "page"])
def image(request) -> np.ndarray:
    return photos.load(request.param).image[::2, ::2]


def bordered(image: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(image, 1, 1, 1, 1, cv2.BORDER_REPLICATE)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (1, 2), (9, 0), (300, 7)])
def test_border_is_that_of_opencv(reference, image, rows, columns):
    theirs = cv2.copyMakeBorder(image, rows, rows, columns, columns, cv2.BORDER_REPLICATE)
    ours = reference["replicate_border"](image, rows, columns)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, theirs)


@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    h=st.sampled_from([1, 3, 5]),
    w=st.sampled_from([1, 3, 7]),
)
def test_filters_are_those_of_scipy(reference_of, seed, height, width, h, w):
    reference, rng = reference_of(NAME), np.random.default_rng(seed)
    image, kernel = rng.integers(0, 256, (height, width)).astype(np.uint8), rng.normal(size=(h, w))
    padded = reference["replicate_border"](image, h // 2, w // 2)
    for name in ("correlate", "convolve"):
        theirs = getattr(ndimage, name)(image.astype(float), kernel, mode="nearest")
        np.testing.assert_allclose(reference[name](padded, kernel), theirs, atol=1e-9)


def test_sobel_is_that_of_opencv(reference, image):
    gx, gy = reference["sobel"](bordered(image))
    np.testing.assert_array_equal(gx, cv2.Sobel(image, cv2.CV_64F, 1, 0, borderType=cv2.BORDER_REPLICATE))
    np.testing.assert_array_equal(gy, cv2.Sobel(image, cv2.CV_64F, 0, 1, borderType=cv2.BORDER_REPLICATE))


def test_magnitude_is_that_of_scikit_image(reference, image):
    gx, gy = (g.astype(np.int16) for g in reference["sobel"](bordered(image)))
    theirs = filters.sobel(image.astype(float), mode="nearest") * 4 * np.sqrt(2)  # its kernels are normalised
    np.testing.assert_allclose(reference["magnitude"](gx, gy), theirs, atol=1e-9)


def test_direction_is_that_of_complex_numbers(reference, image):
    gx, gy = (g.astype(int) for g in reference["sobel"](bordered(image)))
    np.testing.assert_allclose(reference["direction"](gx, gy), np.angle(gx + 1j * gy), atol=1e-12)
    theirs = cv2.phase(gx.astype(float), gy.astype(float))  # from 0 to 2π, precise to 0.3°
    np.testing.assert_allclose(np.cos(reference["direction"](gx, gy)), np.cos(theirs), atol=0.01)


def test_laplace_is_that_of_opencv(reference, image):
    theirs = cv2.Laplacian(image, cv2.CV_64F, ksize=1, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_array_equal(reference["laplace"](bordered(image), 4), theirs)
    kernel = np.array([[1, 1, 1], [1, -8, 1], [1, 1, 1]])
    theirs = ndimage.correlate(image.astype(float), kernel, mode="nearest")
    np.testing.assert_array_equal(reference["laplace"](bordered(image), 8), theirs)


@given(seed=st.integers(0, 10**6), threshold=st.integers(0, 8))
def test_zero_crossings_part_plus_from_minus(reference_of, seed, threshold):
    """On each straight line, between a + and the next - stands a mark, unless they differ by less."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-3.0, 0, 3], (9, 11), p=[0.4, 0.2, 0.4])
    marks = reference_of(NAME)["zero_crossings"](np.pad(signs, 1, mode="edge"), threshold)
    expected = np.zeros_like(marks)
    for turned, out in ((signs, expected), (signs.T, expected.T)):
        for y, row in enumerate(turned):
            for x in range(len(row)):
                pair, triple = row[x : x + 2].tolist(), row[x : x + 3].tolist()
                out[y, x] |= pair == [3, -3]
                if pair == [-3, 3]:
                    out[y, x + 1] = True
                if triple in ([-3, 0, 3], [3, 0, -3]):
                    out[y, x + 1] = True
    np.testing.assert_array_equal(marks, expected & (threshold < 6))


def test_kirsch_is_that_of_opencv(reference, image):
    kernels = reference["compass_kernels"]()
    north = np.array([[5, 5, 5], [-3, 0, -3], [-3, -3, -3]])
    for k in range(0, 8, 2):
        np.testing.assert_array_equal(kernels[k], np.rot90(north, -k // 2))
    assert len({kernel.tobytes() for kernel in kernels}) == 8
    np.testing.assert_array_equal(kernels.sum(axis=0), 0)
    strength, compass = reference["strongest"](bordered(image), kernels)
    theirs = [
        cv2.filter2D(image, cv2.CV_32F, kernel.astype(np.float32), borderType=cv2.BORDER_REPLICATE)
        for kernel in kernels
    ]
    np.testing.assert_array_equal(strength, np.max(theirs, axis=0))
    np.testing.assert_array_equal(compass, np.argmax(theirs, axis=0))


def test_thin_edges_are_those_of_opencv(reference, image):
    gx, gy = reference["sobel"](bordered(image))
    magnitude = np.abs(gx) + np.abs(gy)  # OpenCV's default
    ours = reference["thin"](magnitude, np.arctan2(gy, gx)) > 150
    theirs = cv2.Canny(image, 150, 150) > 0  # with equal thresholds nothing is followed
    # Of two equal diagonal neighbours OpenCV keeps none, and ours the first.
    assert not (theirs & ~ours).any()
    assert (ours & ~theirs).mean() < 0.01 < theirs.mean()


def test_thin_edges_hold_most_of_canny_in_scikit_image(reference, image):
    smooth = ndimage.gaussian_filter(image / 255, 1.5, mode="constant")
    gx, gy = ndimage.sobel(smooth, 1), ndimage.sobel(smooth, 0)
    ours = reference["thin"](np.hypot(gx, gy), np.arctan2(gy, gx)) > 0.3
    theirs = feature.canny(image / 255, 1.5, 0.3, 0.3)
    inside = (slice(10, -10),) * 2  # it treats the border in a way of its own
    near = ndimage.binary_dilation(theirs, np.ones((3, 3)))
    assert near[inside][ours[inside]].mean() > 0.95  # it interpolates between neighbours, so it may differ by a pixel


@given(seed=st.integers(0, 10**6), height=st.integers(1, 15), width=st.integers(1, 15))
def test_regions_are_those_of_scipy_and_scikit_image(reference_of, seed, height, width):
    rng = np.random.default_rng(seed)
    edges = rng.random((height, width)) < rng.random()
    ours = reference_of(NAME)["regions"](edges)
    np.testing.assert_array_equal(ours, ndimage.label(~edges)[0])
    np.testing.assert_array_equal(ours, measure.label(~edges, connectivity=1))


def test_numbers_in_the_text_are_those_of_the_photograph():
    """Recomputed with OpenCV and scikit-image; the notebook's cell uses SciPy."""
    camera = photos.load("camera")
    image = camera.image[::2, ::2]
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 20, image.shape), 0, 255)

    def edges(picture: np.ndarray, sigma: float) -> np.ndarray:
        picture = filters.gaussian(picture, sigma, preserve_range=True) if sigma else picture
        return filters.sobel(picture, mode="nearest") * 4 * np.sqrt(2) > 100

    def area(name: str) -> np.ndarray:
        return camera.semantic[::2, ::2] == camera.categories.index(name)

    def found(marks: np.ndarray, name: str) -> float:
        padded = np.pad(area(name).astype(np.uint8), 1, constant_values=1)
        outline = area(name) & ~(cv2.erode(padded, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))[1:-1, 1:-1] > 0)
        return (cv2.dilate(marks.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)[outline].mean()

    (answer,) = (cell.source for cell in NOTEBOOK.cells if cell.id == "false-and-missing-edges")
    answer = " ".join(answer.split())
    plain, rough, smooth = edges(image.astype(float), 0), edges(noisy, 0), edges(noisy, 1.5)
    assert f"(sky: {rough[area('sky')].mean():.0%} to {smooth[area('sky')].mean():.0%})".replace("%", " %") in answer
    assert f"the man stays ({found(smooth, 'person'):.0%})".replace("%", " %") in answer
    share = f"{found(smooth, 'building'):.0%} are found instead of {found(plain, 'building'):.0%}".replace("%", " %")
    assert share in answer
