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

from segedu.datasets.homes import get_archive
from segedu.datasets.local import page_count, read_image
from segedu.datasets.report import Report
from segedu.datasets.samples import Samples

SIZE = (512, 512)
SLICES = 30
# Where the challenge's organisers keep its data since its own server is gone.
HOME = "https://downloads.imagej.net/ISBI-2012-challenge.zip"
STACKS = ("train-volume.tif", "train-labels.tif")
LOOKED_FOR = "the folders image and label with 0.png, 1.png and so on, or train-volume.tif and train-labels.tif"
FOLDS = 4


def is_here(folder: Path) -> bool:
    """Whether a folder holds slices, as PNG or in the challenge's own two stacks."""
    return (folder / "image" / "0.png").is_file() or _stacked(folder)


def slices(split: str, there: list[int]) -> list[int]:
    """The numbers of a split's slices, of those that are there.

    "train" has all. For cross-validation, "fold0-val" to "fold3-val" are four blocks of neighbours, and "fold0-train"
    and so on what each leaves. Neighbouring slices show the same cells: of slices chosen at random, a network would
    have learnt each one's neighbours.
    """
    known = {"train": there}
    for fold, block in enumerate(np.array_split(there, FOLDS)):
        known[f"fold{fold}-val"] = block.tolist()
        known[f"fold{fold}-train"] = [number for number in there if number not in block]
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
        there = found(folder)
        if len(there) < FOLDS:
            raise FileNotFoundError(
                f"{folder} must hold slices with labels, got {len(there)}: see segedu data check isbi2012"
            )
        self.slices = [number for part in split.split("+") for number in slices(part, there)]
        self.names = [str(number) for number in self.slices]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return read_slice(self.folder, self.slices[index])


def get(folder: Path) -> None:
    """Download the training stack of 30 slices, and its labels."""
    get_archive(HOME, [f"**/{name}" for name in STACKS], folder)


def check(folder: Path) -> Report:
    """Read everything, and report."""
    report = Report()
    there = report.attempt(found, folder) or []
    report.there.append(f"{len(there)} slices with labels")
    if _stacked(folder):
        if there and len(there) != SLICES:
            report.wrong.append(f"the stacks must have {SLICES} slices, got {len(there)}")
    else:
        images, labels = (_numbers(folder, what) for what in ("image", "label"))
        report.missing("slices without labels", map(str, images - labels))
        report.missing("labels without slices", map(str, labels - images))
        report.missing("slices left out", map(str, set(range(max(there, default=0))) - images - labels))
    for number in there:
        report.attempt(read_slice, folder, number)
    return report


def found(folder: Path) -> list[int]:
    """The numbers of the slices that have an image and labels."""
    if _stacked(folder):
        counts = {name: page_count(folder / name) for name in STACKS}
        if len(set(counts.values())) > 1:
            raise ValueError(f"{folder} must hold two stacks of as many slices, got {counts}")
        return list(range(counts[STACKS[0]]))
    return sorted(_numbers(folder, "image") & _numbers(folder, "label"))


def read_slice(folder: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a slice, uint8 (512, 512), and its label map, uint8 (512, 512)."""
    if _stacked(folder):
        return read_pixels(folder / STACKS[0], number), read_labels(folder / STACKS[1], number)
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


def _stacked(folder: Path) -> bool:
    return (folder / STACKS[0]).is_file()


def _numbers(folder: Path, what: str) -> set[int]:
    return {int(path.stem) for path in (folder / what).glob("*.png") if path.stem.isdecimal()}
