"""Views of an image that a microscope might have had: turned, mirrored, larger or smaller, and slightly bent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

GRID = 3  # points that are displaced, along either side


class RandomWarp(v2.Transform):
    """Cut a square out of an image, turned by any angle, mirrored or not, resized and bent; all in one resampling.

    What lies beyond the image is its mirror image. Images get bilinear interpolation, masks the nearest pixel. Both
    are uint8 or float32 (..., H, W), in the CPU's memory.

    Args:
        size: side of the square, in pixels.
        scale: by which images are resized, drawn evenly between these two.
        bend: standard deviation, in pixels, of the displacement of the points of a coarse grid of 3 x 3; the pixels
            between them follow by bicubic interpolation.

    Source: Ronneberger et al. 2015, section 3.1, who have a bend of 10.
    """

    def __init__(self, size: int, scale: Sequence[float] = (1.0, 1.0), bend: float = 10.0) -> None:
        super().__init__()
        least, most = scale
        if size < 2 or not 0 < least <= most or bend < 0:
            raise ValueError(
                "size must be at least 2, scale two factors above 0, the smaller first, and bend at least 0, "
                f"got {size}, {tuple(scale)} and {bend}"
            )
        self.size, self.scale, self.bend = size, (least, most), bend

    def make_params(self, flat_inputs: list[Any]) -> dict[str, np.ndarray]:
        """The points (x, y) of the image that the square's pixels come from: float32 (size, size, 2)."""
        H, W = v2.query_size(flat_inputs)
        angle, factor = (torch.rand(2) * torch.tensor([2 * math.pi, self.scale[1] - self.scale[0]])).tolist()
        factor += self.scale[0]
        mirror = 1 - 2 * int(torch.randint(2, ()))
        axis = torch.arange(self.size) - (self.size - 1) / 2
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        bends = torch.randn(1, 2, GRID, GRID) * self.bend
        dx, dy = F.interpolate(bends, size=(self.size, self.size), mode="bicubic", align_corners=True)[0]
        x, y = (x * mirror + dx) / factor, (y + dy) / factor
        cos, sin = math.cos(angle), math.sin(angle)
        # The square's middle is where an upright square of its size would lie within the image, if that has room.
        room = [max(side - self.size / factor, 0) for side in (W, H)]
        middle = [
            (side - 1) / 2 + (float(torch.rand(())) - 0.5) * space for side, space in zip((W, H), room, strict=True)
        ]
        return {"points": torch.stack([middle[0] + cos * x - sin * y, middle[1] + sin * x + cos * y], dim=-1).numpy()}

    def transform(self, inpt: Tensor, params: dict[str, np.ndarray]) -> Tensor:  # the names that v2.Transform gives
        how = cv2.INTER_NEAREST if isinstance(inpt, tv_tensors.Mask) else cv2.INTER_LINEAR
        planes = inpt.reshape(-1, *inpt.shape[-2:]).numpy()
        warped = np.stack([_resample(plane, params["points"], how) for plane in planes])
        return tv_tensors.wrap(torch.from_numpy(warped).reshape(*inpt.shape[:-2], self.size, self.size), like=inpt)


def _resample(plane: np.ndarray, points: np.ndarray, how: int) -> np.ndarray:
    return cv2.remap(plane, points, None, how, borderMode=cv2.BORDER_REFLECT_101)
