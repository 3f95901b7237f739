"""The exercise ps01: its notebook keeps the grader's rules, and its suite tells right from each kind of wrong."""

import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import nbformat
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from sklearn import metrics as sklearn_metrics

from autograder.check import NotebookStudent
from autograder.runner import Job, load_suite, run_suite

ROOT = Path(__file__).parents[1]
NOTEBOOK = nbformat.read(ROOT / "solutions" / "ps01-masks-and-iou" / "ps01-masks-and-iou.ipynb", 4)
SUITE = ROOT / "autograder" / "suites" / "ps01_masks_and_iou.py"
MUTANTS = tomllib.loads((ROOT / "autograder" / "mutants" / "ps01_masks_and_iou.toml").read_text())["mutant"]
EXERCISE, TESTS = load_suite(SUITE)
SEEDS = ("ada", "grace", "katherine")


def nbgrader(cell) -> dict:
    return cell.metadata.get("nbgrader", {})


def is_solution(cell) -> bool:
    return cell.cell_type == "code" and nbgrader(cell).get("solution", False)


SOLUTIONS = {nbgrader(cell)["grade_id"]: cell.source for cell in NOTEBOOK.cells if is_solution(cell)}
PRELUDE = "\n".join(cell.source for cell in NOTEBOOK.cells if "prelude" in cell.metadata.get("tags", []))


def stub(source: str) -> str:
    """A solution cell as students first see it."""
    head, *rest = source.split("### BEGIN SOLUTION")
    return "raise NotImplementedError()".join([head, *(part.split("### END SOLUTION")[1] for part in rest)])


STUBS = {name: stub(source) for name, source in SOLUTIONS.items()}


def functions(solutions: dict[str, str]) -> dict:
    namespace = {}
    for source in (PRELUDE, *solutions.values()):
        exec(source, namespace)
    return namespace


def grade(*jobs: Job) -> list[list]:
    """The suite's results for each job, in one run: collecting the suite takes longer than running it."""
    found = []
    run_suite(SUITE, jobs, lambda _, results: found.append(results))
    return found


@pytest.fixture(scope="module")
def reference():
    return functions(SOLUTIONS)


def random_masks(rng: np.random.Generator):
    for _ in range(50):
        height, width = rng.integers(1, 30, 2)
        yield rng.random((height, width)) < rng.random()


# --------------------------------------------------------------------------------------------------------- notebook


def test_notebook_is_clean_and_valid():
    nbformat.validate(NOTEBOOK)
    assert (NOTEBOOK.nbformat, NOTEBOOK.nbformat_minor) == (4, 5)
    assert NOTEBOOK.metadata.kernelspec.name == "python3"
    for cell in NOTEBOOK.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


def test_every_code_cell_has_a_grade_id_of_its_own():
    ids = [nbgrader(cell)["grade_id"] for cell in NOTEBOOK.cells if cell.cell_type == "code"]
    assert len(ids) == len(set(ids))
    assert all(cell.id == nbgrader(cell)["grade_id"] for cell in NOTEBOOK.cells if cell.cell_type == "code")


def test_each_task_is_a_solution_cell_and_then_its_check():
    assert list(SOLUTIONS) == list(EXERCISE.cells)
    for cell, following in zip(NOTEBOOK.cells, NOTEBOOK.cells[1:], strict=False):
        if not is_solution(cell):
            continue
        name = nbgrader(cell)["grade_id"]
        wanted = {"grade": False, "locked": False, "solution": True, "task": False, "schema_version": 3}
        assert nbgrader(cell) == {**wanted, "grade_id": name}
        assert following.source == f'check("{name}")'
        wanted = {"grade": True, "locked": True, "solution": False, "task": False, "schema_version": 3}
        assert nbgrader(following) == {**wanted, "grade_id": f"test-{name}", "points": EXERCISE.cells[name]}


def test_every_other_code_cell_is_locked():
    for cell in NOTEBOOK.cells:
        if cell.cell_type == "code" and not is_solution(cell):
            assert nbgrader(cell)["locked"]


def test_written_answer_is_marked_by_hand():
    (cell,) = (cell for cell in NOTEBOOK.cells if cell.cell_type == "markdown" and nbgrader(cell))
    assert nbgrader(cell)["grade"] and nbgrader(cell)["solution"] and nbgrader(cell)["points"] == 4
    assert "Marking scheme" in cell.source
    assert cell.source.startswith("### BEGIN SOLUTION") and cell.source.endswith("### END SOLUTION")


