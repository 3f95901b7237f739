"""What a tiny SAM adds while it upscales: fine features of the image, and the prompt's pictures again.

Source: after Ravi et al. 2024 (SAM 2), section 4, "Prompt encoder and mask decoder", which joins the encoder's features
at strides 4 and 8 to the decoder's; prompts there come as tokens only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImageDetails(nn.Module):
    """Features at strides 8 and 4, narrowed for the decoder, and folded so that they travel with the embedding.

    Args:
        channels: of the features at strides 8 and 4.
        width: of the embedding.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(
            nn.Conv2d(channels[i], width // size, 1)
            for i, size in enumerate((4, 8))  # as wide as the decoder's layers
        )

    def forward(self, at8: Tensor, at4: Tensor) -> Tensor:
        """Features (B, channels, 2 h, 2 h) and (B, channels, 4 h, 4 h) to (B, 3 width, h, h)."""
        features = zip(self.project, (at8, at4), (2, 4), strict=True)
        return torch.cat([F.pixel_unshuffle(project(x), times) for project, x, times in features], 1)


def unfold_details(folded: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """What `ImageDetails` narrowed: (B, width / 4, 2 h, 2 h) and (B, width / 8, 4 h, 4 h)."""
    at8, at4 = folded.split([width, 2 * width], 1)
    return F.pixel_shuffle(at8, 2), F.pixel_shuffle(at4, 4)
