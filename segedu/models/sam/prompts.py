"""Prompts in an image's pixels: checked, and brought to the form that the network takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segedu.arrays import Array, in_memory
from segedu.models.sam.frames import Frame
from segedu.models.sam.prompt_encoder import ABSENT, BACKGROUND, BOTTOM_RIGHT, TOP_LEFT


@dataclass(frozen=True, eq=False)
class Prompt:
    """What is asked about one image: any of points, a box and a mask, once or several times.

    The leading axes `...` are none for one prompt and (P,) for P of them, the same for all parts. Lists, arrays and
    tensors will do.

    Attributes:
        points: (x, y) in pixels of the image, (..., N, 2). Whole numbers name a pixel.
        labels: of the points, integer (..., N): 1 on the object, 0 on the background; -2 for no point at all, which
            fills up prompts with fewer points.
        box: (x0, y0, x1, y1) in pixels of the image, (..., 4). It may reach beyond the image.
        mask: logits (..., S, S) of an earlier answer, of the size that it gave.
    """

    points: Array | Sequence | None = None
    labels: Array | Sequence | None = None
    box: Array | Sequence | None = None
    mask: Array | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """P prompts about one image, as the network takes them; boxes have become points.

    Attributes:
        leading: the leading axes of the prompts, whose product is P.
        points: float (P, N, 2), (x, y) in pixels of the model's square.
        labels: long (P, N).
        mask: float (P, 1, S, S), or None.
    """

    leading: tuple[int, ...]
    points: Tensor
    labels: Tensor
    mask: Tensor | None

    def filled_up(self, N: int) -> tuple[Tensor, Tensor]:
        """Points and labels with N columns, the added ones absent."""
        more = N - self.labels.shape[1]
        return F.pad(self.points, (0, 0, 0, more)), F.pad(self.labels, (0, more), value=ABSENT)


def prepare(prompt: Prompt, frame: Frame, mask_side: int, device: torch.device) -> Prepared:
    """Check prompts, and bring them to the square of the frame and to the device.

    Args:
        prompt: in pixels of the frame's image.
        frame: of the image.
        mask_side: the S that masks must have.
        device: of the network.

    Raises:
        TypeError: for labels that are not integers, or a mask that is not logits.
        ValueError: for wrong shapes, points without labels, no prompt at all; and, where looking at them needs no
            waiting for a device, for points outside the image and boxes that end before they begin.
    """
    points, labels, box, mask = (
        _to_tensor(name, getattr(prompt, name)) for name in ("points", "labels", "box", "mask")
    )
    leading = _check_shapes(points, labels, box, mask, mask_side)
    if points is None:
        points, labels = torch.zeros(*leading, 0, 2), torch.zeros(*leading, 0, dtype=torch.long)
    points, labels = points.float(), labels.long()
    _check_points(points, labels, frame)
    points, labels = points.to(device), labels.to(device)
    if box is not None:
        box = box.float()
        _check_box(box)
        corners = torch.tensor([TOP_LEFT, BOTTOM_RIGHT], device=device).expand(*leading, 2)
        points = torch.cat([points, box.to(device).unflatten(-1, (2, 2))], -2)
        labels = torch.cat([labels, corners], -1)
    P, N = int(np.prod(leading)), labels.shape[-1]
    if mask is not None:
        mask = mask.float().to(device).reshape(P, 1, mask_side, mask_side)
    return Prepared(leading, frame.to_square(points).reshape(P, N, 2), labels.reshape(P, N), mask)


def _to_tensor(name: str, value: Any) -> Tensor | None:
    if value is None or isinstance(value, torch.Tensor):
        return value
    try:
        array = np.array(value)
    except ValueError as error:
        raise ValueError(f"{name} must have rows of equal length; fill up with points labelled -2 ({error})") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numbers, got {array.dtype}")
    return torch.from_numpy(array)


def _check_shapes(
    points: Tensor | None, labels: Tensor | None, box: Tensor | None, mask: Tensor | None, mask_side: int
) -> tuple[int, ...]:
    """The leading axes, common to all parts."""
    if (points is None) != (labels is None):
        raise ValueError("points and labels come together: a label says what its point means (1 object, 0 background)")
    leading = {}
    for name, part, last, wanted in (
        ("points", points, (None, 2), "(..., N, 2): (x, y) of N points"),
        ("box", box, (4,), "(..., 4): x0, y0, x1, y1"),
        ("mask", mask, (mask_side, mask_side), f"(..., {mask_side}, {mask_side}): logits of an earlier answer"),
    ):
        if part is None:
            continue
        shape = tuple(part.shape)
        ending = shape[-len(last) :]
        if len(ending) < len(last) or any(want not in (None, have) for want, have in zip(last, ending, strict=True)):
            raise ValueError(f"{name} must have shape {wanted}; got {shape}")
        leading[name] = shape[: -len(last)]
    if not leading:
        raise ValueError("a prompt is points and labels, a box, a mask, or several of them: got none")
    if len(set(leading.values())) > 1:
        raise ValueError(
            "all parts must have the same leading axes, none for one prompt and (P,) for P prompts: got "
            + ", ".join(f"{axes} of {name}" for name, axes in leading.items())
        )
    if labels is not None:
        if labels.shape != points.shape[:-1]:
            raise ValueError(
                f"labels must be one for each point, {tuple(points.shape[:-1])} for points {tuple(points.shape)}; "
                f"got {tuple(labels.shape)}"
            )
        if labels.dtype == torch.bool or labels.is_floating_point():
            raise TypeError(f"labels must be integers, 1 on the object and 0 on the background, got {labels.dtype}")
    if mask is not None and not mask.is_floating_point():
        raise TypeError(f"mask must be logits, floats above 0 on the object, got {mask.dtype}")
    return next(iter(leading.values()))


def _check_points(points: Tensor, labels: Tensor, frame: Frame) -> None:
    if not (in_memory(points) and in_memory(labels)) or not points.numel():
        return
    inside = (points >= 0) & (points <= points.new_tensor([frame.width, frame.height]))
    outside = points[(labels >= BACKGROUND) & ~inside.all(-1)]
    if len(outside):
        raise ValueError(
            f"points must be (x, y) in an image {frame.width} wide and {frame.height} high, got {outside[0].tolist()}: "
            "x counts columns and comes first"
        )


def _check_box(box: Tensor) -> None:
    if in_memory(box) and box.numel() and not (box[..., :2] <= box[..., 2:]).all():
        wrong = box[~(box[..., :2] <= box[..., 2:]).all(-1)][0]
        raise ValueError(f"box must be x0, y0, x1, y1 with x0 <= x1 and y0 <= y1, got {wrong.tolist()}")
