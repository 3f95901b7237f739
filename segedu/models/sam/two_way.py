"""The transformer in SAM's mask decoder: tokens attend to the image, and the image to the tokens.

Source: Kirillov et al. 2023, appendix A, "Lightweight mask decoder", and figure 14.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.sam.layers import MLPBlock


class TwoWayTransformer(nn.Module):
    """Layers that update tokens and image in turn, and a last look of the tokens at the image.

    An image that several prompts ask about comes once: until the first layer has told it of the prompts, what it gives
    is the same for all of them.

    Args:
        depth: layers.
        width: of tokens, and channels of the image.
        heads: of each attention.
        hidden: width within the perceptrons.
    """

    def __init__(self, depth: int, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([TwoWayAttentionBlock(width, heads, hidden, i == 0) for i in range(depth)])
        self.final_attn_token_to_image = Attention(width, heads, width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(
        self, image: Tensor, position: Tensor, tokens: Tensor, image_index: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            image: embeddings of pixels, float (B, h * w, width).
            position: of each pixel, float (h * w, width).
            tokens: of each prompt, float (P, N, width); they are their own positions.
            image_index: long (P,), the image that each prompt is about.
            present: bool (P, N), the tokens that count, or None for all.

        Returns:
            The tokens (P, N, width), and what each prompt made of the image, (P, h * w, width).
        """
        mask = None if present is None else present[:, None, None]  # P, heads, queries, keys
        x = tokens
        for layer in self.layers:
            x, image = layer(x, image, tokens, position, image_index, mask)
            image_index = None
        x = x + self.final_attn_token_to_image(x + tokens, image + position, image)
        return self.norm_final_attn(x), image


class TwoWayAttentionBlock(nn.Module):
    """A layer: tokens among themselves, tokens to image, a perceptron on each token, image to tokens."""

    def __init__(self, width: int, heads: int, hidden: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, heads, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLPBlock(width, hidden, F.relu)
        self.norm3 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, width // 2)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self,
        x: Tensor,
        image: Tensor,
        tokens: Tensor,
        position: Tensor,
        image_index: Tensor | None,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        if self.first:  # here x still is the tokens, so nothing is added to them
            x = self.self_attn(x, x, x, mask=mask)
        else:
            x = x + self.self_attn(x + tokens, x + tokens, x, mask=mask)
        x = self.norm1(x)
        pixels = image + position
        x = self.norm2(x + self.cross_attn_token_to_image(x + tokens, pixels, image, keys_of=image_index))
        x = self.norm3(x + self.mlp(x))
        seen = self.cross_attn_image_to_token(pixels, x + tokens, x, mask=mask, queries_of=image_index)
        return x, self.norm4(of_each(image, image_index) + seen)


class Attention(nn.Module):
    """Multi-head attention within `inner` numbers, half the width where that is enough."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
        queries_of: Tensor | None = None,
        keys_of: Tensor | None = None,
    ) -> Tensor:
        """
        Args:
            q: what asks, float (P, N, width).
            k: what is asked, float (P, M, width).
            v: what answers, float (P, M, width).
            mask: bool (P, 1, 1, M), which answers count.
            queries_of: long (P,), if q is (B, N, width), each for several prompts; they share one projection.
            keys_of: long (P,), if k and v are (B, M, width).

        Returns:
            float (P, N, width).
        """
        q = of_each(self.split(self.q_proj(q)), queries_of)
        k = of_each(self.split(self.k_proj(k)), keys_of)
        v = of_each(self.split(self.v_proj(v)), keys_of)
        return self.out_proj(attend(q, k, v, mask).transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # B, heads, N, D


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(D)) v, for q (P, heads, N, D), k and v (P, heads, M, D), and mask bool (P, 1, 1, M)."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # Of PyTorch's kernel for bfloat16 on CPUs the way back takes six times as long, with few tokens on a side.
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1).to(v.dtype) @ v


def of_each(shared: Tensor, index: Tensor | None) -> Tensor:
    """One row of `shared` for each prompt; without copying if there is only one."""
    if index is None:
        return shared
    return shared.expand(len(index), *shared.shape[1:]) if len(shared) == 1 else shared[index]
