"""Overlap-tile prediction: images of any size through a network that takes, or fits in memory, only small ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor


def overlap_tile(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    tile: int = 388,
    margin: int = 92,
    on_tile: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Predict images tile by tile, each with a margin of context; what lies beyond the image is its mirror image.

    No value saw padding where the margin is that of the network. Poolings begin anew with each tile, so that the
    result equals that of the whole image at once where `tile` is a multiple of the network's stride. The defaults are
    those of the published U-Net: 572 in, 388 out.

    Args:
        model: takes float (B, C, n, n) with n = tile + 2 * margin, and gives (B, K, m, m), of which the central
            tile x tile values are taken: m is tile for a network without padding, n for one that pads.
        images: float (B, C, H, W).
        tile: pixels that are predicted at a time, along each axis.
        margin: pixels around them.
        on_tile: called after each tile with the number of those done and of all, to show progress.

    Returns:
        Float (B, K, H, W).

    Raises:
        ValueError: if the images have another number of axes, or the model gives fewer than tile x tile values.

    Source: Ronneberger et al. 2015, figure 2.
    """
    if images.ndim != 4:
        raise ValueError(f"images must have shape (B, C, H, W), got {tuple(images.shape)}")
    if tile < 1 or margin < 0:
        raise ValueError(f"tile must be at least 1 and margin at least 0, got {tile} and {margin}")
    H, W = images.shape[2:]
    corners = list(product(range(0, H, tile), range(0, W, tile)))
    result = None
    for done, (y, x) in enumerate(corners, 1):
        rows, columns = (
            mirrored(torch.arange(start - margin, start + tile + margin, device=images.device), size)
            for start, size in ((y, H), (x, W))
        )
        output = model(images[:, :, rows[:, None], columns])
        if min(output.shape[2:]) < tile:
            raise ValueError(
                f"the model gave {tuple(output.shape[2:])} values for a tile of {tile} with a margin of {margin}, "
                f"expected {tile} x {tile} or more: is the margin right for this network?"
            )
        if result is None:
            result = output.new_empty(len(images), output.shape[1], H, W)
        top, left = ((size - tile) // 2 for size in output.shape[2:])
        part = result[:, :, y : y + tile, x : x + tile]
        part.copy_(output[:, :, top : top + part.shape[2], left : left + part.shape[3]])
        if on_tile is not None:
            on_tile(done, len(corners))
    return result


def mirrored(index: Tensor, size: int) -> Tensor:
    """Fold indices beyond 0 ... size - 1 back by mirroring at the first and last, as often as it takes."""
    if size == 1:
        return torch.zeros_like(index)
    index = index.remainder(2 * (size - 1))
    return torch.where(index < size, index, 2 * (size - 1) - index)
