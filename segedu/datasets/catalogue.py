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
    splits: str
    folder: str = ""  # in the data folder, if it has another name than the data set
    local: bool = True  # read from files

    def load(self) -> ModuleType:
        return import_module(f"segedu.datasets.{self.module}")


CATALOGUE = {
    "camvid": Entry("camvid", "CamVid", "train, val, test"),
    "isbi2012": Entry("em", "Membranes", "train, fold0-train, fold0-val ... fold3-val, test"),
    "dsb2018": Entry("nuclei", "Nuclei", "train, val"),
    "coco-instances": Entry("coco_instances", "CocoInstances", "train, val", folder="coco"),
    "coco-panoptic": Entry("coco_panoptic", "CocoPanoptic", "train, val", folder="coco"),
    "shapes": Entry("generated", "Shapes", "train, val, test", local=False),
}


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
    if name not in CATALOGUE:
        raise ValueError(f"name must be one of {', '.join(CATALOGUE)}, got {name!r}")
    entry = CATALOGUE[name]
    module = entry.load()
    kind = getattr(module, entry.dataset)
    if not entry.local:
        return kind(split, transforms=transforms, cache=cache, **subset)
    folder = find(name, entry.folder or name, data, module.is_here, module.LOOKED_FOR)
    return kind(folder, split, transforms=transforms, cache=cache, **subset)
