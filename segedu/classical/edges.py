"""Operators that find edges: Sobel, Prewitt, Roberts, Kirsch and Laplace, gradients and zero crossings.

Responses are float32 in grey levels for uint8 images, in the image's own units for float ones (float64 stays float64).
Kernels are the textbook's, not normalised, as in OpenCV. Leading axes are images of their own: make a colour image grey
first, or combine the responses of its channels. Borders are mirrored as `segedu.classical.correlate` describes.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import torch
from torch import Tensor

from segedu.arrays import Array, check_image, in_memory, takes_arrays
from segedu.classical.filters import as_float, by_strips, correlate, has_fast_filters, pad

ACROSS = {"sobel": (1, 2, 1), "prewitt": (1, 1, 1)}  # weights of the three lines whose differences are added

LAPLACE = {
    4: ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
    8: ((1, 1, 1), (1, -8, 1), (1, 1, 1)),
}


@takes_arrays
def gradient(image: Array, operator: str = "sobel") -> tuple[Array, Array]:
    """Estimate how fast an image brightens to the right, gx, and downwards, gy.

    Correlates with the operator's kernel for x, Sobel's -1 0 1 / -2 0 2 / -1 0 1 or Prewitt's with 1 for 2, and with
    its transpose for y. Both are integers for uint8. A ramp of slope 1 a pixel gives 8 (Sobel) or 6 (Prewitt).

    Args:
        image: uint8 or float (..., H, W).
        operator: "sobel" or "prewitt".

    Returns:
        gx and gy, signed, each float32 (..., H, W).
    """
    check_image(image)
    if operator not in ACROSS:
        raise ValueError(f"operator must be 'sobel' or 'prewitt', got {operator!r}")
    a, b, c = ACROSS[operator]
    kernel_x = ((-a, 0, a), (-b, 0, b), (-c, 0, c))
    kernel_y = ((-a, -b, -c), (0, 0, 0), (a, b, c))
    return correlate(image, kernel_x), correlate(image, kernel_y)


@takes_arrays
def gradient_magnitude(gx: Array, gy: Array) -> Array:
    """Give the gradient's length, sqrt(gx² + gy²): how strong the edge is. Shapes and units as `gx` and `gy`."""
    return (gx * gx + gy * gy).sqrt()


@takes_arrays
def gradient_direction(gx: Array, gy: Array) -> Array:
    """Give the direction in which the image brightens fastest, as an angle in radians from -π to π.

    0 points right, and since y runs down, π/2 points down. The edge itself runs at a right angle to it. Where the
    gradient is zero it has no direction, and the angle is 0.
    """
    return torch.atan2(gy, gx)


@takes_arrays
def sobel(image: Array) -> Array:
    """Magnitude of Sobel's gradient, whose kernels weight the middle line twice.

    scikit-image's `sobel` is this over 4 sqrt(2), with another border.

    Args:
        image: uint8 or float (..., H, W).

    Returns:
        Float32 (..., H, W), at least 0. A vertical or horizontal step by 1 gives 4 on both of its sides.
    """
    return _magnitude(image, "sobel")


@takes_arrays
def prewitt(image: Array) -> Array:
    """Magnitude of Prewitt's gradient, whose kernels weight three lines alike.

    scikit-image's `prewitt` is this over 3 sqrt(2), with another border. Arguments and result as `sobel`; a vertical or
    horizontal step by 1 gives 3.
    """
    return _magnitude(image, "prewitt")


@takes_arrays
def roberts(image: Array) -> Array:
    """Magnitude of Roberts' cross: the two diagonal differences in the square of which a pixel is the upper left.

    The kernels are 1 0 / 0 -1 and 0 1 / -1 0. What the operator finds lies half a pixel right of and below the place
    where it is written. scikit-image's `roberts` is this over sqrt(2), with another border.

    Args:
        image: uint8 or float (..., H, W).

    Returns:
        Float32 (..., H, W), at least 0. A vertical or horizontal step by 1 gives sqrt(2).
    """
    check_image(image)
    if has_fast_filters(image):
        return by_strips(_roberts_of_strip, image, halo=1)
    padded = pad(as_float(image), 1, 1)[..., 1:, 1:]
    falling = padded[..., :-1, :-1] - padded[..., 1:, 1:]
    rising = padded[..., :-1, 1:] - padded[..., 1:, :-1]
    return gradient_magnitude(falling, rising)


@takes_arrays
def kirsch(image: Array) -> Array:
    """Largest response to Kirsch's eight compass masks (Kirsch 1971).

    Each mask is 5 on three neighbours in a row on the ring around the pixel and -3 on the other five. With t the sum of
    the three and s that of all eight, its response is 5 t - 3 (s - t) = 8 t - 3 s, so the largest t decides.

    Args:
        image: uint8 or float (..., H, W).

    Returns:
        Float32 (..., H, W), at least 0. A vertical or horizontal step by 1 gives 15 on its dark side, 9 on its bright.
    """
    check_image(image)
    if image.dtype == torch.uint8 and in_memory(image):
        return by_strips(_kirsch_of_strip, image, halo=1)
    ring = _ring(as_float(image))
    largest = functools.reduce(torch.maximum, (_triple(ring, k) for k in range(8)))
    return 8 * largest - 3 * sum(ring)


