"""Files on this machine: where data sets are, and images read with the suspicion that files from others deserve."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from segedu.download import beside

MAX_PIXELS = 1 << 26  # 64 megapixels; what has more in these data sets is a mistake, or an attack
FORMATS = ("PNG", "JPEG", "TIFF")  # Pillow knows others, and would run a program to read some


def data_folder(data: str | Path | None = None) -> Path:
    """The folder of all local data: `data`, or what SEGEDU_DATA names, or `segedu` in the user's cache.

    The cache is `$XDG_CACHE_HOME`, or `~/.cache`.
    """
    if data is not None:
        return Path(data).expanduser()
    if named := os.environ.get("SEGEDU_DATA"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segedu"


def find(name: str, own: str, data: str | Path | None, is_here: Callable[[Path], bool], looked_for: str) -> Path:
    """The folder of one data set: `own` in the data folder, or else that folder itself, or else one in it.

    Args:
        name: of the data set, as `segedu data get` takes it.
        own: the name of its folder.
        data: as for `data_folder`.
        is_here: whether a folder holds the data set.
        looked_for: what this is decided by, for the error.

    Raises:
        FileNotFoundError: if no folder holds it.
        ValueError: if several could be meant.
    """
    folder = data_folder(data)
    for candidate in (folder / own, folder):
        if is_here(candidate):
            return candidate
    within = [path for path in sorted(folder.iterdir()) if is_here(path)] if folder.is_dir() else []
    if len(within) > 1:
        raise ValueError(f"{folder} holds {name} in {' and in '.join(path.name for path in within)}: name one of them")
    if not within:
        raise FileNotFoundError(
            f"{folder} must hold {name}, with {looked_for}, there or in a folder of its own, and does not: name "
            f"another folder with --data or SEGEDU_DATA, or get it with: segedu data get {name}"
        )
    return within[0]


def read_image(path: Path, mode: str | None = None, page: int = 0) -> np.ndarray:
    """Read an image file.

    Args:
        path: of one of `FORMATS`, whatever its name says.
        mode: "RGB" for uint8 (H, W, 3), "L" for uint8 (H, W), None for what is stored: labels must not be converted.
        page: of a TIFF with several.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is no image, damaged, or has more than `MAX_PIXELS`.
    """
    with open_image(path) as image:
        image.seek(page)
        return np.asarray(image.convert(mode) if mode else image)


def page_count(path: Path) -> int:
    """How many images a file has, without decoding them. Errors are those of `read_image`."""
    with open_image(path) as image:
        return getattr(image, "n_frames", 1)


@contextmanager
def open_image(path: Path, formats: Sequence[str] = FORMATS) -> Iterator[Image.Image]:
    """Open an image file by Pillow, of one of its `formats`. Errors, of decoding too, are those of `read_image`."""
    try:
        with Image.open(path, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{path} must have at most {MAX_PIXELS} pixels, got {image.width} x {image.height}")
            yield image
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} must be there, and is not; get it again") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path} must have at most {MAX_PIXELS} pixels, got far more") from error
    except (OSError, SyntaxError, EOFError) as error:  # Pillow says by a SyntaxError that a PNG's parts are broken
        raise ValueError(f"{path} must be a whole image file, got: {error}; replace it") from error


def write(path: Path, content: bytes) -> None:
    """Write a file, and its folder: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = beside(path, ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
