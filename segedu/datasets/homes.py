"""What downloading the data sets has in common: folders of GitHub repositories, and many small files."""

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


def get_folders(repository: str, revision: str, within: str, folders: Sequence[str], target: Path) -> None:
    """Download a repository of GitHub, and keep some folders of it.

    GitHub makes the archive when it is asked for, and does not promise its bytes: what is in it has to be checked.

    Args:
        repository: its owner and name.
        revision: a commit, or the name of a branch.
        within: the folder in the repository that holds those to keep; "" for the repository itself.
        folders: their names. Those that are in `target` already stay as they are.
        target: where they go.

    Raises:
        DownloadError: if the archive cannot be had, or is none.
        ValueError: if a folder is not in it.
    """
    missing = [name for name in folders if not (target / name).exists()]
    if not missing:
        return
    url = f"{GITHUB}/{repository}/archive/{revision}.zip"
    archive = fetch(url, target / "download.zip")
    try:
        unpacked = unpack(archive, target / "download")
    except ValueError as error:
        archive.unlink()
        raise DownloadError(f"what came from {url} was no archive, and was deleted ({error}); try again") from error
    for name in missing:
        found = list(unpacked.glob(f"*/{within}/{name}"))
        if len(found) != 1:
            raise ValueError(f"the archive {archive} from {url} must hold {within}/{name} once, got {len(found)} times")
        found[0].rename(target / name)
    shutil.rmtree(unpacked)
    archive.unlink()


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
