"""A part of COCO on this machine with all the truth that there is for it, in COCO's folders or in those of FiftyOne."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segedu.datasets import coco_instances, coco_panoptic
from segedu.datasets.catalogue import find_folder
from segedu.datasets.coco import SPLITS, Document, Record, choose, is_count, is_number, lacking, read_document
from segedu.datasets.coco_instances import check_segmentation, corners
from segedu.datasets.local import data_folder, open_image, read_image
from segedu.masks import rle_encode

ZOO = "coco-2017"  # FiftyOne's name for COCO
ZOO_SPLITS = {"train": "train", "val": "validation"}


@dataclass(frozen=True, eq=False)
class Subset:
    """Images of one split. `instances` and `panoptic` are None where their annotations are not there."""

    split: str
    photos: Path
    images: list[Record]
    instances: Document | None
    panoptic: Document | None
    maps: Path | None  # the folder of the panoptic PNG files

    def photo(self, image: Record) -> Path:
        return self.photos / image["file_name"]

    def truth(self) -> dict[str, list[Record]]:
        """The instances as COCO's JSON, of the images of this subset only."""
        annotations = [one for image in self.images for one in self.instances.annotations[image["id"]]]
        return {"images": self.images, "annotations": annotations, "categories": self.instances.categories}

    def objects(self, image: Record, found: Sequence[Record] | None = None) -> dict[str, Any]:
        """Arrays as in `CocoInstances`: of the true objects, or of those that were `found`, as COCO's results."""
        if found is None:
            return coco_instances.read_objects(self.instances, image)
        # Of what else a record may hold, such as a box, results of masks need nothing.
        records = [
            {"category_id": one["category_id"], "segmentation": one["segmentation"], "bbox": [0, 0, 0, 0]}
            for one in found
        ]
        document = replace(self.instances, source="the predictions", annotations={image["id"]: records})
        return coco_instances.read_objects(document, image)

    def labels(self, image: Record) -> np.ndarray:
        """The label map of an image, uint8 (H, W): places in the panoptic classes, 255 for void."""
        return coco_panoptic.read_segments(self.maps, self.panoptic, image)["categories"]


def open_subset(
    data: str | Path | None = None,
    split: str = "val",
    images: int | None = None,
    categories: Sequence[str] = (),
    zoo: str | Path | None = None,
) -> Subset:
    """Find a split of COCO, and choose images that have all that the subset promises.

    Where instances and panoptic maps lie in one folder, images are those with instances, and panoptic maps are used
    if all images have one. Where there are panoptic maps only, so it is with them.

    Args:
        data: as for `open_dataset`; or a folder that `fiftyone zoo datasets load coco-2017` made, or one that holds it.
        split: "train" or "val".
        images: this many, the first by their ids; None for all.
        categories: only images that show one of these, by their names.
        zoo: where FiftyOne keeps what it downloads: looked into last.

    Raises:
        FileNotFoundError: if there is no such split, or images of it are missing: names them.
        ValueError: if annotations are not what they should be.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, one at a time, got {split!r}")
    instances_file, panoptic_file, photos = _locate(data, split, zoo)
    instances = instances_file and read_document(instances_file, coco_instances.categories_of)
    panoptic = panoptic_file and read_document(panoptic_file, coco_panoptic.categories_of)
    document, reader = (instances, coco_instances) if instances else (panoptic, coco_panoptic)
    chosen = choose(document, reader.categories_of, images, categories)
    if not chosen:
        what = f"image of {', '.join(categories)}; choose others" if categories else "images; choose another split"
        raise ValueError(f"{document.source} has no {what}")
    if panoptic and not all(len(panoptic.annotations.get(image["id"], ())) == 1 for image in chosen):
        panoptic = None
    maps = panoptic_file.with_suffix("") if panoptic else None
    subset = Subset(split, photos, chosen, instances or None, panoptic or None, maps)
    _check_photos(subset)
    return subset


def read_results(path: str | Path, subset: Subset) -> dict[int, list[Record]]:
    """Read COCO's results, the JSON of a list of found objects, as far as they are of images of the subset.

    Returns:
        For each image id the objects found, each with `category_id`, `score` and `segmentation`.
    """
    path = Path(path)
    try:
        records = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON, got: {error}; write it anew") from error
    if not isinstance(records, list):
        raise ValueError(f"{path} must be a list of objects, as COCO's results are, got {type(records).__name__}")
    found = group_results(records, subset, str(path))
    if records and not any(found.values()):
        raise ValueError(f"{path} has no prediction for any of the {len(found)} images: is it for another split?")
    return found


def group_results(records: Sequence[Record], subset: Subset, source: str = "results") -> dict[int, list[Record]]:
    """Group COCO's results by the images of the subset, and check them; those of other images are left out."""
    found: dict[int, list[Record]] = {image["id"]: [] for image in subset.images}
    sizes = {image["id"]: (image["height"], image["width"]) for image in subset.images}
    known = subset.instances.label_of
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(f"{source}: number {number} must be an object, got {record!r:.80}")
        key = record.get("image_id")
        if not is_count(key):
            raise ValueError(f"{source}: number {number} must have an image_id, an integer, got {key!r:.80}")
        if key not in found:
            continue
        if not is_number(record.get("score")):
            raise ValueError(f"{source}: number {number} must have a finite score, got {record.get('score')!r:.80}")
        if not is_count(record.get("category_id")) or record["category_id"] not in known:
            raise ValueError(
                f"{source}: number {number} must have the category_id of one of the {len(known)} categories, "
                f"got {record.get('category_id')!r:.80}"
            )
        if not record.get("segmentation"):
            raise ValueError(
                f"{source}: number {number} must have a segmentation; boxes alone are not compared here, but by "
                'segedu.metrics.average_precision with iou_type="bbox"'
            )
        try:
            check_segmentation(record["segmentation"], *sizes[key])
            if record.get("bbox"):  # by which average precision tells small objects from large ones
                corners(record["bbox"])
        except ValueError as error:
            raise ValueError(f"{source}: number {number} is broken: {error}") from error
        found[key].append(record)
    return found


