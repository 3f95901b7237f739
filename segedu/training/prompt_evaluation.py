"""How well a model answers clicks and boxes, beside what one gets without any model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from segedu.datasets import photos
from segedu.models.sam.predictor import SamPredictor
from segedu.training.prompt_baselines import boxes_around, fill_box, grab_cut, superpixel
from segedu.training.prompt_clicks import boxes_of, centre_of, correction_of
from segedu.training.prompt_scenes import GENERATED, Photographs, Picture, of_photo, scene, to_picture
from segedu.training.prompt_views import areas_of
from segedu.training.tasks import Track

SMALLEST = 32 * 32  # pixels of masks that count; what has fewer is small in the words of COCO
SMALLEST_NEARBY = 8 * 8  # of the same, in images of no more than 256 pixels a side, as microscopes' are here
SCENE_SIZE = 384
PHOTOS = "photos"
OTHER_PICTURES = (GENERATED, PHOTOS)  # which are no data set of `segedu.datasets`

Question = Picture | tuple[Tensor, Tensor | Mapping]


def evaluate_promptable(
    sam: nn.Module,
    pictures: Collection[Question],
    *,
    clicks: int = 3,
    most: int | None = None,
    baselines: bool = True,
    track: Track = lambda items, description: items,
) -> dict[str, float]:
    """The mean IoU of answers to simulated users, over all masks that are large enough. Waits for the device.

    A mask counts from 32 x 32 pixels on, and from 8 x 8 on in images of 256 x 256 pixels or smaller.

    Args:
        sam: in evaluation mode, on the device where it is to be computed.
        pictures: `Picture`s, or an image and its target as a data set of `segedu.datasets` has them. Crowds count
            nothing; regions of one class that touch count as one mask where there are no instances.
        clicks: corrective clicks, each in the middle of the largest error, each with the answer before as its mask.
        most: masks of a picture that count, the largest ones; by default all.
        baselines: measure the last four too, which take most of the time.
        track: see `segedu.training.tasks`.

    Returns:
        Of `masks`, how many they were, and mean IoUs from 0 to 1:

        - one_click: of the answer to a click at the mask's centre (`centre_of`) that the model expects to be best.
        - one_click_oracle: of the best of its three answers, which only the truth can tell.
        - one_click_found: the share of masks of which one_click is above 0.5.
        - corrected: after `clicks` corrections.
        - box: of the answer to the mask's box.
        - box_filled: of the box itself, which needs no model.
        - box_guessed: of a box around the click, as wide and as high as the median one of these masks, relative to the
          image. One who is told of a click alone can fill no better box without looking.
        - grab_cut: of GrabCut, from the box.
        - superpixel: of the superpixel at the click.

        An empty dict, if no mask counts.

    Source: Kirillov et al. 2023, section 7.1 and appendix D.1.
    """
    predictor = SamPredictor(sam)
    found: dict[str, list[np.ndarray]] = {}
    shares = _usual_shares(pictures, most) if baselines else None
    for question in track(pictures, "clicking"):
        image, truths = masks_of(question, most)
        if not len(truths):
            continue
        predictor.set_image(image)
        centres = np.array([centre_of(truth) for truth in truths])
        boxes = boxes_of(torch.from_numpy(truths)).numpy()
        measured = answers(predictor, truths, centres, boxes, clicks)
        if shares is not None:
            measured["box_filled"] = iou_of(fill_box(boxes, truths.shape[1:]), truths)
            guessed = boxes_around(centres, shares, truths.shape[1:])
            measured["box_guessed"] = iou_of(fill_box(guessed, truths.shape[1:]), truths)
            measured["grab_cut"] = iou_of(grab_cut(image, boxes), truths)
            measured["superpixel"] = iou_of(superpixel(image, centres), truths)
        for name, values in measured.items():
            found.setdefault(name, []).append(values)
    means = {name: float(np.concatenate(values).mean()) for name, values in found.items()}
    return means | {"masks": sum(map(len, found["box"]))} if found else {}


def answers(
    predictor: SamPredictor, truths: np.ndarray, centres: np.ndarray, boxes: np.ndarray, clicks: int
) -> dict[str, np.ndarray]:
    """The IoUs (P,) of a model's answers about the image that is set; see `evaluate_promptable`."""
    points, labels = centres[:, None], np.ones((len(truths), 1), int)
    answer = predictor.predict(points, labels)
    of_three = iou_of(answer.masks, truths[:, None])  # P, 3
    row, best = np.arange(len(truths)), answer.iou.argmax(1)
    first = of_three[row, best]
    by_box = predictor.predict(box=boxes, multimask=False).masks[:, 0]
    masks, logits = answer.masks[row, best], answer.logits[row, best]
    for _ in range(clicks):
        corrections = [correction_of(mask, truth) for mask, truth in zip(masks, truths, strict=True)]
        pixels, meanings = zip(*corrections, strict=True)
        points = np.concatenate([points, np.array(pixels)[:, None]], 1)
        labels = np.concatenate([labels, np.array(meanings)[:, None]], 1)
        answer = predictor.predict(points, labels, mask=logits, multimask=False)
        masks, logits = answer.masks[:, 0], answer.logits[:, 0]
    return {
        "one_click": first,
        "one_click_oracle": of_three.max(1),
        "one_click_found": (first > 0.5).astype(float),
        "corrected": iou_of(masks, truths),
        "box": iou_of(by_box, truths),
    }


