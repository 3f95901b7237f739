"""Every exercise keeps the grader's rules, and its suite tells right from each kind of wrong."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest

from autograder.check import NotebookStudent
from autograder.runner import Job, load_suite, run_suite

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.name for path in (ROOT / "solutions").glob("ps*"))
SEEDS = ("ada", "grace", "katherine")
WRITTEN_POINTS = 4  # of the answer in prose


def nbgrader(cell) -> dict:
    return cell.metadata.get("nbgrader", {})


def is_solution(cell) -> bool:
    return cell.cell_type == "code" and nbgrader(cell).get("solution", False)


def stub(source: str) -> str:
    """A solution cell as students first see it."""
    head, *rest = source.split("### BEGIN SOLUTION")
    return "raise NotImplementedError()".join([head, *(part.split("### END SOLUTION")[1] for part in rest)])


@dataclass(frozen=True, eq=False)
class Source:
    """What the repository holds of one exercise."""

    notebook: nbformat.NotebookNode
    suite: Path
    mutants: list[dict]

    @classmethod
    @cache
    def of(cls, name: str) -> Source:
        module = name.replace("-", "_")
        mutants = tomllib.loads((ROOT / "autograder" / "mutants" / f"{module}.toml").read_text())["mutant"]
        notebook = nbformat.read(ROOT / "solutions" / name / f"{name}.ipynb", 4)
        return cls(notebook, ROOT / "autograder" / "suites" / f"{module}.py", mutants)

    @property
    def exercise(self):
        return load_suite(self.suite)[0]

    @property
    def tests(self):
        return load_suite(self.suite)[1]

    @property
    def solutions(self) -> dict[str, str]:
        return {nbgrader(cell)["grade_id"]: cell.source for cell in self.notebook.cells if is_solution(cell)}

    @property
    def stubs(self) -> dict[str, str]:
        return {name: stub(source) for name, source in self.solutions.items()}

    def functions(self, solutions: dict[str, str]) -> dict:
        prelude = [cell.source for cell in self.notebook.cells if "prelude" in cell.metadata.get("tags", [])]
        namespace: dict = {}
        for source in (*prelude, *solutions.values()):
            exec(source, namespace)
        return namespace

    def student(self, solutions: dict[str, str]) -> NotebookStudent:
        return NotebookStudent(self.functions(solutions), self.exercise)

    def grade(self, *jobs: Job) -> list[list]:
        """The suite's results for each job, in one run: collecting the suite takes longer than running it."""
        found: list[list] = []
        run_suite(self.suite, jobs, lambda _, results: found.append(results))
        return found


@pytest.fixture(scope="module", params=NAMES)
def source(request) -> Source:
    return Source.of(request.param)


# --------------------------------------------------------------------------------------------------------- notebook


def test_notebook_is_clean_and_valid(source):
    nbformat.validate(source.notebook)
    assert (source.notebook.nbformat, source.notebook.nbformat_minor) == (4, 5)
    assert source.notebook.metadata.kernelspec.name == "python3"
    for cell in source.notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


def test_every_code_cell_has_a_grade_id_of_its_own(source):
    ids = [nbgrader(cell)["grade_id"] for cell in source.notebook.cells if cell.cell_type == "code"]
    assert len(ids) == len(set(ids))
    assert all(cell.id == nbgrader(cell)["grade_id"] for cell in source.notebook.cells if cell.cell_type == "code")


def test_each_task_is_a_solution_cell_and_then_its_check(source):
    assert list(source.solutions) == list(source.exercise.cells)
    for cell, following in zip(source.notebook.cells, source.notebook.cells[1:], strict=False):
        if not is_solution(cell):
            continue
        name = nbgrader(cell)["grade_id"]
        wanted = {"grade": False, "locked": False, "solution": True, "task": False, "schema_version": 3}
        assert nbgrader(cell) == {**wanted, "grade_id": name}
        assert following.source == f'check("{name}")'
        wanted = {"grade": True, "locked": True, "solution": False, "task": False, "schema_version": 3}
        points = source.exercise.cells[name]
        assert nbgrader(following) == {**wanted, "grade_id": f"test-{name}", "points": points}


def test_every_other_code_cell_is_locked(source):
    for cell in source.notebook.cells:
        if cell.cell_type == "code" and not is_solution(cell):
            assert nbgrader(cell)["locked"]


def test_written_answer_is_marked_by_hand(source):
    (cell,) = (cell for cell in source.notebook.cells if cell.cell_type == "markdown" and nbgrader(cell))
    assert nbgrader(cell)["grade"] and nbgrader(cell)["solution"] and nbgrader(cell)["points"] == WRITTEN_POINTS
    assert "Marking scheme" in cell.source
    assert cell.source.startswith("### BEGIN SOLUTION") and cell.source.endswith("### END SOLUTION")


