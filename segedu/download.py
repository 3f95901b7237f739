"""Files from the network: whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

ATTEMPTS = 5  # in a row that bring nothing new
FIRST_PAUSE = 0.5  # in seconds; it doubles with each such attempt
WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)  # HTTP status
BLOCK = 1 << 18  # bytes


class DownloadError(OSError):
    """A file did not come, or came wrong. The message says what to do."""


class _Interrupted(Exception):
    """The connection failed in a way that may pass."""


class _NoSuchRange(_Interrupted):
    """The server's file has no such part."""


def fetch(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: bool = True,
    timeout: float = 30.0,
) -> Path:
    """Download a file to `path`, unless the right one is there.

    What arrives is kept in `path`.part. A connection that breaks is made again, and a later call goes on where an
    earlier one stopped, if the server still has the same file. Only a complete file of the right size and hash gets its
    name. Processes that fetch the same path take turns, and the later ones find it there.

    Args:
        url: http or https.
        path: of the file; its folder is made if there is none.
        sha256: that the file must have, 64 hexadecimal digits.
        size: that the file must have, in bytes.
        progress: show a bar on the terminal or in the notebook.
        timeout: how long to wait for the server, in seconds, each time it is silent.

    Returns:
        The path.

    Raises:
        ValueError: for another kind of url or hash, or if another file than the one asked for is at `path`.
        DownloadError: if the file cannot be had, or is not the one asked for.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"url must begin with http:// or https://, got {url!r}")
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"sha256 must be 64 hexadecimal digits, got {sha256!r}")
    path = Path(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path):
            if not path.exists():
                _fetch(url, path, sha256, size, progress, timeout)
                return path
    if fault := _fault(path, sha256, size):
        raise ValueError(f"{path} {fault}: it is another file or a damaged one; delete it to download it again")
    return path


def _fetch(url: str, path: Path, sha256: str | None, size: int | None, progress: bool, timeout: float) -> None:
    part = beside(path, ".part")
    validator = beside(part, ".etag")
    by_hand = f"or place the file at {path} by hand" + (f" (SHA-256 {sha256})" if sha256 else "")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not progress) as bar:
            bar.add_task(path.name, total=size)
            _persist(url, part, validator, size, timeout, bar)
    except DownloadError as error:
        raise DownloadError(f"could not download {url}: {error}; try again later, {by_hand}") from error
    if fault := _fault(part, sha256, size):
        part.unlink()
        validator.unlink(missing_ok=True)
        raise DownloadError(f"what came from {url} {fault}, and was deleted; try again, {by_hand}")
    part.replace(path)
    validator.unlink(missing_ok=True)


def _persist(url: str, part: Path, validator: Path, size: int | None, timeout: float, bar: Progress) -> None:
    """Download, again and again, until the file is complete or `ATTEMPTS` in a row brought nothing new."""
    furthest, failures = _length(part), 0
    while True:
        try:
            return _download(url, part, validator, size, timeout, bar)
        except _Interrupted as error:
            failures = failures + 1 if _length(part) <= furthest else 1
            furthest = max(furthest, _length(part))
            if failures == ATTEMPTS:
                raise DownloadError(f"{error}, {failures} times in a row") from error
        time.sleep(FIRST_PAUSE * 2 ** (failures - 1))


def _download(url: str, part: Path, validator: Path, size: int | None, timeout: float, bar: Progress) -> None:
    """Complete `part` with one request: for what is missing, if the server still has the file that it began with."""
    begun = validator.read_text(encoding="utf-8") if validator.exists() else None
    # The last byte comes again, so that there always is one to ask for.
    known = max(_length(part) - 1, 0) if begun else 0
    request = urllib.request.Request(url, headers={"User-Agent": "segedu", "Accept-Encoding": "identity"})
    if known:
        request.add_header("Range", f"bytes={known}-")
        request.add_header("If-Range", begun)
    try:
        response = _open(request, timeout)
    except _NoSuchRange:
        validator.unlink(missing_ok=True)  # so the next request is for the whole file
        raise
    with response:
        start, total = _range(response)
        if start and (start != known or _validator(response) not in (begun, None)):
            validator.unlink(missing_ok=True)
            raise _Interrupted("the server went on with another file than it began with")
        if total is None:
            total = size
        elif size is not None and size != total:
            raise DownloadError(f"expected {size} bytes, but the server has {total}")
        with part.open("r+b" if start else "wb") as file:
            if not start:
                # Not before the old bytes are gone: it is what says whose bytes the part has.
                validator.unlink(missing_ok=True)
                if mark := _validator(response):
                    validator.write_text(mark, encoding="utf-8")
            file.seek(start)
            bar.reset(bar.task_ids[0], completed=start, total=total)
            while block := _read(response):
                file.write(block)
                bar.advance(bar.task_ids[0], len(block))
                if total is not None and file.tell() > total:
                    break
            os.fsync(file.fileno())
        if total is not None and _length(part) < total:
            raise _Interrupted(f"the connection was cut after {_length(part)} of {total} bytes")


def _open(request: urllib.request.Request, timeout: float) -> http.client.HTTPResponse:
    try:
        return urllib.request.build_opener(_StaysOnTheWeb).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"the server answered {error.code} {error.reason}"
        if error.code == 416:
            raise _NoSuchRange(answer) from error
        raise (_Interrupted if error.code in WORTH_ANOTHER_TRY else DownloadError)(answer) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, socket.gaierror):
            raise DownloadError(f"there is no network, or no such host ({error.reason})") from error
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"the server's certificate is not to be trusted ({error.reason})") from error
        raise _Interrupted(f"no connection ({error.reason})") from error
    except DownloadError:
        raise
    except (http.client.HTTPException, OSError) as error:
        raise _Interrupted(f"no answer ({error})") from error


class _StaysOnTheWeb(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):  # the names that urllib gives
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise DownloadError(f"the server redirects from {req.type} to {newurl}, which is less safe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(BLOCK)
    except (http.client.HTTPException, OSError) as error:
        raise _Interrupted(f"the connection broke ({error})") from error


def _range(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Where in the file the answer starts, and how long the whole file is, if the server says so."""
    if response.status != 206:
        return 0, response.length
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not found:
        raise DownloadError("the server sent a part of the file without saying which")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What `If-Range` takes to ask whether a file is still the same, byte for byte."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _fault(path: Path, sha256: str | None, size: int | None) -> str | None:
    """What is wrong with a file, if anything."""
    if size is not None and _length(path) != size:
        return f"has {_length(path)} bytes, expected {size}"
    if sha256 is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256.lower():
            return f"has SHA-256 {found}, expected {sha256}"
    return None


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one process at a time make what shall be at `path`."""
    lock = beside(path, ".lock")
    with FileLock(lock):
        try:
            yield
        finally:
            with suppress(OSError):  # Windows keeps a file that is open
                lock.unlink()


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
