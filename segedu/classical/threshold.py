"""Thresholds: for the image, chosen by hand or by Otsu's method, for each neighbourhood, or two with hysteresis."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch

from segedu.arrays import Array, check_image, in_memory, takes_arrays

STRIP = 1 << 20  # pixels that `adaptive_threshold` works on at a time in torch
LARGEST_COUNT = 1 << 24  # up to which OpenCV's histogram, which is float32, counts every pixel


@takes_arrays
def global_threshold(image: Array, threshold: float | Array) -> Array:
    """Tell which pixels are brighter than a threshold: `image > threshold`, as OpenCV's THRESH_BINARY.

    Args:
        image: uint8 or float (..., H, W).
        threshold: in the image's units; a number, or (...) with one for each image.

    Returns:
        Bool (..., H, W). A pixel equal to the threshold is background.

    Raises:
        ValueError: if there are several thresholds, but not one for each image.
    """
    check_image(image)
    if not isinstance(threshold, torch.Tensor):
        if image.dtype == torch.uint8:
            threshold = math.floor(min(max(threshold, -1), 255))  # no level lies between
            if in_memory(image):
                return torch.from_numpy(image.numpy() > threshold)
        return image > float(threshold)  # a float, since in uint8 an integer below 0 wraps round
    if threshold.ndim and threshold.shape != image.shape[:-2]:
        raise ValueError(
            f"threshold must be a number or have shape {tuple(image.shape[:-2])}, one for each image, "
            f"got {tuple(threshold.shape)}"
        )
    return image > threshold.to(torch.promote_types(threshold.dtype, torch.float32))[..., None, None]


@takes_arrays
def histogram(image: Array, bins: int = 256) -> tuple[Array, Array]:
    """Count the pixels of each brightness.

    Args:
        image: uint8 or float (..., H, W).
        bins: of a float image, equally wide from its least value to its greatest; uint8 has one for each level.

    Returns:
        Counts, int64 (..., bins), equal to `numpy.histogram`'s; and the bins' centres, float (..., bins), in the
        image's units: 0 to 255 for uint8.
    """
    check_image(image)
    if image.dtype == torch.uint8:
        levels = torch.arange(256, dtype=torch.float32, device=image.device).expand(*image.shape[:-2], 256)
        return _count_levels(image), levels
    image = image.to(torch.promote_types(image.dtype, torch.float32))
    low, high = image.amin((-2, -1))[..., None], image.amax((-2, -1))[..., None]
    steps = torch.arange(bins + 1, dtype=image.dtype, device=image.device)
    edges = torch.cat([(steps * ((high - low) / bins) + low)[..., :-1], high], -1)
    index = torch.searchsorted(edges, image.flatten(-2), right=True).sub_(1).clamp_(0, bins - 1)
    return _count(index, bins), (edges[..., :-1] + edges[..., 1:]) / 2


@takes_arrays
def otsu_threshold(image: Array, bins: int = 256) -> float | Array:
    """Find the threshold that leaves the two classes farthest apart: the greatest variance between their means.

    Args:
        image: uint8 or float (..., H, W).
        bins: of a float image's `histogram`.

    Returns:
        The threshold t in the image's units, for `global_threshold(image, t)`: a number for one image (H, W), which
        waits for the device, and float (...) for a batch, which does not. Of a uint8 image it is a level that occurs,
        of equally good ones the lowest (among which OpenCV chooses by its rounding errors); of a float image, the
        centre of a bin. Of a constant image it is its value, so that no pixel is above it (OpenCV gives 0).

    Source:
        Otsu, "A threshold selection method from gray-level histograms" (1979), equation 18.
    """
    counts, levels = histogram(image, bins)
    counts = counts.double()
    below = counts.cumsum(-1)  # pixels up to each level
    moment = (counts * _places(counts)).cumsum(-1)  # and the sum of their levels
    pixels, total = below[..., -1:], moment[..., -1:]
    variance = (total * below - pixels * moment) ** 2 / (below * (pixels - below))
    variance = torch.where(below < pixels, variance, 0.0)
    best = torch.where(below > 0, variance, -1.0).argmax(-1, keepdim=True)
    threshold = levels.gather(-1, best).squeeze(-1)
    return threshold.item() if image.ndim == 2 else threshold


@takes_arrays
def multi_otsu_thresholds(image: Array, classes: int = 3, bins: int = 256) -> Array:
    """Find the thresholds that leave several classes of brightness farthest apart.

    The best way to divide the levels from some level on into k classes needs only the best ways to divide them into
    k - 1. So the exact optimum takes classes x bins² steps, where trying all thresholds takes bins^(classes - 1).

    Args:
        image: uint8 or float (..., H, W).
        classes: 2 or more.
        bins: of a float image's `histogram`.

    Returns:
        Float (..., classes - 1), ascending, in the image's units; class k has the pixels above threshold k - 1 and not
        above threshold k. Of equally good thresholds the lowest. If there are fewer levels than classes, the surplus
        thresholds are the greatest level, and the classes above it empty.

    Source:
        Liao, Chen and Chung, "A fast algorithm for multilevel thresholding" (2001), for the criterion
        as a sum over classes.
    """
    counts, levels = histogram(image, bins)
    if not 2 <= classes <= counts.shape[-1]:
        raise ValueError(f"classes must be from 2 to the number of bins ({counts.shape[-1]}), got {classes}")
    counts = counts.double()
    below = torch.nn.functional.pad(counts.cumsum(-1), (1, 0))  # pixels below each level, and below the end
    moment = torch.nn.functional.pad((counts * _places(counts)).cumsum(-1), (1, 0))
    pixels = below[..., None, :] - below[..., :, None]  # (..., bins + 1, bins + 1): of the class from level a up to b
    score = (moment[..., None, :] - moment[..., :, None]) ** 2 / pixels
    none_left = (below == below[..., -1:])[..., None].expand_as(score).triu()  # only then may a class be empty
    score = torch.where(pixels > 0, score, torch.where(none_left, 0.0, -torch.inf))

    best = score[..., -1]  # of one class that has all levels from a on
    choices = []
    for _ in range(classes - 1):
        best, choice = (score + best[..., None, :]).max(-1)
        choices.append(choice)
    bound = torch.zeros_like(choices[0][..., :1])
    bounds = []
    for choice in reversed(choices):
        bound = choice.gather(-1, bound)
        bounds.append(bound)
    return levels.gather(-1, torch.cat(bounds, -1) - 1)


@takes_arrays
def adaptive_threshold(image: Array, method: str, block_size: int, offset: float = 0.0) -> Array:
    """Tell which pixels are brighter than the mean of their neighbourhood, less an offset.

    Args:
        image: uint8 or float (..., H, W). Beyond the border, the border's pixels repeat.
        method: "mean", where all pixels of the block count alike, or "gaussian", where near ones count more: the
            standard deviation is 0.3 ((block_size - 1) / 2 - 1) + 0.8 pixels.
        block_size: side of the block around each pixel; odd, 3 or more, and possibly larger than the image.
        offset: in the image's units; subtracted from the mean, so a positive one makes more pixels foreground.

    Returns:
        Bool (..., H, W). On uint8, the mean is rounded to an integer and the offset up to one, as in OpenCV's
        `adaptiveThreshold`, to which the result is equal. Only off the CPU, a Gaussian mean within 0.0001 of a half may
        round to the other side. Float images are compared in float32, with neither rounded.

    Raises:
        ValueError: if `method` or `block_size` is none of the above.
    """
    check_image(image)
    if method not in LOCAL_MEANS:
        raise ValueError(f"method must be 'mean' or 'gaussian', got {method!r}")
    if block_size < 3 or block_size % 2 == 0:
        raise ValueError(f"block_size must be odd and 3 or more, got {block_size}")
    if image.dtype == torch.uint8 and _for_opencv(image):
        return _each(lambda one: _adaptive_in_opencv(one, method, block_size, offset), image)
    return _adaptive_in_torch(image, method, block_size, offset)


def _adaptive_in_torch(image: torch.Tensor, method: str, block_size: int, offset: float) -> torch.Tensor:
    H, W = image.shape[-2:]
    reach = block_size // 2
    mask = torch.empty_like(image, dtype=torch.bool)
    columns = torch.arange(-reach, W + reach, device=image.device).clamp(0, W - 1)
    height = max(block_size, STRIP * H // max(image.numel(), 1))  # of the strips, to which each side adds half a block
    for top in range(0, H, height):
        pixels = image[..., top : top + height, :]
        rows = torch.arange(top - reach, top + pixels.shape[-2] + reach, device=image.device).clamp(0, H - 1)
        mean = LOCAL_MEANS[method](image[..., rows[:, None], columns], block_size)
        if image.dtype == torch.uint8:
            above = pixels.int() - mean.round().int() > -math.ceil(offset)
        else:
            above = pixels.float() > mean.float() - offset
        mask[..., top : top + height, :] = above
    return mask


def _box_mean(image: torch.Tensor, block_size: int) -> torch.Tensor:
    """Means of all blocks inside the image, float64 (..., H - block_size + 1, W - block_size + 1)."""
    exact = torch.float64 if image.is_floating_point() else torch.int64
    integral = image.cumsum(-2, dtype=exact).cumsum(-1)  # all pixels above and to the left
    integral = torch.nn.functional.pad(integral, (1, 0, 1, 0))
    bands = integral[..., block_size:, :] - integral[..., :-block_size, :]
    return (bands[..., block_size:] - bands[..., :-block_size]) / block_size**2


def _gaussian_mean(image: torch.Tensor, block_size: int) -> torch.Tensor:
    """Weighted means of all blocks inside the image, float64 (..., H - block_size + 1, W - block_size + 1)."""
    weights = _gaussian(block_size)
    mean = image.double()
    for axis in (-2, -1):
        length = mean.shape[axis] - block_size + 1
        mean = sum(weight * mean.narrow(axis, start, length) for start, weight in enumerate(weights))
    return mean


LOCAL_MEANS = {"mean": _box_mean, "gaussian": _gaussian_mean}


def _gaussian(size: int) -> list[float]:
    """The weights of `cv2.getGaussianKernel(size, 0)`: up to size 9 from a table, above by the formula."""
    table = {3: (1, 2), 5: (1, 4, 6), 7: (2, 7, 14, 18), 9: (4, 13, 30, 51, 60)}
    if size in table:
        half = table[size]
        weights = [*half, *half[-2::-1]]
    else:
        deviation = 0.3 * ((size - 1) / 2 - 1) + 0.8
        weights = [math.exp(-((x - size // 2) ** 2) / (2 * deviation**2)) for x in range(size)]
    return [weight / sum(weights) for weight in weights]


def _adaptive_in_opencv(image: np.ndarray, method: str, block_size: int, offset: float) -> np.ndarray:
    border = cv2.BORDER_REPLICATE | cv2.BORDER_ISOLATED
    block = (block_size, block_size)
    if method == "mean":
        return _above(image, cv2.blur(image, block, borderType=border), offset)
    pixels = image.astype(np.float32, order="C")  # the order in which OpenCV can work in place
    cv2.GaussianBlur(pixels, block, 0, dst=pixels, borderType=border)
    return _above(image, cv2.convertScaleAbs(pixels), offset)


def _above(image: np.ndarray, mean: np.ndarray, offset: float) -> np.ndarray:
    """Bool `image > mean - ceil(offset)` in uint8, where OpenCV's sums stop at the ends of the range."""
    less = min(max(math.ceil(offset), -255), 256)
    row = mean.reshape(1, -1)  # OpenCV would take a column of four numbers for one colour
    if less > 0:
        return image >= cv2.subtract(row, less - 1).reshape(image.shape)
    return image > cv2.add(row, -less).reshape(image.shape)


