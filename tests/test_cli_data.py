"""`segedu data` on small data sets that are whole, broken or far away."""

import io
import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from segedu.cli import app
from segedu.datasets import camvid, coco_home, em, homes
from segedu.datasets.shapes import make_scene, to_coco, to_coco_panoptic


@pytest.fixture
def segedu(monkeypatch, tmp_path):
    """Run `segedu data ...` on a machine without data; return its code, and what it said."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.delenv("SEGEDU_DATA", raising=False)

    def run(*arguments):
        done = CliRunner().invoke(app, ["data", *map(str, arguments)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return run


@pytest.fixture
def slices(tmp_path):
    """A small ISBI 2012."""
    for number in range(8):
        cells = np.full((512, 512), 255, np.uint8)
        cells[60 * number : 60 * number + 4] = 0
        for what, picture in (("image", cells // 2), ("label", cells)):
            path = tmp_path / "data" / "isbi2012" / what / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    return tmp_path / "data"


def coco(folder):
    """A small COCO with both kinds of truth: two images of shapes."""
    scenes = [make_scene(seed, (64, 96), 4) for seed in range(2)]
    documents = {"instances": to_coco(scenes)}
    documents["panoptic"], maps = to_coco_panoptic(scenes)
    files = {f"annotations/{kind}_val2017.json": json.dumps(one).encode() for kind, one in documents.items()}
    for scene, ids, record in zip(scenes, maps, documents["panoptic"]["images"], strict=True):
        for place, pixels in (("val2017", scene.image), ("annotations/panoptic_val2017", ids)):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "png")
            files[f"{place}/{record['file_name']}"] = file.getvalue()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return files


def test_list_says_what_there_is_and_where(segedu, slices, monkeypatch):
    code, said = segedu("list")
    assert code == 0
    for name in ("camvid", "isbi2012", "dsb2018", "coco-instances", "coco-panoptic", "shapes"):
        assert re.search(rf"│ {name}\s+│", said)
    assert str(slices) not in said and "CC0" in said and "367" in said
    code, said = segedu("list", "--data", slices)
    assert code == 0 and str(slices / "isbi2012") in said
    monkeypatch.setenv("SEGEDU_DATA", str(slices))
    assert str(slices / "isbi2012") in segedu("list")[1]


def test_list_fits_a_narrow_terminal(segedu, slices, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, said = segedu("list", "--data", slices)
    table = [line for line in said.splitlines() if line[:1] in "┏┃┡│├└"]
    assert table and max(map(len, table)) <= 80
    assert "coco-instances" in said and "…" not in said


def test_check_ends_with_0_where_nothing_is_wrong(segedu, slices):
    code, said = segedu("check", "isbi2012", "--data", slices)
    assert (code, "8 slices with labels" in said, "Nothing is wrong" in said) == (0, True, True)


def test_check_numbers_what_is_wrong_and_ends_with_1(segedu, slices):
    (slices / "isbi2012" / "image" / "3.png").unlink()
    Image.new("L", (512, 512), 9).save(slices / "isbi2012" / "label" / "5.png")
    (slices / "isbi2012" / "image" / "6.png").write_bytes(b"[red]not a picture[/red]")
    code, said = segedu("check", "isbi2012", "--data", slices)
    assert code == 1
    lines = said.splitlines()
    assert [line for line in lines if "3 wrong" in line]
    numbered = [line for line in lines if re.match(r" +\d\. ", line)]
    assert len(numbered) == 3
    assert "labels without slices: 3" in numbered[0]
    assert "5.png must hold 0 for membranes and 255 for cells, got [9]" in numbered[1]
    assert "6.png must be a whole image file" in numbered[2]


@pytest.mark.parametrize("command", [("check",), ("preview", "--out", "x.png")])
def test_says_where_it_looked_and_how_to_get_it(segedu, tmp_path, command):
    code, said = segedu(command[0], "camvid", *command[1:], "--data", tmp_path)
    assert code == 2
    assert f"{tmp_path} must hold camvid" in said and "segedu data get camvid" in said
    assert str(tmp_path / "cache" / "segedu") in segedu(command[0], "camvid", *command[1:])[1]
    code, said = segedu(command[0], "imagenet", *command[1:])
    assert code == 2 and "name must be one of camvid, isbi2012" in said


PREVIEWS = [("isbi2012", "train"), ("coco-instances", "val"), ("coco-panoptic", "val"), ("shapes", "test")]


@pytest.mark.parametrize(("name", "split"), PREVIEWS)
def test_preview_draws_images_and_their_truth(segedu, slices, tmp_path, name, split):
    coco(slices / "coco")
    pictures = []
    for index in (0, 1):
        out = tmp_path / f"{index}.png"
        code, said = segedu(
            "preview", name, "--split", split, "--index", index, "--count", 1, "--out", out, "--data", slices
        )
        assert (code, str(out) in said) == (0, True)
        pictures.append(np.asarray(Image.open(out).convert("RGB")).astype(int))
    assert pictures[0].shape[1] == pictures[1].shape[1] > 1000
    image, truth = np.array_split(pictures[0], 2, axis=1)
    assert image.std() > 5 and np.abs(image - truth[:, : image.shape[1]]).mean() > 2, "the truth is painted"
    both = tmp_path / "both.png"
    assert segedu("preview", name, "--split", split, "--count", 2, "--out", both, "--data", slices)[0] == 0
    assert Image.open(both).height > 1.3 * len(pictures[0])


def test_preview_says_what_is_wrong(segedu, slices, tmp_path):
    def error(*options):
        code, said = segedu("preview", "isbi2012", *options, "--data", slices)
        assert code == 2
        return said

    assert "must be below 8, the number of samples in train, got 8" in error("--index", 8, "--out", tmp_path / "a.png")
    assert "split must be one of fold0-train" in error("--split", "val", "--out", tmp_path / "a.png")
    assert "xyz" in error("--out", tmp_path / "a.xyz")
    assert "Missing option" in error()
    (slices / "isbi2012" / "image" / "0.png").write_bytes(b"")
    assert "whole image file" in error("--out", tmp_path / "a.png")
    assert not list(tmp_path.glob("a.*"))


def test_get_downloads_checks_and_says_where(segedu, server, tmp_path, monkeypatch):
    files = coco(tmp_path / "made")
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("annotations/instances_val2017.json", files["annotations/instances_val2017.json"])
    server.files = {f"/{name}": content for name, content in files.items()}
    server.files["/annotations/annotations_trainval2017.zip"] = bundle.getvalue()
    server.cuts = [1000, None, 50]
    monkeypatch.setattr(coco_home, "HOME", server.root)
    monkeypatch.setitem(coco_home.ARCHIVES, "annotations_trainval2017.zip", (None, None))
    code, said = segedu("get", "coco-instances", "--split", "val", "--images", 1, "--categories", "disc, star")
    assert code == 0, said
    place = tmp_path / "cache" / "segedu" / "coco"
    assert str(place) in said and "val: 1 images" in said and "Nothing is wrong" in said
    assert len(list((place / "val2017").iterdir())) == 1
    code, said = segedu("get", "coco-instances", "--split", "val", "--images", 0)
    assert code == 0 and "val: 2 images" in said, "0 is all"
    code, said = segedu("get", "coco-instances", "--categories", "unicorn", "--split", "val")
    assert code == 2 and "got unicorn" in said


def test_get_ends_with_1_where_what_came_is_wrong(segedu, server, tmp_path, monkeypatch):
    """A repository that has all folders, and too few frames."""
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        for split in camvid.SPLITS:
            for name in (split, f"{split}annot"):
                archive.writestr(f"top/CamVid/{name}/1.png", b"no picture")
    server.files = {f"/{camvid.REPOSITORY}/archive/{camvid.COMMIT}.zip": bundle.getvalue()}
    monkeypatch.setattr(homes, "GITHUB", server.root)
    code, said = segedu("get", "camvid", "--data", tmp_path / "data")
    assert code == 1
    assert "must be 367 frames with labels, got 1" in said and "must be a whole image file" in said


def test_get_says_why_it_failed(segedu, server, tmp_path, monkeypatch):
    server.files = {"/other": b""}
    monkeypatch.setattr(em, "HOME", f"{server.root}/isbi.zip")
    code, said = segedu("get", "isbi2012", "--data", tmp_path)
    assert code == 2 and "404" in said and "by hand" in said
    code, said = segedu("get", "isbi2012", "--images", 3, "--categories", "a")
    assert code == 2 and "--images, --categories is for COCO" in said
    (tmp_path / "file").write_text("")
    assert segedu("get", "isbi2012", "--data", tmp_path / "file")[0] == 2


def test_generated_scenes_need_nothing(segedu):
    for command in ("get", "check"):
        code, said = segedu(command, "shapes")
        assert code == 0 and "needs no files" in said


@pytest.mark.parametrize("command", ["list", "get", "check", "preview"])
def test_help_has_an_example(segedu, command):
    code, said = segedu(command, "--help")
    assert code == 0 and f"segedu data {command}" in said.split("Example")[1]
