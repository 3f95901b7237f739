"""Edge operators, Canny and regions from edges: OpenCV, SciPy and scikit-image as peers, and cases worked by hand."""

import math

import cv2
import numpy as np
import pytest
import scipy.ndimage
import skimage.filters
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch._subclasses.fake_tensor import FakeTensorMode

from segedu.classical import (
    canny,
    convolve,
    correlate,
    edge_segments,
    expand_labels,
    gaussian_smooth,
    gradient,
    gradient_direction,
    gradient_magnitude,
    kirsch,
    kirsch_responses,
    laplace,
    link_edges,
    non_maximum_suppression,
    prewitt,
    roberts,
    sobel,
    zero_crossings,
)
from segedu.datasets import photos

SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
PREWITT_X = np.array([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]])
LAPLACE_8 = np.float32([[1, 1, 1], [1, -8, 1], [1, 1, 1]])
KIRSCH = np.array(
    [
        [[5, 5, 5], [-3, 0, -3], [-3, -3, -3]],
        [[-3, 5, 5], [-3, 0, 5], [-3, -3, -3]],
        [[-3, -3, 5], [-3, 0, 5], [-3, -3, 5]],
        [[-3, -3, -3], [-3, 0, 5], [-3, 5, 5]],
        [[-3, -3, -3], [-3, 0, -3], [5, 5, 5]],
        [[-3, -3, -3], [5, 0, -3], [5, 5, -3]],
        [[5, -3, -3], [5, 0, -3], [5, -3, -3]],
        [[5, 5, -3], [5, 0, -3], [-3, -3, -3]],
    ]
)

pytestmark = pytest.mark.usefixtures("one_thread")

ROOTS = (sobel, prewitt, roberts)

sides = st.tuples(st.integers(1, 9), st.integers(1, 9))
images = sides.flatmap(lambda size: hnp.arrays(np.uint8, size))
maps = sides.flatmap(lambda size: hnp.arrays(bool, size))


@pytest.fixture(scope="module", params=photos.names())
def photo(request) -> np.ndarray:
    """A photograph in grey."""
    image = photos.load(request.param).image
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def slowly(function, image: np.ndarray, *args, **kwargs) -> np.ndarray:
    """What the readable path gives: a tensor that is being differentiated goes to no other library."""
    if image.dtype == np.uint8:  # integers have no gradients, but a subclass of Tensor keeps off the fast paths, too
        image = torch.from_numpy(image.copy()).as_subclass(Plain)
    else:
        image = torch.from_numpy(image).requires_grad_()
    result = function(image, *args, **kwargs)
    parts = result if isinstance(result, tuple) else (result,)
    parts = tuple(part.detach().as_subclass(torch.Tensor).numpy() for part in parts)
    return parts if isinstance(result, tuple) else parts[0]


class Plain(torch.Tensor):
    """A tensor like any other, but of another class."""


