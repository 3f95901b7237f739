"""What downloading the data sets has in common: parts of an archive, and many small files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import track

from segedu.archives import unpack
from segedu.download import DownloadError, beside, fetch

GITHUB = "https://github.com"
AT_ONCE = 8  # small files


def get_archive(url: str, wanted: Sequence[str], target: Path) -> None:
    """Download an archive, and keep some files and folders of it.

    Args:
        url: of an archive whose bytes nobody promises: what is in it has to be checked.
        wanted: patterns of the files and folders to keep, each of which fits one. What `target` has already stays.
        target: where they go.

    Raises:
        DownloadError: if the archive cannot be had, is none, or lacks something.
    """
    missing = [pattern for pattern in wanted if not (target / Path(pattern).name).exists()]
    if not missing:
        return
    archive, unpacked = target / "download.zip", target / "download"
    fetch(url, archive)
    try:
        unpack(archive, unpacked)
        found = [_only(unpacked, pattern) for pattern in missing]
    except ValueError as error:
        archive.unlink()
        shutil.rmtree(unpacked, ignore_errors=True)
        raise DownloadError(f"what came from {url} was wrong, and was deleted ({error}); try again") from error
    for path in found:
        path.rename(target / path.name)
    shutil.rmtree(unpacked)
    archive.unlink()


def get_folders(repository: str, revision: str, within: str, folders: Sequence[str], target: Path) -> None:
    """Download a repository of GitHub, and keep some folders of it; GitHub makes such an archive when asked for it.

    Args:
        repository: its owner and name.
        revision: a commit, or the name of a branch.
        within: the folder in the repository that holds those to keep; "" for the repository itself.
        folders: their names.
        target: where they go.

    Raises:
        DownloadError: as `get_archive`.
    """
    url = f"{GITHUB}/{repository}/archive/{revision}.zip"
    get_archive(url, [f"*/{within}/{name}" for name in folders], target)


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise ValueError(f"it must hold {pattern} once, got {len(found)} times")
    return found[0]


def get_files(files: Iterable[tuple[str, Path]], check: Callable[[Path, str], object], what: str) -> None:
    """Download small files, several at a time, and check each before it gets its name. Those that are there stay.

    Args:
        files: addresses and paths.
        check: called with the path of what came and the name that it is to have; raises ValueError if it is wrong.
        what: the files are, for the progress bar.

    Raises:
        DownloadError: if a file cannot be had, or is wrong. The others that came stay, and a later call goes on.
    """
    missing = [(url, path) for url, path in files if not path.exists()]

    def get(file: tuple[str, Path]) -> None:
        url, path = file
        new = fetch(url, beside(path, ".new"), progress=False)
        try:
            check(new, path.name)
        except ValueError as error:
            new.unlink()
            raise DownloadError(f"what came from {url} was wrong, and was deleted ({error}); try again") from error
        new.replace(path)

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for _ in track(pool.map(get, missing), what, len(missing), console=Console(stderr=True)):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
