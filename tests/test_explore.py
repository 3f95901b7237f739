"""Looks at a COCO document: against pycocotools, against cases made by hand, and by properties that must hold."""

import csv
import functools
import json
import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from typer.testing import CliRunner

from segedu import explore
from segedu.cli import app
from segedu.datasets import find_folder
from segedu.datasets.coco import Document, parse, read_document
from segedu.datasets.coco_instances import annotations_file, categories_of
from segedu.datasets.shapes import make_scene, to_coco
from segedu.explore.chords import GAP, spans
from segedu.masks import mask_to_polygons, rle_encode

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools

DATA = Path(os.environ.get("SEGEDU_DATA") or Path(__file__).parents[2] / "shared" / "data")
VIEWS = ("classes", "sizes", "positions", "crowding", "together", "chords")


def read(content: dict) -> Document:
    return parse(json.dumps(content).encode(), "made by the test", categories_of)


def block(number, image, category, x, y, width, height, **other):
    """An annotation that is a rectangle of whole pixels."""
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    usual = {"segmentation": [corners], "bbox": [x, y, width, height], "area": width * height, "iscrowd": 0}
    return {"id": number, "image_id": image, "category_id": category, **usual, **other}


def by_hand() -> dict:
    """Three images of 100 x 200 pixels: two cats and a dog; a dog in a crowd of cats; nothing. No bird anywhere."""
    crowd = np.zeros((100, 200), bool)
    crowd[:, 100:] = True
    crowded = block(5, 20, 7, 100, 0, 100, 100, segmentation=rle_encode(crowd, compressed=False), iscrowd=1)
    return {
        "images": [
            {"id": number, "file_name": f"{number}.png", "height": 100, "width": 200} for number in (10, 20, 30)
        ],
        "annotations": [
            block(1, 10, 7, 0, 0, 40, 40),
            block(2, 10, 7, 20, 0, 40, 20),  # half of it lies on the first cat
            block(3, 10, 9, 0, 0, 100, 100),
            block(4, 20, 9, 90, 40, 20, 20),
            crowded,
        ],
        "categories": [
            {"id": 7, "name": "cat", "supercategory": "animal"},
            {"id": 9, "name": "dog", "supercategory": "animal"},
            {"id": 12, "name": "bird"},
        ],
    }


# By hand


def test_classes_by_hand():
    table = explore.classes(explore.measure(read(by_hand()))).table
    expected = (
        {"class": "cat", "supercategory": "animal", "objects": 2, "crowds": 1, "images": 2, "pixels": 12_000},
        {"class": "dog", "supercategory": "animal", "objects": 2, "crowds": 0, "images": 2, "pixels": 10_400},
        {"class": "bird", "supercategory": "", "objects": 0, "crowds": 0, "images": 0, "pixels": 0},
    )
    assert table == [row | {"share": share} for row, share in zip(expected, (0.5, 0.5, 0), strict=True)]
    assert explore.imbalance(table) == 1
    assert explore.imbalance(table, "pixels") == 12_000 / 10_400
    assert np.isnan(explore.imbalance([]))


def test_sizes_by_hand():
    table = explore.sizes(explore.measure(read(by_hand()))).table
    names = ("class", "objects", "small", "medium", "large", "median_area", "median_relative_area")
    assert [tuple(row[name] for name in names) for row in table] == [
        ("all", 4, 2, 1, 1, 1200, 0.06),  # 400, 800, 1600, 10,000 of 20,000 pixels: 32² is 1024 and 96² is 9216
        ("cat", 2, 1, 1, 0, 1200, 0.06),
        ("dog", 2, 1, 0, 1, 5200, 0.26),
    ]
    assert (table[0]["least_relative_area"], table[0]["largest_relative_area"]) == (0.02, 0.5)


@pytest.mark.parametrize(("side", "kind"), [(31, "small"), (32, "medium"), (95, "medium"), (96, "large")])
def test_the_limits_are_where_coco_has_them(side, kind):
    document = by_hand() | {"annotations": [block(1, 10, 7, 0, 0, side, side)]}
    row = explore.sizes(explore.measure(read(document))).table[0]
    assert row[kind] == 1 and row["small"] + row["medium"] + row["large"] == 1


