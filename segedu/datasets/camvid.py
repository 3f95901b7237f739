"""CamVid: frames of a drive through Cambridge, each pixel labelled with one of 11 classes.

Brostow, Fauqueur and Cipolla 2009, "Semantic object classes in video"; here in the 11 classes, the size and the splits
of Badrinarayanan, Kendall and Cipolla 2017, "SegNet", whose authors publish this version.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from segedu.datasets.local import read_image
from segedu.datasets.samples import Samples

CLASSES = tuple("sky building pole road pavement tree sign fence car pedestrian bicyclist".split())
VOID = 11  # in the files; 255 in what we return
IGNORED = 255
SIZE = (360, 480)
SPLITS = {"train": 367, "val": 101, "test": 233}
LOOKED_FOR = "folders of frames and labels such as train and trainannot"


def is_here(folder: Path) -> bool:
    """Whether a folder holds any split."""
    return any((folder / split).is_dir() and (folder / f"{split}annot").is_dir() for split in SPLITS)


class CamVid(Samples):
    """Frames and label maps, uint8 (360, 480): 0 to 10, and 255 for void.

    Args:
        folder: with `train`, `trainannot` and so on.
        split: "train", "val" or "test"; "train+val" joins two.
        transforms, cache: as for `Samples`.
    """

    classes = CLASSES

    def __init__(self, folder: Path, split: str, transforms: Callable | None = None, cache: bool = False) -> None:
        super().__init__(transforms, cache)
        self.files = [pair for part in split.split("+") for pair in _pairs(folder, part)]
        self.names = [labels.stem for _, labels in self.files]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        frame, labels = self.files[index]
        return read_image(frame, "RGB"), read_labels(labels)


def read_labels(path: Path) -> np.ndarray:
    """Read a label map, uint8 (360, 480), void 255."""
    labels = read_image(path)
    if labels.dtype != np.uint8 or labels.shape != SIZE:
        raise ValueError(f"{path} must be a grey image of 360 x 480 pixels, got {labels.dtype} {labels.shape}")
    if labels.max() > VOID:
        raise ValueError(f"{path} must hold labels 0 to {VOID} only, got {labels.max()}")
    return np.where(labels == VOID, np.uint8(IGNORED), labels)


def _pairs(folder: Path, split: str) -> list[tuple[Path, Path]]:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, or several joined by +, got {split!r}")
    frames = {path.stem: path for path in sorted((folder / split).glob("*")) if path.suffix in (".png", ".jpg")}
    labels = sorted((folder / f"{split}annot").glob("*.png"))
    missing = [path.name for path in labels if path.stem not in frames]
    if missing or not labels:
        raise FileNotFoundError(
            f"{folder / split} must hold a frame for each label map of {split}annot, "
            f"and lacks {missing[0] if missing else 'all'}: see segedu data check camvid"
        )
    return [(frames[path.stem], path) for path in labels]
