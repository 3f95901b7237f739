"""The assignment's kit: notebook and release, suite and mutants, and the reference against independent programs."""

import json
import os
import re
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from local_data import DATA
from pycocotools import mask as pycoco
from pycocotools.coco import COCO
from scipy.ndimage import label as components
from test_exercises import STRANGE, Source, nbgrader, stub, wrong_solution
from torchmetrics.classification import MulticlassJaccardIndex

from autograder.brief import read_institution, write_brief
from autograder.check import NotebookStudent
from autograder.course import CourseError
from autograder.intake import STARTER_TAG, ReleasedNotebook
from autograder.report import read_report
from autograder.rubric import load_rubric
from autograder.runner import Job
from segedu.metrics import ConfusionMatrix

ROOT = Path(__file__).parents[1]
NAME = "coco-assignment"
FOLDER = ROOT / "solutions" / NAME
TINY = DATA / "coco_tiny160"
needs_coco = pytest.mark.skipif(not TINY.is_dir(), reason=f"coco_tiny160 is not in {DATA}")


@pytest.fixture(scope="module")
def source():
    return Source.of(NAME)


@cache
def tasks() -> dict[str, str]:
    """The reference's cells of the technical part."""
    source = Source.of(NAME)
    return {name: source.solutions[name] for name in source.exercise.cells}


def student(cells: dict[str, str]) -> NotebookStudent:
    source = Source.of(NAME)
    return NotebookStudent(source.functions(cells), source.exercise)


@cache
def reference() -> dict:
    return Source.of(NAME).functions(tasks())


# --------------------------------------------------------------------------------------------------------- notebook


def test_notebook_is_clean_and_valid(source):
    nbformat.validate(source.notebook)
    ids = [nbgrader(cell)["grade_id"] for cell in source.notebook.cells if nbgrader(cell)]
    assert len(ids) == len(set(ids))
    for cell in source.notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
        assert not nbgrader(cell) or cell.id == nbgrader(cell)["grade_id"]


def test_each_task_is_a_solution_cell_and_then_its_check(source):
    cells = source.notebook.cells
    places = {cell.id: place for place, cell in enumerate(cells)}
    for name, points in source.exercise.cells.items():
        following = cells[places[name] + 1]
        assert following.source == f'check("{name}")' and nbgrader(following)["points"] == points
        assert nbgrader(following)["locked"] and nbgrader(following)["grade"]


def test_report_has_a_cell_for_each_criterion_of_the_rubric(source):
    written = {cell.id: cell for cell in source.notebook.cells if nbgrader(cell) and cell.cell_type == "markdown"}
    rubric = load_rubric(FOLDER / "rubric.toml")
    assert {name: nbgrader(cell)["points"] for name, cell in written.items()} == {
        criterion.cell: criterion.points for criterion in rubric.criteria
    }
    report = read_report([re.sub("### (BEGIN|END) SOLUTION", "", cell.source) for cell in written.values()])
    assert rubric.report.min_words <= report.words <= rubric.report.max_words
    assert len(report.references) >= rubric.report.papers


def test_release_keeps_starters_and_takes_answers(source):
    released = ReleasedNotebook.load(ROOT / "exercises" / NAME / f"{NAME}.ipynb")
    assert [cell["metadata"].get("tags") for cell in released.notebook["cells"]].count([STARTER_TAG]) == 8
    for name, position in released.solutions.items():
        cell = released.notebook["cells"][position]
        if STARTER_TAG in cell["metadata"].get("tags", ()):
            assert cell["source"] == source.solutions[name] and name not in released.stub().code()
        elif cell["cell_type"] == "code":
            assert "NotImplementedError" in cell["source"] and name in released.stub().code()
        else:
            assert cell["source"].strip() == "YOUR ANSWER HERE"
    text = "".join(cell["source"] for cell in released.notebook["cells"])
    assert "{{" not in text.replace("{{}}", "")
    for criterion in load_rubric(FOLDER / "rubric.toml").criteria:
        assert criterion.title in text and criterion.bands[0].words in text
    assert all(title in text for title in read_institution(FOLDER)["rules"])


