"""COCO's panoptic segmentation: each pixel of a photograph has a category, of 80 things and 53 kinds of stuff.

Kirillov et al. 2019, "Panoptic Segmentation".
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segedu.datasets.coco import (
    SPLITS,
    Document,
    Record,
    check_file_name,
    check_split,
    check_splits,
    choose,
    is_count,
    is_crowd,
    parse,
    read_document,
    read_pixels,
)
from segedu.datasets.coco_home import ARCHIVED, add_images, get_archive, get_images
from segedu.datasets.local import write
from segedu.datasets.report import Report
from segedu.datasets.samples import Samples
from segedu.download import beside
from segedu.masks import rgb_to_ids

VOID = 255
LOOKED_FOR = "panoptic_train2017.json or panoptic_val2017.json, there or in annotations"


def is_here(folder: Path) -> bool:
    """Whether a folder holds the annotations of a split."""
    return any(annotations_file(folder, split).is_file() for split in SPLITS)


def annotations_file(folder: Path, split: str) -> Path:
    """The annotations; the folder of their PNG files lies beside them, without `.json`."""
    name = f"panoptic_{split}2017.json"
    return folder / name if (folder / name).is_file() else folder / "annotations" / name


def categories_of(annotation: Record) -> Iterable[int]:
    segments = annotation.get("segments_info")
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise ValueError(f"segments_info of image {annotation.get('image_id')} must be a list of objects")
    return (segment.get("category_id") for segment in segments)


class CocoPanoptic(Samples):
    """Photographs, uint8 (3, H, W), and their panoptic maps.

    A target is a dict of
        categories: `tv_tensors.Mask`, uint8 (H, W), places in `classes`, 255 for void,
        instances: `tv_tensors.Mask`, int32 (H, W), things numbered from 1 on, 0 for stuff, crowds and void,
        crowd: `tv_tensors.Mask`, bool (H, W), the pixels of several things that nobody told apart,
        image_id: int.

    Args:
        folder: with `train2017`, `val2017`, and `panoptic_train2017.json` and so on, there or in `annotations`.
        split: "train", "val" or "train+val".
        transforms, cache: as for `Samples`.
        images: use this many of each split only.
        categories: use images only that show one of these.

    Attributes:
        things: the labels of countable things.
    """

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
        self.items: list[tuple[Path, Path, Document, Record]] = []
        for part in check_split(split):
            file = annotations_file(folder, part)
            document = read_document(file, categories_of)
            if len(document.categories) > VOID:
                raise document.error(f"it must have at most {VOID} categories, got {len(document.categories)}")
            chosen = choose(document, categories_of, images, categories)
            photos, maps = folder / f"{part}2017", file.with_suffix("")
            self.items += [(photos / image["file_name"], maps, document, image) for image in chosen]
            self.classes = document.names
            self.things = tuple(k for k, category in enumerate(document.categories) if category.get("isthing", 1))
        self.names = [Path(image["file_name"]).stem for *_, image in self.items]

    def read(self, index: int) -> tuple[np.ndarray, dict[str, Any]]:
        photo, pngs, document, image = self.items[index]
        return read_pixels(photo, image), read_segments(pngs, document, image)

    def to_target(self, target: dict[str, Any]) -> dict[str, Any]:
        maps = {
            name: super(CocoPanoptic, self).to_target(target[name]) for name in ("categories", "instances", "crowd")
        }
        return maps | {"image_id": target["image_id"]}


def map_name(document: Document, image: Record) -> str:
    """The name of the PNG file with the segments of an image."""
    annotations = document.annotations[image["id"]]
    if len(annotations) != 1:
        raise document.error(f"{image['file_name']} must have one annotation, got {len(annotations)}")
    check_file_name(document.source, annotations[0].get("file_name"))
    return annotations[0]["file_name"]


def read_segments(folder: Path, document: Document, image: Record) -> dict[str, Any]:
    """Decode the panoptic map of an image: arrays as in `CocoPanoptic`."""
    name = map_name(document, image)
    ids = rgb_to_ids(read_pixels(folder / name, image))
    segments = document.annotations[image["id"]][0]["segments_info"]
    if not all(is_count(segment.get("id")) and segment["id"] < 1 << 24 for segment in segments):
        raise document.error(f"the ids of segments of {name} must be integers below 2^24")
    known = np.array([0] + [segment["id"] for segment in segments])  # 0 is void
    order = np.argsort(known)
    place = order[np.searchsorted(known[order], ids).clip(max=len(known) - 1)]
    if (odd := known[place] != ids).any():
        raise document.error(f"segments_info of {name} must name all segments, and lacks {ids[odd][0]}")
    if not_there := set(range(1, len(known))) - set(np.flatnonzero(np.bincount(place.ravel())).tolist()):
        raise document.error(f"{name} must have all segments of its segments_info, and lacks {known[not_there.pop()]}")
    # What each segment is, void first.
    label_of = document.label_of
    things = {category["id"] for category in document.categories if category.get("isthing", 1)}
    try:
        crowd = [False, *map(is_crowd, segments)]
    except ValueError as error:
        raise document.error(f"a segment of {name} is broken: {error}") from error
    category, instance = [VOID], [0]
    for segment, is_several in zip(segments, crowd[1:], strict=True):
        category.append(label_of[segment["category_id"]])
        instance.append(max(instance) + 1 if segment["category_id"] in things and not is_several else 0)
    return {
        "categories": np.array(category, np.uint8)[place],
        "instances": np.array(instance, np.int32)[place],
        "crowd": np.array(crowd, bool)[place],
        "image_id": image["id"],
    }


def get(folder: Path, split: str = "train+val", images: int | None = None, categories: Sequence[str] = ()) -> None:
    """Download annotations, and images that are not there, from COCO's home. Arguments are those of instances."""
    with get_archive("panoptic_annotations_trainval2017.zip", folder) as archive:
        for part in check_split(split):
            file = annotations_file(folder, part)
            name = f"annotations/panoptic_{part}2017"
            whole = parse(archive.read(f"{name}.json"), f"{name}.json", categories_of)
            chosen = choose(whole, categories_of, images, categories)
            get_images(folder, part, chosen)
            maps = [map_name(whole, image) for image in chosen]
            _take_out(archive, f"{name}.zip", folder / ARCHIVED, maps, file.with_suffix(""))
            add_images(file, whole, chosen, categories_of)


def _take_out(archive: zipfile.ZipFile, name: str, kept: Path, files: list[str], target: Path) -> None:
    """Copy files out of an archive within an archive. The inner one is kept, for one cannot jump about in the outer."""
    inner = kept / Path(name).name
    if not inner.exists():
        with archive.open(name) as source, beside(inner, ".part").open("wb") as copy:
            shutil.copyfileobj(source, copy)
        beside(inner, ".part").replace(inner)
    with zipfile.ZipFile(inner) as maps:
        for file in files:
            if not (target / file).exists():
                write(target / file, maps.read(f"{inner.stem}/{file}"))


def check(folder: Path) -> Report:
    """Read everything, and report."""
    return check_splits(
        lambda split: annotations_file(folder, split),
        lambda split: CocoPanoptic(folder, split),
        lambda target: int(target["instances"].max()),
        "things",
    )
