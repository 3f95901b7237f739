"""COCO's instances: photographs of everyday scenes, with a mask for each object of 80 categories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segedu.datasets.coco import (
    SPLITS,
    Document,
    Record,
    check_split,
    check_splits,
    choose,
    is_crowd,
    parse,
    read_document,
    read_pixels,
)
from segedu.datasets.coco_home import add_images, get_archive, get_images
from segedu.datasets.report import Report
from segedu.datasets.samples import Samples
from segedu.masks import polygons_to_mask, rle_area, rle_decode

LOOKED_FOR = "annotations/instances_train2017.json or annotations/instances_val2017.json"


def is_here(folder: Path) -> bool:
    """Whether a folder holds the annotations of a split."""
    return any(annotations_file(folder, split).is_file() for split in SPLITS)


def annotations_file(folder: Path, split: str) -> Path:
    return folder / "annotations" / f"instances_{split}2017.json"


def categories_of(annotation: Record) -> Iterable[int]:
    return (annotation.get("category_id"),)


class CocoInstances(Samples):
    """Photographs, uint8 (3, H, W), and their N objects.

    A target is a dict of
        masks: `tv_tensors.Mask`, bool (N, H, W),
        boxes: `tv_tensors.BoundingBoxes`, float32 (N, 4), x and y of two corners, in pixels,
        labels: int64 (N,), places in `classes`,
        crowd: bool (N,), which masks stand for several objects that nobody told apart,
        image_id: int.

    Args:
        folder: with `train2017`, `val2017` and `annotations`.
        split: "train", "val" or "train+val".
        transforms, cache: as for `Samples`.
        images: use this many of each split only.
        categories: use images only that show one of these.
    """

    ignore_index = None

    def __init__(
        self,
        folder: Path,
        split: str,
        transforms: Callable | None = None,
        cache: bool = False,
        images: int | None = None,
        categories: Sequence[str] = (),
    ) -> None:
        super().__init__(transforms, cache)
        self.items: list[tuple[Path, Document, Record]] = []
        for part in check_split(split):
            document = read_document(annotations_file(folder, part), categories_of)
            chosen = choose(document, categories_of, images, categories)
            self.items += [(folder / f"{part}2017" / image["file_name"], document, image) for image in chosen]
            self.classes = document.names
        self.names = [Path(image["file_name"]).stem for _, _, image in self.items]

    def read(self, index: int) -> tuple[np.ndarray, dict[str, Any]]:
        photo, document, image = self.items[index]
        return read_pixels(photo, image), read_objects(document, image)

    def to_target(self, target: dict[str, Any]) -> dict[str, Any]:
        import torch
        from torchvision import tv_tensors

        masks = torch.tensor(target["masks"])
        boxes = torch.tensor(target["boxes"])
        return {
            "masks": tv_tensors.Mask(masks),
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=tuple(masks.shape[1:])),
            "labels": torch.tensor(target["labels"]),
            "crowd": torch.tensor(target["crowd"]),
            "image_id": target["image_id"],
        }


def read_objects(document: Document, image: Record) -> dict[str, Any]:
    """Decode the objects of an image: arrays as in `CocoInstances`."""
    annotations, label_of = document.annotations[image["id"]], document.label_of
    masks = np.zeros((len(annotations), image["height"], image["width"]), bool)
    boxes = np.zeros((len(annotations), 4), np.float32)
    crowd = np.zeros(len(annotations), bool)
    for number, annotation in enumerate(annotations):
        try:
            masks[number] = _mask(annotation.get("segmentation"), image["height"], image["width"])
            boxes[number] = corners(annotation.get("bbox"))
            crowd[number] = is_crowd(annotation)
        except ValueError as error:
            name = f"annotation {annotation.get('id')} of {image['file_name']}"
            raise document.error(f"{name} is broken: {error}") from error
    return {
        "masks": masks,
        "boxes": boxes,
        "labels": np.array([label_of[annotation["category_id"]] for annotation in annotations], np.int64),
        "crowd": crowd,
        "image_id": image["id"],
    }


def get(folder: Path, split: str = "train+val", images: int | None = None, categories: Sequence[str] = ()) -> None:
    """Download annotations, and images that are not there, from COCO's home.

    Args:
        folder: where to.
        split: "train", "val" or "train+val".
        images: this many of each split, the first by their ids; None for all.
        categories: only images that show one of these.
    """
    with get_archive("annotations_trainval2017.zip", folder) as archive:
        for part in check_split(split):
            file = annotations_file(folder, part)
            name = f"annotations/{file.name}"
            whole = parse(archive.read(name), name, categories_of)
            chosen = choose(whole, categories_of, images, categories)
            get_images(folder, part, chosen)
            add_images(file, whole, chosen, categories_of)


def check(folder: Path) -> Report:
    """Read everything, and report."""
    return check_splits(
        lambda split: annotations_file(folder, split),
        lambda split: CocoInstances(folder, split),
        lambda target: len(target["labels"]),
        "objects",
    )


def check_segmentation(segmentation: Any, height: int, width: int) -> None:
    """Require the outlines or the run lengths of an object in an image of this size; decodes nothing.

    Raises:
        ValueError: that says what is wrong.
    """
    if _is_rle(segmentation, height, width):
        rle_area(segmentation)


def _is_rle(segmentation: Any, height: int, width: int) -> bool:
    """Whether these are run lengths and no polygons, which are checked; run lengths are when they are read."""
    if isinstance(segmentation, dict):  # of crowds and of what is made by programs
        if segmentation.get("size") != [height, width]:
            raise ValueError(f"its size must be the image's, {[height, width]}, got {segmentation.get('size')!r:.80}")
        return True
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError(f"segmentation must be polygons or run lengths, got {segmentation!r:.80}")
    for polygon in segmentation:
        points = _numbers(polygon)
        if points.ndim != 1 or len(points) < 6 or len(points) % 2:
            raise ValueError(f"a polygon must be x and y of three points or more, got {polygon!r:.80}")
        if not (np.abs(points) <= 2 * max(height, width)).all():  # nor NaN
            raise ValueError(f"a polygon must lie about the image, got {polygon!r:.80}")
    return False


def corners(box: Any) -> np.ndarray:
    """The corners x0, y0, x1, y1 of a box, which is x, y, width and height. Raises `ValueError` where it is none."""
    values = _numbers(box)
    if values.shape != (4,) or not np.isfinite(values).all() or (values[2:] < 0).any():
        raise ValueError(f"bbox must be x, y, width and height, got {box!r:.80}")
    return np.append(values[:2], values[:2] + values[2:])


def _numbers(values: Any) -> np.ndarray:
    """Numbers as floats; what holds anything else gives none. NumPy would take words for numbers."""
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        array = np.empty(0)
    return array.astype(float) if array.dtype.kind in "iuf" else np.empty(0)


def _mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    if _is_rle(segmentation, height, width):
        return rle_decode(segmentation)
    return polygons_to_mask(segmentation, height, width)