def test_what_a_student_makes_of_a_starter_is_kept_and_not_run():
    released = ReleasedNotebook.load(ROOT / "exercises" / NAME / f"{NAME}.ipynb")
    submission = released.rebuild({"model": "model = mine()"}, [])
    assert submission.text("model") == "model = mine()"
    assert "mine" not in "".join(submission.code().values())


def run_notebook(source: Source, folder: Path, steps: int, data: Path) -> str:
    """What the reference's cells print, run in a new Python in a copy of the assignment's folder."""
    cells = [cell.source for cell in source.notebook.cells if cell.cell_type == "code"]
    script = "\n\n".join(["import matplotlib", "matplotlib.use('agg')", *cells])
    assert "STEPS, BATCH, CROP = 180," in script
    (folder / "script.py").write_text(script.replace("STEPS, BATCH, CROP = 180,", f"STEPS, BATCH, CROP = {steps},"))
    for name in ("institution.toml", "rubric.toml"):
        (folder / name).write_text((FOLDER / name).read_text())
    (folder / "checks.py").write_text((ROOT / "exercises" / NAME / "checks.py").read_text())
    environment = {**os.environ, "SEGEDU_DATA": str(data)}
    ran = subprocess.run([sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_notebook_runs_without_coco_and_says_how_to_get_it(source, tmp_path):
    printed = run_notebook(source, tmp_path, 2, tmp_path / "nothing")
    assert "segedu data get coco-instances" in printed and "✗" not in printed
    assert isinstance(json.loads((tmp_path / "predictions.json").read_text()), list)


@pytest.mark.slow
@needs_coco
def test_notebook_runs_on_coco(source, tmp_path):
    printed = run_notebook(source, tmp_path, 2, DATA)
    assert "80 held out" in printed and "✗" not in printed and "AP " in printed


@pytest.fixture
def tools(source, monkeypatch, tmp_path, capsys):
    """The names of the notebook's first cells, where no COCO is."""
    monkeypatch.chdir(FOLDER)
    monkeypatch.setenv("SEGEDU_DATA", str(tmp_path))
    namespace = reference().copy()
    cells = {cell.id: cell.source for cell in source.notebook.cells}
    exec(cells["tools"], namespace)
    assert "segedu data get" in capsys.readouterr().out
    return namespace, cells


def test_half_downloaded_data_is_used_as_far_as_it_goes(tools, capsys):
    namespace, cells = tools
    folder = namespace["FOLDER"]
    photos, annotations = folder / "train2017", folder / "annotations" / "instances_train2017.json"
    document = json.loads(annotations.read_text())
    assert not {"info", "licenses"} & document.keys()
    gone, cut, empty = (photos / document["images"][number]["file_name"] for number in (0, 1, 2))
    gone.rename(gone.with_name(f"{gone.name}.part"))
    cut.write_bytes(cut.read_bytes()[:3000])
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] != 3]
    annotations.write_text(json.dumps(document))
    exec(cells["data"], namespace)
    printed = capsys.readouterr().out
    assert "40 images in instances_train2017.json, 38 of them used" in printed and f"left out: {cut}" in printed
    loaded = namespace["photos"]
    assert {1, 2} & loaded.keys() == set() and not loaded[3].labels.any() and empty.is_file()


def test_annotations_that_are_missing_or_cut_off_are_named(tools):
    namespace, _ = tools
    path = namespace["FOLDER"] / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text()[:1000])
    with pytest.raises(ValueError, match="cut off or damaged"):
        namespace["annotations_of"](namespace["FOLDER"], "val")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="segedu data get coco-instances --split val"):
        namespace["annotations_of"](namespace["FOLDER"], "val")


# ------------------------------------------------------------------------------------------------------------- brief


