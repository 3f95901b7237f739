"""The nuclei of DSB 2018, made-up tiles in both layouts and the real ones."""

import io
import zipfile

import cv2
import numpy as np
import pytest
import torch
from local_data import need
from PIL import Image

from segedu.datasets import homes, nuclei, open_dataset
from segedu.datasets.nuclei import Nuclei

SPLITS = {"train": [["aa", "cc"], ["ab"]], "val": [["bb"]]}
NAMES = ("aa", "ab", "bb", "cc")


def tile(seed):
    """An image and its nuclei, discs that do not overlap, numbered by their rows."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:256, :256]
    labels = np.zeros((256, 256), np.uint16)
    for number in range(1, 5):
        row, column, radius = 64 * number - 32, rng.integers(40, 216), rng.integers(5, 30)
        labels[(y - row) ** 2 + (x - column) ** 2 < radius**2] = number
    return rng.integers(0, 30, (256, 256), np.uint8) + np.uint8(100) * (labels > 0), labels


def png(array, mode=None):
    file = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, "png")
    return file.getvalue()


def published():
    """Tiles as the repository has them, by path, and one that we do not take."""
    made = {}
    for seed, name in enumerate([*NAMES, "zz"]):
        image, labels = tile(seed)
        made[f"{name}/images/{name}.png"] = png(image, "RGBA")
        for number in np.unique(labels)[1:]:
            made[f"{name}/masks/mask{number}.png"] = png((labels == number).astype(np.uint8) * 255)
    return made


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def few_tiles(monkeypatch, request):
    if "real" not in request.node.name:
        monkeypatch.setattr(nuclei, "splits", lambda: SPLITS)


@pytest.fixture
def folder(tmp_path):
    """Tiles with label maps."""
    files = {}
    for seed, name in enumerate(NAMES):
        image, labels = tile(seed)
        files |= {f"images/{name}.png": png(image), f"labels/{name}.png": png(labels)}
    return write(tmp_path / "dsb2018", files)


def test_samples_are_grey_tiles_and_instance_maps(folder):
    samples = open_dataset("dsb2018", "train", folder.parent)
    assert samples.names == ["aa", "ab", "cc"]
    for index, seed in enumerate((0, 1, 3)):
        image, target = samples[index]
        assert (image.dtype, image.shape, target.dtype, target.shape) == (
            torch.uint8, (1, 256, 256), torch.int32, (256, 256),
        )  # fmt: skip
        assert (image[0].numpy() == tile(seed)[0]).all()
        assert (target.numpy() == tile(seed)[1]).all()
    assert samples.ignore_index is None
    assert Nuclei(folder, "val+train").names == ["bb", "aa", "ab", "cc"]
    with pytest.raises(ValueError, match="train, val, or several joined by"):
        Nuclei(folder, "test")


@pytest.mark.parametrize("within", ["stage1_train", "."])
def test_masks_as_published_give_the_same(folder, tmp_path, within):
    other = write(tmp_path / "other" / within, published()).parent if within != "." else None
    other = other or write(tmp_path / "other", published())
    for split in SPLITS:
        for (image, labels), (same_image, same_labels) in zip(
            Nuclei(folder, split), open_dataset("dsb2018", split, other), strict=True
        ):
            assert (image == same_image).all()
            assert (labels == same_labels).all()
    assert nuclei.check(other).wrong == []


def test_where_masks_overlap_the_later_one_lies_on_top(tmp_path):
    files = published()
    files["aa/masks/mask9.png"] = png(np.full((256, 256), 255, np.uint8))
    _, target = Nuclei(write(tmp_path, files), "train")[0]
    assert (target == 5).all()


def test_check_counts_and_finds_what_is_missing(folder):
    assert nuclei.check(folder).there == ["train: 3 tiles, 12 nuclei", "val: 1 tiles, 4 nuclei"]
    (folder / "labels" / "bb.png").unlink()
    assert nuclei.check(folder).wrong == ["val: tiles that are not there, or without labels: bb"]
    with pytest.raises(FileNotFoundError, match="1 tiles with labels, and lacks 1, such as bb"):
        Nuclei(folder, "val")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    {
        "gap": ("labels/ab.png", png(tile(1)[1] * 2), r"1, 2 and so on, got \[0, 2, 4"),
        "floats": ("labels/ab.png", b"P7\n", "whole image file"),
        "colours": ("labels/ab.png", png(np.zeros((256, 256, 3), np.uint8)), "must hold integers"),
        "size": ("labels/ab.png", png(np.zeros((255, 256), np.uint16)), "must hold integers, 256 x 256"),
        "truncated": ("images/ab.png", png(tile(1)[0])[:-500], "whole image file"),
        "purple": ("images/ab.png", png(np.full((256, 256, 3), (200, 90, 210), np.uint8)), "must be grey, got colours"),
        "large": ("images/ab.png", png(np.zeros((256, 320), np.uint8)), "256 x 256 pixels"),
        "deep": ("images/ab.png", png(np.zeros((256, 256), np.uint16)), "uint8 of 256 x 256"),
    }.values(),
)
def test_says_what_is_wrong_with_a_tile(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Nuclei(folder, "train")[1]
    assert len(nuclei.check(folder).wrong) == 1


def test_says_what_is_wrong_with_a_mask(tmp_path):
    files = published()
    files["aa/masks/mask2.png"] = png(np.zeros((256, 200), np.uint8))
    with pytest.raises(ValueError, match=r"mask2.png must have 256 x 256 pixels"):
        Nuclei(write(tmp_path, files), "train")[0]


# Download


def test_get_brings_all_tiles_over_a_connection_that_breaks(folder, server, tmp_path, monkeypatch):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        for name, content in published().items():
            bundle.writestr(f"fixes-master/stage1_train/{name}", content)
    server.files = {f"/{nuclei.REPOSITORY}/archive/{nuclei.REVISION}.zip": archive.getvalue()}
    server.marks, server.cuts, server.statuses = {}, [100_000, 3], [200, 200, 502]
    monkeypatch.setattr(homes, "GITHUB", server.root)
    target = tmp_path / "got"
    nuclei.get(target)
    assert nuclei.check(target).wrong == []
    assert sorted(path.name for path in target.iterdir()) == ["stage1_train"]
    assert (Nuclei(target, "val")[0][1] == Nuclei(folder, "val")[0][1]).all()


# The real ones


@pytest.fixture(scope="module")
def real():
    return need("dsb2018")


def test_real_splits_are_four_fifths_and_a_fifth():
    names = {split: [name for view in views for name in view] for split, views in nuclei.splits().items()}
    assert {split: len(set(of_split)) for split, of_split in names.items()} == {"train": 214, "val": 54}
    assert not set(names["train"]) & set(names["val"])


def test_real_tiles(real):
    assert nuclei.check(real).wrong == []
    assert nuclei.check(real).there == ["train: 214 tiles, 5685 nuclei", "val: 54 tiles, 1774 nuclei"]
    samples = Nuclei(real, "val")
    for index in (0, 20, 53):
        independent = cv2.imread(str(real / "labels" / f"{samples.names[index]}.png"), cv2.IMREAD_UNCHANGED)
        assert (samples[index][1].numpy() == independent).all()


def test_real_neighbours_are_in_one_split(real):
    """Edges that go on from tile to tile, by another measure than the one that made the list: ranks, not values."""
    from scipy.stats import rankdata

    samples = Nuclei(real, "train+val")
    tiles = np.stack([samples.read(index)[0] for index in range(len(samples))])
    train = np.arange(len(samples)) < 214
    found = 0
    for ends, begins in ((tiles[:, -1], tiles[:, 0]), (tiles[:, :, -1], tiles[:, :, 0])):
        one, other = (rankdata(edges, axis=1) for edges in (ends, begins))
        correlation = np.corrcoef(one, other)[: len(one), len(one) :]
        np.fill_diagonal(correlation, 0)
        best = correlation.argmax(1)
        mutual = correlation.argmax(0)[best] == np.arange(len(best))
        bright = ends.std(1) > 2  # else there is nothing that could go on
        pairs = mutual & bright & (correlation.max(1) > 0.95)
        found += pairs.sum()
        assert (train[pairs] == train[best[pairs]]).all()
    assert found > 20