def peer(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return scipy.ndimage.correlate(image.astype(np.float64), kernel, mode="mirror")


# Correlation, convolution, smoothing


@given(images, hnp.arrays(np.int8, st.sampled_from([(1, 1), (3, 3), (1, 5), (5, 3)]), elements=st.integers(-9, 9)))
def test_correlation_and_convolution_are_scipys(image, kernel):
    expected = peer(image, kernel)
    for answer in (correlate(image, kernel), slowly(correlate, image, kernel.tolist())):
        assert answer.dtype == np.float32
        np.testing.assert_array_equal(answer, expected)
    turned = scipy.ndimage.convolve(image.astype(np.float64), kernel, mode="mirror")
    np.testing.assert_array_equal(convolve(image, kernel), turned)


def test_correlation_slides_and_convolution_turns():
    impulse, kernel = np.zeros((5, 5), np.uint8), np.arange(1, 10).reshape(3, 3)
    impulse[2, 2] = 1
    np.testing.assert_array_equal(convolve(impulse, kernel)[1:4, 1:4], kernel)
    np.testing.assert_array_equal(correlate(impulse, kernel)[1:4, 1:4], kernel[::-1, ::-1])


@given(images, st.floats(0.3, 4))
def test_smoothing_is_scipys(image, sigma):
    expected = scipy.ndimage.gaussian_filter(image.astype(np.float64), sigma, mode="mirror", truncate=4)
    for answer in (gaussian_smooth(image, sigma), slowly(gaussian_smooth, image, sigma)):
        np.testing.assert_allclose(answer, expected, atol=2e-3)


def test_smoothing_a_photograph(photo):
    expected = scipy.ndimage.gaussian_filter(photo.astype(np.float64), 2, mode="mirror")
    np.testing.assert_allclose(gaussian_smooth(photo, 2), expected, atol=1e-3)
    np.testing.assert_allclose(gaussian_smooth(photo / 255, 2), expected / 255, atol=1e-9)


# Operators


def test_operators_on_a_photograph_are_opencvs(photo):
    gx, gy = cv2.Sobel(photo, cv2.CV_32F, 1, 0), cv2.Sobel(photo, cv2.CV_32F, 0, 1)
    np.testing.assert_array_equal(gradient(photo), (gx, gy))
    np.testing.assert_allclose(sobel(photo), cv2.magnitude(gx, gy), rtol=3e-7)  # so may OpenCV's
    np.testing.assert_array_equal(laplace(photo), cv2.Laplacian(photo, cv2.CV_32F, ksize=1))
    np.testing.assert_array_equal(laplace(photo, 8), cv2.filter2D(photo, cv2.CV_32F, LAPLACE_8))
    responses = [cv2.filter2D(photo, cv2.CV_32F, kernel.astype(np.float32)) for kernel in KIRSCH]
    np.testing.assert_array_equal(kirsch(photo), np.max(responses, axis=0))
    np.testing.assert_array_equal(kirsch_responses(photo), responses)


def test_operators_on_a_photograph_are_scikit_images(photo):
    inner = (slice(1, -1), slice(1, -1))  # scikit-image repeats the border, we mirror it
    for ours, theirs, scale in (
        (sobel, skimage.filters.sobel, 4 * math.sqrt(2)),
        (prewitt, skimage.filters.prewitt, 3 * math.sqrt(2)),
        (roberts, skimage.filters.roberts, math.sqrt(2)),
    ):
        np.testing.assert_allclose(ours(photo)[inner] / scale, theirs(photo.astype(float))[inner], atol=1e-4)


@pytest.mark.parametrize("function", [sobel, prewitt, roberts, kirsch, laplace, gradient, kirsch_responses])
def test_readable_and_fast_paths_agree_on_a_photograph(photo, function):
    # Torch's square root may be off in the last bit; all else is exact.
    np.testing.assert_allclose(function(photo), slowly(function, photo), rtol=3e-7 if function in ROOTS else 0)
    scaled = (photo / 255).astype(np.float32)
    np.testing.assert_allclose(function(scaled), slowly(function, scaled), atol=2e-5)
    np.testing.assert_allclose(function(scaled), np.divide(function(photo), 255), atol=2e-5)


@given(images)
def test_operators_on_tiny_images_are_scipys(image):
    gx, gy = peer(image, SOBEL_X), peer(image, SOBEL_X.T)
    for path, rounding in ((lambda function, *args: function(*args), 0), (slowly, 3e-7)):
        np.testing.assert_array_equal(path(gradient, image), (gx, gy))
        np.testing.assert_allclose(path(sobel, image), np.sqrt(np.float32(gx**2 + gy**2)), rtol=rounding)
        px, py = peer(image, PREWITT_X), peer(image, PREWITT_X.T)
        np.testing.assert_allclose(path(prewitt, image), np.sqrt(np.float32(px**2 + py**2)), rtol=rounding)
        compass = [peer(image, kernel) for kernel in KIRSCH]
        np.testing.assert_array_equal(path(kirsch, image), np.max(compass, axis=0))
        np.testing.assert_array_equal(path(kirsch_responses, image), compass)
        np.testing.assert_array_equal(path(laplace, image), scipy.ndimage.laplace(image.astype(float), mode="mirror"))
        # the 2x2 kernels as 3x3 ones whose upper and left sides are 0
        falling = peer(image, np.array([[0, 0, 0], [0, 1, 0], [0, 0, -1]]))
        rising = peer(image, np.array([[0, 0, 0], [0, 0, 1], [0, -1, 0]]))
        np.testing.assert_allclose(path(roberts, image), np.sqrt(np.float32(falling**2 + rising**2)), rtol=rounding)


def test_a_step_by_hand():
    step = np.repeat([[0, 0, 0, 1, 1, 1]], 4, axis=0).astype(np.float32)
    for function, row in (
        (sobel, [0, 0, 4, 4, 0, 0]),
        (prewitt, [0, 0, 3, 3, 0, 0]),
        (roberts, [0, 0, math.sqrt(2), 0, 0, 0]),
        (kirsch, [0, 0, 15, 9, 0, 0]),
        (laplace, [0, 0, 1, -1, 0, 0]),
    ):
        np.testing.assert_allclose(function(step), [row] * 4)
    gx, gy = gradient(step)
    np.testing.assert_array_equal(gx, [[0, 0, 4, 4, 0, 0]] * 4)
    assert not gy.any()
    ramp = np.tile(np.arange(7.0), (5, 1))
    assert gradient(ramp)[0][2, 3] == 8 and gradient(ramp, "prewitt")[0][2, 3] == 6


def test_direction_is_that_of_brightening_with_y_down():
    y, x = np.mgrid[:9, :9].astype(np.float32)
    for image, angle in ((x, 0), (x + y, math.pi / 4), (y, math.pi / 2), (-x, math.pi), (-y, -math.pi / 2)):
        gx, gy = gradient(image)
        np.testing.assert_allclose(gradient_direction(gx, gy)[4, 4], angle, atol=1e-6)
        np.testing.assert_allclose(gradient_magnitude(gx, gy), np.hypot(gx, gy), rtol=1e-6)
    assert kirsch_responses(y.max() - y)[:, 4, 4].argmax() == 0  # bright above
    assert kirsch_responses(x)[:, 4, 4].argmax() == 2  # bright on the right


@given(images)
def test_turned_and_mirrored_images_have_turned_and_mirrored_edges(image):
    for function in (sobel, prewitt, kirsch, laplace):
        np.testing.assert_array_equal(function(np.rot90(image)), np.rot90(function(image)))
        np.testing.assert_array_equal(function(image[:, ::-1]), function(image)[:, ::-1])
    np.testing.assert_array_equal(sobel(255 - image), sobel(image))
    np.testing.assert_array_equal(laplace(255 - image), -laplace(image))


# Zero crossings


def test_zero_crossings_by_hand():
    response = np.array([[0, 1, -1, 0, 0, 2, 0, -3, 0, 0]], np.float64)
    np.testing.assert_array_equal(zero_crossings(response), [[0, 1, 0, 0, 0, 0, 1, 0, 0, 0]])
    np.testing.assert_array_equal(zero_crossings(response.T), zero_crossings(response).T)
    np.testing.assert_array_equal(zero_crossings(response, threshold=2), [[0, 0, 0, 0, 0, 0, 1, 0, 0, 0]])


@given(sides.flatmap(lambda size: hnp.arrays(np.float64, size, elements=st.integers(-2, 2))))
def test_zero_crossings_pixel_by_pixel(response):
    H, W = response.shape

    def at(y, x):
        return response[min(max(y, 0), H - 1), min(max(x, 0), W - 1)]

    expected = np.zeros((H, W), bool)
    for y in range(H):
        for x in range(W):
            left, right, above, below = at(y, x - 1), at(y, x + 1), at(y - 1, x), at(y + 1, x)
            if response[y, x] > 0:
                expected[y, x] = min(left, right, above, below) < 0
            elif response[y, x] == 0 and 0 < x < W - 1:
                expected[y, x] |= left * right < 0
            if response[y, x] == 0 and 0 < y < H - 1:
                expected[y, x] |= above * below < 0
    np.testing.assert_array_equal(zero_crossings(response), expected)


# Canny


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize(("low", "high"), [(50, 100), (100, 200), (0, 0), (20.5, 333.3), (150, 150)])
def test_canny_on_a_photograph_is_opencvs(photo, low, high, norm):
    expected = cv2.Canny(photo, low, high, L2gradient=norm == "l2") > 0
    np.testing.assert_array_equal(canny(photo, low, high, norm), expected)
    np.testing.assert_array_equal(canny(np.float32(photo), low, high, norm), expected)


@given(images, st.sampled_from([0, 1, 10, 99.5, 400]), st.sampled_from([0, 3, 100, 1e6]), st.sampled_from(["l1", "l2"]))
def test_canny_on_tiny_images_is_opencvs(image, low, more, norm):
    expected = cv2.Canny(image, low, min(low + more, 32767), L2gradient=norm == "l2") > 0
    np.testing.assert_array_equal(canny(image, low, low + more, norm), expected)
    np.testing.assert_array_equal(slowly(canny, image, low, low + more, norm), expected)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_canny_without_fast_paths_is_opencvs(photo, norm):
    part = photo[:150, :150]
    expected = cv2.Canny(part, 70, 120, L2gradient=norm == "l2") > 0
    np.testing.assert_array_equal(slowly(canny, part, 70, 120, norm), expected)


def test_canny_of_a_float_image_is_that_of_its_grey_levels(photo):
    # Powers of two scale floats without rounding.
    for norm in ("l1", "l2"):
        expected = cv2.Canny(photo, 64, 128, L2gradient=norm == "l2") > 0
        np.testing.assert_array_equal(canny(np.float32(photo) / 256, 0.25, 0.5, norm), expected)


def test_suppression_by_hand():
    magnitude = np.array([[1, 3, 2, 2, 0], [1, 3, 3, 1, 0], [0, 1, 4, 4, 4]], np.float32)
    right, none = np.ones_like(magnitude), np.zeros_like(magnitude)
    np.testing.assert_array_equal(
        non_maximum_suppression(magnitude, right, none),
        [[0, 3, 0, 0, 0], [0, 3, 0, 0, 0], [0, 0, 4, 0, 0]],
    )
    np.testing.assert_array_equal(
        non_maximum_suppression(magnitude, none, right),
        [[1, 3, 0, 2, 0], [0, 0, 0, 0, 0], [0, 0, 4, 4, 4]],
    )
    corner = np.array([[2, 0, 3], [0, 3, 0], [4, 0, 3]], np.float32)
    falling, rising = (np.ones((3, 3)), np.ones((3, 3))), (np.ones((3, 3)), -np.ones((3, 3)))
    assert non_maximum_suppression(corner, *falling)[1, 1] == 0  # 2 < 3, but 3 = 3
    assert non_maximum_suppression(corner, *rising)[1, 1] == 0  # 4 > 3


# From edges to regions


def square(side: int = 12, margin: int = 4) -> np.ndarray:
    edges = np.zeros((side + 2 * margin,) * 2, bool)
    edges[margin:-margin, margin:-margin] = True
    edges[margin + 1 : -margin - 1, margin + 1 : -margin - 1] = False
    return edges


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_square_with_a_gap_is_closed_if_the_gap_is_small_enough(missing, turns):
    side, corner = square(), square()
    side[4, 8 : 8 + missing] = False
    corner[4, 4 : 4 + missing + 1] = False  # the first of them may go: its neighbours touch by their corners
    assert edge_segments(square()).max() == 2
    for edges in (np.rot90(side, turns), np.rot90(corner, turns)):
        assert edge_segments(edges).max() == 1
        assert edge_segments(edges, gap=missing - 1).max() == 1
        assert edge_segments(edges, gap=missing).max() == 2


def test_round_contours_with_gaps_are_closed():
    y, x = np.mgrid[:60, :60] - 30
    for radius in (8, 15, 25):
        disc = x**2 + y**2 <= radius**2
        ring = disc & ~scipy.ndimage.binary_erosion(disc, np.ones((3, 3)))
        for angle in np.arange(0, 2 * np.pi, 0.3):
            broken = ring & (np.hypot(x - radius * np.cos(angle), y - radius * np.sin(angle)) > 1.5)
            assert edge_segments(broken).max() == 1
            assert edge_segments(broken, gap=4).max() == 2


def drawn(*rows: str) -> np.ndarray:
    return np.array([list(row) for row in rows]) == "#"


def test_links_by_hand():
    gap = drawn("............", "............", "............", ".....#..####", "....##......", "...#........")
    # The end at (5, 3) heads up, but the line to the right lies within 60 degrees.
    for width, row in ((1, ".....#..####"), (2, ".....#######")):
        np.testing.assert_array_equal(link_edges(gap[1:], width)[2], drawn(row)[0])
    np.testing.assert_array_equal(link_edges(gap, 0), gap)
    junction = np.zeros((15, 15), bool)
    junction[5], junction[8:, 7] = True, True  # an upright stops two pixels below a line
    np.testing.assert_array_equal(link_edges(junction, 1), junction)
    assert (link_edges(junction, 2) & ~junction).nonzero()[0].tolist() == [6, 7]
    short = np.zeros((9, 9), bool)
    short[4, 2:7] = True  # two pixels short of the border on both sides
    assert edge_segments(short, gap=1).max() == 1
    np.testing.assert_array_equal(link_edges(short, 2)[4], np.ones(9))
    assert edge_segments(short, gap=2).max() == 2


@given(maps, st.integers(0, 3))
def test_links_only_add_and_regions_are_scipys(edges, gap):
    linked = link_edges(edges, gap)
    assert (linked >= edges).all()
    labels = edge_segments(edges, gap)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, scipy.ndimage.label(~linked)[0])


