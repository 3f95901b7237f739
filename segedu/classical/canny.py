"""Canny's edge detector: thin the gradient's ridges to one pixel, then keep what hangs together with a strong edge."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from segedu.arrays import Array, check_image, in_memory, takes_arrays
from segedu.classical.edges import gradient
from segedu.classical.threshold import hysteresis_threshold

TAN_22 = 13573 / 2**15  # tan 22.5° as OpenCV rounds it; products with it are exact in float32


@takes_arrays
def canny(image: Array, low: float, high: float, norm: str = "l1") -> Array:
    """Find edges one pixel wide (Canny 1986), as OpenCV's `cv2.Canny` does. Waits for the device.

    Sobel's gradient, whose border repeats the last pixel here; `non_maximum_suppression`; `hysteresis_threshold`. The
    image is not smoothed: do that first if it is noisy (`gaussian_smooth`). For uint8 the result is OpenCV's, pixel
    by pixel; a float image is treated alike without rounding.

    Args:
        image: uint8 or float (..., H, W).
        low: an edge goes on while its magnitude exceeds this,
        high: and must exceed this somewhere; both in units of the Sobel gradient of the image, in which a vertical or
            horizontal step by 1 has the magnitude 4. So 100 and 200 for uint8 mean 100 / 255 and 200 / 255 for float
            images in [0, 1].
        norm: "l1", the magnitude |gx| + |gy| (OpenCV's default), or "l2", the gradient's length.

    Returns:
        Bool (..., H, W).

    Raises:
        ValueError: if the thresholds are not 0 <= low <= high, or the norm is unknown.
    """
    check_image(image)
    if not 0 <= low <= high:
        raise ValueError(f"thresholds must be 0 <= low <= high, got low = {low} and high = {high}")
    if norm not in ("l1", "l2"):
        raise ValueError(f"norm must be 'l1' or 'l2', got {norm!r}")
    if image.dtype == torch.uint8 and in_memory(image):
        return _canny_of_arrays(image, low, high, norm)
    return _canny(image, low, high, norm)


@takes_arrays
def non_maximum_suppression(magnitude: Array, gx: Array, gy: Array) -> Array:
    """Keep a magnitude where neither neighbour along the gradient has more of it; elsewhere put 0.

    The gradient's direction is rounded to one of four: horizontal, vertical, and the two diagonals. Of two equal
    neighbours the right or lower one goes; on a diagonal both go, as in OpenCV. Beyond the border magnitudes are 0.

    Args:
        magnitude: float (..., H, W), for example `gradient_magnitude(gx, gy)`.
        gx: float (..., H, W), the gradient to the right.
        gy: float (..., H, W), the gradient downwards.

    Returns:
        Float (..., H, W).
    """
    flat = gy.abs() < TAN_22 * gx.abs()
    steep = gy.abs() - 2 * gx.abs() > TAN_22 * gx.abs()  # tan 67.5° = 2 + tan 22.5°
    falling = (gx < 0) == (gy < 0)  # the gradient points right and down, or left and up
    padded = pad(magnitude, (1, 1, 1, 1))
    H, W = magnitude.shape[-2:]

    def neighbour(dx: int, dy: int) -> Tensor:
        return padded[..., 1 + dy : 1 + dy + H, 1 + dx : 1 + dx + W]

    before = torch.where(falling, neighbour(-1, -1), neighbour(1, -1))
    before = torch.where(steep, neighbour(0, -1), torch.where(flat, neighbour(-1, 0), before))
    after = torch.where(falling, neighbour(1, 1), neighbour(-1, 1))
    after = torch.where(steep, neighbour(0, 1), torch.where(flat, neighbour(1, 0), after))
    ridge = (magnitude > before) & torch.where(flat | steep, magnitude >= after, magnitude > after)
    return torch.where(ridge, magnitude, 0)


def _canny(image: Tensor, low: float, high: float, norm: str) -> Tensor:
    # Doubled pixels at the border make the kernel see the last pixel repeated.
    gx, gy = (g[..., 1:-1, 1:-1] for g in gradient(_repeat_border(image)))
    if norm == "l1":
        magnitude = gx.abs() + gy.abs()
    else:
        magnitude, low, high = gx * gx + gy * gy, low * low, high * high
    if image.dtype == torch.uint8:  # the magnitudes are integers: the same comparison, free of rounding
        low, high = math.floor(low), math.floor(high)
    return hysteresis_threshold(non_maximum_suppression(magnitude, gx, gy), low, high)


def _repeat_border(image: Tensor) -> Tensor:
    H, W = image.shape[-2:]
    rows = torch.arange(-1, H + 1, device=image.device).clamp(0, H - 1)
    columns = torch.arange(-1, W + 1, device=image.device).clamp(0, W - 1)
    return image.index_select(-2, rows).index_select(-1, columns)


def _canny_of_arrays(image: Tensor, low: float, high: float, norm: str) -> Tensor:
    edges = torch.empty(image.shape, dtype=torch.bool)
    H, W = image.shape[-2:]
    # OpenCV keeps thresholds in 32 bits. No gradient reaches this one.
    low, high = min(low, 32767), min(high, 32767)
    for source, result in zip(image.reshape(-1, H, W).numpy(), edges.view(-1, H, W).numpy(), strict=True):
        found = cv2.Canny(np.ascontiguousarray(source), low, high, L2gradient=norm == "l2")
        np.not_equal(found, 0, out=result)
    return edges
