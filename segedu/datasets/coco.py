"""What COCO's two data sets share: documents of annotations, read with suspicion, and subsets of them.

Lin et al. 2014, "Microsoft COCO: Common Objects in Context"; the images and splits of 2017.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from segedu.datasets.local import MAX_PIXELS, read_image
from segedu.datasets.report import Report
from segedu.datasets.samples import Samples

SPLITS = ("train", "val")
NAMED = 3  # missing files in an error

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Document:
    """A file of annotations. Images are in the order of their ids, categories too: label k is `categories[k]`."""

    source: str  # for errors
    images: list[Record]
    annotations: dict[int, list[Record]]  # of an image, by its id
    categories: list[Record]
    rest: Record  # other keys, such as licences

    @property
    def label_of(self) -> dict[int, int]:
        """The labels of category ids."""
        return {category["id"]: label for label, category in enumerate(self.categories)}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(category["name"] for category in self.categories)

    def error(self, message: str) -> ValueError:
        return _wrong(self.source, message)


def read_document(path: Path, categories_of: Callable[[Record], Iterable[int]]) -> Document:
    """Read a file of annotations. See `parse`."""
    return parse(path.read_bytes(), str(path), categories_of)


def parse(content: bytes, source: str, categories_of: Callable[[Record], Iterable[int]]) -> Document:
    """Read annotations, which may lack what we do not need, as `info` and `licenses`.

    Args:
        content: JSON.
        source: its name, for errors.
        categories_of: the category ids of an annotation.

    Raises:
        ValueError: if it is no JSON or no such document, an id occurs twice or is unknown, or a file's name would lead
            out of its folder.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _wrong(source, f"it must be JSON, got: {error}") from error
    lists = ("images", "annotations", "categories")
    if not isinstance(document, dict) or not all(isinstance(document.get(key), list) for key in lists):
        raise _wrong(source, "it must be an object with the lists images, annotations and categories")
    images, annotations, categories = ([dict_in(source, key, one) for one in document.pop(key)] for key in lists)
    for image in images:
        _check_image(source, image)
    for category in categories:
        if not isinstance(category.get("name"), str) or not isinstance(category.get("supercategory", ""), str):
            raise _wrong(source, f"a category must have a name, and names are texts, got {category!r:.80}")
    known, labels = _ids(source, "images", images), _ids(source, "categories", categories)
    of_image: dict[int, list[Record]] = {image_id: [] for image_id in known}
    for annotation in annotations:
        image_id = annotation.get("image_id")
        if not is_count(image_id) or image_id not in known:
            raise _wrong(source, f"{_name(annotation)} must be of one of the images, got image id {image_id!r:.80}")
        try:
            of_categories = categories_of(annotation)
        except ValueError as error:
            raise _wrong(source, str(error)) from error
        for category_id in of_categories:
            if not is_count(category_id) or category_id not in labels:
                got = f"got category id {category_id!r:.80}"
                raise _wrong(source, f"{_name(annotation)} must be of its categories, {got}")
        of_image[image_id].append(annotation)
    images.sort(key=lambda image: image["id"])
    categories.sort(key=lambda category: category["id"])
    return Document(source, images, of_image, categories, document)


def dict_in(source: str, key: str, value: Any) -> Record:
    if not isinstance(value, dict):
        raise _wrong(source, f"{key} must hold objects, got {value!r:.80}")
    return value


def choose(
    document: Document,
    categories_of: Callable[[Record], Iterable[int]],
    images: int | None = None,
    categories: Sequence[str] = (),
) -> list[Record]:
    """The first images, by their ids, that show something of one of the categories, which are given by their names."""
    if unknown := set(categories) - set(document.names):
        raise ValueError(f"categories must be of {', '.join(document.names)}; got {', '.join(sorted(unknown))}")
    if images is not None and images < 1:
        raise ValueError(f"images must be 1 or more, got {images}")
    wanted = {category["id"] for category in document.categories if category["name"] in categories}
    chosen = [
        image
        for image in document.images
        if not wanted or any(wanted & set(categories_of(one)) for one in document.annotations[image["id"]])
    ]
    return chosen[:images]


