"""What SAM asks of images and prompts, so that a wrong one is named before it becomes a wrong mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segedu.arrays import in_memory
from segedu.models.checks import check_batch
from segedu.models.sam.prompt_encoder import ABSENT, BOTTOM_RIGHT, Prompts


def check_inputs(images: Tensor, side: int) -> None:
    """Require floating-point images (B, 3, side, side).

    Raises:
        TypeError: if they are not floating point.
        ValueError: if they have another shape.
    """
    check_batch(images, 3)
    if tuple(images.shape[2:]) != (side, side):
        raise ValueError(
            f"this image encoder takes (B, 3, {side}, {side}), got {tuple(images.shape)}: "
            "resize the longer side, and pad with Sam.preprocess"
        )


def check_prompts(prompts: Prompts, embeddings: Tensor, shape: tuple[int, int, int]) -> None:
    """Require what `Sam.decode` describes, and embeddings (B, *shape); the errors are described there too."""
    channels, side, _ = shape
    if embeddings.ndim != 4 or tuple(embeddings.shape[1:]) != shape:
        raise ValueError(
            f"embeddings must have shape (B, {channels}, {side}, {side}), got {tuple(embeddings.shape)}: "
            "take them from encode_image of the same model"
        )
    points, labels, boxes, masks = prompts.points, prompts.labels, prompts.boxes, prompts.masks
    has_mask, image_index = prompts.has_mask, prompts.image_index
    if (points is None) != (labels is None):
        raise ValueError("points and labels come together: a label says what its point means (1 object, 0 background)")
    if has_mask is not None and masks is None:
        raise ValueError("has_mask says which of masks count, but there are no masks")
    if points is None and boxes is None and masks is None:
        raise ValueError("a prompt is points and labels, boxes or masks (or several of them): got none of them")

    P = len(prompts)
    _check_shape("points", points, P, (P, None, 2), "(P, N, 2), P prompts of N points each")
    _check_shape("labels", labels, P, None if points is None else points.shape[:2], "(P, N), one for each point")
    _check_shape("boxes", boxes, P, (P, 4), "(P, 4): x0, y0, x1, y1 for each prompt")
    _check_shape(
        "masks", masks, P, (P, 1, 4 * side, 4 * side), f"(P, 1, {4 * side}, {4 * side}), logits as decode gives"
    )
    _check_shape("has_mask", has_mask, P, (P,), "(P,), one for each prompt")
    _check_shape("image_index", image_index, P, (P,), "(P,), one for each prompt")
    for name, prompt in (("labels", labels), ("image_index", image_index)):
        if prompt is not None and (prompt.is_floating_point() or prompt.dtype == torch.bool):
            raise TypeError(f"{name} must be integers, got {prompt.dtype}: convert them with {name}.long()")
    if masks is not None and not masks.is_floating_point():
        raise TypeError(f"masks must be floating point, logits above 0 on the object, got {masks.dtype}")
    if has_mask is not None and has_mask.dtype != torch.bool:
        raise TypeError(f"has_mask must be bool, got {has_mask.dtype}: convert it with has_mask.bool()")

    B = len(embeddings)
    if image_index is None and B not in (1, P):
        raise ValueError(
            f"{P} prompts on {B} images: say which image each is about by image_index, long ({P},), "
            "or give one prompt for each image, or one image for all"
        )
    _check_values("labels", labels, ABSENT, BOTTOM_RIGHT)
    _check_values("image_index", image_index, 0, B - 1)


def _check_shape(name: str, prompt: Tensor | None, P: int, shape: Sequence[int | None] | None, meaning: str) -> None:
    if prompt is None:
        return
    got = tuple(prompt.shape)
    if len(got) != len(shape) or any(want not in (None, have) for want, have in zip(shape, got, strict=True)):
        raise ValueError(f"{name} must have shape {meaning}; got {got}, with P = {P}")


def _check_values(name: str, prompt: Tensor | None, least: int, most: int) -> None:
    """Where they can be looked at without waiting."""
    if prompt is not None and prompt.numel() and in_memory(prompt):
        low, high = (int(value) for value in prompt.aminmax())
        if low < least or high > most:
            raise ValueError(f"{name} must be from {least} to {most}, got values from {low} to {high}")
