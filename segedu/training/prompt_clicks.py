"""A simulated user: points on a mask, boxes around it, and clicks on what an answer got wrong."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from segedu.distances import distance_inside
from segedu.models.sam.prompt_encoder import ABSENT, BOTTOM_RIGHT, OBJECT, TOP_LEFT

SHRUNK = 4  # SAM's answers have a pixel for so many of the image, along either side
NOISE = 0.1  # of a box's corners, standard deviation relative to its sides
MOST_NOISE = 20 / 1024  # of the same, relative to the image's side


def first_prompts(truth: Tensor, boxes: float) -> tuple[Tensor, Tensor]:
    """A click on each mask, or a box around it.

    Args:
        truth: bool (P, h, w), a quarter of the image's size.
        boxes: the share of boxes.

    Returns:
        Points in pixels of the image, float (P, 2, 2), and their labels, long (P, 2): a click and nothing, or a box's
        corners.
    """
    boxed = (torch.rand(len(truth)) < boxes).to(truth.device)[:, None]
    corners = draw_boxes(truth, SHRUNK).unflatten(1, (2, 2))
    clicks = to_image(draw_pixels(truth))[:, None].expand(-1, 2, -1)
    labels = torch.tensor([[OBJECT, ABSENT], [TOP_LEFT, BOTTOM_RIGHT]], device=truth.device)
    return torch.where(boxed[..., None], corners, clicks), labels[boxed[:, 0].long()]


def with_corrections(points: Tensor, labels: Tensor, best: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The prompts with a click more, on an error of the logits (P, h, w)."""
    pixels, meaning = draw_corrections(best > 0, truth)
    return torch.cat([points, to_image(pixels)[:, None]], 1), torch.cat([labels, meaning[:, None]], 1)


def to_image(pixels: Tensor) -> Tensor:
    """The middles of an answer's pixels (x, y) in pixels of the image, where (0, 0) is the middle of the first one."""
    return SHRUNK * pixels.float() + (SHRUNK - 1) / 2


def draw_pixels(regions: Tensor) -> Tensor:
    """Draw a pixel of each region, all its pixels being equally likely.

    Args:
        regions: bool (P, H, W), each with a pixel at least.

    Returns:
        (x, y), long (P, 2).
    """
    width = regions.shape[2]
    # The largest of independent numbers is anywhere with equal chance.
    numbers = torch.rand(regions.shape).to(regions.device).masked_fill_(~regions, -1)
    place = numbers.flatten(1).argmax(1)
    return torch.stack([place % width, place // width], 1)


def draw_corrections(answers: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a pixel of each answer that is wrong; of an answer without errors, one of the true mask.

    Args:
        answers: bool (P, H, W).
        truth: bool (P, H, W), each with a pixel at least.

    Returns:
        (x, y), long (P, 2), and its label, long (P,): 1 where the truth has it, 0 where only the answer has.

    Source: Kirillov et al. 2023, appendix A, "Training algorithm".
    """
    wrong = answers ^ truth
    wrong |= truth & ~wrong.flatten(1).any(1)[:, None, None]
    pixels = draw_pixels(wrong)
    return pixels, truth[torch.arange(len(truth), device=truth.device), pixels[:, 1], pixels[:, 0]].long()


def boxes_of(masks: Tensor) -> Tensor:
    """The boxes of masks, bool (P, H, W) with a pixel each: (x0, y0, x1, y1), long (P, 4), from first to last pixel."""
    H, W = masks.shape[1:]
    rows, columns = masks.any(2).byte(), masks.any(1).byte()
    last_row, last_column = H - 1 - rows.flip(1).argmax(1), W - 1 - columns.flip(1).argmax(1)
    return torch.stack([columns.argmax(1), rows.argmax(1), last_column, last_row], 1)


def draw_boxes(masks: Tensor, scale: int) -> Tensor:
    """Boxes as a user draws them, a little wrong.

    Args:
        masks: bool (P, H, W), each with a pixel at least.
        scale: the boxes are for an image so many times larger than the masks.

    Returns:
        (x0, y0, x1, y1) in pixels of the image, within it, float (P, 4).

    Source: Kirillov et al. 2023, appendix A, "Training algorithm": noise of 10 % of the side, of 20 pixels at most in
    an image of 1024.
    """
    H, W = masks.shape[1:]
    pixels = boxes_of(masks).float()
    boxes = scale * pixels + pixels.new_tensor([0, 0, scale - 1, scale - 1])
    sides = (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)
    largest = MOST_NOISE * scale * max(H, W)
    noise = (NOISE * sides * torch.randn(boxes.shape).to(boxes.device)).clamp(-largest, largest)
    noisy = (boxes + noise).clamp_min(0).minimum(boxes.new_tensor([W, H, W, H]) * scale - 1)
    return torch.cat([noisy[:, :2].minimum(noisy[:, 2:]), noisy[:, :2].maximum(noisy[:, 2:])], 1)


def centre_of(mask: np.ndarray) -> tuple[int, int]:
    """The pixel (x, y) of a mask, bool (H, W), that is farthest from all that is outside, as the image's edge is.

    Source: Kirillov et al. 2023, appendix D.1, "Point sampling".
    """
    return _deepest(mask)[1]


def correction_of(answer: np.ndarray, truth: np.ndarray) -> tuple[tuple[int, int], int]:
    """Where a careful user clicks next: in the middle of the largest error.

    Args:
        answer: bool (H, W).
        truth: bool (H, W).

    Returns:
        The pixel (x, y), and its label: 1 if it was missed, 0 if it was taken wrongly; the truth's middle for an
        answer without errors.

    Source: Sofiiuk, Petrov and Konushin 2021 (RITM), section 3.2, whose protocol Kirillov et al. 2023 follow: of all
    wrong pixels, the one farthest from the outline of its error.
    """
    missed, added = _deepest(truth & ~answer), _deepest(answer & ~truth)
    if max(missed[0], added[0]) == 0:
        return centre_of(truth), 1
    return (missed[1], 1) if missed[0] >= added[0] else (added[1], 0)


def _deepest(region: np.ndarray) -> tuple[float, tuple[int, int]]:
    """How far from its outline the innermost pixel of a region is, and where."""
    distance = distance_inside(np.pad(region, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return float(distance[y, x]), (int(x), int(y))
