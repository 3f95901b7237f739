"""Filters by a small kernel: correlation, convolution and Gaussian smoothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from torch import Tensor

from segedu.arrays import Array, check_image, in_memory, takes_arrays

STRIP = 1 << 18  # pixels that `by_strips` works on at a time: what a filter makes of them stays in the cache


@takes_arrays
def correlate(image: Array, kernel: Array | Sequence[Sequence[float]]) -> Array:
    """Slide a kernel over an image and add up the products: R(x, y) = Σ K(i, j) I(x + i, y + j).

    The kernel's middle lies on the pixel. Beyond its border the image goes on mirrored about its last pixel
    (``d c b a b c d``, OpenCV's default), so a flat image stays flat.

    Args:
        image: uint8 or float (..., H, W).
        kernel: (h, w), both odd.

    Returns:
        Float32 (..., H, W), in the units of the image times those of the kernel; float64 for a float64 image.

    Raises:
        ValueError: if a side of the kernel is even.
    """
    check_image(image)
    h, w = _odd_sides(kernel)
    if has_fast_filters(image) and (in_memory(kernel) or not isinstance(kernel, Tensor)):
        weights = np.asarray(kernel, np.float32)
        return by_strips(lambda strip: cv2.filter2D(strip, cv2.CV_32F, weights), image, halo=h // 2)
    H, W = image.shape[-2:]
    padded = pad(as_float(image), h // 2, w // 2)
    response = torch.zeros_like(padded[..., :H, :W])
    for i in range(h):
        for j in range(w):
            response = response + kernel[i][j] * padded[..., i : i + H, j : j + W]
    return response


@takes_arrays
def convolve(image: Array, kernel: Array | Sequence[Sequence[float]]) -> Array:
    """Convolve an image with a kernel: R(x, y) = Σ K(i, j) I(x - i, y - j).

    This is correlation with the kernel turned by 180 degrees. Arguments, result and border are those of `correlate`.
    """
    turned = kernel.flip(0, 1) if isinstance(kernel, Tensor) else [row[::-1] for row in kernel[::-1]]
    return correlate(image, turned)


@takes_arrays
def gaussian_smooth(image: Array, sigma: float) -> Array:
    """Average each pixel with its neighbours, weighted by a Gaussian of their distance.

    The weights are a Gaussian's samples, cut off at 4 sigma and scaled to sum 1, as in SciPy's `gaussian_filter`; the
    border is mirrored as in `correlate`.

    Args:
        image: uint8 or float (..., H, W).
        sigma: the Gaussian's standard deviation in pixels, above 0.

    Returns:
        Float32 (..., H, W) in the image's units (not rounded, where it is uint8); float64 for a float64 image.
    """
    check_image(image)
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be a number of pixels above 0, got {sigma!r}")
    radius = int(4 * sigma + 0.5)
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-radius, radius + 1)]
    total = sum(weights)
    weights = [weight / total for weight in weights]
    if has_fast_filters(image):
        line = np.array(weights, np.float32)
        return by_strips(lambda strip: cv2.sepFilter2D(strip, cv2.CV_32F, line, line), image, halo=radius)
    # Separable: a row of weights, then a column of them, instead of their product.
    return correlate(correlate(as_float(image), [weights]), [[weight] for weight in weights])


def as_float(image: Tensor) -> Tensor:
    """Give float64 as it is and everything else as float32, in which sums of uint8 are exact."""
    return image if image.dtype == torch.float64 else image.float()


def pad(image: Tensor, rows: int, columns: int) -> Tensor:
    """Continue an image (..., H, W) on all sides, mirrored about its last pixels as often as need be."""
    H, W = image.shape[-2:]
    image = image.index_select(-2, _mirrored(H, rows, image.device))
    return image.index_select(-1, _mirrored(W, columns, image.device))


def _odd_sides(kernel: Tensor | Sequence[Sequence[float]]) -> tuple[int, int]:
    if isinstance(kernel, Tensor):
        sides = tuple(kernel.shape)
    else:
        sides = (len(kernel), *(len(row) for row in kernel[:1] if isinstance(row, list | tuple)))
    if len(sides) != 2 or not all(side % 2 for side in sides):
        raise ValueError(f"kernel must have shape (h, w) with h and w odd, got {sides}")
    return sides


def _mirrored(size: int, margin: int, device: torch.device) -> Tensor:
    period = max(2 * (size - 1), 1)
    index = torch.arange(-margin, size + margin, device=device) % period
    return torch.minimum(index, (period - index) % period) if size > 1 else torch.zeros_like(index)


def has_fast_filters(image: Tensor) -> bool:
    """Whether OpenCV may filter this image: exactly for uint8 and whole weights, else but for rounding."""
    return image.dtype in (torch.uint8, torch.float32) and in_memory(image)


def by_strips(function: Callable[[np.ndarray], np.ndarray], image: Tensor, halo: int) -> Tensor:
    """Filter the rows of an image strip by strip, in threads, as OpenCV's filters let others run meanwhile.

    Args:
        function: takes (h, w) of the image's dtype to float32 (h, w) by looking `halo` rows up and down.
        image: (..., H, W) in the CPU's memory.
        halo: rows.

    Returns:
        Float32 (..., H, W).
    """
    H, W = image.shape[-2:]
    filtered = torch.empty(image.shape, dtype=torch.float32)
    sources, results = image.reshape(-1, H, W).numpy(), filtered.view(-1, H, W).numpy()
    height = max(STRIP // W, 4 * halo, 1)

    def fill(strip: tuple[int, int]) -> None:
        index, start = strip
        stop, top = min(start + height, H), max(start - halo, 0)
        source = np.ascontiguousarray(sources[index, top : stop + halo])
        results[index, start:stop] = function(source)[start - top : stop - top]

    strips = [(index, start) for index in range(len(sources)) for start in range(0, H, height)]
    if len(strips) * height * W <= STRIP:  # threads would take longer to start than this takes
        for strip in strips:
            fill(strip)
    else:
        with ThreadPoolExecutor(cv2.getNumThreads()) as threads:
            list(threads.map(fill, strips))
    return filtered
