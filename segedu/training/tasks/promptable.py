"""A mask for every prompt: SAM, trained by a simulated user who clicks, draws boxes and corrects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms import v2

from segedu.datasets import open_dataset
from segedu.losses import mask_dice_loss, mask_focal_loss
from segedu.models.sam.automatic import SamAutomaticMaskGenerator
from segedu.models.sam.predictor import SamPredictor
from segedu.models.sam.prompt_encoder import OBJECT
from segedu.training.prompt_clicks import first_prompts, with_corrections
from segedu.training.prompt_evaluation import OTHER_PICTURES, evaluate_promptable, validation_pictures
from segedu.training.prompt_scenes import GENERATED, Photographs, Picture, Scenes
from segedu.training.prompt_views import draw_masks, draw_view, paste
from segedu.training.segments import Segments
from segedu.training.tasks import Track

FOCAL = 20.0  # for one part of Dice
AUTOMATIC = {"points_per_side": 16, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.7}  # for a tiny SAM is modest


class Promptable:
    """Promptable segmentation, measured by the mean IoU of answers to clicks and boxes.

    Each mask of a batch is asked for twice: by a first click or a box, and again after some corrective clicks on what
    the answers between got wrong. The answers between are not learnt from, only looked at; so a step takes a third of
    the time of one that learns from all, as the paper's does, and on average goes the same way.

    Args:
        sources: how often training images come from each of `segedu.datasets`, or from "scenes", which are generated;
            relative to one another.
        size: side of the training images in pixels, that of the model's input.
        masks: asked for in each image, which is encoded once for all of them.
        clicks: corrective clicks at most; their number is drawn evenly for each step, from 1 on.
        boxes: the share of first prompts that are boxes; the others are a click.
        ambiguous: the share of first clicks that three masks may answer, of which the best one learns; the others, and
            all other prompts, get one mask.
        scales: least and most size of a view; see `prompt_views.draw_view`.
        pasted: the share of photographs that things from another photograph are pasted on.
        paste_from: the sources of these things.
        most_pasted: things at once.
        unions: the share of masks that are two segments that touch.
        smallest: area in pixels of the training image from which a segment is asked for.
        colour: the largest relative change of brightness, contrast and saturation.
        grey: the probability of an image without colours.
        validation: what is measured; see `prompt_evaluation.validation_pictures`.
        validation_images: of each of these at most, evenly spread.
        validation_masks: in each image at most, the largest.
        data: the folder of local data.

    Source: Kirillov et al. 2023, appendix A, "Making the model ambiguity-aware", "Losses", "Training algorithm".
    """

    monitor = "mean_iou"
    classes = ("object",)
    use: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        *,
        sources: Mapping[str, float],
        size: int = 512,
        masks: int = 8,
        clicks: int = 3,
        boxes: float = 0.5,
        ambiguous: float = 0.75,
        scales: Sequence[float] = (0.6, 2.0),
        pasted: float = 0.5,
        paste_from: Sequence[str] = (),
        most_pasted: int = 3,
        unions: float = 0.1,
        smallest: int = 256,
        colour: float = 0.3,
        grey: float = 0.1,
        validation: Sequence[str] = (),
        validation_images: int = 25,
        validation_masks: int = 8,
        data: Path | None = None,
    ) -> None:
        if unknown := sorted(set(paste_from) - sources.keys()):
            raise ValueError(f"paste_from names {', '.join(unknown)}, not among sources: {', '.join(sources)}")
        self.sources = {name: _source(name, size, data) for name in sources}
        self.shares = torch.tensor([float(share) for share in sources.values()])
        if not len(sources) or (self.shares < 0).any() or not self.shares.sum() > 0:
            raise ValueError(f"sources must have shares from 0 on, and one above 0; got {dict(sources)}")
        self.size, self.masks, self.clicks = size, masks, clicks
        self.boxes, self.ambiguous = boxes, ambiguous
        self.scales, self.smallest, self.unions = tuple(scales), smallest, unions
        self.pasted, self.paste_from, self.most_pasted = pasted, tuple(paste_from), most_pasted
        self.recolour = v2.Compose([v2.ColorJitter(colour, colour, colour, hue=colour / 10), v2.RandomGrayscale(grey)])
        self.validation = {name: validation_pictures(name, validation_images, data) for name in validation}
        self.validation_masks = validation_masks

    def __len__(self) -> int:
        return sum(map(len, self.sources.values()))

    def sample(self, index: int) -> tuple[Tensor, Tensor]:
        """A view of a picture, drawn by the shares of the sources, so that the index decides nothing.

        Returns:
            Image uint8 (3, size, size), and masks bool (masks, size / 4, size / 4).
        """
        while True:
            name = list(self.sources)[int(torch.multinomial(self.shares, 1))]
            view = self._draw_view(name)
            if name in self.paste_from and torch.rand(()) < self.pasted:
                donor = self.paste_from[int(torch.randint(len(self.paste_from), ()))]
                view = paste(self._draw_view(donor), view, self.most_pasted, self.smallest)
            masks = draw_masks(view, self.masks, self.smallest, self.unions)
            if masks is not None:
                image = torch.from_numpy(view.image).permute(2, 0, 1).contiguous()
                return self.recolour(image), torch.from_numpy(masks)

    def _draw_view(self, name: str) -> Picture:
        source = self.sources[name]
        picture = source[int(torch.randint(len(source), ()))]
        return draw_view(*picture.segments.shape, self.size, self.scales).of(picture, self.size)

    def collate(self, samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, 3, size, size), and masks bool (B, M, size / 4, size / 4)."""
        images, masks = zip(*samples, strict=True)
        return torch.stack(images), torch.stack(masks)

    def weight(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The answers that are learnt from: two for each mask, or one if nothing is corrected."""
        return torch.tensor(float(batch[1].shape[:2].numel() * (2 if self.clicks else 1)))

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Focal, Dice and IoU losses, summed over the answers. Waits for the device."""
        images, truth = batch
        B, M = truth.shape[:2]
        truth = truth.flatten(0, 1)  # P, h, w
        of = torch.arange(B, device=truth.device).repeat_interleave(M)
        embeddings = model.encode_image(model.preprocess(v2.functional.to_dtype(images, scale=True)))

        points, labels = first_prompts(truth, self.boxes)
        three = (labels[:, 0] == OBJECT) & (torch.rand(len(labels)) < self.ambiguous).to(labels.device)
        total, best = torch.zeros((), device=truth.device), torch.empty(truth.shape, device=truth.device)
        for rows, multimask in ((three.nonzero()[:, 0], True), ((~three).nonzero()[:, 0], False)):
            if len(rows):
                # A click alone leaves its second column absent, which costs time.
                N = 1 if multimask else 2
                logits, iou = model.decode(
                    embeddings, of[rows], points[rows, :N], labels[rows, :N], multimask=multimask
                )
                total = total + answer_loss(logits, iou, truth[rows]).sum()
                best[rows] = chosen(logits, iou)
        if not self.clicks:
            return total

        rounds = 1 + int(torch.randint(self.clicks, ()))
        for number in range(rounds):
            with torch.no_grad():
                if number:
                    best = chosen(*model.decode(embeddings, of, points, labels, masks=best[:, None], multimask=False))
                points, labels = with_corrections(points, labels, best, truth)
        # Once in a while the earlier answer comes back without a click, for it tells much by itself.
        if torch.rand(()) < 1 / (1 + self.clicks):
            points, labels = points[:, :-1], labels[:, :-1]
        logits, iou = model.decode(embeddings, of, points, labels, masks=best[:, None], multimask=False)
        return total + answer_loss(logits, iou, truth).sum()

    def evaluate(self, model: nn.Module, device: torch.device, track: Track) -> dict[str, float | list[float]]:
        results, means = {}, []
        for name, pictures in self.validation.items():
            figures = evaluate_promptable(
                model, pictures, clicks=self.clicks, most=self.validation_masks, baselines=False, track=track
            )
            results |= {f"{name}/{key}": value for key, value in figures.items()}
            means += [figures["one_click"], figures["corrected"], figures["box"]]
        return {"mean_iou": sum(means) / len(means), **results} if means else {}

    @staticmethod
    def open(name: str, split: str, data: Path | None = None) -> Dataset | Sequence[Picture]:
        """A data set's split, or what "scenes" and "photos" have as their split "val": see `validation_pictures`."""
        if name not in OTHER_PICTURES:
            return open_dataset(name, split, data=data)
        if split != "val":
            raise ValueError(f"{name} has a split val only, got {split!r}")
        return validation_pictures(name)

    @staticmethod
    def measure(
        model: nn.Module, dataset: Dataset | Sequence[Picture], device: torch.device, track: Track
    ) -> dict[str, float | list[float]]:
        """The mean IoU of answers to one click, to three more, and to a box, and of some answers without a model.

        See `segedu.training.prompt_evaluation.evaluate_promptable`, whose result this is. The device is the model's.
        """
        return evaluate_promptable(model, dataset, track=track)

    @staticmethod
    def segment(
        model: nn.Module,
        image: np.ndarray,
        points: Sequence[tuple[float, ...]] = (),
        boxes: Sequence[tuple[float, float, float, float]] = (),
    ) -> Segments:
        """What SAM answers to prompts about an RGB image, uint8 (H, W, 3), scored by the IoU that it expects.

        Args:
            model: in evaluation mode.
            image: to be asked about.
            points: (x, y) on the object, (x, y, 0) beside it; together they mean one object.
            boxes: (x0, y0, x1, y1), an object each. Without points and boxes, SAM looks for everything.

        Returns:
            Segments; where they overlap, the smaller one is in front in the label map.

        Raises:
            ValueError: for points outside the image, boxes that end before they begin, or both points and boxes.
        """
        if len(points) and len(boxes):
            raise ValueError("SAM takes points, or boxes, in one call: points mean one object, boxes may mean several")
        if not len(points) and not len(boxes):
            return _everything(model, image)
        predictor = SamPredictor(model)
        predictor.set_image(image)
        if len(boxes):
            answer = predictor.predict(box=np.array(boxes, float), multimask=False)
        else:
            labels = np.array([[point[2] if len(point) > 2 else OBJECT for point in points]], int)
            answer = predictor.predict(
                np.array([[point[:2] for point in points]], float), labels, multimask=len(points) == 1
            )
        best = answer.iou.argmax(1)
        row = np.arange(len(best))
        return _segments(answer.masks[row, best], answer.iou[row, best])


def chosen(logits: Tensor, iou: Tensor) -> Tensor:
    """Of each prompt's answers the one that the model thinks best: (P, M, h, w) to (P, h, w), without gradient."""
    return logits.detach()[torch.arange(len(iou), device=iou.device), iou.argmax(1)].float()


def answer_loss(logits: Tensor, iou: Tensor, truth: Tensor) -> Tensor:
    """The loss of a prompt's best answer, and of what the model expects all its answers to be.

    Args:
        logits: float (P, M, h, w).
        iou: expected, float (P, M).
        truth: bool (P, h, w).

    Returns:
        Float (P,): 20 parts of focal loss, one of Dice and one of the squared error of the IoU.

    Source: Kirillov et al. 2023, appendix A, "Losses".
    """
    logits, wanted = logits.float(), truth[:, None].expand_as(logits)
    of_masks = FOCAL * mask_focal_loss(logits, wanted) + mask_dice_loss(logits, wanted)
    with torch.no_grad():
        answers = logits > 0
        both, either = ((x).sum((-2, -1)) for x in (answers & wanted, answers | wanted))
        actual = both / either
    return of_masks.min(1).values + F.mse_loss(iou.float(), actual, reduction="none").mean(1)


def _everything(model: nn.Module, image: np.ndarray) -> Segments:
    found = SamAutomaticMaskGenerator(model, **AUTOMATIC).generate(image)
    masks = np.array([one["segmentation"] for one in found], bool).reshape(-1, *image.shape[:2])
    return _segments(masks, np.array([one["predicted_iou"] for one in found]))


def _segments(masks: np.ndarray, scores: np.ndarray) -> Segments:
    """Segments of masks (N, H, W), numbered from the largest to the smallest."""
    order = np.argsort(-masks.sum((1, 2)), kind="stable")
    labels = np.zeros(masks.shape[1:], np.int32)
    for number, index in enumerate(order, start=1):
        labels[masks[index]] = number
    return Segments(labels, masks[order], np.zeros(len(order), int), np.clip(scores[order], 0, 1))


def _source(name: str, size: int, data: Path | None) -> Photographs | Scenes:
    # Shapes need room; views make pictures as small as they must be.
    return Scenes(max(size, 192)) if name == GENERATED else Photographs(name, "train", data)
