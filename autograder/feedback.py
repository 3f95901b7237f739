"""Feedback that students read: a fragment for each test cell, a page for each submission."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup, escape

from autograder.intake import STARTER_TAG
from autograder.results import SubmissionResult, TestResult

if TYPE_CHECKING:
    from autograder.intake import Submission
    from autograder.predictions import Measured
    from autograder.rubric import Band, Rubric


@dataclass(frozen=True)
class ManualGrade:
    """What a marker gave a written answer; `points` is None until it is marked."""

    points: float | None
    comment: str = ""


@dataclass(frozen=True)
class Section:
    """One task on a feedback page: what the student wrote, and its tests or the marker's grade and band."""

    title: str
    source: str
    max_points: float
    tests: list[TestResult]
    manual: ManualGrade | None = None
    band: Band | None = None

    @property
    def points(self) -> float | None:
        return self.manual.points if self.manual else sum(test.points for test in self.tests)


@dataclass(frozen=True)
class Score:
    """The points of some tasks, of those that there were to get; `open` ones are still to be marked."""

    points: float
    max_points: float
    open: float

    @classmethod
    def of(cls, tasks: list[Section]) -> Score:
        """Add up."""
        marked = [task for task in tasks if task.points is not None]
        most = sum(task.max_points for task in marked)
        return cls(sum(task.points for task in marked), most, sum(task.max_points for task in tasks) - most)


@cache
def _environment() -> jinja2.Environment:
    # Everything is escaped: messages may hold a student's text, and an instructor opens these pages.
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["code"] = _code
    return environment


def _code(text: str) -> Markup:
    """Escaped text in which what stands between backticks is set as code."""
    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text))))


def render(template: str, **values: object) -> str:
    """A template of the folder `templates`, filled in; every text is escaped."""
    return _environment().get_template(template).render(**values)


def cell_html(tests: list[TestResult], footer: str = "") -> str:
    """The results of one test cell as an HTML fragment: points, what went wrong, hint, pictures."""
    return render("cell.html", tests=tests, footer=footer)


def report_text(tests: list[TestResult]) -> str:
    """The same as plain text, for terminals."""
    lines = []
    for test in tests:
        lines.append(f"{'✓' if test.passed else '✗'} {test.title} ({test.points:g} / {test.max_points:g})")
        lines += [f"    {line}" for line in test.message.splitlines()]
        lines += [f"    Hint: {test.hint}"] if test.hint else []
    return "\n".join(lines)


def sections(
    submission: Submission,
    result: SubmissionResult,
    manual: Mapping[str, ManualGrade] | None = None,
    rubric: Rubric | None = None,
) -> list[Section]:
    """The tasks of the exercise in the notebook's order; `manual` holds the markers' grades by grade_id."""
    released = submission.released
    found = []
    for name, position in released.solutions.items():
        metadata = released.notebook["cells"][position]["metadata"]
        if STARTER_TAG in metadata.get("tags", ()):
            continue
        mark = metadata["nbgrader"]
        title = released.heading(position).partition(" (")[0] or name
        if mark.get("grade"):
            grade, band = (manual or {}).get(name, ManualGrade(None)), None
            criterion = rubric.of_cell(name) if rubric else None
            if criterion and grade.points is not None:
                band = criterion.band(min(grade.points, criterion.points))  # more with extra credit
                grade = ManualGrade(grade.points, criterion.own_words(grade.comment))
            found.append(Section(title, submission.text(name), float(mark["points"]), [], grade, band))
        else:
            tests = result.cell(name)
            found.append(Section(title, submission.text(name), sum(test.max_points for test in tests), tests))
    return found


def page_html(
    result: SubmissionResult, tasks: list[Section], measured: Measured | None = None, apart: bool = False
) -> str:
    """The whole feedback page of one submission.

    `measured` is what its predictions are worth, beside the points. Where people mark by a rubric, theirs is the mark:
    `apart` keeps it from being added to what was tested.
    """
    scores = {"": Score.of(tasks)}
    if apart:
        scores = {
            "Tested": Score.of([task for task in tasks if task.manual is None]),
            "Marked by people": Score.of([task for task in tasks if task.manual is not None]),
        }
    return render("page.html", result=result, tasks=tasks, measured=measured, scores=scores)
