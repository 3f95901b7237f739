"""Pictures whose segments one can ask for: photographs, microscopy and generated scenes in one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from segedu.datasets import open_dataset, photos
from segedu.datasets.shapes import make_scene

GENERATED = "scenes"
VOID = 255


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and its segments, no two of which overlap.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        segments: int32 (H, W), numbers above 0; 0 where nobody knows.
        things: which numbers are countable things, whole as far as they can be seen, so that one can cut them out.
    """

    image: np.ndarray
    segments: np.ndarray
    things: frozenset[int]


class Source(Protocol):
    """Where pictures come from."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Picture: ...


class Photographs:
    """The pictures of a data set, each decoded once and then kept in memory.

    Args:
        name: of one of `segedu.datasets`, with instances, panoptic segments, or classes, of which every connected
            region counts as a segment.
        split: of it.
        data: the folder of local data.
    """

    def __init__(self, name: str, split: str, data: Path | None = None) -> None:
        self.dataset = open_dataset(name, split, data=data)
        self.kept: dict[int, Picture] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Picture:
        if index not in self.kept:
            self.kept[index] = to_picture(*self.dataset[index])
        return self.kept[index]


class Scenes:
    """Scenes of `make_scene` with all its knobs turned at random; each look at one draws another.

    Args:
        size: height and width in pixels.
        count: as how many pictures they count.
    """

    def __init__(self, size: int, count: int = 100) -> None:
        self.size, self.count = size, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Picture:
        knobs = torch.rand(6).tolist()
        return scene(
            int(torch.randint(2**31, ())),
            self.size,
            3 + int(12 * knobs[0]),
            scale=0.06 + 0.14 * knobs[1],
            overlap=0.6 * knobs[2],
            uneven_light=0.7 * knobs[3],
            noise=0.12 * knobs[4] ** 2,
            texture=0.12 * knobs[5] ** 2,
        )


def scene(seed: int, size: int, objects: int, **knobs: float) -> Picture:
    """A generated scene, with its landscape's parts as segments too; arguments are those of `make_scene`."""
    made = make_scene(seed, (size, size), objects, **knobs)
    return Picture(made.image, *_number(made.panoptic))


def of_photo(photo: photos.Photo) -> Picture:
    """One of scikit-image's photographs, with stuff as segments too."""
    image = photo.image if photo.image.ndim == 3 else np.stack([photo.image] * 3, -1)
    return Picture(image, *_number(photo.panoptic))


def to_picture(image: Tensor, target: Tensor | Mapping) -> Picture:
    """A picture of what `open_dataset` gives.

    Args:
        image: uint8 (1 or 3, H, W).
        target: dict of instances or of a panoptic map, instance map (int32), or label map (uint8, 255 for void).

    Returns:
        The picture; an instance that lies in front of a larger one, as a tie on a person, takes its pixels.
    """
    colours = image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    if isinstance(target, Mapping) and "masks" in target:
        masks = target["masks"][~target["crowd"]]
        segments = np.zeros(colours.shape[:2], np.int32)
        for number, index in enumerate(masks.flatten(1).sum(1).argsort(descending=True).tolist(), start=1):
            segments[masks[index].numpy()] = number
        return Picture(colours, segments, frozenset(np.unique(segments[segments > 0]).tolist()))
    if isinstance(target, Mapping):
        categories = target["categories"].long().masked_fill(target["crowd"], VOID)
        panoptic = torch.stack([categories, target["instances"].long()], -1)
        return Picture(colours, *_number(panoptic.numpy()))
    if target.dtype == torch.uint8:
        return Picture(colours, _regions(target.numpy()), frozenset())
    segments = target.numpy().astype(np.int32)
    return Picture(colours, segments, frozenset(np.unique(segments[segments > 0]).tolist()))


def _number(panoptic: np.ndarray) -> tuple[np.ndarray, frozenset[int]]:
    """Number the segments of a panoptic map from 1 on, void 0, and name the things among them."""
    category, instance = np.moveaxis(panoptic.astype(np.int64), -1, 0)
    pairs, numbers = np.unique(np.where(category == VOID, -1, (instance << 16) + category), return_inverse=True)
    first = 0 if pairs[0] < 0 else 1
    things = frozenset((np.flatnonzero(pairs >= 1 << 16) + first).tolist())
    return (numbers + first).astype(np.int32), things


def _regions(labels: np.ndarray) -> np.ndarray:
    """Number the connected regions of each class."""
    segments, count = np.zeros(labels.shape, np.int32), 0
    for label in np.unique(labels[labels != VOID]):
        found, regions = cv2.connectedComponents((labels == label).astype(np.uint8))
        segments += np.where(regions > 0, regions + count, 0).astype(np.int32)
        count += found - 1
    return segments
