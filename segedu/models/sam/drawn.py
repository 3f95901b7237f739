"""Prompts drawn as pictures: what a tiny SAM sees beside its tokens.

Source: after Sofiiuk, Petrov and Konushin 2021 (RITM), section 3.1, whose network gets clicks as maps of discs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segedu.models.sam.prompt_encoder import BACKGROUND, BOTTOM_RIGHT, OBJECT, TOP_LEFT

PICTURES = 2
SPREAD = 1 / 64  # of a click, standard deviation relative to the image's side


def draw_prompts(points: Tensor, labels: Tensor, image_size: int, side: int) -> Tensor:
    """Draw clicks and boxes.

    Args:
        points: (x, y) in pixels of the image, float (P, N, 2).
        labels: long (P, N), as `Sam` describes them.
        image_size: side of the image in pixels.
        side: of the pictures.

    Returns:
        Float (P, 2, side, side): clicks, a Gaussian hill of height 1 for each on the object and a hollow of -1 for each
        on the background; and the box, 1 within it and -1 without, or 0 everywhere if there is none.
    """
    step = image_size / side
    middles = (torch.arange(side, device=points.device) + 0.5) * step - 0.5
    dx, dy = (middles - points.float().unsqueeze(-1)).unbind(2)  # P, N, side
    ex, ey = (torch.exp(-((d / (SPREAD * image_size)) ** 2) / 2) for d in (dx, dy))
    sign = (labels == OBJECT).float() - (labels == BACKGROUND).float()
    clicks = (ey * sign[..., None]).transpose(1, 2) @ ex

    first, last = labels == TOP_LEFT, labels == BOTTOM_RIGHT
    within_x, within_y = (
        ((d >= 0) | ~first[..., None]) & ((d <= 0) | ~last[..., None]) for d in (dx, dy)
    )  # of points that are no corner, all is within
    within = within_y.all(1)[:, :, None] & within_x.all(1)[:, None, :]
    box = torch.where(first.any(1)[:, None, None], 2 * within.float() - 1, 0)
    return torch.stack([clicks, box], 1)