def read_pixels(path: Path, image: Record) -> np.ndarray:
    """Read an image, uint8 (H, W, 3), sure that it has the size that the annotations are for."""
    pixels = read_image(path, "RGB")
    if pixels.shape[:2] != (image["height"], image["width"]):
        wanted, got = (f"{width} x {height}" for height, width in ((image["height"], image["width"]), pixels.shape[:2]))
        raise ValueError(f"{path} must be {wanted} pixels, as its annotations say, got {got}; get it again")
    return pixels


def lacking(photos: Path, images: list[Record]) -> str:
    """In words, which images are not in their folder; "" if all are."""
    missing = [image["file_name"] for image in images if not (photos / image["file_name"]).is_file()]
    more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
    named = f"{', '.join(missing[:NAMED])}{more}"
    return f"{photos} lacks {len(missing):,} of {len(images):,} images: {named}" if missing else ""


def check_split(split: str) -> list[str]:
    """The parts of a split such as "train+val"."""
    parts = split.split("+")
    for part in parts:
        if part not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, or both joined by +, got {split!r}")
    return parts


def check_splits(
    file_of: Callable[[str], Path],
    open_split: Callable[[str], Samples],
    count: Callable[[Any], int],
    what: str,
) -> Report:
    """Read everything, and report.

    Args:
        file_of: where the annotations of a split are.
        open_split: opens it.
        count: how many things a target has.
        what: they are called.
    """
    report = Report()
    for split in SPLITS:
        if not file_of(split).is_file():
            report.there.append(f"{split}: not there")
            continue
        samples = report.attempt(open_split, split)
        if samples is not None:
            read = (report.attempt(samples.read, index) for index in range(len(samples)))
            things = sum(count(sample[1]) for sample in read if sample is not None)
            report.there.append(f"{split}: {len(samples)} images, {things} {what}")
    return report


def _check_image(source: str, image: Record) -> None:
    height, width, name = image.get("height"), image.get("width"), image.get("file_name")
    if not (is_count(height) and is_count(width) and 0 < height * width <= MAX_PIXELS):
        raise _wrong(source, f"{name} must have a height and a width in pixels, got {height!r} and {width!r}")
    check_file_name(source, name)


def check_file_name(source: str, name: Any) -> None:
    """Require the name of a file, and no path, on any system."""
    if not isinstance(name, str) or name in ("", ".", "..") or PureWindowsPath(name).name != name:
        raise _wrong(source, f"file_name must be the name of a file without folders, got {name!r}")


def is_count(value: Any) -> bool:
    """Whether it is an integer from 0 to what 64 bits can hold, as arrays and databases need it."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def is_number(value: Any) -> bool:
    """Whether it is a finite number that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_crowd(record: Record) -> bool:
    """Whether an annotation, or a segment of one, is a crowd. Raises `ValueError` where it says neither yes nor no."""
    value = record.get("iscrowd", 0)
    if not isinstance(value, int | float) or value not in (0, 1):
        raise ValueError(f"iscrowd must be 0 or 1, got {value!r:.80}")
    return value == 1


def _name(annotation: Record) -> str:
    if "id" in annotation:
        return f"annotation {annotation['id']!r:.80}"
    return f"the annotation of image {annotation.get('image_id')!r:.80}"  # panoptic ones have no ids


def _wrong(source: str, message: str) -> ValueError:
    return ValueError(f"{source}: {message}; get it again, or mend it")


def _ids(source: str, key: str, records: list[Record]) -> set[int]:
    ids = [record.get("id") for record in records]
    for one in ids:
        if not is_count(one):
            raise _wrong(source, f"the ids of {key} must be integers from 0 to 2^63 - 1, got {one!r:.80}")
    if twice := [one for one, count in Counter(ids).items() if count > 1]:
        raise _wrong(source, f"the ids of {key} must be different, got {twice[0]} twice")
    return set(ids)
