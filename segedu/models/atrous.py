"""Atrous convolution by hand: what `nn.Conv2d(dilation=rate)` computes, in the fewest lines."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def atrous_conv1d(signal: Tensor, weight: Tensor, rate: int = 1, padding: int = 0) -> Tensor:
    """y[i] = sum over k of w[k] x[i + rate * k]: a convolution as deep learning means it, without flipping the kernel.

    Args:
        signal: float (..., N).
        weight: float (K,).
        rate: inputs from one tap to the next.
        padding: zeros on each side.

    Returns:
        Float (..., N + 2 * padding - rate * (K - 1)).

    Raises:
        ValueError: if the rate is below 1, or the kernel spans more than the padded signal.

    Source: Chen et al. 2018, "DeepLab", equation 1.
    """
    (K,) = weight.shape
    signal = F.pad(signal, (padding, padding))
    N = _outputs(signal.shape[-1], K, rate)
    return sum(weight[k] * signal[..., rate * k : rate * k + N] for k in range(K))


def atrous_conv2d(
    images: Tensor, weight: Tensor, bias: Tensor | None = None, *, rate: int = 1, padding: int = 0
) -> Tensor:
    """What `torch.nn.functional.conv2d(images, weight, bias, padding=padding, dilation=rate)` gives.

    For each tap of the kernel, the image is shifted, its channels are mixed, and the results are added up.

    Args:
        images: float (B, C, H, W).
        weight: float (D, C, K, L).
        bias: float (D,).
        rate: inputs from one tap to the next, along both axes.
        padding: zeros on each side, along both axes.

    Returns:
        Float (B, D, H + 2 * padding - rate * (K - 1), W + 2 * padding - rate * (L - 1)).

    Raises:
        ValueError: if shapes do not fit, the rate is below 1, or the kernel spans more than the padded image.
    """
    if images.ndim != 4 or weight.ndim != 4 or images.shape[1] != weight.shape[1]:
        raise ValueError(
            "images must have shape (B, C, H, W) and weight (D, C, K, L) with the same C, "
            f"got {tuple(images.shape)} and {tuple(weight.shape)}"
        )
    *_, K, L = weight.shape
    images = F.pad(images, (padding,) * 4)
    H, W = (_outputs(size, taps, rate) for size, taps in zip(images.shape[2:], (K, L), strict=True))
    result = 0
    for k in range(K):
        for m in range(L):
            shifted = images[..., rate * k : rate * k + H, rate * m : rate * m + W]
            result = result + torch.einsum("bchw,dc->bdhw", shifted, weight[..., k, m])
    return result if bias is None else result + bias[:, None, None]


def with_holes(weight: Tensor, rate: int) -> Tensor:
    """The kernel with rate - 1 zeros between its taps, "à trous": a plain convolution with it is the atrous one.

    Args:
        weight: float (..., K, L).
        rate: at least 1.

    Returns:
        Float (..., rate * (K - 1) + 1, rate * (L - 1) + 1).
    """
    *rest, K, L = weight.shape
    holes = weight.new_zeros(*rest, rate * (K - 1) + 1, rate * (L - 1) + 1)
    holes[..., ::rate, ::rate] = weight
    return holes


def _outputs(size: int, taps: int, rate: int) -> int:
    outputs = size - rate * (taps - 1)
    if rate < 1 or outputs < 1:
        raise ValueError(
            f"expected a rate of 1 or more, and {rate * (taps - 1) + 1} inputs after padding for {taps} taps at rate "
            f"{rate}, got {size}"
        )
    return outputs
