"""Photographs: their masks fill the image, count what can be counted and cover pixels picked by eye."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw
from skimage import data
from skimage.filters import sobel, threshold_otsu
from skimage.measure import label

from segedu.datasets import photos
from segedu.datasets.photos import VOID, load, names
from segedu.plots import legend

# What an eye sees at (x, y); chosen in the middle of parts and on either side of outlines, two to four pixels away.
SEEN = {
    "astronaut": {
        (225, 100): "person", (225, 210): "person", (120, 300): "person", (30, 60): "flag", (60, 150): "flag",
        (80, 160): "flag", (90, 160): "wall", (330, 100): "wall", (410, 60): "spacecraft", (445, 120): "spacecraft",
        (460, 120): "wall", (431, 250): "wall", (450, 310): "table", (400, 450): "helmet", (485, 402): "helmet",
        (492, 402): "table",
    },
    "camera": {
        (100, 40): "sky", (450, 140): "sky", (430, 160): "building", (15, 210): "building", (250, 225): "building",
        (450, 350): "grass", (110, 490): "grass", (80, 200): "person", (245, 165): "person", (280, 255): "person",
        (290, 160): "camera", (293, 280): "tripod", (293, 420): "tripod", (270, 420): "grass", (330, 235): "void",
    },
    "cell": {(430, 375): "cell", (430, 300): "background", (50, 50): "background"},
    "chelsea": {
        (250, 100): "cat", (170, 115): "cat", (360, 110): "cat", (5, 5): "background", (372, 110): "background",
        (340, 270): "void",
    },
    "coffee": {
        (290, 40): "cup", (220, 260): "cup", (280, 150): "coffee", (120, 250): "saucer", (365, 280): "spoon",
        (408, 85): "spoon", (40, 30): "floor", (550, 250): "table", (245, 290): "saucer",
    },
    "coins": {(335, 45): "coin", (45, 260): "coin", (350, 270): "coin", (200, 90): "background"},
    "motorcycle": {
        (400, 200): "motorcycle", (200, 240): "motorcycle", (600, 440): "motorcycle", (270, 200): "motorcycle",
        (329, 420): "motorcycle", (400, 450): "floor", (600, 40): "wall", (60, 150): "bench", (530, 240): "wall",
    },
    "page": {(115, 17): "text line", (115, 30): "paper", (300, 140): "paper", (10, 188): "void"},
    "rocket": {
        (322, 250): "rocket", (322, 145): "rocket", (340, 145): "sky", (60, 200): "tower", (200, 160): "tower",
        (300, 415): "building", (364, 397): "void", (150, 60): "sky",
    },
}  # fmt: skip

INSTANCES = {
    "astronaut": ["flag", "spacecraft", "person", "helmet"],
    "camera": ["person", "tripod", "camera"],
    "cell": ["cell"],
    "chelsea": ["cat"],
    "coffee": ["saucer", "cup", "spoon"],
    "coins": ["coin"] * 24,
    "motorcycle": ["bench", "motorcycle"],
    "page": ["text line"] * 7,
    "rocket": ["tower"] * 5 + ["rocket"],
}


def test_every_photograph_is_listed_and_checked():
    assert names() == sorted(SEEN) == sorted(INSTANCES)


@pytest.mark.parametrize("name", sorted(SEEN))
def test_masks_cover_what_an_eye_sees(name):
    photo = load(name)
    for (x, y), category in SEEN[name].items():
        found = photo.semantic[y, x]
        found = "void" if found == VOID else photo.categories[found]
        assert found == category, f"{name} at x={x}, y={y}"


@pytest.mark.parametrize("name", sorted(SEEN))
def test_three_truths_tell_the_same_story(name):
    photo = load(name)
    assert photo.image.dtype == np.uint8 and photo.image.shape[:2] == photo.semantic.shape
    valid = photo.semantic != VOID
    assert photo.semantic[valid].max() < len(photo.categories)
    assert valid.mean() > 0.95
    assert np.array_equal(photo.panoptic[..., 0], photo.semantic)
    assert np.array_equal(photo.panoptic[..., 1] > 0, np.isin(photo.semantic, photo.things))
    assert photo.instances.sum(axis=0).max() == 1
    for number, (mask, category) in enumerate(zip(photo.instances, photo.instance_categories, strict=True), start=1):
        assert mask.sum() > 50
        assert (photo.panoptic[mask] == (category, number)).all()
    assert [photo.categories[c] for c in photo.instance_categories] == INSTANCES[name]
    assert sorted(photo.things + photo.stuff) == list(range(len(photo.categories)))


@pytest.mark.parametrize("name", ["astronaut", "camera", "cell", "chelsea", "coffee", "coins", "page", "rocket"])
def test_image_is_the_one_that_scikit_image_loads(name):
    assert np.array_equal(load(name).image, getattr(data, name)())


@pytest.mark.parametrize("name", sorted(SEEN))
def test_polygons_filled_by_pillow_give_nearly_the_same_map(name):
    photo = load(name)
    height, width = photo.semantic.shape
    scale = 4  # Pillow fills on whole pixels: draw large, then look at the pixels' centres
    canvas = Image.new("L", (width * scale, height * scale), VOID)
    drawing = ImageDraw.Draw(canvas)
    for category, outlines in photo.polygons:
        for outline in outlines:
            drawing.polygon([scale * v - 0.5 for v in outline], fill=category)
    other = np.asarray(canvas)[scale // 2 :: scale, scale // 2 :: scale]
    tolerance = 0.03 if name == "page" else 0.005  # page: strokes one or two pixels wide, nearly all of them outline
    assert (other != photo.semantic).mean() < tolerance


@pytest.mark.parametrize("name", sorted(SEEN))
def test_no_two_categories_of_a_photograph_share_a_colour(name):
    photo = load(name)
    colours = legend(photo.semantic, photo.categories)
    assert len(set(colours.values())) == len(colours) == len(np.unique(photo.semantic))


def test_outlines_lie_on_edges_of_the_image():
    for name in ("coins", "cell"):
        photo = load(name)
        edges = sobel(photo.image)
        mask = photo.instances.any(axis=0)
        outline = mask ^ np.roll(mask, 1, axis=0) | mask ^ np.roll(mask, 1, axis=1)
        assert edges[outline].mean() > 3 * edges.mean(), name


def test_each_coin_is_one_piece_about_as_round_as_coins_are():
    for coin in load("coins").instances:
        assert label(coin).max() == 1
        rows, columns = np.flatnonzero(coin.any(axis=1)), np.flatnonzero(coin.any(axis=0))
        assert 0.8 < len(rows) / len(columns) < 1.25
        assert coin.sum() == pytest.approx(
            np.pi / 4 * len(rows) * len(columns), rel=0.08
        )  # some have lost a piece or were struck square


def test_uneven_light_of_the_page_defeats_one_threshold_but_not_its_truth():
    page = load("page")
    text = page.instances.any(axis=0)
    assert page.image[text].mean() + 50 < page.image[~text].mean()
    dark = page.image < threshold_otsu(page.image)
    assert (dark & ~text & (page.semantic != VOID)).sum() > text.sum(), "one threshold takes shadow for text"


def test_unknown_names_and_changed_files_are_refused(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="name must be one of astronaut"):
        load("lena")
    folder = tmp_path / "photos"
    shutil.copytree(photos.shipped_folder("photos"), folder)
    monkeypatch.setattr(photos, "shipped_folder", lambda _: folder)
    document = json.loads((folder / "cell.json").read_text())
    (folder / "cell.json").write_text(json.dumps(document | {"sha256": "0" * 64}))
    with pytest.raises(ValueError, match="must have SHA-256 0000"):
        load("cell")
    (folder / "cell.json").write_text(json.dumps(document | {"image": "absent.png"}))
    with pytest.raises(FileNotFoundError, match=r"does not ship absent\.png"):
        load("cell")
    (folder / "cell.json").write_text(json.dumps(document | {"size": [1, 2]}))
    with pytest.raises(ValueError, match="must be 1 x 2 pixels"):
        load("cell")
