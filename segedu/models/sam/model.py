"""Segment Anything (Kirillov et al. 2023): an image is encoded once, then each prompt is answered in no time."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.arrays import in_memory
from segedu.models.checks import check_batch
from segedu.models.sam.checks import check_prompts
from segedu.models.sam.details import unfold_details
from segedu.models.sam.drawn import PICTURES, draw_prompts
from segedu.models.sam.mask_decoder import MaskDecoder
from segedu.models.sam.prompt_encoder import ABSENT, PromptEncoder, Prompts, join_boxes
from segedu.models.sam.two_way import of_each

WIDTH = 256  # of embeddings and tokens
TOGETHER = 4  # prompts that a CPU decodes at a time: more would not stay in its cache


class Sam(nn.Module):
    """The three parts of figure 4: image encoder, prompt encoder and mask decoder.

    Prompts of a batch need not be equally many on each image, nor equally long: `image_index` says which image each is
    about, and points labelled ABSENT fill up rows. Each prompt gets what it would get alone.

    Prompts, P in number, are any of

    - points: (x, y) in pixels of the model's input, float (P, N, 2), as clicks give them: (0, 0) means the middle of
      the first pixel.
    - labels: integer (P, N): 1 on the object, 0 on the background, 2 and 3 the first and last corner of a box, -1 for
      not a point, -2 for absent (`segedu.models.sam.prompt_encoder` names them).
    - boxes: (x0, y0, x1, y1), float (P, 4).
    - masks: logits of an earlier answer, float (P, 1, 4 h, 4 h), where h is the side of the embedding.
    - has_mask: bool (P,), the rows whose mask counts; all if not given.
    - image_index: long (P,), the image that each is about. Not needed for one image, or one prompt for each.

    Args:
        image_encoder: takes normalised images (B, 3, S, S) and gives embeddings (B, 256, S / 16, S / 16), or with
            details (B, 1024, S / 16, S / 16); its attribute `image_size` is S.
        pixel_mean: subtracted from colours of 0 to 255.
        pixel_std: they are divided by this.
        detailed: decode with what SAM's decoder does not see: points and boxes drawn as pictures (`draw_prompts`), and
            the image's details, which come behind the embedding's 256 channels (`ImageDetails`).

    Attributes:
        image_size: side of the input in pixels.
        embedding_size: side of the embedding.
        embedding_channels: of it.
        mask_threshold: logits above it are object.
    """

    mask_threshold = 0.0

    def __init__(
        self,
        image_encoder: nn.Module,
        pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53),
        pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375),
        detailed: bool = False,
    ) -> None:
        super().__init__()
        self.image_size = image_encoder.image_size
        self.embedding_size = self.image_size // 16
        self.image_encoder = image_encoder
        self.embedding_channels = 4 * WIDTH if detailed else WIDTH
        self.prompt_encoder = PromptEncoder(WIDTH, self.image_size, self.embedding_size, PICTURES if detailed else 0)
        self.mask_decoder = MaskDecoder(WIDTH, 1 + PICTURES if detailed else 0)
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std)[:, None, None], persistent=False)

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def forward(
        self,
        images: Tensor,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        *,
        has_mask: Tensor | None = None,
        image_index: Tensor | None = None,
        multimask: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Masks of prompts on images: `preprocess`, `encode_image` and `decode` in one."""
        embeddings = self.encode_image(self.preprocess(images))
        return self.decode(
            embeddings, image_index, points, labels, boxes, masks, has_mask=has_mask, multimask=multimask
        )

    def preprocess(self, images: Tensor) -> Tensor:
        """Normalise colours, then pad with zeros right and below to the model's size.

        Args:
            images: RGB in [0, 1], float (B, 3, H, W), no side longer than `image_size`.

        Returns:
            float (B, 3, image_size, image_size).
        """
        check_batch(images, 3)
        H, W = images.shape[2:]
        if max(H, W) > self.image_size:
            raise ValueError(f"this model takes images of up to {self.image_size} pixels, got {H} x {W}: resize them")
        normalised = (255 * images - self.pixel_mean) / self.pixel_std
        return F.pad(normalised, (0, self.image_size - W, 0, self.image_size - H))

    def encode_image(self, images: Tensor) -> Tensor:
        """Embeddings (B, embedding_channels, h, h) of images from `preprocess`, (B, 3, image_size, image_size)."""
        return self.image_encoder(images)

    def decode(
        self,
        embeddings: Tensor,
        image_index: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        *,
        has_mask: Tensor | None = None,
        multimask: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Masks of prompts on encoded images.

        Args:
            embeddings: of `encode_image`, float (B, embedding_channels, h, h).
            image_index, points, labels, boxes, masks, has_mask: the prompts, as described at the class.
            multimask: three masks for each prompt, for it may mean a whole or a part of it; or one mask.

        Returns:
            Logits, float (P, M, 4 h, 4 h), and the IoU that the model expects of each mask, float (P, M);
            M is 3, or 1 without `multimask`.

        Raises:
            TypeError: for labels or image_index that are not integers, or has_mask that is not bool.
            ValueError: for prompts or embeddings of another shape, or no prompt at all. Labels that do not exist and an
                image_index too large are reported too, where that needs no waiting for a device.
        """
        prompts = Prompts(points, labels, boxes, masks, has_mask, image_index)
        check_prompts(prompts, embeddings, (self.embedding_channels, self.embedding_size, self.embedding_size))
        P = len(prompts)
        if image_index is None:
            one_each = torch.arange(P, device=embeddings.device)
            prompts = replace(prompts, image_index=one_each % len(embeddings))
        if not in_memory(embeddings) or P <= TOGETHER:
            return self._decode(embeddings, prompts, multimask)
        some = [prompts.some(first, first + TOGETHER) for first in range(0, P, TOGETHER)]
        logits, iou = zip(*(self._decode(embeddings, few, multimask) for few in some), strict=True)
        return torch.cat(logits), torch.cat(iou)

    def _decode(self, embeddings: Tensor, prompts: Prompts, multimask: bool) -> tuple[Tensor, Tensor]:
        P, image_index = len(prompts), prompts.image_index
        if prompts.points is None and prompts.boxes is None:
            points, labels = embeddings.new_zeros(P, 0, 2), torch.zeros(P, 0, dtype=torch.long, device=self.device)
            tokens, present = embeddings.new_zeros(P, 0, WIDTH), None
        else:
            points, labels = join_boxes(prompts.points, prompts.labels, prompts.boxes)
            tokens, present = self.prompt_encoder.tokens(points, labels), labels > ABSENT
            if in_memory(present) and present.all():
                present = None  # attention is faster if it need not ask
        image, drawn, details = embeddings[:, :WIDTH], None, None
        if self.embedding_channels > WIDTH:
            drawn = draw_prompts(points, labels, self.image_size, 4 * self.embedding_size).to(embeddings.dtype)
            details = self._details(embeddings[:, WIDTH:], prompts, drawn)
        if prompts.masks is not None or drawn is not None:  # now each prompt has an image of its own
            image = of_each(image, image_index)
            image_index = torch.arange(P, device=embeddings.device)
        image = image + self.prompt_encoder.maps(prompts.masks, prompts.has_mask, drawn)
        positions = self.prompt_encoder.positions()
        return self.mask_decoder(image, positions, tokens, image_index, present, multimask, details)

    def _details(self, folded: Tensor, prompts: Prompts, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the mask decoder sees beside embedding and tokens: see there. Masks are squashed, from -1 to 1."""
        at8, at4 = (of_each(x, prompts.image_index) for x in unfold_details(folded, WIDTH))
        masks = drawn.new_zeros(len(drawn), 1, *drawn.shape[2:]) if prompts.masks is None else prompts.masks
        if prompts.has_mask is not None:
            masks = torch.where(prompts.has_mask[:, None, None, None], masks, 0)
        return at8, at4, torch.cat([masks.tanh(), drawn], 1)
