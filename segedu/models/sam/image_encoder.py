"""SAM's image encoder: a plain vision transformer that attends within windows, and four times to the whole image.

Sources: Kirillov et al. 2023, appendix A, "Image encoder"; Li et al. 2022 (ViTDet), section 3; Dosovitskiy et al. 2021.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.sam.attention import attend
from segedu.models.sam.checks import check_inputs
from segedu.models.sam.layers import LayerNorm2d, MLPBlock

PATCH = 16  # pixels


class ImageEncoderViT(nn.Module):
    """From an image to an embedding of each of its patches of 16 x 16 pixels.

    Images are float (B, 3, image_size, image_size), normalised by `Sam.preprocess`; embeddings are
    (B, 256, image_size / 16, image_size / 16).

    Args:
        image_size: of the images, in pixels, a multiple of 16.
        width: numbers that describe a patch on its way.
        depth: blocks.
        heads: of the attention in each.
        global_blocks: those that attend to the whole image, counted from 0; the others attend within windows.
        window: side of a window, in patches.
        out_channels: of the embeddings.

    Raises:
        ValueError: if the sizes do not divide, or images have another shape.
        TypeError: for images that are not floating point.
    """

    def __init__(
        self,
        image_size: int = 1024,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        global_blocks: Collection[int] = (2, 5, 8, 11),
        window: int = 14,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        if image_size % PATCH or image_size < PATCH:
            raise ValueError(f"image_size must be a multiple of {PATCH}, got {image_size}")
        if width % heads:
            raise ValueError(f"heads share the width: it must be a multiple of heads = {heads}, got {width}")
        self.image_size = image_size
        grid = image_size // PATCH
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        self.blocks = nn.ModuleList(
            [Block(width, heads, grid, None if i in global_blocks else window) for i in range(depth)]
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, out_channels, 1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        check_inputs(images, self.image_size)
        x = self.patch_embed(images) + self.pos_embed  # B, h, w, width
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))


class PatchEmbed(nn.Module):
    """Describe each patch by a linear map of its pixels: (B, 3, H, W) to (B, H / 16, W / 16, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, stride=PATCH)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).permute(0, 2, 3, 1).contiguous()


class Block(nn.Module):
    """A block of the transformer: attention within windows, or to the whole grid, and a perceptron, each added on."""

    def __init__(self, width: int, heads: int, grid: int, window: int | None) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, window or grid)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLPBlock(width, 4 * width, F.gelu)

    def forward(self, x: Tensor) -> Tensor:
        B, h, w, _ = x.shape
        inner = self.norm1(x)
        if self.window is not None:
            inner = to_windows(inner, self.window)
        inner = self.attn(inner)
        if self.window is not None:
            inner = from_windows(inner, B, h, w)
        x = x + inner
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Multi-head attention with relative positions among the patches of a square, (B, side, side, width)."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        grid = x.shape[1:3]
        qkv = self.qkv(x).flatten(1, 2).unflatten(2, (3, self.heads, -1))  # B, h w, 3, heads, D
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        x = attend(q, k, v, self.rel_pos_h, self.rel_pos_w, tuple(grid))  # B, heads, h w, D
        return self.proj(x.transpose(1, 2).flatten(2)).unflatten(1, grid)


def to_windows(x: Tensor, side: int) -> Tensor:
    """Cut (B, h, w, C) into windows, padded with zeros right and below: (B * windows, side, side, C)."""
    h, w = x.shape[1:3]
    x = F.pad(x, (0, 0, 0, -w % side, 0, -h % side))
    x = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))  # B, rows, side, columns, side, C
    return x.transpose(2, 3).flatten(0, 2)


def from_windows(windows: Tensor, batch: int, h: int, w: int) -> Tensor:
    """Put the windows of `to_windows` together again, without their padding: (B, h, w, C)."""
    side = windows.shape[1]
    rows, columns = -(-h // side), -(-w // side)
    x = windows.unflatten(0, (batch, rows, columns)).transpose(2, 3)  # B, rows, side, columns, side, C
    return x.flatten(3, 4).flatten(1, 2)[:, :h, :w]
