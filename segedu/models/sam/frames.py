"""Between an image's pixels and the square that SAM sees: images and points go in, logits come out."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from segedu.arrays import Array, check_image, in_memory

FULL_SIZE_BYTES = 2**29  # for logits at the image's resolution, on a device that is not the CPU


@dataclass(frozen=True)
class Frame:
    """Where an image lies in the square: its longer side fills it, and its first pixel is the square's first.

    Attributes:
        height: of the image, in pixels.
        width: of the image, in pixels.
        side: of the square, in pixels.
    """

    height: int
    width: int
    side: int

    @property
    def scaled(self) -> tuple[int, int]:
        """Height and width of the image within the square."""
        scale = self.side / max(self.height, self.width)
        # A picture like a ribbon keeps one row: the authors' code would leave it none.
        return max(1, int(self.height * scale + 0.5)), max(1, int(self.width * scale + 0.5))

    def resize(self, image: Tensor) -> Tensor:
        """The image as the model takes it, but for normalisation and padding.

        SAM was trained on what Pillow makes of photographs: bilinear weights, wider where an image shrinks, across
        first, rounded, then down, rounded. An image of floats is not rounded.

        Args:
            image: RGB (3, H, W) of this frame's size, uint8 or float in [0, 1].

        Returns:
            float (3, scaled height, scaled width) in [0, 1]. A uint8 image that is not in memory (`in_memory`) may
            differ from Pillow's by one level, in one value of 300.
        """
        height, width = self.scaled
        if image.dtype != torch.uint8:
            return _interpolate(image.float(), (height, width), antialias=True)
        if in_memory(image):
            picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
            resized = np.array(picture.resize((width, height), Image.Resampling.BILINEAR))
            return torch.from_numpy(resized).permute(2, 0, 1) / 255
        across = (_interpolate(image.float(), (self.height, width), antialias=True) + 0.5).floor()
        return (_interpolate(across, (height, width), antialias=True) + 0.5).floor() / 255

    def to_square(self, points: Tensor) -> Tensor:
        """Points (..., 2), (x, y) in pixels of the image, in pixels of the square, float."""
        height, width = self.scaled
        return points.float() * points.new_tensor([width / self.width, height / self.height], dtype=torch.float32)

    def to_image(self, logits: Tensor) -> Tensor:
        """Logits of any resolution over the square (..., h, h), at the image's resolution: float32 (..., H, W).

        As in the authors' code, two bilinear interpolations: to the square's pixels, and to the image's.
        """
        if in_memory(logits):
            return self._to_image_by_opencv(logits)
        height, width = self.scaled
        square = _interpolate(logits.float(), (self.side, self.side))
        return _interpolate(square[..., :height, :width], (self.height, self.width))

    def masks_at_once(self, logits: Tensor) -> int:
        """How many maps to give `to_image` at once: one where they are in memory, many where a device wants work."""
        return 1 if in_memory(logits) else max(1, FULL_SIZE_BYTES // (4 * self.height * self.width))

    def _to_image_by_opencv(self, logits: Tensor) -> Tensor:
        height, width = self.scaled
        result = np.empty((*logits.shape[:-2], self.height, self.width), np.float32)
        maps = logits.detach().float().flatten(0, -3) if logits.ndim > 2 else logits.detach().float()[None]
        for low, high in zip(maps.numpy(), result.reshape(-1, self.height, self.width), strict=True):
            square = cv2.resize(low, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
            cv2.resize(square[:height, :width], (self.width, self.height), high, interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(result)


def to_rgb(image: Array) -> Tensor:
    """An image as a tensor (3, H, W), uint8 or float as it came.

    Args:
        image: RGB (3, H, W), or (H, W, 3) as image files are read, or grey (H, W); uint8 or float in [0, 1]. An image
            with three rows as well as three columns of colours is taken as (3, H, W).

    Raises:
        TypeError: for anything but an array or a tensor of uint8 or floats.
        ValueError: for another shape, or floats out of range.
    """
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(np.ascontiguousarray(image) if image.flags.writeable else image.copy())
    check_image(image)
    if image.ndim == 2:
        image = image.expand(3, -1, -1)
    elif image.ndim == 3 and image.shape[0] != 3 and image.shape[-1] == 3:
        image = image.permute(2, 0, 1)
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(
            f"image must be RGB, (3, H, W) or (H, W, 3), or grey, (H, W): got {tuple(image.shape)}; leave out an alpha "
            "channel by image[..., :3], and set several images with set_images"
        )
    check_image(image)  # again, with rows and columns last: there must be some
    if image.is_floating_point() and in_memory(image):
        low, high = (float(value) for value in image.aminmax())
        if not -1e-3 <= low <= high <= 1 + 1e-3:  # interpolation may leave the range by a little
            raise ValueError(f"image must be uint8, or floats in [0, 1], got floats from {low:g} to {high:g}")
    return image


def _interpolate(image: Tensor, size: tuple[int, int], antialias: bool = False) -> Tensor:
    """Bilinear interpolation of (..., h, w) to (..., *size)."""
    maps = image.reshape(1, -1, *image.shape[-2:])
    return F.interpolate(maps, size, mode="bilinear", antialias=antialias).reshape(*image.shape[:-2], *size)
