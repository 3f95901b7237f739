"""Small layers that the parts of SAM share, under the names that the official checkpoints give their weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.arrays import in_memory

TILE = 2048  # tokens at a time on the CPU, so that what lies between two dense layers is not new memory each time


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation of the channels of each pixel, (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MLPBlock(nn.Module):
    """Two dense layers with a nonlinearity between them, as in every block of a transformer."""

    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        if in_memory(x):
            return torch.cat([self.of_each(tile) for tile in x.flatten(0, -2).split(TILE)]).view(x.shape)
        return self.of_each(x)

    def of_each(self, tokens: Tensor) -> Tensor:
        return self.lin2(self.activation(self.lin1(tokens)))


class MLP(nn.Module):
    """Three dense layers with ReLU between them: what makes masks and scores out of tokens."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, out)])

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.layers
        return third(F.relu(second(F.relu(first(x)))))