@given(maps, st.integers(2, 9))
def test_small_regions_get_no_number(edges, min_area):
    every, number, expected = scipy.ndimage.label(~edges)[0], 0, np.zeros(edges.shape, int)
    for label in range(1, every.max() + 1):
        if (every == label).sum() >= min_area:
            number += 1
            expected[every == label] = number
    np.testing.assert_array_equal(edge_segments(edges, min_area=min_area), expected)


@given(
    sides.flatmap(lambda size: hnp.arrays(np.int32, size, elements=st.integers(0, 40).map(lambda n: n % 8 * (n < 8))))
)
def test_labels_expand_to_the_nearest(labels):
    expanded = expand_labels(labels)
    if not labels.any():
        assert not expanded.any()
        return
    labelled = np.argwhere(labels)
    for y, x in np.ndindex(labels.shape):
        steps = np.abs(labelled - (y, x)).sum(1)
        nearest = labels[tuple(labelled[steps == steps.min()].T)]
        assert expanded[y, x] == nearest.max()


# What all share


BATCHED = [
    *(sobel, prewitt, roberts, kirsch, kirsch_responses, laplace, gradient),
    lambda image: gaussian_smooth(image, 1.5),
    lambda image: correlate(image, SOBEL_X.tolist()),
    lambda image: convolve(image, SOBEL_X.tolist()),
    lambda image: zero_crossings(laplace(image)),
    lambda image: canny(image, 100, 200),
    lambda image: edge_segments(image > 100, gap=2, min_area=3),
    lambda image: link_edges(image > 100, 2),
    lambda image: expand_labels(image // 200),
]


@pytest.mark.parametrize("function", BATCHED)
def test_batches_and_tensors(function):
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 24, 17), np.uint8)
    whole = function(image)
    parts = [[function(part) for part in row] for row in image]
    tensor = function(torch.from_numpy(image))
    if isinstance(whole, tuple):
        for k in range(2):
            np.testing.assert_array_equal(whole[k], [[part[k] for part in row] for row in parts])
            np.testing.assert_array_equal(whole[k], tensor[k].numpy())
    else:
        np.testing.assert_array_equal(whole, parts)
        np.testing.assert_array_equal(whole, tensor.numpy())
    np.testing.assert_array_equal(function(image[..., ::2, ::-1]), function(image[..., ::2, ::-1].copy()))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("function", BATCHED[:11])
