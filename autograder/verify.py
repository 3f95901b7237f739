"""Hold a suite against what it must do: reference full marks, stub none, each mutant its own points and hint."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autograder.check import suite_path
from autograder.course import Course, CourseError
from autograder.grade import grade_stream
from autograder.intake import ReleasedNotebook, Submission
from autograder.results import SubmissionResult
from autograder.runner import load_suite
from autograder.sandbox.client import Zygote


@dataclass(frozen=True)
class Mutant:
    """A wrong solution that shows one misconception; see the TOML files in `autograder/mutants`.

    `loses` are the points lost by test cell; `hint` names the hint of the first failing test of `cell`.
    """

    name: str
    about: str
    cell: str
    source: str  # the whole wrong solution cell
    loses: dict[str, float]
    hint: str


@dataclass(frozen=True)
class Row:
    """One line of the report; the field names are those of the JSON form."""

    assignment: str
    kind: str  # reference | stub | mutant
    name: str
    points: float
    points_expected: float
    hint: str
    hint_expected: str
    ok: bool


def reference_solutions(course: Course, exercise: str) -> dict[str, str]:
    """The instructor's own solution cells, by grade_id."""
    source = ReleasedNotebook.load(course.source / exercise / f"{exercise}.ipynb")
    stub = source.stub()
    return {name: stub.text(name) for name in source.solutions}


def load_mutants(exercise: str, reference: dict[str, str]) -> list[Mutant]:
    """The mutants of an exercise, made from its reference solutions."""
    path = Path(__file__).parent / "mutants" / f"{exercise.replace('-', '_')}.toml"
    if not path.is_file():
        return []
    found = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]:
        cell = reference[entry["cell"]]
        if "code" not in entry and cell.count(entry["replace"]) != 1:
            raise CourseError(
                f"{path.name}: the text that mutant {entry['name']!r} replaces occurs "
                f"{cell.count(entry['replace'])} times in the reference cell {entry['cell']!r}; it must occur once"
            )
        source = entry["code"] if "code" in entry else cell.replace(entry["replace"], entry["with"])
        found.append(Mutant(entry["name"], entry["about"], entry["cell"], source, entry["loses"], entry["hint"]))
    return found


def verify(course: Course, exercise: str, seed: str, confined: bool = True) -> Iterator[Row]:
    """Grade the exercise's reference, stub and mutants as students' submissions are graded; yield a row for each."""
    suite = suite_path(exercise)
    declared, tests = load_suite(suite)
    released = ReleasedNotebook.load(course.released_notebook(exercise))
    reference = reference_solutions(course, exercise)
    total = sum(mark.points for mark in tests.values())
    expected: dict[str, tuple[str, str, float, str, str]] = {
        "reference": ("reference", "reference", total, "", ""),
        "stub": ("stub", "stub", 0.0, "", ""),
    }
    work: list[tuple[str, Submission]] = [
        ("reference", released.rebuild(reference, [])),
        ("stub", released.stub()),
    ]
    for mutant in load_mutants(exercise, reference):
        key = f"mutant {mutant.name}"
        expected[key] = ("mutant", mutant.name, total - sum(mutant.loses.values()), mutant.hint, mutant.cell)
        work.append((key, released.rebuild({**reference, mutant.cell: mutant.source}, [])))
    results: dict[str, SubmissionResult] = {}
    with Zygote(declared.preload, confined=confined, forbidden=declared.forbidden) as zygote:
        grade_stream(suite, declared, zygote, work, seed, lambda _, result: results.setdefault(result.student, result))
    for key, (kind, name, points, hint, cell) in expected.items():
        yield _row(exercise, results[key], kind, name, points, hint, cell)


def _row(exercise: str, result: SubmissionResult, kind: str, name: str, points: float, hint: str, cell: str) -> Row:
    failed = [test for test in result.cell(cell) if not test.passed]
    got = failed[0].hint_id if failed else ""
    broken = any(test.internal for test in result.tests) and kind != "mutant"
    ok = abs(result.points - points) < 1e-9 and got == hint and not broken
    return Row(exercise, kind, name, result.points, points, got, hint, ok)