@takes_arrays
def kirsch_responses(image: Array) -> Array:
    """Signed responses to each of Kirsch's eight masks; `responses.argmax(-3)` is the direction of an edge.

    Args:
        image: uint8 or float (..., H, W).

    Returns:
        Float32 (..., 8, H, W). Mask 0 has its 5s above the pixel (5 5 5 / -3 0 -3 / -3 -3 -3), mask 1 above and to the
        right, and so on clockwise: N, NE, E, SE, S, SW, W, NW.
    """
    check_image(image)
    ring = _ring(as_float(image))
    total = 3 * sum(ring)
    H, W = image.shape[-2:]
    responses = total.new_empty(*image.shape[:-2], 8, H, W)
    for k in range(8):
        responses[..., k, :, :] = 8 * _triple(ring, k) - total
    return responses


@takes_arrays
def laplace(image: Array, neighbours: int = 4) -> Array:
    """Sum of the differences of a pixel's neighbours to the pixel: an estimate of the Laplacian.

    Args:
        image: uint8 or float (..., H, W).
        neighbours: 4 (0 1 0 / 1 -4 1 / 0 1 0) or 8 (1 1 1 / 1 -8 1 / 1 1 1).

    Returns:
        Float32 (..., H, W), signed: positive on an edge's dark side, negative on its bright side.
    """
    if neighbours not in LAPLACE:
        raise ValueError(f"neighbours must be 4 or 8, got {neighbours!r}")
    return correlate(image, LAPLACE[neighbours])


@takes_arrays
def zero_crossings(response: Array, threshold: float = 0.0) -> Array:
    """Mark where a signed response, such as the Laplacian, changes its sign (Marr and Hildreth 1980).

    A positive pixel is marked if one of its four neighbours is negative, and a zero one if it lies between a positive
    and a negative one, left and right or above and below. So the marks lie on an edge's dark side, a pixel wide.

    Args:
        response: float (..., H, W).
        threshold: the two pixels must differ by more than this.

    Returns:
        Bool (..., H, W).
    """
    check_image(response, "response")
    padded = pad(response, 1, 1)
    left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
    lowest = torch.minimum(torch.minimum(left, right), torch.minimum(above, below))
    falls = (response > 0) & (lowest < 0) & (response - lowest > threshold)
    across = (left * right < 0) & ((left - right).abs() > threshold)
    down = (above * below < 0) & ((above - below).abs() > threshold)
    return falls | ((response == 0) & (across | down))


def _magnitude(image: Tensor, operator: str) -> Tensor:
    check_image(image)
    if has_fast_filters(image):
        across, along = np.float32(ACROSS[operator]), np.float32((-1, 0, 1))

        def magnitude(strip: np.ndarray) -> np.ndarray:
            gx = cv2.sepFilter2D(strip, cv2.CV_32F, along, across)
            return _length(gx, cv2.sepFilter2D(strip, cv2.CV_32F, across, along))

        return by_strips(magnitude, image, halo=1)
    return gradient_magnitude(*gradient(image, operator))


def _length(gx: np.ndarray, gy: np.ndarray) -> np.ndarray:
    """The exact root, in place; OpenCV's `magnitude` and torch's root may be off in the last bit, by its place."""
    gx *= gx
    gy *= gy
    gx += gy
    return np.sqrt(gx, out=gx)


def _roberts_of_strip(strip: np.ndarray) -> np.ndarray:
    padded = cv2.copyMakeBorder(strip, 0, 1, 0, 1, cv2.BORDER_REFLECT_101)
    falling = cv2.subtract(padded[:-1, :-1], padded[1:, 1:], dtype=cv2.CV_32F)
    rising = cv2.subtract(padded[:-1, 1:], padded[1:, :-1], dtype=cv2.CV_32F)
    return _length(falling, rising)


def _ring(image: Tensor) -> list[Tensor]:
    """The eight neighbours of every pixel, clockwise from the upper left, as views of one padded image."""
    H, W = image.shape[-2:]
    padded = pad(image, 1, 1)
    steps = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    return [padded[..., i : i + H, j : j + W] for i, j in steps]


def _triple(ring: list[Tensor], k: int) -> Tensor:
    return ring[k] + ring[(k + 1) % 8] + ring[(k + 2) % 8]


def _kirsch_of_strip(strip: np.ndarray) -> np.ndarray:
    """Share the sums of three neighbours: rows of three, columns of three, and the corners of 2x2 blocks."""
    padded = cv2.copyMakeBorder(strip, 1, 1, 1, 1, cv2.BORDER_REFLECT_101)

    def sums(width: int, height: int) -> np.ndarray:
        return cv2.boxFilter(padded, cv2.CV_16S, (width, height), anchor=(0, 0), normalize=False)

    H, W = strip.shape
    rows, columns, blocks, squares = sums(3, 1), sums(1, 3), sums(2, 2), sums(3, 3)[:H, :W]
    corners = cv2.max(cv2.max(blocks[:H, :W], blocks[:H, 1:-1]), cv2.max(blocks[1:-1, :W], blocks[1:-1, 1:-1]))
    corners = cv2.subtract(corners, strip, dtype=cv2.CV_16S)
    sides = cv2.max(cv2.max(rows[:H, :W], rows[2:, :W]), cv2.max(columns[:H, :W], columns[:H, 2:]))
    largest = cv2.max(corners, sides)
    total = cv2.subtract(squares, strip, dtype=cv2.CV_16S)
    return cv2.addWeighted(largest, 8, total, -3, 0, dtype=cv2.CV_32F)