def masks_of(question: Question, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What is asked of a picture.

    Returns:
        Image uint8 (H, W, 3), and the masks that count, `most` at most, the largest first: bool (P, H, W).
    """
    picture = question if isinstance(question, Picture) else to_picture(*question)
    smallest = SMALLEST if max(picture.image.shape) > 256 else SMALLEST_NEARBY
    if not isinstance(question, Picture) and isinstance(question[1], Mapping) and "masks" in question[1]:
        target = question[1]
        masks = target["masks"][~target["crowd"]].numpy()  # of instances that may overlap, as segments do not
        sizes = masks.sum((1, 2))
        order = [i for i in np.argsort(-sizes, kind="stable") if sizes[i] >= smallest]
        return picture.image, masks[order[:most]]
    areas = areas_of(picture, smallest)
    numbers = sorted(areas, key=lambda number: -areas[number])[:most]
    return picture.image, picture.segments == np.array(numbers, np.int32)[:, None, None]


def _usual_shares(pictures: Collection[Question], most: int | None) -> np.ndarray | None:
    """The median width and height of the masks' boxes, as shares of the image's; None if no mask counts."""
    shares = []
    for question in pictures:
        _, truths = masks_of(question, most)
        if len(truths):
            H, W = truths.shape[1:]
            boxes = boxes_of(torch.from_numpy(truths)).numpy()
            shares.append((boxes[:, 2:] - boxes[:, :2] + 1) / (W, H))
    return np.median(np.concatenate(shares), 0) if shares else None


def iou_of(masks: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """The IoUs (...) of masks, bool (..., H, W), with truths that have a pixel at least."""
    return (masks & truths).sum((-2, -1)) / (masks | truths).sum((-2, -1))


def validation_pictures(name: str, count: int | None = None, data: Path | None = None) -> list[Picture]:
    """Pictures to measure on that no training has seen.

    Args:
        name: of one of `segedu.datasets` with a split "val"; "photos", the photographs of scikit-image; or "scenes",
            generated.
        count: at most, evenly spread; by default all, and 100 scenes.
        data: the folder of local data.
    """
    if name == GENERATED:
        return [
            scene(seed, SCENE_SIZE, 3 + seed % 10, scale=0.12, overlap=0.3, uneven_light=0.3, noise=0.03, texture=0.03)
            for seed in range(100 if count is None else count)
        ]
    if name == PHOTOS:
        source = [of_photo(photos.load(one)) for one in photos.names()]
    else:
        source = Photographs(name, "val", data)
    chosen = range(len(source)) if count is None else sorted({i * len(source) // count for i in range(count)})
    return [source[i] for i in chosen]
