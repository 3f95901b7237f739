"""The objects of a COCO document, measured once for all who look at them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from segedu.datasets.coco import Document, Record, is_count
from segedu.datasets.coco_instances import read_objects
from segedu.explore.view import Progress, untracked

GRID = 64


@dataclass(frozen=True, eq=False)
class Objects:
    """N annotations of M images, in the order of the images' ids; a label is a place in `names`.

    Crowds are among them. They stand for several objects that nobody told apart, so who counts or measures objects
    leaves them out; who asks what an image shows does not.
    """

    names: tuple[str, ...]  #: of K classes
    supercategories: tuple[str, ...]  #: of each class; "" where the document has none
    image_ids: np.ndarray  #: (M,) int64
    image_areas: np.ndarray  #: (M,) int64, in pixels
    ids: np.ndarray  #: (N,) int64, -1 where the document has none
    image: np.ndarray  #: (N,) int64, places in image_ids
    label: np.ndarray  #: (N,) int64
    crowd: np.ndarray  #: (N,) bool
    area: np.ndarray  #: (N,) int64, pixels of the mask, whatever the document's field `area` says
    centre: np.ndarray  #: (N, 2) float64, mean x and y of the mask's pixels on the unit square; NaN if it has none
    class_pixels: np.ndarray  #: (K,) int64, pixels that a mask of the class covers, each once; crowds too
    cover: np.ndarray  #: (GRID, GRID) float64, how many objects cover a place of the unit square, mean over the images
    unread: int  #: annotations that could not be read, and are not among the N; `find_flaws` says why

    def shown(self) -> np.ndarray:
        """Whether an image shows a class: bool (M, K). A crowd of persons shows persons."""
        shown = np.zeros((len(self.image_ids), len(self.names)), bool)
        shown[self.image, self.label] = True
        return shown


def measure(document: Document, progress: Progress | None = None) -> Objects:
    """Decode all masks of a document, one image at a time, and keep what the views need.

    Args:
        document: as `segedu.datasets.coco.read_document` gives it.
        progress: wraps the images, to show how far it is.
    """
    label_of = document.label_of
    rows, centres, unread = [], [np.empty((0, 2))], 0
    class_pixels = np.zeros(len(document.categories), np.int64)
    cover = np.zeros((GRID, GRID))
    for place, image in enumerate((progress or untracked)(document.images, "measuring objects")):
        annotations, masks, broken = readable(document, image)
        unread += len(broken)
        labels = np.array([label_of[one["category_id"]] for one in annotations], np.int64)
        crowd = np.array([bool(one.get("iscrowd", 0)) for one in annotations], bool)
        areas = masks.sum((1, 2))
        rows += zip(map(id_of, annotations), [place] * len(labels), labels, crowd, areas, strict=True)
        centres.append(_centres(masks, areas))
        for label in np.unique(labels):
            class_pixels[label] += np.count_nonzero(masks[labels == label].any(0))
        stacked = masks[~crowd].sum(0, dtype=np.float32)
        cover += cv2.resize(stacked, (GRID, GRID), interpolation=cv2.INTER_AREA)
    ids, image, label, crowd, area = np.array(rows, np.int64).reshape(-1, 5).T
    return Objects(
        names=document.names,
        supercategories=tuple(str(category.get("supercategory", "")) for category in document.categories),
        image_ids=np.array([one["id"] for one in document.images], np.int64),
        image_areas=np.array([one["height"] * one["width"] for one in document.images], np.int64),
        ids=ids,
        image=image,
        label=label,
        crowd=crowd == 1,
        area=area,
        centre=np.concatenate(centres),
        class_pixels=class_pixels,
        cover=cover / max(len(document.images), 1),
        unread=unread,
    )


def readable(document: Document, image: Record) -> tuple[list[Record], np.ndarray, list[tuple[Record, str]]]:
    """Decode what can be decoded of an image's annotations.

    Returns:
        The sound annotations, their masks, bool (N, H, W), and the others, each with what is wrong with it.
    """
    sound, broken = [], []
    masks = [np.empty((0, image["height"], image["width"]), bool)]
    for annotation in document.annotations[image["id"]]:
        alone = replace(document, annotations={image["id"]: [annotation]})  # one that is broken must not hide the rest
        try:
            masks.append(read_objects(alone, image)["masks"])
            sound.append(annotation)
        except ValueError as error:
            broken.append((annotation, str(error)))
    return sound, np.concatenate(masks), broken


def id_of(annotation: Record) -> int:
    """The id of an annotation, or -1 if it has none that is a number."""
    return annotation["id"] if is_count(annotation.get("id")) else -1


def _centres(masks: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Mean x and y of masks (N, H, W), each from 0 to 1."""
    height, width = masks.shape[1:]
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    sums = np.stack([masks.sum(1) @ x, masks.sum(2) @ y], -1)
    return np.divide(sums, areas[:, None], out=np.full(sums.shape, np.nan), where=areas[:, None] > 0)
