"""Attention whose scores know how far apart two patches are, without ever holding all scores of a large image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segedu.arrays import in_memory

TILE = 2**21  # scores computed at a time on the CPU: 8 MiB, which stay in the cache until the values are weighed


def attend(q: Tensor, k: Tensor, v: Tensor, rel_pos_h: Tensor, rel_pos_w: Tensor, grid: tuple[int, int]) -> Tensor:
    """Attention within a grid of patches, with decomposed relative positions.

    The score of a query at (y, x) and a key at (v, u) is q . k / sqrt(D) + q . R_h[y - v] + q . R_w[x - u].

    Args:
        q: queries, float (B, heads, h * w, D).
        k: keys, likewise.
        v: values, likewise.
        rel_pos_h: R_h, float (2 h - 1, D), from distance -(h - 1) on.
        rel_pos_w: R_w, float (2 w - 1, D).
        grid: (h, w).

    Returns:
        Weighed values (B, heads, h * w, D).

    Source: Li et al. 2022 (MViTv2), "Decomposed relative position embeddings", with R_h and R_w outside the square
    root, as in the code of its authors and SAM's.
    """
    h, w = grid
    patches = q.unflatten(2, grid)
    bias_h = torch.einsum("bnyxd,yvd->bnyxv", patches, by_distance(rel_pos_h, h)).flatten(2, 3)  # B, heads, h w, h
    bias_w = torch.einsum("bnyxd,xud->bnyxu", patches, by_distance(rel_pos_w, w)).flatten(2, 3)  # B, heads, h w, w
    q = q * q.shape[-1] ** -0.5
    if in_memory(q) and q.dtype == torch.float32:
        return _attend_in_tiles(q, k, v, bias_h, bias_w)
    # The bias is an inner product too: of what q has for each row and column with the row and column of k. So it needs
    # no mask of (h w)^2 numbers, which fused kernels would have to read from memory.
    row = torch.eye(h, dtype=k.dtype, device=k.device).repeat_interleave(w, 0)
    column = torch.eye(w, dtype=k.dtype, device=k.device).repeat(h, 1)
    place = torch.cat([row, column], 1).expand(*k.shape[:2], -1, -1)  # B, heads, h w, h + w
    q = torch.cat([q, bias_h.to(q.dtype), bias_w.to(q.dtype)], -1)
    return F.scaled_dot_product_attention(q, torch.cat([k, place], -1), v, scale=1)


def by_distance(table: Tensor, size: int) -> Tensor:
    """The rows of a table (2 size - 1, D) by the distance of two of `size` positions: (size, size, D)."""
    position = torch.arange(size, device=table.device)
    return table[position[:, None] - position + size - 1]


def _attend_in_tiles(q: Tensor, k: Tensor, v: Tensor, bias_h: Tensor, bias_w: Tensor) -> Tensor:
    B, heads, N, D = q.shape
    h, w = bias_h.shape[-1], bias_w.shape[-1]
    rows = min(N, max(1, TILE // N))
    together = min(heads, max(1, TILE // (N * rows)))
    out = q.new_empty(B, N, heads, D).transpose(1, 2)  # so that heads lie side by side for the projection
    buffer = q.new_empty(together * rows * N)
    for b in range(B):
        for head in range(0, heads, together):
            some = slice(head, min(head + together, heads))
            keys, values = k[b, some].transpose(1, 2), v[b, some]
            for first in range(0, N, rows):
                tile = (b, some, slice(first, min(first + rows, N)))
                queries = q[tile]
                scores = buffer[: queries.shape[0] * queries.shape[1] * N].view(*queries.shape[:2], N)
                torch.bmm(queries, keys, out=scores)
                by_row = scores.unflatten(2, (h, w))
                by_row += bias_h[tile][..., None]
                by_row += bias_w[tile][..., None, :]
                torch.softmax(scores, -1, out=scores)
                out[tile] = scores @ values
    return out