def test_positions_by_hand():
    table = explore.positions(explore.measure(read(by_hand()))).table
    dog = next(row for row in table if row["class"] == "dog")
    assert (dog["mean_x"], dog["mean_y"]) == pytest.approx((0.375, 0.5))  # between (0.25, 0.5) and (0.5, 0.5)
    assert (dog["spread_x"], dog["spread_y"]) == pytest.approx((0.125, 0))
    assert dog["in_middle"] == 0.5
    cat = next(row for row in table if row["class"] == "cat")
    assert (cat["mean_x"], cat["mean_y"]) == pytest.approx((0.15, 0.15)), "the crowd does not count"


def test_cover_is_how_many_objects_lie_over_a_place():
    cover = explore.measure(read(by_hand())).cover
    assert cover[0, 0] == pytest.approx(2 / 3), "cat and dog of one of three images"
    assert cover[0, 8] == pytest.approx(3 / 3), "two cats and a dog, about x = 25"
    assert cover[0, -1] == 0, "there is a crowd only"
    assert cover.mean() == pytest.approx((1600 + 800 + 10_000 + 400) / 3 / 20_000)


def test_crowding_by_hand():
    table = explore.crowding(explore.measure(read(by_hand()))).table
    assert [tuple(row.values()) for row in table] == [(10, 3, 0, 2), (20, 1, 1, 2), (30, 0, 0, 0)]


def test_together_by_hand():
    objects = explore.measure(read(by_hand()))
    assert explore.cooccurrence(objects).tolist() == [[2, 2, 0], [2, 2, 0], [0, 0, 0]]
    (row,) = explore.together(objects).table
    assert row == {
        "class_a": "cat",
        "class_b": "dog",
        "images": 2,
        "images_a": 2,
        "images_b": 2,
        "expected": pytest.approx(4 / 3),
        "lift": pytest.approx(1.5),
    }
    assert explore.chords(objects).table == [row]


def test_an_empty_document_has_views():
    nothing = by_hand() | {"images": [], "annotations": []}
    for content in (nothing, by_hand() | {"annotations": []}):
        objects = explore.measure(read(content))
        for name in VIEWS:
            explore.__dict__[name](objects).figure.canvas.draw()


# Properties


@st.composite
def documents(draw):
    """Small documents of random rectangles, some of them crowds."""
    images = draw(st.integers(1, 6))
    annotations = []
    for number in range(draw(st.integers(0, 12))):
        x, y = draw(st.integers(0, 19)), draw(st.integers(0, 9))
        annotation = block(
            number,
            draw(st.integers(1, images)),
            draw(st.integers(1, 4)),
            x,
            y,
            draw(st.integers(1, 20 - x)),
            draw(st.integers(1, 10 - y)),
        )
        if draw(st.booleans()):
            annotation["iscrowd"] = 1
        annotations.append(annotation)
    return {
        "images": [{"id": k + 1, "file_name": f"{k}.png", "height": 10, "width": 20} for k in range(images)],
        "annotations": annotations,
        "categories": [{"id": k, "name": f"class {k}"} for k in range(1, 5)],
    }


@given(documents())
def test_cooccurrence_is_symmetric_and_its_diagonal_counts_images(content):
    objects = explore.measure(read(content))
    matrix = explore.cooccurrence(objects)
    of_class = [{one["image_id"] for one in content["annotations"] if one["category_id"] == k} for k in range(1, 5)]
    assert matrix.tolist() == [[len(a & b) for b in of_class] for a in of_class]
    assert (matrix == matrix.T).all()


@settings(max_examples=8)  # each draws four figures
@given(documents())
def test_all_tables_count_the_same_objects(content):
    objects = explore.measure(read(content))
    count = sum(not one["iscrowd"] for one in content["annotations"])
    assert sum(row["objects"] for row in explore.classes(objects).table) == count
    assert sum(row["objects"] for row in explore.crowding(objects).table) == count
    for view in (explore.sizes, explore.positions):
        table = view(objects).table
        assert sum(row["objects"] for row in table[1:]) == count == (table[0]["objects"] if table else 0)