@takes_arrays
def hysteresis_threshold(image: Array, low: float, high: float, neighbours: int = 8) -> Array:
    """Keep the pixels above `low` that are connected to one above `high`, by pixels above `low`.

    Waits for the device.

    Args:
        image: uint8 or float (..., H, W).
        low: in the image's units.
        high: not below `low`.
        neighbours: 4, or 8, which counts diagonal ones too.

    Returns:
        Bool (..., H, W). scikit-image's `apply_hysteresis_threshold` has 4 neighbours, Canny's edges have 8.

    Raises:
        ValueError: if `low` is greater than `high`, or `neighbours` neither 4 nor 8.

    Source:
        Canny, "A computational approach to edge detection" (1986), section VI.
    """
    if low > high:
        raise ValueError(f"low must not be greater than high, got {low} and {high}")
    if neighbours not in (4, 8):
        raise ValueError(f"neighbours must be 4 or 8, got {neighbours}")
    weak, strong = global_threshold(image, low), global_threshold(image, high)
    if _for_opencv(image):
        return _each(lambda weak, strong: _connected_to(strong, weak, neighbours), weak, strong)
    return _spread(strong, weak, neighbours)


def _spread(strong: torch.Tensor, weak: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Let the strong pixels take their weak neighbours until there is none left to take."""
    while True:
        across = strong.clone()
        across[..., 1:] |= strong[..., :-1]
        across[..., :-1] |= strong[..., 1:]
        reach = across if neighbours == 8 else strong
        taken = across.clone()
        taken[..., 1:, :] |= reach[..., :-1, :]
        taken[..., :-1, :] |= reach[..., 1:, :]
        taken &= weak
        if torch.equal(taken, strong):
            return taken
        strong = taken


def _connected_to(strong: np.ndarray, weak: np.ndarray, neighbours: int) -> np.ndarray:
    count, component = cv2.connectedComponents(weak.view(np.uint8), connectivity=neighbours)
    kept = np.zeros(count, bool)
    kept[component[strong]] = True
    return kept[component]


def _count_levels(image: torch.Tensor) -> torch.Tensor:
    if _for_opencv(image):
        return _each(_count_in_opencv, image)
    return _count(image.flatten(-2).long(), 256)


def _count(index: torch.Tensor, bins: int) -> torch.Tensor:
    """How often each of 0 to bins - 1 occurs in the last axis, int64 (..., bins)."""
    counts = torch.zeros((*index.shape[:-1], bins), dtype=torch.int64, device=index.device)
    return counts.scatter_add_(-1, index, counts.new_ones(()).expand_as(index))


def _count_in_opencv(image: np.ndarray) -> np.ndarray:
    rows = max(1, LARGEST_COUNT // image.shape[1])
    parts = [cv2.calcHist([image[top : top + rows]], [0], None, [256], [0, 256]) for top in range(0, len(image), rows)]
    return np.sum(parts, axis=0, dtype=np.int64)[:, 0]


def _places(counts: torch.Tensor) -> torch.Tensor:
    return torch.arange(counts.shape[-1], dtype=counts.dtype, device=counts.device)


def _for_opencv(image: torch.Tensor) -> bool:
    return in_memory(image) and image.numel() > 0


def _each(function: Callable[..., np.ndarray], *images: torch.Tensor) -> torch.Tensor:
    """Apply a function of (H, W) arrays to each image of a batch, and stack what it returns."""
    *batch, H, W = images[0].shape
    one_by_one = zip(*(image.detach().reshape(-1, H, W).numpy() for image in images), strict=True)
    results = [torch.from_numpy(function(*one)) for one in one_by_one]
    return torch.stack(results).unflatten(0, batch) if batch else results[0]