def test_points_of_text_cells_and_suite_agree(source):
    (contents,) = (cell.source for cell in source.notebook.cells if cell.id == "title")
    rows = [line.split("|")[1:3] for line in contents.splitlines() if line.startswith("|")][2:]
    headings = [cell.source for cell in source.notebook.cells if cell.id.startswith("task-")]
    due_points = [*source.exercise.cells.values(), WRITTEN_POINTS]
    for (task, points), due, heading in zip(rows, due_points, headings, strict=True):
        assert float(points) == due
        assert heading.startswith(f"## {task.strip()}. ") and f"({due:g} points" in heading.splitlines()[0]


def run_notebook(source: Source, solutions: dict[str, str], folder: Path) -> str:
    """What the notebook's cells print, run one after another in a new Python in the exercise's folder."""
    script = ["import matplotlib", "matplotlib.use('agg')"]
    script += [solutions.get(cell.id, cell.source) for cell in source.notebook.cells if cell.cell_type == "code"]
    if "torch" not in source.exercise.preload:
        script += ["import sys", "assert 'torch' not in sys.modules, 'torch makes the notebook start slowly'"]
    (folder / "script.py").write_text("\n\n".join(script))
    command = [sys.executable, "-W", "error::RuntimeWarning", folder / "script.py"]
    ran = subprocess.run(command, cwd=ROOT / "solutions" / source.exercise.name, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_notebook_runs_to_its_end_untouched_and_finished(source, tmp_path):
    untouched = run_notebook(source, source.stubs, tmp_path)
    finished = run_notebook(source, source.solutions, tmp_path)
    # A figure is what `display` prints where there is no notebook.
    missing, pictures = untouched.count("picture appears"), finished.count("Figure(")
    assert missing >= len(source.solutions) - 1 and untouched.count("Figure(") + missing == pictures
    assert "picture appears" not in finished and "No picture" not in untouched + finished
    public = sum(not test.hidden for test in source.tests.values())
    assert finished.count("✓") == public and "✗" not in finished


# ------------------------------------------------------------------------------------------------------------ suite


def test_points_add_up_and_many_are_hidden(source):
    for name, points in source.exercise.cells.items():
        tests = [test for test in source.tests.values() if test.cell == name]
        assert sum(test.points for test in tests) == points
        assert 0.25 <= sum(test.points for test in tests if test.hidden) / points <= 0.6


def test_reference_gets_all_points(source):
    student = source.student(source.solutions)
    for results in source.grade(*(Job(student, f"student {number}") for number in range(10))):
        assert [result for result in results if not result.passed] == []


def test_untouched_notebook_gets_nothing_and_is_told_so(source):
    (results,) = source.grade(Job(source.student(source.stubs), "stub"))
    assert not any(result.passed for result in results)
    assert all("not written yet" in result.message for result in results)


STRANGE = [None, "text", 0.5, 10**30, [], [1, [2]], {}, True, np.zeros(3), np.zeros((2, 2), complex), (None, None)]


@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_strange_answers_are_wrong_answers(source):
    names = source.functions(source.solutions)
    students = [dict.fromkeys(names, lambda *_, value=value, **__: value) for value in STRANGE]
    jobs = [Job(NotebookStudent(student, source.exercise), "strange") for student in students]
    for results in source.grade(*jobs):
        assert not any(result.passed for result in results)
        assert [result.internal for result in results if "Traceback" in result.internal] == []


# ---------------------------------------------------------------------------------------------------------- mutants


def test_mutants_have_names_and_hints_of_the_suite(source):
    names = [mutant["name"] for mutant in source.mutants]
    assert len(set(names)) == len(names) >= 10
    tests = {name.removeprefix("test_") for name in source.tests}
    assert {mutant["hint"] for mutant in source.mutants} <= set(source.exercise.hints) | tests


def test_every_hint_is_shown_by_a_mutant(source):
    assert set(source.exercise.hints) <= {mutant["hint"] for mutant in source.mutants}


def wrong_solution(source: Source, mutant: dict) -> str:
    if "code" in mutant:
        return mutant["code"]
    assert source.solutions[mutant["cell"]].count(mutant["replace"]) == 1
    return source.solutions[mutant["cell"]].replace(mutant["replace"], mutant["with"])


@cache
def mutant_results(source: Source, seed: str) -> dict[str, list]:
    jobs = {}
    for mutant in source.mutants:
        student = source.student({**source.solutions, mutant["cell"]: wrong_solution(source, mutant)})
        jobs[mutant["name"]] = Job(student, seed, mutant["cell"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # some mutants divide 0 by 0
        return dict(zip(jobs, source.grade(*jobs.values()), strict=True))


EVERY_MUTANT = [
    pytest.param(Source.of(name), m, id=f"{name}-{m['name']}") for name in NAMES for m in Source.of(name).mutants
]


@pytest.mark.parametrize("seed", [SEEDS[0], *(pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS[1:])])
@pytest.mark.parametrize(("source", "mutant"), EVERY_MUTANT)
def test_mutant_loses_its_points_and_gets_its_hint(source, mutant, seed):
    wrong = [result for result in mutant_results(source, seed)[mutant["name"]] if not result.passed]
    assert {mutant["cell"]: sum(result.max_points for result in wrong)} == mutant["loses"]
    assert wrong[0].hint_id == mutant["hint"]
