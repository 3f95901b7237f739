"""SAM's mask decoder: from an image embedding and a prompt to masks, and how good each will be.

Source: Kirillov et al. 2023, appendix A, "Lightweight mask decoder" and "Making the model ambiguity-aware", figure 14.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segedu.models.sam.layers import MLP, LayerNorm2d
from segedu.models.sam.two_way import TwoWayTransformer

MASKS = 4  # one for a prompt that is clear; three for one that may mean the whole, a part or a part of it


class MaskDecoder(nn.Module):
    """A two-way transformer, two transposed convolutions, and a dot product of each pixel with each mask's token.

    Args:
        width: channels of the image embedding, and numbers in a token.
        pictures: of a prompt, which are looked at once more at the masks' resolution; SAM has none.
    """

    def __init__(self, width: int = 256, pictures: int = 0) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(depth=2, width=width, heads=8, hidden=8 * width)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(MASKS, width)
        bend = nn.ReLU if pictures else nn.GELU  # on CPUs, GELU's way back takes longer than all else here
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            LayerNorm2d(width // 4),
            bend(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            bend(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList([MLP(width, width, width // 8) for _ in range(MASKS)])
        self.iou_prediction_head = MLP(width, width, MASKS)
        if pictures:
            self.look = nn.Conv2d(pictures, width // 8, 3, padding=1)
            self.mix = nn.Sequential(nn.Conv2d(width // 8, width // 8, 3, padding=1), nn.ReLU())

    def forward(
        self,
        image: Tensor,
        position: Tensor,
        tokens: Tensor,
        image_index: Tensor,
        present: Tensor | None = None,
        multimask: bool = True,
        details: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            image: embeddings with what masks say of them added, float (B, width, h, w).
            position: of each pixel, float (h, w, width).
            tokens: of the prompts, float (P, N, width).
            image_index: long (P,), the image that each prompt is about.
            present: bool (P, N), the tokens that count, or None for all.
            multimask: three masks, or the one for clear prompts.
            details: for each prompt, features at twice and at four times the embedding's resolution, float
                (P, width / 4, 2 h, 2 w) and (P, width / 8, 4 h, 4 w), and its pictures, float (P, pictures, 4 h, 4 w).

        Returns:
            Logits (P, M, 4 h, 4 w) with M of 3 or 1, and the IoU (P, M) that each mask is expected to have.
        """
        P, h = len(tokens), image.shape[2]
        ours = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(P, -1, -1)
        tokens = torch.cat([ours, tokens.to(ours.dtype)], 1)  # P, 1 + 4 + N, width
        if present is not None:
            present = torch.cat([present.new_ones(P, 1 + MASKS), present], 1)
        pixels = image.flatten(2).transpose(1, 2)  # B, h w, width
        tokens, pixels = self.transformer(pixels, position.flatten(0, 1).to(pixels.dtype), tokens, image_index, present)
        upscaled = self.upscale(pixels.transpose(1, 2).unflatten(2, (h, -1)), details)  # P, width / 8, 4 h, 4 w
        wanted = range(1, MASKS) if multimask else range(1)
        filters = torch.stack([self.output_hypernetworks_mlps[i](tokens[:, 1 + i]) for i in wanted], 1)
        logits = torch.einsum("pmc,pchw->pmhw", filters, upscaled)
        return logits, self.iou_prediction_head(tokens[:, 0])[:, wanted.start : wanted.stop]

    def upscale(self, x: Tensor, details: tuple[Tensor, Tensor, Tensor] | None = None) -> Tensor:
        """From (P, width, h, w) to (P, width / 8, 4 h, 4 w), with the details added on the way."""
        if details is None:
            return self.output_upscaling(x)
        to8, normalise, bend, to4, _ = self.output_upscaling
        at8, at4, pictures = details
        x = bend(normalise(to8(x) + at8))
        x = bend(to4(x) + at4 + self.look(pictures))
        return x + self.mix(x)
