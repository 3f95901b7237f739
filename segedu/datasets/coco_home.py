"""COCO's public home: archives of annotations, and images one by one, so that a few do not cost 20 GB."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from segedu.datasets.coco import Document, Record, read_document, read_pixels
from segedu.datasets.homes import get_files
from segedu.datasets.local import write
from segedu.download import fetch

HOME = "https://s3.amazonaws.com/images.cocodataset.org"  # the certificate of images.cocodataset.org is not its own

ARCHIVED = "archives"  # the folder that keeps archives, for a later call that wants more images

# Sizes in bytes and SHA-256. COCO gives none; these are what several who downloaded them report.
ARCHIVES = {
    "annotations_trainval2017.zip": (
        252_907_541,
        "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    ),
    "panoptic_annotations_trainval2017.zip": (
        860_725_834,
        "c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370",
    ),
}


def get_archive(name: str, folder: Path) -> zipfile.ZipFile:
    """Download an archive of annotations, if it is not there, and open it."""
    size, sha256 = ARCHIVES[name]
    path = fetch(f"{HOME}/annotations/{name}", folder / ARCHIVED / name, size=size, sha256=sha256)
    return zipfile.ZipFile(path)


def get_images(folder: Path, split: str, images: list[Record]) -> None:
    """Download images of a split that are not there. Nobody publishes their hashes: each has to decode to its size."""
    record_of = {image["file_name"]: image for image in images}
    get_files(
        [(f"{HOME}/{split}2017/{name}", folder / f"{split}2017" / name) for name in record_of],
        lambda path, name: read_pixels(path, record_of[name]),
        f"{split}2017",
    )


def add_images(path: Path, whole: Document, chosen: list[Record], categories_of: Callable[[Record], Iterable]) -> None:
    """Write annotations of the chosen images, together with those of the images that are in the file already."""
    images = {image["id"]: image for image in chosen}
    annotations = {image_id: whole.annotations[image_id] for image_id in images}
    if path.exists():
        earlier = read_document(path, categories_of)
        images |= {image["id"]: image for image in earlier.images}
        annotations |= earlier.annotations
    document = whole.rest | {
        "images": list(images.values()),
        "annotations": [annotation for of_image in annotations.values() for annotation in of_image],
        "categories": whole.categories,
    }
    write(path, json.dumps(document).encode())