def test_brief_is_written_from_the_files(tmp_path):
    (tmp_path / "institution.toml").write_text(
        '[rules]\n"Late" = """\nMinus\none."""\n[evaluation]\nsplit = "val"\nimages = 3\nleast_mean_iou = 0.2\n'
        'too_good = 1\nclasses = {person = ["person"]}\n'
    )
    assert write_brief("Before. {{rules}} After.", tmp_path) == "Before. - **Late.** Minus one. After."
    assert write_brief("No mark: {rules}", tmp_path / "no such folder") == "No mark: {rules}"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('split = "val"', 'split = "test"', "evaluation.split"),
        ("images = 80", "images = 0", "evaluation.images"),
        ("least_mean_iou = 0.3", "least_mean_iou = 30", "evaluation.least_mean_iou"),
        ("too_good = 0.95", "too_good = true", "evaluation.too_good"),
        ('person = ["person"]', 'person = "person"', "evaluation.classes"),
        ("[rules]", "[rules]\nx = 1", "rules"),
        ("[rules]", "[rules", "TOML"),
    ],
)
def test_wrong_institution_file_is_named(tmp_path, old, new, key):
    text = (FOLDER / "institution.toml").read_text()
    assert old in text
    (tmp_path / "institution.toml").write_text(text.replace(old, new))
    with pytest.raises(CourseError, match=key):
        read_institution(tmp_path)


# ----------------------------------------------------------------------------------------------------------- suite


def test_points_add_up_and_many_are_hidden(source):
    for name, points in source.exercise.cells.items():
        tests = [test for test in source.tests.values() if test.cell == name]
        assert sum(test.points for test in tests) == points
        assert 0.25 <= sum(test.points for test in tests if test.hidden) / points <= 0.6


def test_reference_gets_all_points(source):
    right = student(tasks())
    for results in source.grade(*(Job(right, f"student {number}") for number in range(5))):
        assert [result for result in results if not result.passed] == []


def test_untouched_notebook_gets_nothing(source):
    (results,) = source.grade(Job(student({name: stub(text) for name, text in tasks().items()}), "stub"))
    assert all(not result.passed and "not written yet" in result.message for result in results)


@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_strange_answers_are_wrong_answers(source):
    names = ("usable_images", "load_targets", "split_images", "mean_iou", "to_coco_results")
    students = [dict.fromkeys(names, lambda *_, value=value, **__: value) for value in STRANGE]
    students += [dict.fromkeys(names, lambda *_, v=value, **__: (v, v)) for value in STRANGE]
    for results in source.grade(*(Job(NotebookStudent(one, source.exercise), "strange") for one in students)):
        passed = {result.name for result in results if result.passed}
        assert passed <= {"test_nothing_there"}
        assert [result.internal for result in results if "Traceback" in result.internal] == []


