"""Zip and tar archives, unpacked whole, and into a folder of their own, or not at all."""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import IO

from segedu.download import BLOCK, alone, beside


def unpack(archive: str | Path, folder: str | Path, *, max_bytes: int = 64 << 30) -> Path:
    """Unpack a zip or tar archive (plain, gzip, bzip2 or xz) into `folder`, unless that has something in it already.

    Only files and folders come out, with this user's usual permissions.

    Args:
        archive: its content says what kind it is, not its name.
        folder: made by this call; what is inside keeps its paths.
        max_bytes: of all files together, unpacked.

    Returns:
        The folder.

    Raises:
        ValueError: if it is no archive, damaged, larger than `max_bytes`, or has a link, a device, a name that leads
            out of the folder, or a name twice.
        FileNotFoundError: if the archive is not there.
    """
    archive, folder = Path(archive), Path(folder)
    if _filled(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if _filled(folder):
            return folder
        part = beside(folder, ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            _unpack(archive, part, max_bytes)
            with suppress(FileNotFoundError):
                folder.rmdir()  # an empty one; Windows renames onto nothing
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return folder


def _unpack(archive: Path, folder: Path, max_bytes: int) -> None:
    left = max_bytes
    try:
        for name, size, content in _members(archive):
            left -= size
            if left < 0:
                raise ValueError(f"{archive} holds more than {max_bytes} bytes: raise max_bytes if you trust it")
            where = PureWindowsPath(name)  # it knows what leads out of a folder on any system
            if where.anchor or ".." in where.parts:
                raise ValueError(f"{archive} holds {name!r}, which leads out of the folder")
            _put(folder / name, content)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise ValueError(f"{archive} holds {Path(error.filename).relative_to(folder)} twice") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault
        raise ValueError(f"{archive} is damaged ({error}): delete it and download it again") from error


def _put(path: Path, content: IO[bytes] | None) -> None:
    """Write a file; or make a folder, of `None`."""
    folder = path if content is None else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    if content is not None:
        with content, path.open("xb") as file:
            shutil.copyfileobj(content, file, BLOCK)


def _members(archive: Path) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """Name, size and open content of each file in an archive; of folders, the content is None."""
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            for member in tar:
                if not member.isfile() and not member.isdir():
                    raise ValueError(f"{archive} holds {member.name!r}, a link or a device; only files may be in it")
                yield member.name, member.size, tar.extractfile(member)
            while tar.fileobj.read(BLOCK):
                pass  # gzip's checksum comes last, and tells only who has read on to it
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise ValueError(f"{archive} holds {info.filename!r}, a link; only files may be in it")
                yield info.filename, info.file_size, None if info.is_dir() else bundle.open(info)
    else:
        raise ValueError(f"{archive} is not a zip or tar archive, or it is damaged")


def _filled(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())
