"""What the networks are trained to make small: cross-entropy with weights, U-Net's border weights, Dice, focal."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from skimage.measure import regionprops
from skimage.segmentation import relabel_sequential
from torch import Tensor

from segedu.arrays import Array, takes_arrays
from segedu.distances import distance_inside

__all__ = [
    "border_weights",
    "dice_loss",
    "focal_loss",
    "mask_dice_loss",
    "mask_focal_loss",
    "separate_touching",
    "weighted_cross_entropy",
]

REACH = 7  # sigmas: farther from a cell its border weighs less than 3e-11 of w0


def weighted_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    class_weights: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """The mean over all pixels of `-w(x) log p(x)`, where p is the soft-max of the true class.

    Args:
        logits: float (B, K, H, W), before any soft-max.
        target: integer (B, H, W), classes from 0 to K - 1, or ignore_index.
        weights: float (B, H, W), w of each pixel, as of `border_weights`; 1 if None.
        class_weights: float (K,), which multiply w by the pixel's true class.
        ignore_index: pixels of this label add nothing, and do not count for the mean.

    Returns:
        A scalar; 0 if every pixel is ignored. The mean is over pixels, not over weights: twice the weights, twice the
        loss. Ronneberger et al. 2015 minimise the sum; the mean does not depend on the image's size.

    Raises:
        TypeError: if target is not of an integer type.
        ValueError: if shapes do not fit.

    Source: Ronneberger et al. 2015, equation 1.
    """
    _check_classes(logits, target)
    if weights is not None and weights.shape != target.shape:
        raise ValueError(f"weights must have the shape of target, {tuple(target.shape)}, got {tuple(weights.shape)}")
    loss = F.cross_entropy(logits, target.long(), class_weights, ignore_index=ignore_index, reduction="none")
    loss = loss if weights is None else loss * weights
    return loss.sum() / (target != ignore_index).sum().clamp_min(1)


def focal_loss(logits: Tensor, target: Tensor, *, gamma: float = 2.0, ignore_index: int = 255) -> Tensor:
    """Cross-entropy in which pixels that are right already count little: the mean of `-(1 - p)^gamma log p`.

    Args:
        logits: float (B, K, H, W).
        target: integer (B, H, W).
        gamma: 0 makes it cross-entropy.
        ignore_index: see `weighted_cross_entropy`.

    Source: Lin et al. 2017, "Focal loss for dense object detection", equation 4.
    """
    _check_classes(logits, target)
    loss = F.cross_entropy(logits, target.long(), ignore_index=ignore_index, reduction="none")
    return ((1 - torch.exp(-loss)) ** gamma * loss).sum() / (target != ignore_index).sum().clamp_min(1)


def dice_loss(logits: Tensor, target: Tensor, *, smooth: float = 1.0, ignore_index: int = 255) -> Tensor:
    """One minus the mean Dice of the classes, computed with probabilities in place of masks over the whole batch.

    Args:
        logits: float (B, K, H, W).
        target: integer (B, H, W).
        smooth: added above and below, in pixels, so that a class that is nowhere costs nothing where none is predicted.
        ignore_index: see `weighted_cross_entropy`.

    Source: Milletari, Navab and Ahmadi 2016, "V-Net", section 3, with plain sums below as in Drozdzal et al. 2016.
    """
    _check_classes(logits, target)
    known = (target != ignore_index)[:, None]
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
    truth = (target[:, None] == classes).to(logits.dtype)  # B, K, H, W
    guess = logits.softmax(1) * known
    both, total = ((value.sum((0, 2, 3))) for value in (guess * truth, guess + truth))
    return 1 - ((2 * both + smooth) / (total + smooth)).mean()


def mask_focal_loss(logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """The focal loss of masks, one for each: the mean of `-alpha_t (1 - p_t)^gamma log p_t` over its pixels.

    Args:
        logits: float (..., H, W), of which the sigmoid is the probability of the mask.
        target: bool (..., H, W).
        gamma: see `focal_loss`.
        alpha: weight of the mask's pixels; the others have 1 - alpha.

    Returns:
        Float (...).

    Source: Lin et al. 2017, equation 5; as SAM's loss for masks, Kirillov et al. 2023, appendix A.
    """
    _check_masks(logits, target)
    truth = target.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    p = torch.sigmoid(logits)
    p_of_truth = p * truth + (1 - p) * (1 - truth)
    balance = alpha * truth + (1 - alpha) * (1 - truth)
    return (balance * (1 - p_of_truth) ** gamma * loss).mean((-2, -1))


def mask_dice_loss(logits: Tensor, target: Tensor, *, smooth: float = 1.0) -> Tensor:
    """One minus the Dice of masks with probabilities in place of predicted pixels, one for each: float (...).

    Arguments are those of `mask_focal_loss` and `dice_loss`.
    """
    _check_masks(logits, target)
    truth, guess = target.to(logits.dtype), torch.sigmoid(logits)
    both, total = ((value.sum((-2, -1))) for value in (guess * truth, guess + truth))
    return 1 - (2 * both + smooth) / (total + smooth)


@takes_arrays
def border_weights(
    instances: Array, *, w0: float = 10.0, sigma: float = 5.0, class_weights: tuple[float, float] | None = None
) -> Array:
    """U-Net's weights, `w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2))`, the second part on the background.

    d1 and d2 are the distances in pixels from x to the nearest and to the second nearest cell, from centre to centre.
    Background between two cells gets weights up to w0 larger, so that the network learns to keep them apart. The
    paper gives the second part to all pixels; its figure 3d shows it on the background, and so do we. Where cells
    touch there is no background: `separate_touching` makes it first. Waits for the device: distances are found on
    the CPU.

    Args:
        instances: integer (..., H, W), 0 for background, one number above 0 for each cell.
        w0: largest weight of a border.
        sigma: reach of the borders in pixels.
        class_weights: w_c of background and cells. If None, each class gets weights that add up to half the number of
            pixels in its image, so that their mean is 1; in an image of one class, all are 1.

    Returns:
        Float32 (..., H, W).

    Raises:
        TypeError: if instances are not of an integer type.

    Source: Ronneberger et al. 2015, equation 2; w0 = 10 and sigma = 5 are theirs.
    """
    _check_instances(instances)
    maps = instances.cpu().reshape(-1, *instances.shape[-2:]).numpy()
    weights = np.stack([_border_weights(one, w0, sigma, class_weights) for one in maps]) if len(maps) else maps
    return torch.from_numpy(weights.astype(np.float32)).reshape(instances.shape).to(instances.device)


def _border_weights(
    instances: np.ndarray, w0: float, sigma: float, class_weights: tuple[float, float] | None
) -> np.ndarray:
    cells = instances > 0
    if class_weights is None:
        share = cells.mean()
        class_weights = (0.5 / (1 - share), 0.5 / share) if 0 < share < 1 else (1.0, 1.0)
    weights = np.where(cells, class_weights[1], class_weights[0]).astype(np.float32)
    nearest, second = (np.full(instances.shape, np.inf, np.float32) for _ in range(2))
    reach = math.ceil(REACH * sigma)
    numbered = relabel_sequential(np.where(cells, instances, 0))[0]
    for cell in regionprops(numbered):
        near = tuple(slice(max(side.start - reach, 0), side.stop + reach) for side in cell.slice)
        distance = distance_inside(numbered[near] != cell.label)
        second[near] = np.minimum(second[near], np.maximum(nearest[near], distance))
        nearest[near] = np.minimum(nearest[near], distance)
    border = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return weights + np.where(cells, 0, border)


@takes_arrays
def separate_touching(instances: Array) -> Array:
    """Make background of the pixels of a cell that have a pixel of another cell among their 8 neighbours.

    Args:
        instances: integer (..., H, W), 0 for background.

    Returns:
        The instances, of which no two touch; what is left of cells that are everywhere at a border may be nothing.

    Raises:
        TypeError: if instances are not of an integer type.
    """
    _check_instances(instances)
    labels = instances.reshape(-1, 1, *instances.shape[-2:]).double()  # exact up to 2^53, and poolings take it
    highest = F.max_pool2d(labels, 3, 1, padding=1)
    # Background must not count as the lowest label.
    lowest = -F.max_pool2d(torch.where(labels > 0, -labels, -torch.inf), 3, 1, padding=1)
    apart = highest == lowest
    return torch.where((apart | (labels == 0)).reshape(instances.shape), instances, 0)


def _check_classes(logits: Tensor, target: Tensor) -> None:
    if target.dtype.is_floating_point or target.dtype == torch.bool:
        raise TypeError(f"target must hold classes as integers, got {target.dtype}")
    expected = (logits.shape[0], *logits.shape[2:])
    if logits.ndim != 4 or tuple(target.shape) != expected:
        raise ValueError(
            "logits must have shape (B, K, H, W) and target (B, H, W), "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}"
        )


def _check_masks(logits: Tensor, target: Tensor) -> None:
    if target.dtype != torch.bool:
        raise TypeError(f"target must be masks of dtype bool, got {target.dtype}")
    if logits.shape != target.shape or logits.ndim < 2:
        raise ValueError(
            f"logits and target must have the same shape (..., H, W), got {tuple(logits.shape)} and "
            f"{tuple(target.shape)}"
        )


def _check_instances(instances: Tensor) -> None:
    if instances.dtype.is_floating_point or instances.dtype == torch.bool:
        raise TypeError(f"instances must be numbered by integers, 0 for background, got {instances.dtype}")
    if instances.ndim < 2 or 0 in instances.shape[-2:]:
        raise ValueError(f"instances must have shape (..., H, W) and pixels, got {tuple(instances.shape)}")