@pytest.mark.parametrize("seed", ["ada", *(pytest.param(seed, marks=pytest.mark.slow) for seed in ("grace", "kay"))])
def test_mutants_lose_their_points_and_get_their_hints(source, seed):
    hints = {name.removeprefix("test_") for name in source.tests} | set(source.exercise.hints)
    assert {mutant["hint"] for mutant in source.mutants} <= hints
    assert set(source.exercise.hints) <= {mutant["hint"] for mutant in source.mutants}
    wrong = [{**tasks(), mutant["cell"]: wrong_solution(source, mutant)} for mutant in source.mutants]
    jobs = [Job(student(cells), seed, m["cell"]) for cells, m in zip(wrong, source.mutants, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # some divide 0 by 0
        graded = source.grade(*jobs)
    for mutant, results in zip(source.mutants, graded, strict=True):
        failed = [result for result in results if not result.passed]
        lost = sum(result.max_points for result in failed)
        assert (lost, failed[0].hint_id) == (mutant["loses"][mutant["cell"]], mutant["hint"]), mutant["name"]


# ------------------------------------------------------------------------------------- the reference, against others


@needs_coco
@pytest.mark.parametrize("split", ["train", "val"])
def test_label_maps_are_painted_of_pycocotools_masks(split, capsys):
    path = TINY / "annotations" / f"instances_{split}2017.json"
    document, coco = json.loads(path.read_text()), COCO(str(path))
    label_of = {category["id"]: number for number, category in enumerate(document["categories"][:60], start=1)}
    for image in document["images"][::8]:
        want = np.zeros((image["height"], image["width"]), np.uint8)
        drawn = [(one, coco.annToMask(one).astype(bool)) for one in coco.loadAnns(coco.getAnnIds(image["id"]))]
        drawn = [(one, mask) for one, mask in drawn if one["category_id"] in label_of]
        for one, mask in sorted(drawn, key=lambda pair: -pair[1].sum()):
            if not one["iscrowd"]:
                want[mask] = label_of[one["category_id"]]
        crowds = np.any([mask for one, mask in drawn if one["iscrowd"]] or [np.zeros(want.shape, bool)], axis=0)
        want[crowds & (want == 0)] = 255
        assert np.array_equal(reference()["load_targets"](document, image["id"], label_of), want)


@given(
    photos=st.dictionaries(st.integers(0, 10**6), st.text("abc", max_size=3), min_size=2, max_size=40),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
def test_split_has_no_leak(photos, share, seed):
    train, validation = reference()["split_images"](photos, share, seed)
    assert sorted(train + validation) == sorted(photos)
    assert train == sorted(train) and validation == sorted(validation)
    of_train, of_validation = {photos[one] for one in train}, {photos[one] for one in validation}
    assert not of_train & of_validation
    assert len(of_validation) == round(share * len(set(photos.values())))


@given(
    pred=arrays(np.uint8, (2, 6, 7), elements=st.integers(0, 3)),
    target=arrays(np.uint8, (2, 6, 7), elements=st.sampled_from([0, 1, 2, 255])),
)
def test_mean_iou_is_that_of_others(pred, target):
    if (target == 255).all():
        target[0, 0, 0] = 1
    mean, each = reference()["mean_iou"](list(pred), list(target), 5)
    ours = ConfusionMatrix(5)
    ours.update(pred, target)
    assert mean == pytest.approx(ours.mean_iou())
    np.testing.assert_allclose(each, ours.iou_per_class())


def test_mean_iou_is_torchmetrics():
    import torch

    rng = np.random.default_rng(0)
    pred, target = rng.integers(0, 3, (2, 4, 30, 40))
    mean, each = reference()["mean_iou"](list(pred), list(target), 3)
    theirs = MulticlassJaccardIndex(3, average=None)(torch.from_numpy(pred), torch.from_numpy(target))
    np.testing.assert_allclose(each, theirs, rtol=1e-5)
    assert mean == pytest.approx(float(theirs.mean()), rel=1e-5)


@given(labels=arrays(np.int64, (7, 9), elements=st.integers(0, 2)), least=st.integers(1, 6))
def test_results_are_the_segments_that_pycocotools_reads(labels, least):
    sure = np.random.default_rng(int(labels.sum())).uniform(0.5, 0.9, labels.shape)
    maps = np.where(np.arange(3)[:, None, None] == labels, sure, (1 - sure) / 2)
    found = reference()["to_coco_results"](8, maps, {1: 40, 2: 7}, least)
    json.dumps(found)
    painted = np.zeros_like(labels)
    for one in found:
        mask = pycoco.decode(one["segmentation"]).astype(bool)
        assert components(mask)[1] == 1 and mask.sum() >= least and not painted[mask].any()
        assert one["score"] == pytest.approx(sure[mask].mean())
        painted[mask] = {40: 1, 7: 2}[one["category_id"]]
    for label in (1, 2):
        numbered, count = components(labels == label)
        areas = np.bincount(numbered.ravel())[1 : count + 1]
        assert (painted == label).sum() == areas[areas >= least].sum()
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
