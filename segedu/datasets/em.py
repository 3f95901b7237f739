"""Membranes of cells in electron microscopy: the training stack of the ISBI 2012 challenge, the U-Net's first task.

Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for connectomics"; Cardona et
al. 2010, "An integrated micro- and macroarchitectural analysis of the Drosophila brain by computer-assisted serial
section electron microscopy". 30 slices through the ventral nerve cord of a fruit fly's larva, 512 x 512 pixels of
4 x 4 nm, 50 nm apart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from segedu.datasets.homes import get_files
from segedu.datasets.local import page_count, read_image
from segedu.datasets.report import Report
from segedu.datasets.samples import Samples

SIZE = (512, 512)
SLICES = 30
# The challenge gives its data to those who register. This repository has them as PNG files, at a commit of 2019.
HOME = "https://raw.githubusercontent.com/zhixuhao/unet/909ae9b5fefd8a55900e24a771b073b1d4ef70ff/data/membrane/train"
LOOKED_FOR = "the folders image and label with 0.png, 1.png and so on, or train-volume.tif and train-labels.tif"
FOLDS = 4
BLOCK = 6  # slices
LEARNT = FOLDS * BLOCK


def is_here(folder: Path) -> bool:
    """Whether a folder holds slices, as PNG or in the challenge's own two stacks."""
    return (folder / "image" / "0.png").is_file() or (folder / "train-volume.tif").is_file()


def slices(split: str) -> list[int]:
    """The numbers of a split's slices.

    Slices 0 to 23 are for learning ("train"), and 24 to 29 are held back ("test"). For cross-validation, "fold0-val" to
    "fold3-val" are four blocks of neighbours, and "fold0-train" and so on what is left of 0 to 23. Neighbouring slices
    show the same cells: of slices chosen at random, a network would have learnt each one's neighbours.
    """
    known = {"train": list(range(LEARNT)), "test": list(range(LEARNT, SLICES))}
    for fold in range(FOLDS):
        known[f"fold{fold}-val"] = list(range(fold * BLOCK, (fold + 1) * BLOCK))
        known[f"fold{fold}-train"] = [number for number in range(LEARNT) if number // BLOCK != fold]
    if split not in known:
        raise ValueError(f"split must be one of {', '.join(sorted(known))}, or several joined by +, got {split!r}")
    return known[split]


class Membranes(Samples):
    """Grey slices, uint8 (1, 512, 512), and label maps, uint8 (512, 512): 0 membrane, 1 cell.

    Args:
        folder: see `is_here`.
        split: see `slices`; "fold0-val+fold1-val" joins two.
        transforms, cache: as for `Samples`.
    """

    classes = ("membrane", "cell")

    def __init__(self, folder: Path, split: str, transforms: Callable | None = None, cache: bool = False) -> None:
        super().__init__(transforms, cache)
        self.folder = folder
        self.slices = [number for part in split.split("+") for number in slices(part)]
        self.names = [str(number) for number in self.slices]
        missing = sorted(set(self.slices) - set(found(folder)))
        if missing:
            raise FileNotFoundError(
                f"{folder} must hold slices {', '.join(self.names)} for the split {split}, and lacks "
                f"{', '.join(map(str, missing))}: see segedu data check isbi2012"
            )

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return read_slice(self.folder, self.slices[index])


def get(folder: Path) -> None:
    """Download the 30 slices, and their labels."""
    for what, read in (("image", read_pixels), ("label", read_labels)):
        names = [f"{number}.png" for number in range(SLICES)]
        files = [(f"{HOME}/{what}/{name}", folder / what / name) for name in names]
        get_files(files, lambda path, _, read=read: read(path), what)


def check(folder: Path) -> Report:
    """Read everything, and report."""
    report = Report()
    there = report.attempt(found, folder) or []
    for name, numbers in (("train", range(LEARNT)), ("test", range(LEARNT, SLICES))):
        missing = sorted(set(numbers) - set(there))
        report.there.append(f"{name}: {len(numbers) - len(missing)} slices with labels")
        if name == "train" or len(missing) < len(numbers):
            report.missing(f"{name}: slices that are not there, or without labels", map(str, missing))
    for number in there:
        report.attempt(read_slice, folder, number)
    return report


def found(folder: Path) -> list[int]:
    """The numbers of the slices that have an image and labels."""
    if (folder / "train-volume.tif").is_file():
        return list(range(min(page_count(folder / f"train-{what}.tif") for what in ("volume", "labels"))))
    images, labels = ({path.stem for path in (folder / what).glob("*.png")} for what in ("image", "label"))
    return sorted(int(name) for name in images & labels if name.isdecimal())


def read_slice(folder: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a slice, uint8 (512, 512), and its label map, uint8 (512, 512)."""
    if (folder / "train-volume.tif").is_file():
        return read_pixels(folder / "train-volume.tif", number), read_labels(folder / "train-labels.tif", number)
    return read_pixels(folder / "image" / f"{number}.png"), read_labels(folder / "label" / f"{number}.png")


def read_labels(path: Path, page: int = 0) -> np.ndarray:
    """Read a label map, uint8 (512, 512): 0 membrane, 1 cell."""
    labels = read_pixels(path, page)
    if not np.isin(labels, (0, 255)).all():
        raise ValueError(f"{path} must hold 0 for membranes and 255 for cells, got {np.unique(labels).tolist()[:9]}")
    return (labels > 0).astype(np.uint8)


def read_pixels(path: Path, page: int = 0) -> np.ndarray:
    """Read a grey image, uint8 (512, 512)."""
    pixels = read_image(path, "L", page)
    if pixels.shape != SIZE:
        raise ValueError(f"{path} must have 512 x 512 pixels, got {pixels.shape}")
    return pixels
