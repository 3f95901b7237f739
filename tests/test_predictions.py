"""What students hand in as predictions is measured right, and can do no harm."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from autograder.cli import app
from autograder.course import Course, CourseError
from autograder.coursework import make_predictions, make_truth
from autograder.intake import Refused
from autograder.predictions import MAX_BYTES, MAX_SEGMENTS, HeldOut, Measured, kept_measure, read_predictions
from segedu.datasets.coco import parse
from segedu.datasets.coco_instances import categories_of
from segedu.masks import compress_counts, rle_decode, rle_encode

EVALUATION = {
    "split": "val",
    "images": 6,
    "least_mean_iou": 0.4,
    "too_good": 0.95,
    "classes": {"person": ["person"], "animal": ["animal"], "vehicle": ["vehicle"]},
}


def known(document: dict, **changes) -> HeldOut:
    return HeldOut(parse(json.dumps(document).encode(), "truth", categories_of), {**EVALUATION, **changes})


@pytest.fixture(scope="module")
def truth():
    return make_truth(EVALUATION)


@pytest.fixture(scope="module")
def held_out(truth):
    return known(truth)


def by_hand(size=(4, 6)):
    """Two images: a person in columns 0 and 1 with a crowd beside it, and nothing."""

    def mask(columns):
        found = np.zeros(size, bool)
        found[:, columns] = True
        return rle_encode(found)

    images = [{"id": k, "height": size[0], "width": size[1], "file_name": f"{k}.jpg"} for k in (3, 9)]
    common = {"image_id": 3, "bbox": [0, 0, 1, 1]}
    annotations = [
        {"id": 1, **common, "category_id": 1, "segmentation": mask([0, 1])},
        {"id": 2, **common, "category_id": 1, "segmentation": mask([1, 2]), "iscrowd": 1},
        {"id": 4, **common, "category_id": 80, "segmentation": mask([5])},
    ]
    names = {1: "person", 17: "animal", 3: "vehicle", 80: "indoor"}
    categories = [{"id": key, "name": name, "supercategory": name} for key, name in names.items()]
    return {"images": images, "annotations": annotations, "categories": categories}, mask


def test_mean_iou_by_hand():
    document, mask = by_hand()
    found = [
        {"image_id": 3, "category_id": 1, "score": 0.9, "segmentation": mask([1, 2, 3])},
        {"image_id": 3, "category_id": 2, "score": 0.5, "segmentation": mask([3, 4])},
    ]
    # Of image 3, column 2 is void. Columns 1 and 3 are person, column 4 animal, 0 and 5 nothing; true are 0 and 1.
    measured = known(document).measure("ada", found)
    each = measured.iou_per_class
    assert each["person"] == pytest.approx(1 / 3) and each["animal"] == 0 and each["vehicle"] is None
    assert each["background"] == pytest.approx((1 + 6) / (1 + 6 + 3))  # right: 5 and the empty image; wrong: 0, 3, 4
    assert measured.mean_iou == pytest.approx((1 / 3 + 0 + 0.7) / 3)
    assert (measured.images, measured.segments, measured.verdict) == (1, 2, "below")


def test_verdicts(truth, held_out):
    perfect = make_predictions(truth, EVALUATION, miss=0, shift=0)
    measured = held_out.measure("ada", perfect)
    assert measured.verdict == "too good" and measured.mean_iou == 1 and measured.ap == measured.ap50 == 1
    measured = held_out.measure("ada", make_predictions(truth, EVALUATION, miss=0.2, shift=1))
    assert measured.verdict == "reached" and 0.4 < measured.mean_iou < 0.95
    measured = held_out.measure("ada", [])
    assert measured.verdict == "below" and measured.iou_per_class["person"] == 0 and "0.4 is asked" in measured.reason


def test_only_the_first_images_are_held_out(truth):
    first = known(truth, images=2)
    assert set(first.images) == {1, 2}
    with pytest.raises(Refused, match="not held out"):
        first.measure("ada", make_predictions(truth, EVALUATION, miss=0, shift=0))


def test_classes_that_the_truth_does_not_have_are_an_error(truth):
    with pytest.raises(CourseError, match="no category"):
        known(truth, classes={"food": ["food"]})


BAD = {
    "no object": (7, "is not an object"),
    "no image": ({"image_id": None}, "a whole number as image_id, and has None"),
    "another image": ({"image_id": 99}, "not held out"),
    "true as image": ({"image_id": True}, "a whole number as image_id"),
    "text as image": ({"image_id": "1"}, "a whole number as image_id, and has '1'"),
    "list as image": ({"image_id": [1]}, "a whole number as image_id"),
    "background": ({"category_id": 0}, "category"),
    "unknown class": ({"category_id": 4}, "category"),
    "text as class": ({"category_id": "1"}, "a whole number as category_id, and has '1'"),
    "no number": ({"score": float("nan")}, "score"),
    "above one": ({"score": 2}, "score"),
    "text as score": ({"score": "1"}, "score"),
    "polygons": ({"segmentation": [[1, 1, 5, 1, 5, 5]]}, "segmentation"),
    "other size": ({"segmentation": {"size": [480, 640], "counts": "0"}}, "segmentation"),
    "numbers": ({"segmentation": {"size": [48, 64], "counts": [3072]}}, "segmentation"),
    "not run lengths": ({"segmentation": {"size": [48, 64], "counts": "\u00e4 "}}, "cannot be read"),
    "cut short": ({"segmentation": {"size": [48, 64], "counts": "PP"}}, "cannot be read"),
    "too short": ({"segmentation": {"size": [48, 64], "counts": compress_counts([5, 5])}}, "add up"),
    "empty": ({"segmentation": {"size": [48, 64], "counts": ""}}, "add up"),
    "sum overflows": ({"segmentation": {"size": [48, 64], "counts": compress_counts([2**58] * 64 + [3072])}}, "add up"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_records_are_refused_with_their_number(name, truth, held_out):
    change, phrase = BAD[name]
    good = make_predictions(truth, EVALUATION, miss=0, shift=0)
    bad = {**good[1], **change} if isinstance(change, dict) else change
    with pytest.raises(Refused, match=phrase) as refused:
        held_out.measure("ada", [good[0], bad])
    assert "Record 2" in str(refused.value)


def test_other_keys_of_a_record_change_nothing(truth, held_out):
    good = make_predictions(truth, EVALUATION, miss=0.3, shift=1)
    more = [{**one, "bbox": "all", "area": -1, "id": "x", "iscrowd": 1} for one in good]
    assert held_out.measure("ada", more) == held_out.measure("ada", good)


def test_too_many_segments_are_refused(truth, held_out):
    one = make_predictions(truth, EVALUATION, miss=0, shift=0)[0]
    with pytest.raises(Refused, match=f"more than {MAX_SEGMENTS}"):
        held_out.measure("ada", [one] * (MAX_SEGMENTS + 1))


KEYS = st.sampled_from(["image_id", "category_id", "score", "segmentation", "size", "counts"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["image_id", "category_id", "score", "segmentation", "size", "counts"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(records=st.lists(JSON, max_size=3))
def test_anything_is_measured_or_refused(records):
    document, _ = by_hand()
    try:
        assert known(document).measure("ada", records).segments == len(records)
    except Refused as refusal:
        assert str(refusal).startswith("Record")


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (lambda path: None, "missing"),
        (lambda path: path.symlink_to("/etc/passwd"), "symbolic link"),
        (lambda path: path.mkdir(), "missing"),
        (lambda path: path.write_text("[{"), "not valid JSON"),
        (lambda path: path.write_bytes(b"\xff[]"), "not valid JSON"),
        (lambda path: path.write_text("[" * 100_000), "not valid JSON"),
        (lambda path: path.write_text('{"results": []}'), "must be a list"),
        (lambda path: path.write_text(" " * (MAX_BYTES + 1)), "more than 20"),
    ],
)
def test_files_that_cannot_be_read_are_refused(tmp_path, make, phrase):
    make(tmp_path / "predictions.json")
    with pytest.raises(Refused, match=phrase):
        read_predictions(tmp_path)


def test_command_measures_a_class(tmp_path, truth):
    (tmp_path / "nbgrader_config.py").write_text("c = get_config()\n")
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    source = tmp_path / "source" / "work"
    source.mkdir(parents=True)
    settings = Path(__file__).parents[1] / "solutions" / "coco-assignment" / "institution.toml"
    (source / "institution.toml").write_text(settings.read_text().replace("images = 80", "images = 6"))
    results = make_predictions(truth, EVALUATION, miss=0.2, shift=1)
    for student, text in {"ada": json.dumps(results), "bob": "[", "eve": None, "max": None}.items():
        folder = tmp_path / "submitted" / student / "work"
        folder.mkdir(parents=True)
        if text:
            (folder / "predictions.json").write_text(text)
    (folder / "predictions.json").symlink_to(tmp_path / "truth.json")
    out = tmp_path / "scores.json"
    arguments = ["predictions", "work", "--course", str(tmp_path), "--truth", str(tmp_path / "truth.json")]
    done = CliRunner().invoke(app, [*arguments, "--json", str(out)])
    assert done.exit_code == 0, done.output
    rows = json.loads(out.read_text())
    assert [(row["student"], row["verdict"]) for row in rows] == [
        ("ada", "reached"),
        ("bob", "unusable"),
        ("eve", "missing"),
        ("max", "unusable"),
    ]
    assert "symbolic link" in rows[3]["reason"]
    kept = json.loads((tmp_path / "autograded" / "ada" / "work" / "predictions-score.json").read_text())
    assert kept == rows[0] and kept["segments"] == len(results)
    course = Course.load(tmp_path)
    assert kept_measure(course, "work", "ada") == Measured(**kept)
    assert kept_measure(course, "work", "eve").verdict == "missing" and kept_measure(course, "work", "nobody") is None
    (tmp_path / "submitted" / "eve" / "work" / "predictions.json").write_text("[]")  # handed in after it was measured
    assert kept_measure(course, "work", "eve") is None
    few = {**truth, "images": truth["images"][:4], "annotations": []}
    (tmp_path / "truth.json").write_text(json.dumps(few))
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2 and "4 images" in done.output


def test_command_says_what_is_wrong(tmp_path, truth):
    (tmp_path / "nbgrader_config.py").write_text("c = get_config()\n")
    source, broken = tmp_path / "source" / "work", tmp_path / "broken.json"
    source.mkdir(parents=True)
    settings = Path(__file__).parents[1] / "solutions" / "coco-assignment" / "institution.toml"
    (source / "institution.toml").write_text(settings.read_text().replace("images = 80", "images = 6"))

    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["predictions", "work", "--course", str(tmp_path), *words])
        assert done.exit_code == 2, done.output
        return done.output.replace("\n", "")

    assert "nobody handed in work" in said()
    (tmp_path / "submitted" / "ada" / "work").mkdir(parents=True)
    assert "nothing was handed in for work by: adda" in said("--student", "adda")
    assert "No such file" in said("--truth", str(broken))
    for change in ({"segmentation": [[1, 2, 3, 4]]}, {"bbox": None}, {"iscrowd": "0"}):
        first, *others = truth["annotations"]
        broken.write_text(json.dumps({**truth, "annotations": [{**first, **change}, *others]}))
        assert f"cannot be read: {broken}: annotation {first['id']} of" in said("--truth", str(broken))
    broken.write_text(json.dumps(truth))
    assert "Is a directory" in said("--truth", str(broken), "--json", str(tmp_path))


def test_made_up_predictions_are_shifted_truth(truth):
    exact, moved = (make_predictions(truth, EVALUATION, miss=0, shift=shift) for shift in (0, 3))
    for one, other in zip(exact, moved, strict=True):
        before, after = rle_decode(one["segmentation"]), rle_decode(other["segmentation"])
        assert np.array_equal(after[:, 3:], before[:, :-3])