def test_any_device_and_compiled(function, dtype):
    with FakeTensorMode():
        image = torch.zeros(2, 9, 8, dtype=dtype, device="cuda")
        results = function(image)
        for result in results if isinstance(results, tuple) else (results,):
            assert result.device.type == "cuda" and result.shape[-2:] == (9, 8)
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 9, 8), np.uint8)).to(dtype)
    torch.compiler.reset()  # all functions share the code of `takes_arrays`, and few versions of it are kept
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(image), function(image))


def test_suppression_on_any_device():
    with FakeTensorMode():
        gx = torch.zeros(2, 9, 8, device="cuda")
        assert non_maximum_suppression(gradient_magnitude(gx, gx), gx, gx).device.type == "cuda"
        assert gradient_direction(gx, gx).device.type == "cuda"


def test_float64_stays_and_halves_become_float32():
    image = torch.rand(7, 7)
    for function in (sobel, roberts, kirsch, laplace, lambda image: gaussian_smooth(image, 1)):
        assert function(image.double()).dtype == torch.float64
        assert function(image.half()).dtype == torch.float32


def test_large_images_are_filtered_in_strips():
    large = np.tile(photos.load("camera").image, (2, 3))[:, :1300]
    for function in (sobel, roberts, kirsch, laplace, lambda image: gaussian_smooth(image, 3)):
        np.testing.assert_allclose(function(large), slowly(function, large), atol=1e-3)


