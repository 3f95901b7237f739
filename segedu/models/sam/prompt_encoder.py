"""SAM's prompt encoder: points, boxes and masks become tokens and maps that the mask decoder understands.

Source: Kirillov et al. 2023, section 3 and appendix A, "Prompt encoder".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segedu.models.sam.layers import LayerNorm2d

# The labels of points. A box is two points, its corners; NOT_A_POINT is the token that the network was trained to find
# where there is no box. ABSENT makes rows of a batch equally long: it is no token at all.
ABSENT, NOT_A_POINT, BACKGROUND, OBJECT, TOP_LEFT, BOTTOM_RIGHT = -2, -1, 0, 1, 2, 3


@dataclass(frozen=True)
class Prompts:
    """What a batch of P prompts says, as `Sam` describes it; any part may be missing, but not all."""

    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None
    has_mask: Tensor | None = None
    image_index: Tensor | None = None

    def __len__(self) -> int:
        return len(next(part for part in (self.points, self.boxes, self.masks) if part is not None))

    def some(self, first: int, last: int) -> Prompts:
        """Those from `first` to before `last`."""
        return Prompts(*(part if part is None else part[first:last] for part in vars(self).values()))


class PromptEncoder(nn.Module):
    """Tokens of points and maps of masks.

    Args:
        width: numbers in a token, and channels of a map.
        image_size: side of the images in pixels; points and boxes are in these.
        grid: side of the image embedding.
        pictures: maps beside a mask's that `maps` gets, of prompts that are drawn; SAM has none.
    """

    def __init__(self, width: int, image_size: int, grid: int, pictures: int = 0) -> None:
        super().__init__()
        self.image_size, self.grid, self.pictures = image_size, grid, pictures
        self.pe_layer = PositionEmbeddingRandom(width // 2)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, width) for _ in range(4)])  # in the order of labels
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1 + pictures, 4, 2, stride=2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, 2, stride=2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def tokens(self, points: Tensor, labels: Tensor) -> Tensor:
        """A token for each point: its position, if it has one, and what its label says.

        Args:
            points: (x, y) in pixels, float (P, N, 2); (0, 0) means the middle of the first pixel, 0.5 from its corner.
            labels: long (P, N).

        Returns:
            Tokens (P, N, width); what stands for ABSENT means nothing, and nobody may attend to it.
        """
        position = self.pe_layer((points.float() + 0.5) / self.image_size)
        meanings = torch.cat([self.not_a_point_embed.weight, *(point.weight for point in self.point_embeddings)])
        meaning = meanings[(labels - NOT_A_POINT).clamp(min=0)]
        return torch.where(labels[..., None] >= BACKGROUND, position.to(meaning.dtype), 0) + meaning

    def maps(self, masks: Tensor | None, has_mask: Tensor | None, drawn: Tensor | None = None) -> Tensor:
        """What the masks say about each patch, (P, width, grid, grid), or (1, width, 1, 1) if there are none.

        Args:
            masks: logits, float (P, 1, 4 grid, 4 grid), or None.
            has_mask: bool (P,), the rows whose mask counts, or None for all.
            drawn: `pictures` of each prompt, float (P, pictures, 4 grid, 4 grid).
        """
        nothing = self.no_mask_embed.weight[..., None, None]
        if masks is None and drawn is None:
            return nothing
        if masks is None:
            masks, has_mask = drawn.new_zeros(len(drawn), 1, *drawn.shape[2:]), drawn.new_zeros(len(drawn)).bool()
        if has_mask is None:
            has_mask = masks.new_ones(len(masks)).bool()
        given = has_mask[:, None, None, None]
        if drawn is None:
            return torch.where(given, self.mask_downscaling(masks), nothing)
        seen = torch.cat([torch.where(given, masks, 0), drawn], 1)
        return self.mask_downscaling(seen) + torch.where(given, 0, nothing)

    def positions(self) -> Tensor:
        """The encoded position of each patch's centre: (grid, grid, width)."""
        centre = (torch.arange(self.grid, device=self.pe_layer.device) + 0.5) / self.grid
        return self.pe_layer(torch.stack(torch.meshgrid(centre, centre, indexing="xy"), -1))


class PositionEmbeddingRandom(nn.Module):
    """Positions as sines and cosines of random frequencies, drawn once and kept with the weights.

    Source: Tancik et al. 2020, section 6.1, "Gaussian".
    """

    def __init__(self, frequencies: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, frequencies))

    @property
    def device(self) -> torch.device:
        return self.positional_encoding_gaussian_matrix.device

    def forward(self, points: Tensor) -> Tensor:
        """Encode points (..., 2), (x, y) from 0 to 1 across the image: (..., 2 * frequencies), float32."""
        # Two products and a sum: as a matrix product, autocast would round the angles to eight bits.
        along_x, along_y = self.positional_encoding_gaussian_matrix.float()
        x, y = (2 * points - 1).unsqueeze(-1).unbind(-2)
        angles = 2 * math.pi * (x * along_x + y * along_y)
        return torch.cat([angles.sin(), angles.cos()], -1)


def join_boxes(points: Tensor | None, labels: Tensor | None, boxes: Tensor | None) -> tuple[Tensor, Tensor]:
    """One row of labelled points for each prompt: its points and its box, or NOT_A_POINT where it has no box.

    Args:
        points: (x, y), float (P, N, 2), or None.
        labels: integer (P, N), or None; a row may hold a box by its corners, TOP_LEFT and BOTTOM_RIGHT.
        boxes: (x0, y0, x1, y1), float (P, 4), or None.

    Returns:
        Points (P, N', 2), and labels, long (P, N').
    """
    if boxes is not None:
        corners = boxes.unflatten(1, (2, 2))
        named = torch.tensor([TOP_LEFT, BOTTOM_RIGHT], device=boxes.device).expand(len(boxes), 2)
        if points is None:
            return corners, named
        return torch.cat([points, corners], 1), torch.cat([labels, named], 1)
    has_box = (labels >= TOP_LEFT).any(1, keepdim=True)
    nothing = (labels == ABSENT).all(1, keepdim=True)
    last = torch.where(has_box | nothing, ABSENT, NOT_A_POINT)
    return torch.cat([points, points.new_zeros(len(points), 1, 2)], 1), torch.cat([labels, last], 1)
