"""Training samples for prompts: a view of a picture, perhaps with things of another pasted in, and some of its masks.

All that is drawn, is drawn by torch's global generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from segedu.training.prompt_scenes import Picture

ASPECT = 0.15  # the largest change of a view's proportions
SOFT = 0.8  # blur, in pixels, of the outlines of what is pasted


@dataclass(frozen=True)
class View:
    """A window of a picture, how large it becomes, and whether as in a mirror."""

    window: tuple[slice, slice]  # rows and columns
    height: int
    width: int
    mirrored: bool

    def of(self, picture: Picture, side: int) -> Picture:
        """The window, resized, in the first corner of a black square of `side` pixels, whose rest has segment -1."""
        image = np.zeros((side, side, 3), np.uint8)
        segments = np.full((side, side), -1, np.int32)
        size = (self.width, self.height)
        shrinks = self.height < self.window[0].stop - self.window[0].start
        inner = image[: self.height, : self.width]
        inner[:] = cv2.resize(picture.image[self.window], size, interpolation=cv2.INTER_AREA if shrinks else 1)
        inner = segments[: self.height, : self.width]
        inner[:] = cv2.resize(picture.segments[self.window], size, interpolation=cv2.INTER_NEAREST_EXACT)
        if self.mirrored:
            image[:, : self.width] = image[:, : self.width][:, ::-1].copy()
            segments[:, : self.width] = segments[:, : self.width][:, ::-1].copy()
        return Picture(image, segments, picture.things)


def draw_view(height: int, width: int, side: int, scales: tuple[float, float]) -> View:
    """Draw a view of a picture: large-scale jitter, proportions, place and mirror.

    Args:
        height: of the picture.
        width: of it.
        side: of the square that the view must fit in.
        scales: least and most, relative to the scale at which the picture's longer side fills the square; drawn evenly
            on a logarithmic axis.

    Source: Ghiasi et al. 2021, "Simple copy-paste", section 3, large-scale jittering.
    """
    low, high = (math.log(scale) for scale in scales)
    zoom = side / max(height, width) * math.exp(low + (high - low) * _draw())
    stretch = math.exp(ASPECT * (2 * _draw() - 1) / 2)
    rows, tall = _window(height, zoom * stretch, side)
    columns, wide = _window(width, zoom / stretch, side)
    return View((rows, columns), tall, wide, _draw() < 0.5)


def paste(front: Picture, behind: Picture, most: int, smallest: int) -> Picture:
    """Copy things of one view in front of another of the same size.

    Args:
        front: has the things; from 1 to `most` of them, drawn, are pasted where they are.
        behind: is copied, not changed.
        most: things at once.
        smallest: in pixels.

    Source: Ghiasi et al. 2021, "Simple copy-paste", section 3; outlines are a little soft, so that they do not give
    themselves away by how sharp they are.
    """
    numbers = [number for number in areas_of(front, smallest) if number in front.things]
    if not numbers:
        return behind
    chosen = [numbers[i] for i in torch.randperm(len(numbers))[: 1 + int(most * _draw())].tolist()]
    covered = np.isin(front.segments, chosen) & (behind.segments >= 0)
    share = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), SOFT)[..., None]
    share[behind.segments < 0] = 0
    image = np.rint(behind.image + share * (front.image.astype(np.float32) - behind.image)).astype(np.uint8)
    first = int(behind.segments.max()) + 1
    segments = np.where(covered, front.segments + first, behind.segments)
    return Picture(image, segments, behind.things | {number + first for number in chosen})


def areas_of(picture: Picture, smallest: int) -> dict[int, int]:
    """The area in pixels of each segment that has at least `smallest`, by its number."""
    numbers, areas = np.unique(picture.segments, return_counts=True)
    return {n: a for n, a in zip(numbers.tolist(), areas.tolist(), strict=True) if n > 0 and a >= smallest}


def draw_masks(picture: Picture, count: int, smallest: int, unions: float) -> np.ndarray | None:
    """Draw masks that one might ask for.

    Args:
        picture: of the training's size.
        count: of masks; drawn without repeating until all have been.
        smallest: area in pixels of segments that count.
        unions: the share of masks that are two segments that touch: what a click may mean besides either.

    Returns:
        bool (count, H / 4, W / 4), the resolution of SAM's answers: a pixel is on where half of it is. None if the
        picture has no segment.
    """
    numbers = list(areas_of(picture, smallest))
    if not numbers:
        return None
    order = torch.randperm(len(numbers)).tolist()
    masks = []
    for i in range(count):
        mask = picture.segments == numbers[order[i % len(order)]]
        if _draw() < unions and (neighbours := _touching(mask, picture.segments)):
            mask |= picture.segments == neighbours[int(len(neighbours) * _draw())]
        masks.append(_quarter(mask))
    return np.stack(masks)


def _window(length: int, zoom: float, side: int) -> tuple[slice, int]:
    """A window along one axis that fits the side when zoomed, and its length then."""
    taken = min(length, max(1, round(side / zoom)))
    start = int((length - taken + 1) * _draw())
    return slice(start, start + taken), min(side, max(4, round(taken * zoom)))


def _touching(mask: np.ndarray, segments: np.ndarray) -> list[int]:
    around = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > mask
    numbers, lengths = np.unique(segments[around], return_counts=True)
    return [n for n, length in zip(numbers.tolist(), lengths.tolist(), strict=True) if n > 0 and length >= 20]


def _quarter(mask: np.ndarray) -> np.ndarray:
    size = (mask.shape[1] // 4, mask.shape[0] // 4)
    shares = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return shares >= min(0.5, shares.max())  # so that a hair is not lost altogether


def _draw() -> float:
    """A number from 0 to below 1."""
    return torch.rand(()).item()
