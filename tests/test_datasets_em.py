"""The membranes of ISBI 2012, made-up slices and the real ones."""

import io
import zipfile

import cv2
import numpy as np
import pytest
import torch
from local_data import need
from PIL import Image

from segedu.datasets import em, open_dataset
from segedu.datasets.em import Membranes
from segedu.download import DownloadError


def picture(number):
    return np.full((512, 512), number, np.uint8)


def labels(number):
    """Cells, but for one membrane across, another for each slice."""
    made = np.full((512, 512), 255, np.uint8)
    made[10 * number : 10 * number + 3] = 0
    return made


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    for number in range(30):
        for what, make in (("image", picture), ("label", labels)):
            (tmp_path / what).mkdir(exist_ok=True)
            (tmp_path / what / f"{number}.png").write_bytes(png(make(number)))
    return tmp_path


def test_samples_are_grey_slices_in_the_order_of_their_numbers(folder):
    samples = Membranes(folder, "train")
    assert samples.names == [str(number) for number in range(30)]
    for number in (0, 2, 10):
        image, target = samples[number]
        assert (image.dtype, image.shape, target.dtype, target.shape) == (
            torch.uint8, (1, 512, 512), torch.uint8, (512, 512),
        )  # fmt: skip
        assert (image == number).all()
        assert (target.numpy() == (labels(number) == 255)).all()
    assert samples.classes == ("membrane", "cell")


def stack(make, count=30):
    file = io.BytesIO()
    first, *others = (Image.fromarray(make(number)) for number in range(count))
    first.save(file, "tiff", save_all=True, append_images=others)
    return file.getvalue()


@pytest.fixture
def stacks(tmp_path):
    """Slices as the challenge gave them."""
    place = tmp_path / "stacks"
    place.mkdir()
    (place / "train-volume.tif").write_bytes(stack(picture))
    (place / "train-labels.tif").write_bytes(stack(labels))
    return place


def test_reads_the_challenge_s_own_stacks(folder, stacks):
    for split in ("train", "fold2-val"):
        ours, theirs = Membranes(folder, split), open_dataset("isbi2012", split, stacks)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert all((a == b).all() for a, b in zip(one, other, strict=True))
    assert em.check(stacks).wrong == []


@pytest.mark.parametrize("count", [4, 24, 30])
def test_folds_are_blocks_and_together_all_slices(count):
    there = list(range(count))
    blocks = [em.slices(f"fold{fold}-val", there) for fold in range(4)]
    assert [number for block in blocks for number in block] == em.slices("train", there) == there
    for fold, block in enumerate(blocks):
        assert block == list(range(block[0], block[-1] + 1))
        assert abs(len(block) - count / 4) < 1
        assert sorted(block + em.slices(f"fold{fold}-train", there)) == there


def test_joins_folds(folder):
    for number in range(24, 30):
        (folder / "image" / f"{number}.png").unlink()
        (folder / "label" / f"{number}.png").unlink()
    assert Membranes(folder, "fold3-val+fold0-val").names == [*map(str, range(18, 24)), *map(str, range(6))]
    for split in ("val", "fold4-val", "fold0", "fold0-val+"):
        with pytest.raises(ValueError, match="split must be one of fold0-train"):
            Membranes(folder, split)


def test_check_says_which_slices_are_missing(folder):
    (folder / "label" / "3.png").unlink()
    (folder / "image" / "28.png").unlink()
    for what in ("image", "label"):
        (folder / what / "7.png").unlink()
    assert em.check(folder).wrong == [
        "slices without labels: 3",
        "labels without slices: 28",
        "slices left out: 7",
    ]
    assert Membranes(folder, "train").names[:6] == ["0", "1", "2", "4", "5", "6"]


def test_says_where_there_is_nothing_to_split(folder):
    for path in (folder / "label").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="must hold slices with labels, got 0"):
        Membranes(folder, "train")


