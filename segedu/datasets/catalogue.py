"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from segedu.datasets.local import find
from segedu.datasets.samples import Samples


@dataclass(frozen=True)
class Entry:
    """What the catalogue says of a data set."""

    module: str
    dataset: str  # the class in the module
    folder: str | None  # in the data folder; None if it needs no files
    about: str
    splits: str  # and how many images they have
    pixels: str
    licence: str

    def load(self) -> ModuleType:
        """Its module, which has `is_here`, `get` and `check` as well, if it needs files."""
        return import_module(f"segedu.datasets.{self.module}")


CATALOGUE = {
    "camvid": Entry(
        "camvid",
        "CamVid",
        folder="camvid",
        about="street scenes, 11 classes",
        splits="train 367, val 101, test 233",
        pixels="480 x 360",
        licence="no licence stated",
    ),
    "isbi2012": Entry(
        "em",
        "Membranes",
        folder="isbi2012",
        about="membranes of cells, electron microscopy",
        splits="train 30; fold0-train, fold0-val to fold3-val",
        pixels="512 x 512",
        licence="the challenge's terms",
    ),
    "dsb2018": Entry(
        "nuclei",
        "Nuclei",
        folder="dsb2018",
        about="nuclei, each its own, fluorescence microscopy",
        splits="train 214, val 54",
        pixels="256 x 256",
        licence="CC0",
    ),
    "coco-instances": Entry(
        "coco_instances",
        "CocoInstances",
        folder="coco",
        about="photographs, objects of 80 categories",
        splits="train 118287, val 5000, or any part",
        pixels="to 640 x 640",
        licence="annotations CC BY 4.0, each image its own",
    ),
    "coco-panoptic": Entry(
        "coco_panoptic",
        "CocoPanoptic",
        folder="coco",
        about="photographs, 80 things and 53 kinds of stuff",
        splits="train 118287, val 5000, or any part",
        pixels="to 640 x 640",
        licence="annotations CC BY 4.0, each image its own",
    ),
    "shapes": Entry(
        "generated",
        "Shapes",
        folder=None,
        about="generated scenes, 7 classes",
        splits="train 200, val 50, test 50",
        pixels="128 x 96",
        licence="as this package",
    ),
}


def entry_of(name: str) -> Entry:
    """What the catalogue says of a data set.

    Raises:
        ValueError: if there is none of this name.
    """
    if name not in CATALOGUE:
        raise ValueError(f"name must be one of {', '.join(CATALOGUE)}, got {name!r}")
    return CATALOGUE[name]


def find_folder(name: str, data: str | Path | None = None) -> Path:
    """Find the folder of a data set on this machine. Arguments and errors are those of `open_dataset`."""
    entry = entry_of(name)
    if entry.folder is None:
        raise ValueError(f"{name} is generated, and has no folder")
    module = entry.load()
    return find(name, entry.folder, data, module.is_here, module.LOOKED_FOR)


def open_dataset(
    name: str,
    split: str,
    data: str | Path | None = None,
    transforms: Callable | None = None,
    cache: bool = False,
    **subset: Any,
) -> Samples:
    """Open a split of a data set.

    Args:
        name: of one in `CATALOGUE`.
        split: one of its splits; "train+val" joins two.
        data: the folder of local data, or that of the data set itself; by default what SEGEDU_DATA names, else where
            `segedu data get` puts it.
        transforms: called with image and target, as those of `torchvision.transforms.v2` are.
        cache: keep each decoded sample in memory.
        subset: of COCO's data sets, `images`, how many, and `categories`, the names of what they are to show.

    Returns:
        The samples, each an image, `tv_tensors.Image` uint8 (C, H, W), and its target; the data set's page says which.

    Raises:
        ValueError: if there is no data set or split of this name, or a file is not what it should be.
        FileNotFoundError: if the data is not there.
    """
    entry = entry_of(name)
    kind = getattr(entry.load(), entry.dataset)
    place = () if entry.folder is None else (find_folder(name, data),)
    return kind(*place, split, transforms=transforms, cache=cache, **subset)