@given(arrays(np.int64, (5, 5), elements=st.integers(0, 9)))
def test_ribbons_fill_the_circle_but_the_gaps_and_do_not_overlap(counts):
    shared = counts + counts.T
    np.fill_diagonal(shared, 0)
    assume(shared.any(1).all())
    ends = spans(shared)
    assert ends.keys() == {tuple(place) for place in np.argwhere(shared)}
    width = {place: last - first for place, (first, last) in ends.items()}
    assert sum(width.values()) == pytest.approx(2 * np.pi * (1 - 5 * GAP))
    for (i, j), value in width.items():
        assert value == pytest.approx(width[j, i])
        assert value / sum(width.values()) == pytest.approx(shared[i, j] / shared.sum())
    in_order = sorted(ends.values())
    assert all(first[1] <= second[0] + 1e-9 for first, second in pairwise(in_order))


# Colours


@given(st.lists(arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3))), min_size=1, max_size=5))
def test_colours_one_by_one_equal_numpy_over_all_at_once(images):
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]) / 255
    statistics = explore.ColourStatistics()
    for image in images:
        statistics.update(image)
    assert (statistics.images, statistics.pixels) == (len(images), len(pixels))
    assert statistics.mean() == pytest.approx(pixels.mean(0), abs=1e-12)
    assert statistics.std() == pytest.approx(pixels.std(0), abs=1e-7)
    table = explore.colours(iter(images)).table
    assert [row["mean"] for row in table] == statistics.mean().tolist()
    assert [row["brightest"] for row in table] == pytest.approx((pixels == 1).mean(0))
    median = np.array([row["median"] for row in table])
    assert ((pixels <= median).mean(0) >= 0.5).all() and ((pixels >= median).mean(0) >= 0.5).all()


def test_grey_images_count_in_all_channels_and_others_are_refused():
    statistics = explore.ColourStatistics()
    statistics.update(np.full((2, 3), 51, np.uint8))
    assert statistics.mean().tolist() == pytest.approx([0.2] * 3)
    with pytest.raises(ValueError, match="must be uint8, got float64"):
        statistics.update(np.zeros((2, 2, 3)))
    assert np.isnan(explore.ColourStatistics().mean()).all()


# Polygons that cross themselves

STAR = [(np.cos(turn), np.sin(turn)) for turn in 4 * np.pi * np.arange(5) / 5]
CASES = {
    "square": ([0, 0, 9, 0, 9, 9, 0, 9], []),
    "bow tie": ([0, 0, 9, 9, 9, 0, 0, 9], [(0, 2)]),
    "star in one stroke": ((10 * np.array(STAR)).ravel(), [(0, 2), (0, 3), (1, 3), (1, 4), (2, 4)]),
    "to a hole and back": ([0, 0, 9, 0, 9, 9, 0, 9, 0, 0, 3, 3, 3, 6, 6, 6, 6, 3, 3, 3], []),
    "a corner touches a side": ([0, 0, 9, 0, 9, 9, 5, 0, 0, 9], []),
    "a spike, out and back": ([0, 0, 9, 0, 9, 4, 15, 4, 9, 4, 9, 9, 0, 9], []),
    "a corner twice": ([0, 0, 0, 0, 9, 0, 9, 9, 0, 9], []),
    "two loops that meet in a corner": ([0, 0, 5, 5, 10, 0, 10, 10, 5, 5, 0, 10], []),
}


@pytest.mark.parametrize("case", CASES)
def test_crossings_by_hand(case):
    polygon, expected = CASES[case]
    assert [tuple(pair) for pair in explore.self_crossings(polygon).tolist()] == expected