def read_label_maps(folder: str | Path, subset: Subset) -> dict[int, np.ndarray]:
    """Read predicted label maps: for each image of the subset a PNG of the same name, in it places in the classes."""
    maps, classes = {}, len(subset.panoptic.names)
    for image in subset.images:
        path = (Path(folder) / image["file_name"]).with_suffix(".png")
        labels = read_image(path)
        if (
            labels.shape != (image["height"], image["width"])
            or labels.dtype.kind not in "ui"
            or not 0 <= labels.min() <= labels.max() < classes
        ):
            shape = f"{image['height']} x {image['width']}"
            raise ValueError(
                f"{path} must hold {shape} labels, integers from 0 to {classes - 1}, "
                f"got {labels.dtype} {labels.shape} from {labels.min()} to {labels.max()}"
            )
        maps[image["id"]] = labels
    return maps


def results_of_arrays(subset: Subset, image: Record, masks: Any, labels: Any, scores: Any) -> list[Record]:
    """Turn the objects found in an image into COCO's results.

    Args:
        masks: bool (N, H, W).
        labels: (N,), places in the classes, as in a target of `CocoInstances`.
        scores: (N,).
    """
    ids = [category["id"] for category in subset.instances.categories]
    return [
        {"image_id": image["id"], "category_id": ids[label], "segmentation": rle_encode(mask), "score": float(score)}
        for mask, label, score in zip(np.asarray(masks, bool), labels, scores, strict=True)
    ]


def _locate(data: Any, split: str, zoo: str | Path | None) -> tuple[Path | None, Path | None, Path]:
    """The files of instances and of panoptic annotations, and the folder of the images."""
    try:
        folder = find_folder("coco-instances", data)
    except FileNotFoundError as error:
        for folder in _zoo_folders(data, zoo):
            part = folder / ZOO_SPLITS[split]
            if (part / "labels.json").is_file():
                return part / "labels.json", None, part / "data"
        try:
            folder = find_folder("coco-panoptic", data)
        except FileNotFoundError:
            command = f"fiftyone zoo datasets load {ZOO} --splits {ZOO_SPLITS[split]} --kwargs max_samples=200"
            raise FileNotFoundError(f"{error}; or with FiftyOne: {command}") from error
    instances, panoptic = coco_instances.annotations_file(folder, split), coco_panoptic.annotations_file(folder, split)
    files = instances if instances.is_file() else None, panoptic if panoptic.is_file() else None
    if files == (None, None):
        raise FileNotFoundError(f"{instances} must be there, and is not: choose another split, or get this one")
    return *files, folder / f"{split}2017"


def _zoo_folders(data: Any, zoo: str | Path | None) -> Iterator[Path]:
    folder = data_folder(data)
    yield from (folder / ZOO, folder)
    if zoo is not None:
        yield Path(zoo) / ZOO


def _check_photos(subset: Subset) -> None:
    """Require all images to be there, with the size that the annotations are for."""
    if lacks := lacking(subset.photos, subset.images):
        raise FileNotFoundError(
            f"{lacks}; go on with the download, or choose fewer: segedu data get coco-instances --split {subset.split}"
        )
    for image in subset.images:
        with open_image(subset.photo(image)) as photo:
            if photo.size != (image["width"], image["height"]):
                size = f"{image['width']} x {image['height']}"
                raise ValueError(f"{subset.photo(image)} must be {size} pixels, got {photo.width} x {photo.height}")
