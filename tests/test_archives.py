"""Archives, honest and not."""

import io
import os
import random
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segedu.archives import unpack

FILES = {"images/a.png": b"a" * 70_000, "images/deep/b.png": random.Random(0).randbytes(500_000), "readme.txt": b""}
MODES = ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"]


def pack(path: Path, mode: str, files=FILES) -> Path:
    """An archive under a name that does not say what it is."""
    if mode == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, f"w:{mode[4:]}") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_nothing_but(archive: Path):
    assert list(archive.parent.iterdir()) == [archive], "something was left"


@pytest.mark.parametrize("mode", MODES)
def test_all_files_come_out(tmp_path, mode):
    folder = tmp_path / "data" / "set"
    assert unpack(pack(tmp_path / "archive", mode), str(folder)) == folder
    assert read(folder) == FILES
    assert list(folder.parent.iterdir()) == [folder]


def test_takes_what_others_packed(tmp_path):
    source = tmp_path / "source"
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    (source / "empty").mkdir()
    subprocess.run(["tar", "-czf", tmp_path / "by.tar", "-C", source, "."], check=True)
    subprocess.run([sys.executable, "-m", "zipfile", "-c", tmp_path / "by.zip", *source.iterdir()], check=True)
    for name in ("by.tar", "by.zip"):
        folder = unpack(tmp_path / name, tmp_path / f"{name} unpacked")
        assert read(folder) == FILES
        assert (folder / "empty").is_dir()


def test_a_tar_of_zips_is_a_tar(tmp_path):
    inner = pack(tmp_path / "inner", "zip").read_bytes()
    folder = unpack(pack(tmp_path / "archive", "tar", {"inner.zip": inner}), tmp_path / "out")
    assert read(folder) == {"inner.zip": inner}


def test_gives_the_usual_permissions(tmp_path):
    with tarfile.open(tmp_path / "archive", "w") as archive:
        member = tarfile.TarInfo("program")
        member.mode = 0o6777
        archive.addfile(member)
    (tmp_path / "usual").touch()
    folder = unpack(tmp_path / "archive", tmp_path / "out")
    assert (folder / "program").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_leaves_a_folder_that_has_something_in_it(tmp_path):
    archive, folder = pack(tmp_path / "archive", "zip"), tmp_path / "out"
    folder.mkdir()
    (folder / "mine").touch()
    assert unpack(archive, folder) == folder
    assert read(folder) == {"mine": b""}


def test_fills_an_empty_folder_and_clears_away_what_a_killed_call_left(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "half a file").touch()
    assert read(unpack(pack(tmp_path / "archive", "tar.gz"), tmp_path / "out")) == FILES
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "out"}


def test_threads_take_turns(tmp_path):
    archive, folder = pack(tmp_path / "archive", "tar.xz"), tmp_path / "out"
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(unpack, [archive] * 8, [folder] * 8)) == [folder] * 8
    assert read(folder) == FILES


@pytest.mark.parametrize("mode", ["tar", "zip"])
@pytest.mark.parametrize(
    "name",
    ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "C:\\out.txt", "C:out.txt", "..\\out.txt", "\\\\host\\a\\b"],
)
def test_nothing_leads_out_of_the_folder(tmp_path, mode, name):
    archive = pack(tmp_path / "archive", mode, {"fine.txt": b"", name: b"!"})
    with pytest.raises(ValueError, match="leads out of the folder"):
        unpack(archive, tmp_path / "out")
    assert_nothing_but(archive)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_no_links_or_devices_in_a_tar(tmp_path, kind):
    with tarfile.open(tmp_path / "archive", "w") as archive:
        member = tarfile.TarInfo("passwords")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ValueError, match="'passwords', a link or a device"):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert_nothing_but(tmp_path / "archive")


def test_no_links_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        member = zipfile.ZipInfo("passwords")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(ValueError, match="'passwords', a link"):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert_nothing_but(tmp_path / "archive")


@pytest.mark.parametrize("mode", ["tar.gz", "zip"])
def test_stops_a_bomb(tmp_path, mode):
    archive = pack(tmp_path / "archive", mode, {f"{i}": bytes(100_000) for i in range(10)})
    assert archive.stat().st_size < 10_000
    with pytest.raises(ValueError, match="more than 999999 bytes"):
        unpack(archive, tmp_path / "out", max_bytes=999_999)
    assert_nothing_but(archive)
    assert len(read(unpack(archive, tmp_path / "out", max_bytes=1_000_000))) == 10


def test_a_zip_that_lies_about_a_size_is_stopped(tmp_path):
    archive = pack(tmp_path / "archive", "zip", {"bomb": bytes(1_000_000)})
    size = (1_000_000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="damaged"):
        unpack(archive, tmp_path / "out", max_bytes=100)
    assert_nothing_but(archive)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_no_name_comes_twice(tmp_path, names):
    with tarfile.open(tmp_path / "archive", "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(ValueError, match="twice"):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert_nothing_but(tmp_path / "archive")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("keep", [0, 100, 250_000])
def test_says_that_an_archive_is_cut(tmp_path, mode, keep):
    archive = pack(tmp_path / "archive", mode)
    os.truncate(archive, keep)
    with pytest.raises(ValueError, match=r"damaged"):
        unpack(archive, tmp_path / "out")
    assert_nothing_but(archive)


@pytest.mark.parametrize("mode", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_says_that_an_archive_is_damaged(tmp_path, mode):
    archive = pack(tmp_path / "archive", mode)
    content = bytearray(archive.read_bytes())
    content[300_000:300_100] = bytes(100)
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        unpack(archive, tmp_path / "out")
    assert_nothing_but(archive)


def test_says_that_a_file_is_no_archive_or_not_there(tmp_path):
    (tmp_path / "archive").write_text("no archive")
    with pytest.raises(ValueError, match="not a zip or tar archive"):
        unpack(tmp_path / "archive", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="nothing"):
        unpack(tmp_path / "nothing", tmp_path / "out")
    assert_nothing_but(tmp_path / "archive")