def cross(a, b, c, d) -> bool:
    """Whether segments a-b and c-d meet inside both: solved for the two parameters, in fractions."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = (map(Fraction, map(int, point)) for point in (a, b, c, d))
    determinant = (bx - ax) * (cy - dy) - (by - ay) * (cx - dx)
    if determinant == 0:
        return False
    s = ((cx - ax) * (cy - dy) - (cy - ay) * (cx - dx)) / determinant
    t = ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) / determinant
    return 0 < s < 1 and 0 < t < 1


@given(arrays(np.int64, st.tuples(st.integers(3, 9), st.just(2)), elements=st.integers(0, 6)))
def test_crossings_are_where_exact_arithmetic_finds_them(points):
    sides = list(zip(points, np.roll(points, -1, axis=0), strict=True))
    expected = [(i, j) for j in range(len(sides)) for i in range(j) if cross(*sides[i], *sides[j])]
    assert [tuple(pair) for pair in explore.self_crossings(points.ravel()).tolist()] == sorted(expected)


@given(st.lists(st.integers(1, 300), min_size=3, max_size=20))
def test_outlines_that_go_round_once_never_cross_themselves(radii):
    angle = 2 * np.pi * np.arange(len(radii)) / len(radii)
    corners = np.array(radii)[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    assert len(explore.self_crossings(corners.ravel())) == 0


def test_long_outlines_are_compared_in_blocks():
    angle = np.linspace(0, 2 * np.pi, 1500, endpoint=False)
    circle = 300 + 200 * np.stack([np.cos(angle), np.sin(angle)], -1)
    assert len(explore.self_crossings(circle.ravel())) == 0
    circle[[100, 1400]] = circle[[1400, 100]]  # two long tongues across each other's base
    pairs = explore.self_crossings(circle.ravel())
    again = explore.self_crossings(np.roll(circle, -700, axis=0).ravel())  # the same outline from another corner on
    assert len(pairs) > 0 and {*map(frozenset, pairs.tolist())} == {*map(frozenset, ((again + 700) % 1500).tolist())}


# Flaws


def sound() -> dict:
    """Generated scenes as COCO has them: outlines, whole objects, right boxes and areas."""
    scenes = [make_scene(seed, (60, 80), 3, scale=0.2, overlap=0.2) for seed in range(3)]
    content = to_coco(scenes)
    masks = [mask for scene in scenes for mask in scene.instances]
    for annotation, mask in zip(content["annotations"], masks, strict=True):
        annotation["segmentation"] = mask_to_polygons(mask)
    return content


def found(content: dict, **limits) -> list[tuple[str, int, int | None]]:
    flaws = explore.find_flaws(read(content), explore.Limits(**limits))
    return [(flaw.kind, flaw.image_id, flaw.annotation_id) for flaw in flaws]


def test_sound_annotations_have_no_flaws():
    assert found(sound()) == []


def test_an_image_without_annotations_is_found():
    assert found(by_hand())[-1] == ("no annotations", 30, None)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("crowd", {"iscrowd": 1}),
        ("tiny", block(0, 0, 0, 5, 5, 5, 6)),
        ("self-crossing", block(0, 0, 0, 10, 10, 40, 39, segmentation=[[10, 10, 50, 49, 50, 10, 10, 49]], area=780)),
        ("outside", block(0, 0, 0, 40, 10, 40, 40, segmentation=[[40, 10, 83, 10, 83, 50, 40, 50]])),
        ("area", {"area": 5000}),
        ("area", {"area": None}),
        ("area", {"area": float("nan")}),
        ("area", {"area": 10**400}),
        ("box", {"bbox": [0, 0, 80, 60]}),
        ("unreadable", {"segmentation": [[1, 2, 3]]}),
        ("unreadable", {"segmentation": []}),
        ("unreadable", {"bbox": None}),
        ("unreadable", {"iscrowd": "0"}),
        ("unreadable", {"segmentation": {"size": [1, 1], "counts": [1]}}),
    ],
)
def test_a_planted_flaw_is_found_and_nothing_else(kind, change):
    content = sound()
    annotation = content["annotations"][4]
    own = {key: annotation[key] for key in ("id", "image_id", "category_id")}
    annotation |= change | own
    assert found(content) == [(kind, own["image_id"], own["id"])]
    assert explore.measure(read(content)).unread == (kind == "unreadable")


def test_duplicates_are_found_whatever_their_class():
    content = sound()
    again = content["annotations"][4] | {"id": 99, "category_id": content["categories"][-1]["id"]}
    content["annotations"].append(again)
    assert found(content) == [("duplicate", again["image_id"], 99)]
    again["iscrowd"] = 1
    assert found(content) == [("crowd", again["image_id"], 99)]


def test_how_much_is_a_duplicate_can_be_said():
    twice = [block(1, 10, 7, 0, 0, 40, 40), block(2, 10, 7, 0, 0, 40, 20)]
    content = by_hand() | {"annotations": twice}
    assert ("duplicate", 10, 2) in found(content, same=0.5), "20 of 40 rows"
    assert ("duplicate", 10, 2) not in found(content, same=0.51)


def test_ids_used_twice_or_missing_are_found():
    content = sound()
    content["annotations"][3]["id"] = content["annotations"][1]["id"]
    del content["annotations"][5]["id"]
    assert [one[0] for one in found(content)] == ["id", "id"]
    assert explore.measure(read(content)).ids[5] == -1


def test_the_table_of_flaws_is_flat_and_complete():
    view = explore.flaws(read(by_hand()))
    assert [list(row) for row in view.table] == [["kind", "image_id", "annotation_id", "found"]] * len(view.table)
    assert view.table[-1]["found"] == "nothing is marked in 30.png"


# COCO itself


@functools.cache
def real(split):
    try:
        folder = find_folder("coco-instances", DATA)
    except (FileNotFoundError, ValueError) as error:
        pytest.skip(f"a part of COCO is not there: {error}")
    path = annotations_file(folder, split)
    if not path.is_file():
        pytest.skip(f"COCO's {split} is not there: {path}")
    document = read_document(path, categories_of)
    return document, explore.measure(document), path


@pytest.mark.parametrize("split", ["train", "val"])
def test_numbers_are_those_of_pycocotools(split):
    _, objects, path = real(split)
    peer = COCO(str(path))
    runs = {number: peer.annToRLE(annotation) for number, annotation in peer.anns.items()}
    assert sorted(objects.ids.tolist()) == sorted(peer.anns)
    assert {number: int(coco_mask.area(rle)) for number, rle in runs.items()} == dict(
        zip(objects.ids.tolist(), objects.area.tolist(), strict=True)
    )
    shown = {peer.cats[one]["name"]: set(peer.getImgIds(catIds=[one])) for one in peer.cats}
    for row in explore.classes(objects).table:
        (category,) = peer.getCatIds(catNms=[row["class"]])
        assert peer.cats[category]["supercategory"] == row["supercategory"]
        assert row["objects"] == len(peer.getAnnIds(catIds=[category], iscrowd=False))
        assert row["crowds"] == len(peer.getAnnIds(catIds=[category], iscrowd=True))
        assert row["images"] == len(shown[row["class"]])
        joined = (
            coco_mask.merge([runs[one] for one in peer.getAnnIds(imgIds=[image], catIds=[category])])
            for image in shown[row["class"]]
        )
        assert row["pixels"] == sum(int(coco_mask.area(rle)) for rle in joined)
    for row in explore.pairs(objects):
        assert row["images"] == len(shown[row["class_a"]] & shown[row["class_b"]])
    everything = explore.sizes(objects).table[0]
    for kind, low, high in (("small", 0, 32**2), ("medium", 32**2, 96**2), ("large", 96**2, 1e10)):
        inside = [low <= coco_mask.area(runs[one]) < high for one in peer.getAnnIds(iscrowd=False)]
        assert everything[kind] == sum(inside)


@pytest.mark.parametrize("split", ["train", "val"])
def test_flaws_of_coco_are_those_that_pycocotools_shows(split):
    document, _, path = real(split)
    peer = COCO(str(path))
    expected = {kind: set() for kind in ("crowd", "tiny", "area", "box", "duplicate")}
    for number, annotation in peer.anns.items():
        rle = peer.annToRLE(annotation)
        pixels = int(coco_mask.area(rle))
        x, y, width, height = coco_mask.toBbox(rle)
        left, top, wide, high = annotation["bbox"]
        gaps = (x - left, y - top, x + width - left - wide, y + height - top - high)
        expected["crowd"] |= {number} if annotation["iscrowd"] else set()
        expected["tiny"] |= {number} if pixels < 32 else set()
        expected["area"] |= {number} if abs(annotation["area"] - pixels) > max(pixels / 10, 10) else set()
        expected["box"] |= {number} if max(map(abs, gaps)) > 3 else set()
    for image in peer.imgs:
        alone = peer.loadAnns(peer.getAnnIds(imgIds=[image], iscrowd=False))
        runs = [peer.annToRLE(one) for one in alone]
        overlaps = coco_mask.iou(runs, runs, [0] * len(runs)) if runs else np.empty((0, 0))
        expected["duplicate"] |= {alone[b]["id"] for _, b in np.argwhere(np.triu(overlaps, 1) >= 0.9)}
    flaws = explore.find_flaws(document)
    for kind, ids in expected.items():
        assert {flaw.annotation_id for flaw in flaws if flaw.kind == kind} == ids, kind


# The command


@pytest.fixture
def folder(tmp_path):
    """The document by hand with its images, laid out as COCO is."""
    path = annotations_file(tmp_path / "coco", "val")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(by_hand()))
    (tmp_path / "coco" / "val2017").mkdir()
    for number in (10, 20, 30):
        Image.new("RGB", (200, 100), (51, 102, 255)).save(tmp_path / "coco" / "val2017" / f"{number}.png")
    return tmp_path / "coco"


def run(*arguments):
    return CliRunner().invoke(app, ["coco", "explore", *map(str, arguments)], env={"COLUMNS": "120"})


def test_the_command_writes_figures_and_tables_and_says_what_it_saw(folder, tmp_path):
    result = run("--data", folder, "--split", "val", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    names = (*VIEWS, "flaws", "colours")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{n}.{end}" for n in names for end in ("png", "csv")
    }
    for name in names:
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.width > 500
    with (tmp_path / "out" / "classes.csv").open(newline="") as file:
        assert [(row["class"], row["objects"]) for row in csv.DictReader(file)] == [
            ("cat", "2"),
            ("dog", "2"),
            ("bird", "0"),
        ]
    said = " ".join(result.output.split())
    for words in ("4, and 1", "2 of 3", "50% small, 25% medium, 25% large", "0.200, 0.400, 1.000", "flaws: crowd"):
        assert words in said


def test_without_images_there_are_no_colours_and_that_is_said(folder, tmp_path):
    for path in (folder / "val2017").iterdir():
        path.unlink()
    (folder / "val2017").rmdir()
    result = run("--data", folder, "--out", tmp_path / "out")
    assert result.exit_code == 0 and "No colours: there are no images in" in result.output
    assert not (tmp_path / "out" / "colours.png").exists()


def test_with_some_images_missing_or_damaged_all_else_is_there(folder, tmp_path):
    photo = folder / "val2017" / "20.png"
    photo.write_bytes(photo.read_bytes()[:-60])
    result = run("--data", folder, "--out", tmp_path / "damaged")
    assert result.exit_code == 2 and "No colours: " in result.output and "20.png must be a whole" in result.output
    photo.unlink()
    result = run("--data", folder, "--out", tmp_path / "missing")
    assert result.exit_code == 2 and "val2017 lacks 1 of 3 images: 20.png; go on" in result.output
    for out in ("damaged", "missing"):
        written = {path.stem for path in (tmp_path / out).iterdir()}
        assert written == {*VIEWS, "flaws"}
    assert "4, and 1" in result.output and "Wrote classes, " in result.output


def test_names_are_shown_as_they_are(folder, tmp_path):
    path = annotations_file(folder, "val")
    path.write_text(path.read_text().replace('"cat"', '"[/red]"'))
    result = run("--data", folder, "--out", tmp_path / "[out]")
    assert result.exit_code == 0 and "[/red], 50%" in result.output and "[/red] and dog" in result.output
    assert str(tmp_path / "[out]") in result.output.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split", "test"), "--split must be one of train, val, got 'test'"),
        (("--split", "train"), "instances_train2017.json"),
        (("--out", __file__), "is a file"),
    ],
)
def test_what_is_not_there_is_told(folder, tmp_path, arguments, message):
    result = run("--data", folder, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2 and message in result.output.replace("\n", "")