def test_points_of_text_cells_and_suite_agree():
    (contents,) = (cell.source for cell in NOTEBOOK.cells if cell.id == "title")
    rows = [line.split("|")[1:3] for line in contents.splitlines() if line.startswith("|")][2:]
    headings = [cell.source for cell in NOTEBOOK.cells if cell.id.startswith("task-")]
    for (task, points), due, heading in zip(rows, [*EXERCISE.cells.values(), 4], headings, strict=True):
        assert float(points) == due
        assert heading.startswith(f"## {task.strip()}. ") and f"({due:g} points" in heading.splitlines()[0]


def test_numbers_in_the_text_are_those_of_the_models(reference):
    space = dict(reference)
    for cell in NOTEBOOK.cells:
        if cell.id in ("picture-scene", "picture-models"):
            exec("from segedu.datasets import shapes\nfrom segedu.plots import *\n" + cell.source, space)
    (text,) = (cell.source for cell in NOTEBOOK.cells if cell.id == "task-8")
    for name in ("sloppy", "careless"):
        (row,) = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
        labels, counted = range(7), space["truth"] != 255
        truth, pred = space["truth"][counted], space[name][counted]
        accuracy = sklearn_metrics.accuracy_score(truth, pred)
        mean_accuracy = sklearn_metrics.recall_score(truth, pred, labels=labels, average="macro")
        ious = [sklearn_metrics.jaccard_score(truth, pred, labels=labels, average=how) for how in ("macro", "weighted")]
        assert row.split("|")[2:-1] == [f" {value:.3f} " for value in (accuracy, mean_accuracy, *ious)]