def test_errors_name_what_was_expected():
    image, edges = np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool)
    for call, error, message in (
        (lambda: sobel(image.astype(int)), TypeError, "image must be uint8 or floating point, got torch.int64"),
        (lambda: sobel(image[0]), ValueError, r"must have shape \(\.\.\., H, W\)"),
        (lambda: gradient(image, "roberts"), ValueError, "operator must be 'sobel' or 'prewitt', got 'roberts'"),
        (lambda: correlate(image, [[1, 2]]), ValueError, r"h and w odd, got \(1, 2\)"),
        (lambda: correlate(image, [1, 0, -1]), ValueError, r"h and w odd, got \(3,\)"),
        (lambda: gaussian_smooth(image, 0), ValueError, "sigma must be a number of pixels above 0, got 0"),
        (lambda: laplace(image, 6), ValueError, "neighbours must be 4 or 8, got 6"),
        (lambda: canny(image, 2, 1), ValueError, "0 <= low <= high, got low = 2 and high = 1"),
        (lambda: canny(image, math.nan, 1), ValueError, "0 <= low <= high, got low = nan"),
        (lambda: canny(image, 1, 2, "l3"), ValueError, "norm must be 'l1' or 'l2', got 'l3'"),
        (lambda: link_edges(image, 1), TypeError, "edges must be bool, got torch.uint8"),
        (lambda: link_edges(edges, -1), ValueError, "gap must be a number of pixels, 0 or more, got -1"),
        (lambda: edge_segments(edges, min_area=0), ValueError, "min_area must be a number of pixels, 1 or more, got 0"),
        (lambda: expand_labels(edges), TypeError, "labels must be integers"),
    ):
        with pytest.raises(error, match=message):
            call()