@pytest.mark.parametrize(
    ("content", "message"),
    {
        "half a membrane": (png(np.full((512, 512), 128, np.uint8)), r"0 for membranes and 255 for cells, got \[128\]"),
        "another size": (png(np.zeros((512, 511), np.uint8)), "512 x 512 pixels"),
        "truncated": (png(labels(0))[:-30], "whole image file"),
    }.values(),
)
def test_says_what_is_wrong_with_labels(folder, content, message):
    (folder / "label" / "7.png").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Membranes(folder, "train")[7]
    assert len(em.check(folder).wrong) == 1


def test_says_what_is_wrong_with_stacks(stacks):
    (stacks / "train-labels.tif").write_bytes(stack(labels, 29))
    assert "two stacks of as many slices" in em.check(stacks).wrong[0]
    (stacks / "train-volume.tif").write_bytes(stack(picture, 29))
    assert em.check(stacks).wrong == ["the stacks must have 30 slices, got 29"]
    (stacks / "train-volume.tif").write_bytes(b"not a picture")
    assert "whole image file" in em.check(stacks).wrong[0]
    (stacks / "train-volume.tif").write_bytes(stack(picture))
    (stacks / "train-labels.tif").unlink()
    assert "train-labels.tif" in em.check(stacks).wrong[0]


# Download


@pytest.fixture
def home(server, monkeypatch):
    server.files["/isbi.zip"] = archive()
    monkeypatch.setattr(em, "HOME", f"{server.root}/isbi.zip")
    return server


def archive(**changed):
    """The organisers' archive."""
    files = {"train-volume.tif": stack(picture), "train-labels.tif": stack(labels), "test-volume.tif": stack(picture)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as bundle:
        for name, content in (files | {name.replace("_", "-") + ".tif": one for name, one in changed.items()}).items():
            bundle.writestr(f"ISBI-2012-challenge/{name}", content)
    return file.getvalue()


def test_get_brings_the_stacks_over_a_connection_that_breaks(home, tmp_path):
    home.cuts, home.statuses = [1_000_000, 0, 4_000_000], [200, 503, 200, 429]
    em.get(tmp_path)
    assert (tmp_path / "train-volume.tif").read_bytes() == stack(picture)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train-labels.tif", "train-volume.tif"]
    assert em.check(tmp_path).wrong == []
    assert {condition for _, condition in home.requests[2:]} == {'"one"'}, "it goes on where it was"
    home.requests.clear()
    em.get(tmp_path)
    assert home.requests == []


def test_get_takes_no_part_of_another_version(home, tmp_path):
    home.cuts, home.statuses = [1_000_000], [200, 404]
    with pytest.raises(DownloadError, match="404"):
        em.get(tmp_path)
    home.files["/isbi.zip"], home.marks = archive(train_volume=stack(labels)), {"ETag": '"two"'}
    em.get(tmp_path)
    assert (tmp_path / "train-volume.tif").read_bytes() == stack(labels)


def test_get_deletes_what_is_wrong(home, tmp_path):
    right = home.files["/isbi.zip"]
    for wrong in (b"<html>Moved</html>", right[:-1000]):
        home.files["/isbi.zip"] = wrong
        with pytest.raises(DownloadError, match="was wrong, and was deleted"):
            em.get(tmp_path)
        assert list(tmp_path.iterdir()) == []
    home.files["/isbi.zip"] = right
    em.get(tmp_path)
    assert em.check(tmp_path).wrong == []


# The real ones


def test_real_slices():
    folder = need("isbi2012")
    samples = Membranes(folder, "train")
    assert len(samples) == 24
    share = []
    for index in (0, 9, 23):
        image, target = samples[index]
        independent = cv2.imread(str(folder / "label" / f"{index}.png"), cv2.IMREAD_GRAYSCALE)
        assert (target.numpy() * 255 == independent).all()
        share.append(1 - target.float().mean())
        # Membranes are dark, cells bright.
        assert image[0][target == 0].float().mean() < image[0][target == 1].float().mean() - 30
    assert min(share) > 0.15 and max(share) < 0.3
    assert em.check(folder).wrong == []
