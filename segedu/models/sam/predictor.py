"""SAM at use: set an image once, then ask about it as often as you like, in its own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from segedu.arrays import Array
from segedu.models.sam.frames import Frame, to_rgb
from segedu.models.sam.model import Sam
from segedu.models.sam.prompts import Prepared, Prompt, prepare


class Prediction(NamedTuple):
    """Answers to the prompts about one image; `...` are the prompts' leading axes, M is 3, or 1 without multimask.

    Attributes:
        masks: bool (..., M, H, W), in the image's pixels.
        iou: what the model expects the IoU of each mask to be, float (..., M).
        logits: float (..., M, S, S) over the model's square, S = image_size / 4; one of them can be the mask of the
            next prompt, as `logits[..., best, :, :]`.
    """

    masks: Array
    iou: Array
    logits: Array


class SamPredictor:
    """Answers prompts on images of any size::

        predictor = SamPredictor(build_sam("vit_b", checkpoint))
        predictor.set_image(photograph)
        masks, iou, logits = predictor.predict(points=[(320, 200)], labels=[1])

    Args:
        sam: the network, in evaluation mode, on the device where all is to be computed.
        images_at_once: encoded together by `set_images`.
        prompts_at_once: decoded together; more are answered in turns, so that memory has a bound.
    """

    def __init__(self, sam: Sam, images_at_once: int = 1, prompts_at_once: int = 64) -> None:
        for name, number in (("images_at_once", images_at_once), ("prompts_at_once", prompts_at_once)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        self.sam = sam
        self.images_at_once = images_at_once
        self.prompts_at_once = prompts_at_once
        self.reset()

    def reset(self) -> None:
        """Forget the images."""
        self.frames: list[Frame] = []
        self.embeddings: Tensor | None = None  # (B, channels, h, h)
        self.gives_arrays: list[bool] = []

    def set_image(self, image: Array) -> None:
        """Encode one image, which `predict` is then about.

        Args:
            image: RGB (3, H, W), or (H, W, 3) as image files are read, or grey (H, W); uint8 or float in [0, 1]. An
                array gets arrays as answers; a tensor gets tensors, on the device of the model.

        Raises:
            TypeError: if it is neither array nor tensor, or of another dtype.
            ValueError: if it has another shape, or floats out of range.
        """
        self.set_images([image])

    @torch.no_grad()
    def set_images(self, images: Sequence[Array]) -> None:
        """Encode images, each of its own size, which `predict_each` is then about; see `set_image`."""
        if isinstance(images, np.ndarray | torch.Tensor) and images.ndim < 4:
            raise ValueError(f"images must be a list of images, got one of shape {tuple(images.shape)}: use set_image")
        self.reset()
        if not len(images):
            raise ValueError("images must be a list of at least one image, got none")
        colours = [to_rgb(image) for image in images]
        frames = [Frame(*image.shape[1:], self.sam.image_size) for image in colours]
        embeddings = []
        for start in range(0, len(images), self.images_at_once):
            part = slice(start, start + self.images_at_once)
            inputs = [self._input(image, frame) for image, frame in zip(colours[part], frames[part], strict=True)]
            embeddings.append(self.sam.encode_image(torch.cat(inputs)))
        self.frames, self.embeddings = frames, torch.cat(embeddings)
        self.gives_arrays = [isinstance(image, np.ndarray) for image in images]

    def predict(
        self,
        points: Array | Sequence | None = None,
        labels: Array | Sequence | None = None,
        box: Array | Sequence | None = None,
        mask: Array | None = None,
        multimask: bool = True,
    ) -> Prediction:
        """Masks for one prompt, or for several, about the image that was set.

        Args:
            points, labels, box, mask: the prompt, or P of them, as `Prompt` describes.
            multimask: three masks for each prompt, for one that may mean a whole or a part of it, such as a click; or
                one mask, which is the better answer to several points or a box.

        Raises:
            RuntimeError: if no image has been set.
            TypeError: for labels that are not integers, or a mask that is not logits.
            ValueError: for parts of wrong or different shapes, points without labels, no prompt at all; points outside
                the image, and boxes that end before they begin, where looking at them needs no waiting for a device.
        """
        if len(self.frames) > 1:
            raise RuntimeError(f"{len(self.frames)} images are set: ask about each with predict_each")
        return self.predict_each([Prompt(points, labels, box, mask)], multimask)[0]

    @torch.no_grad()
    def predict_each(self, prompts: Sequence[Prompt], multimask: bool = True) -> list[Prediction]:
        """Masks for prompts about each of the images that were set, as many and of what kind you like.

        Args:
            prompts: one `Prompt` for each image.
            multimask: see `predict`.

        Raises:
            RuntimeError: if no image has been set.
            TypeError: see `predict`.
            ValueError: see `predict`; and if there is not one for each image.
        """
        if self.embeddings is None:
            raise RuntimeError("no image has been set: call set_image or set_images first")
        if len(prompts) != len(self.frames):
            raise ValueError(
                f"prompts must be one Prompt for each of the {len(self.frames)} images (it may hold many prompts), "
                f"got {len(prompts)}"
            )
        prepared = [
            prepare(prompt, frame, 4 * self.sam.embedding_size, self.sam.device)
            for prompt, frame in zip(prompts, self.frames, strict=True)
        ]
        logits, iou = self._decode(prepared, multimask)
        counts = [len(one.points) for one in prepared]
        answers = zip(prepared, self.frames, logits.split(counts), iou.split(counts), self.gives_arrays, strict=True)
        return [self._prediction(*answer) for answer in answers]

    def _input(self, image: Tensor, frame: Frame) -> Tensor:
        resized = frame.resize(image).to(self.sam.pixel_mean)  # its device and precision
        return self.sam.preprocess(resized[None])

    def _decode(self, prepared: list[Prepared], multimask: bool) -> tuple[Tensor, Tensor]:
        """Logits (P, M, S, S) and IoU (P, M) for the prompts of all images, one image after the other."""
        device = self.sam.device
        longest = max(1, *(one.labels.shape[1] for one in prepared))  # a mask alone gets an absent point
        points, labels = (torch.cat(parts) for parts in zip(*(one.filled_up(longest) for one in prepared), strict=True))
        counts = torch.tensor([len(one.points) for one in prepared], device=device)
        image_index = torch.arange(len(prepared), device=device).repeat_interleave(counts, output_size=len(points))
        masks, has_mask = _join_masks(prepared, 4 * self.sam.embedding_size)
        answers = []
        for start in range(0, max(1, len(points)), self.prompts_at_once):
            part = slice(start, start + self.prompts_at_once)
            answers.append(
                self.sam.decode(
                    self.embeddings,
                    image_index[part] if len(prepared) > 1 else None,
                    points[part],
                    labels[part],
                    masks=None if masks is None else masks[part].to(self.embeddings.dtype),
                    has_mask=None if has_mask is None else has_mask[part],
                    multimask=multimask,
                )
            )
        logits, iou = (torch.cat(parts) for parts in zip(*answers, strict=True))
        return logits, iou

    def _prediction(self, prepared: Prepared, frame: Frame, logits: Tensor, iou: Tensor, as_arrays: bool) -> Prediction:
        P, M, S = logits.shape[:3]
        masks = torch.empty(P * M, frame.height, frame.width, dtype=torch.bool, device=logits.device)
        at_once = frame.masks_at_once(logits)
        for part, low in zip(masks.split(at_once), logits.flatten(0, 1).split(at_once), strict=True):
            torch.gt(frame.to_image(low), self.sam.mask_threshold, out=part)
        answer = (
            masks.view(*prepared.leading, M, frame.height, frame.width),
            iou.reshape(*prepared.leading, M).float(),
            logits.reshape(*prepared.leading, M, S, S).float(),
        )
        return Prediction(*(part.cpu().numpy() if as_arrays else part for part in answer))


def _join_masks(prepared: list[Prepared], side: int) -> tuple[Tensor | None, Tensor | None]:
    """The masks of all prompts (P, 1, S, S), zeros where there is none, and which are there (P,); None for no mask."""
    given = [one.mask for one in prepared if one.mask is not None]
    if not given:
        return None, None
    filled, present = [], []
    for one in prepared:
        P = len(one.points)
        filled.append(given[0].new_zeros(P, 1, side, side) if one.mask is None else one.mask)
        present.append(one.labels.new_full((P,), one.mask is not None, dtype=torch.bool))
    return torch.cat(filled), torch.cat(present)
