"""A made-up class: submissions of every kind, each with the grade that it must get.

The demo grades such a class and compares; the tests reuse it. It is made from the released notebook, the reference
solution and the mutants, so it suits every exercise whose last code cell holds a function.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from autograder.broken import BROKEN, Broken
from autograder.check import suite_path
from autograder.course import Course
from autograder.hostile import ATTACKS, Attack
from autograder.intake import ReleasedNotebook
from autograder.runner import load_suite
from autograder.verify import load_mutants, reference_solutions

Writer = Callable[[Path], None]


@dataclass(frozen=True)
class Sample:
    """One student of the class.

    `write` fills the submission's folder. `loses` are the points that must be lost, by test cell; `phrase` must stand
    in the student's feedback, and `refused` says that the submission must not be graded at all.
    """

    student: str
    kind: str  # honest | unfinished | mutant | broken | hostile
    about: str
    write: Writer
    loses: dict[str, float] = field(default_factory=dict)
    phrase: str = ""
    refused: bool = False


class Material:
    """What a class for one exercise is made of."""

    def __init__(self, course: Course, exercise: str) -> None:
        self.exercise = exercise
        self.released = ReleasedNotebook.load(course.released_notebook(exercise))
        self.reference = reference_solutions(course, exercise)
        self.mutants = load_mutants(exercise, self.reference)
        declared, self.tests = load_suite(suite_path(exercise))
        self.hints = dict(declared.hints)
        self.points = dict(declared.cells)
        self.forbidden = tuple(declared.forbidden)

    @property
    def filename(self) -> str:
        """The name that the notebook must have."""
        return f"{self.released.name}.ipynb"

    def notebook(self, cells: dict[str, str]) -> dict[str, Any]:
        """The released notebook with these texts, or else the reference solutions, in its solution cells."""
        return self.released.rebuild({**self.reference, **cells}, []).notebook

    def writer(self, cells: dict[str, str]) -> Writer:
        """A writer of `notebook(cells)` into a folder; what attacks leave open is filled in (see `hostile`)."""
        text = json.dumps(self.notebook(cells)).replace("REPOSITORY", str(Path(__file__).parents[1]))
        text = text.replace("FORBIDDEN", repr(self.forbidden))
        return lambda folder: _write(folder / self.filename, text.replace("COURSE", str(folder.parents[2])))

    def hint(self, name: str) -> str:
        """The text of a hint: of a misconception, or of a test."""
        return self.hints[name] if name in self.hints else self.tests[f"test_{name}"].hint


def make_class(material: Material, cell: str | None = None) -> list[Sample]:
    """All samples of an exercise; those that attack or break one cell do so in `cell` (by default the last).

    They are dealt out kind by kind, so that the first of them are a small class in which each kind is present.
    """
    cell = cell or list(material.points)[-1]
    kinds = [
        _honest(material, cell),
        _unfinished(material, cell),
        _mutants(material),
        [_broken(material, cell, case) for case in BROKEN],
        [_hostile(material, cell, attack) for attack in ATTACKS],
    ]
    return [sample for group in zip_longest(*kinds) for sample in group if sample is not None]


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def _functions(source: str) -> list[str]:
    return [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]


_WARNS = """
import sys
import warnings
warnings.warn("this cell is deprecated")
print("on standard error", file=sys.stderr)
"""

_NUMPY_NUMBERS = """
def in_numpy(function):
    def call(*args):
        result = function(*args)
        return np.float64(result) if isinstance(result, float) else result
    return call
"""


def _honest(material: Material, cell: str) -> list[Sample]:
    """Right solutions, in every form that a grader may stumble over: full points."""
    right = material.reference[cell]
    wrapped = "\n".join(f"{name} = in_numpy({name})" for name in _functions(right))
    chatty = re.sub(r"^( +)return ", r"\1print('here', file=sys.stderr)\n\1return ", right, flags=re.MULTILINE)
    forms = {
        "reference": ("The reference solution.", {}),
        "warnings": ("Warns and prints to stderr as the cell runs and in every call.", {cell: _WARNS + chatty}),
        "numpy-numbers": ("Returns np.float64 instead of float.", {cell: right + _NUMPY_NUMBERS + wrapped}),
        "magics": (
            "Has IPython's magics and a command in the cell.",
            {cell: f"%matplotlib inline\n!ls\n{right}"},
        ),
        "helper": ("Uses a helper function in the cell, and shows a result at its end.", {cell: f"{right}\nhelp"}),
    }
    return [Sample(name, "honest", about, material.writer(cells)) for name, (about, cells) in forms.items()]


def _unfinished(material: Material, cell: str) -> list[Sample]:
    """Stubs and half-finished work: points for what is there."""
    released = material.released.stub()
    stubs = {name: released.text(name) for name in material.released.solutions}
    names = list(material.points)
    found = [
        Sample("stub", "unfinished", "Nothing is written.", material.writer(stubs), material.points, "not written")
    ]
    for done in range(1, len(names), 2):
        left = names[done:]
        about = f"The first {done} of {len(names)} tasks are written."
        cells = {name: stubs[name] for name in left}
        loses = {name: material.points[name] for name in left}
        found.append(Sample(f"half-{done}", "unfinished", about, material.writer(cells), loses, "is not written yet"))
    right = material.reference[cell]
    renamed = re.sub(r"^def ", "def my_", right, flags=re.MULTILINE)
    wrong = {
        "syntax-error": ("A bracket is missing in one cell.", f"{right}\n(", "raised SyntaxError"),
        "renamed": ("The functions of one cell have other names.", renamed, "is not defined"),
        "raises": ("One cell raises an exception as it runs.", f"1 / 0\n{right}", "raised ZeroDivisionError"),
    }
    lost = {cell: material.points[cell]}
    for name, (about, source, phrase) in wrong.items():
        found.append(Sample(name, "unfinished", about, material.writer({cell: source}), lost, phrase))
    return found


def _mutants(material: Material) -> list[Sample]:
    """Each misconception's wrong solution: its own points are lost, and its own hint is there."""
    return [
        Sample(
            f"mutant-{m.name}", "mutant", m.about, material.writer({m.cell: m.source}), m.loses, material.hint(m.hint)
        )
        for m in material.mutants
    ]


def _broken(material: Material, cell: str, case: Broken) -> Sample:
    def write(folder: Path) -> None:
        case.spoil(folder / material.filename, material.notebook({}), cell)

    loses = material.points if case.refused else {cell: material.points[cell]} if case.loses else {}
    return Sample(case.name, "broken", case.about, write, loses, case.phrase, case.refused)


def _hostile(material: Material, cell: str, attack: Attack) -> Sample:
    functions = _functions(material.reference[cell])
    below = material.reference[cell] if attack.keeps else " = ".join([*functions, "answer"])
    write = material.writer({cell: f"{attack.code}\n{below}\n"})
    loses = {} if attack.keeps else {cell: material.points[cell]}
    return Sample(attack.name, "hostile", attack.about, write, loses, attack.phrase)