def run_notebook(solutions: dict[str, str], folder: Path) -> str:
    """What the notebook's cells print, run one after another in a new Python in the exercise's folder."""
    script = ["import matplotlib", "matplotlib.use('agg')"]
    script += [solutions.get(cell.id, cell.source) for cell in NOTEBOOK.cells if cell.cell_type == "code"]
    script += ["import sys", "assert 'torch' not in sys.modules, 'torch makes the notebook start slowly'"]
    (folder / "script.py").write_text("\n\n".join(script))
    command = [sys.executable, "-W", "error::RuntimeWarning", folder / "script.py"]
    ran = subprocess.run(command, cwd=ROOT / "solutions" / EXERCISE.name, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_finished_notebook_shows_all_pictures_and_passes_its_checks(tmp_path):
    printed = run_notebook(SOLUTIONS, tmp_path)
    assert printed.count("Figure(") == 9  # what `display` prints where there is no notebook
    assert "picture appears" not in printed and "No picture" not in printed
    assert printed.count("✓") == sum(not test.hidden for test in TESTS.values()) and "✗" not in printed


def test_untouched_notebook_runs_to_its_end(tmp_path):
    printed = run_notebook(STUBS, tmp_path)
    assert printed.count("picture appears") == 9 and "No picture" not in printed


# ------------------------------------------------------------------------------------------------------------ suite


def test_points_add_up_and_many_are_hidden():
    for name, points in EXERCISE.cells.items():
        tests = [test for test in TESTS.values() if test.cell == name]
        assert sum(test.points for test in tests) == points
        assert 0.25 <= sum(test.points for test in tests if test.hidden) / points <= 0.6


def test_reference_gets_all_points(reference):
    student = NotebookStudent(reference, EXERCISE)
    for results in grade(*(Job(student, f"student {number}") for number in range(10))):
        assert [result for result in results if not result.passed] == []


def test_untouched_notebook_gets_nothing_and_is_told_so():
    (results,) = grade(Job(NotebookStudent(functions(STUBS), EXERCISE), "stub"))
    assert not any(result.passed for result in results)
    assert all("not written yet" in result.message for result in results)


STRANGE = [None, "text", 0.5, 10**30, [], [1, [2]], {}, True, np.zeros(3), np.zeros((2, 2), complex), (None, None)]


@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_strange_answers_are_wrong_answers(reference):
    students = [dict.fromkeys(reference, lambda *_, value=value, **__: value) for value in STRANGE]
    for results in grade(*(Job(NotebookStudent(student, EXERCISE), "strange") for student in students)):
        assert not any(result.passed for result in results)
        assert [result.internal for result in results if "Traceback" in result.internal] == []


def test_mutants_have_names_and_hints_of_the_suite():
    names = [mutant["name"] for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 14
    assert {mutant["hint"] for mutant in MUTANTS} <= set(EXERCISE.hints) | {n.removeprefix("test_") for n in TESTS}


def wrong_solution(mutant: dict) -> str:
    if "code" in mutant:
        return mutant["code"]
    assert SOLUTIONS[mutant["cell"]].count(mutant["replace"]) == 1
    return SOLUTIONS[mutant["cell"]].replace(mutant["replace"], mutant["with"])


@pytest.fixture(scope="module")
def mutant_results() -> dict[tuple[str, str], list]:
    jobs = {}
    for mutant in MUTANTS:
        student = NotebookStudent(functions({**SOLUTIONS, mutant["cell"]: wrong_solution(mutant)}), EXERCISE)
        jobs |= {(mutant["name"], seed): Job(student, seed, mutant["cell"]) for seed in SEEDS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # some mutants divide 0 by 0
        return dict(zip(jobs, grade(*jobs.values()), strict=True))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant["name"])
def test_mutant_loses_its_points_and_gets_its_hint(mutant, seed, mutant_results):
    wrong = [result for result in mutant_results[mutant["name"], seed] if not result.passed]
    assert {mutant["cell"]: sum(result.max_points for result in wrong)} == mutant["loses"]
    assert wrong[0].hint_id == mutant["hint"]


# --------------------------------------------------- reference solution against peers: the suite holds it to its own


def test_rle_is_that_of_pycocotools(reference):
    rng = np.random.default_rng(0)
    for mask in random_masks(rng):
        counts = reference["rle_encode"](mask)
        theirs = coco_mask.frPyObjects({"size": list(mask.shape), "counts": counts}, *mask.shape)
        assert theirs == coco_mask.encode(np.asfortranarray(mask, np.uint8))
        np.testing.assert_array_equal(reference["rle_decode"](counts, mask.shape), coco_mask.decode(theirs))


def test_confusion_matrix_is_that_of_scikit_learn(reference):
    rng = np.random.default_rng(1)
    for classes in (2, 5, 21):
        pred, target = rng.integers(0, classes, (2, 40, 50)).astype(np.uint8)
        target[rng.random(target.shape) < 0.1] = 255
        counted = target != 255
        theirs = sklearn_metrics.confusion_matrix(target[counted], pred[counted], labels=range(classes))
        np.testing.assert_array_equal(reference["confusion_matrix"](pred, target, classes), theirs)


def test_metrics_are_those_of_scikit_learn(reference):
    rng = np.random.default_rng(2)
    for classes in (2, 6, 12):
        pred, target = rng.integers(0, classes, (2, 500))
        matrix = sklearn_metrics.confusion_matrix(target, pred, labels=range(classes + 1))  # the last is nowhere
        assert reference["pixel_accuracy"](matrix) == pytest.approx(sklearn_metrics.accuracy_score(target, pred))
        balanced = sklearn_metrics.balanced_accuracy_score(target, pred)
        assert reference["mean_accuracy"](matrix) == pytest.approx(balanced)
        ious = [sklearn_metrics.jaccard_score(target, pred, average=how) for how in ("macro", "weighted")]
        assert reference["mean_iou"](matrix) == pytest.approx(ious[0])
        assert reference["frequency_weighted_iou"](matrix) == pytest.approx(ious[1])


def test_iou_and_dice_are_those_of_pycocotools_and_scikit_learn(reference):
    rng = np.random.default_rng(3)
    for pred in random_masks(rng):
        target = rng.random(pred.shape) < rng.random()
        if not (pred | target).any():
            continue
        rles = [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in (pred, target)]
        theirs = coco_mask.iou(rles[:1], rles[1:], [0])[0, 0]
        assert reference["iou"](pred, target) == pytest.approx(theirs)
        f1 = sklearn_metrics.f1_score(target.ravel(), pred.ravel(), zero_division=0)
        assert reference["dice"](pred, target) == pytest.approx(f1)
