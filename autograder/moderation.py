"""Second marking: two markers' sheets are compared, what they agree on is averaged, the rest is left to a moderator.

Each marker's marks stay in the marker's own sheet, a CSV file; nbgrader's gradebook gets the moderated ones.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np

from autograder.course import Course, CourseError
from autograder.feedback import ManualGrade, render
from autograder.rubric import Criterion, Rubric, rubric_of
from autograder.sheets import Sheet

if TYPE_CHECKING:
    from autograder.gradebook import GradebookWriter

MEAN = "Moderated mark: the mean of the marks of two markers."
DECIDED = "Moderated mark: decided by a moderator after two markers."


@dataclass(frozen=True)
class Item:
    """One criterion of one student: both marks, and what becomes of them. `agreed` is None until it is settled.

    `flagged` says that the marks are far apart, `decided` that a moderator gave the agreed one.
    """

    student: str
    criterion: Criterion
    points: tuple[float, float]
    flagged: bool
    decided: bool
    agreed: float | None
    comments: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        return abs(self.points[0] - self.points[1])

    @property
    def note(self) -> str:
        """What the student reads of the moderation."""
        return DECIDED if self.decided else MEAN


@dataclass(frozen=True)
class Agreement:
    """How well two markers agree on a criterion. `kappa` is NaN where all is in one band."""

    criterion: Criterion
    count: int
    mean_difference: float  # points, absolute
    kappa: float  # Cohen's, of the bands, with quadratic weights


def require_rubric(course: Course, assignment: str) -> Rubric:
    """The assignment's rubric; `CourseError` if there is none."""
    rubric = rubric_of(course, assignment)
    if rubric is None:
        raise CourseError(f"{assignment} has no rubric: {course.source / assignment / 'rubric.toml'} is missing")
    return rubric


def compare(
    rubric: Rubric,
    sheets: tuple[Sheet, Sheet],
    decisions: Sheet | None = None,
    criterion_percent: float | None = None,
    total_percent: float = 10,
) -> list[Item]:
    """What two markers gave each student whom both marked in full, and what is agreed.

    Flagged are a criterion whose marks differ by `criterion_percent` of its points or more (by default by the width of
    its narrowest band), and all that differs for a student whose totals differ by `total_percent` of all points or
    more. A moderator's decision holds wherever there is one; without, what is flagged stays open, and all else gets the
    mean, rounded up to a whole step.
    """
    items = []
    for student in (name for name in sheets[0].students if not _unmarked(rubric, sheets, name)):
        given = {c.id: tuple(sheet.grades[student, c.id] for sheet in sheets) for c in rubric.criteria}
        totals = [sum(grades[side].points for grades in given.values()) for side in (0, 1)]
        far = _reaches(abs(totals[0] - totals[1]), rubric.points * total_percent / 100)
        for criterion in rubric.criteria:
            first, second = (grade.points for grade in given[criterion.id])
            limit = _band_width(criterion) if criterion_percent is None else criterion.points * criterion_percent / 100
            flagged = first != second and (far or _reaches(abs(first - second), limit))
            mean = rubric.step * math.ceil((first + second) / 2 / rubric.step - 1e-9)
            decision = decisions.grades.get((student, criterion.id)) if decisions else None
            agreed = decision.points if decision else None if flagged else mean
            comments = [grade.comment for grade in (*given[criterion.id], *([decision] if decision else []))]
            kept = tuple(dict.fromkeys(comment for comment in comments if comment))
            items.append(Item(student, criterion, (first, second), flagged, decision is not None, agreed, kept))
    return items


def unmarked(rubric: Rubric, sheets: tuple[Sheet, Sheet]) -> dict[str, str]:
    """Why students of either sheet were not compared, by student."""
    names = dict.fromkeys(name for sheet in sheets for name in sheet.students)
    return {name: reason for name in names if (reason := _unmarked(rubric, sheets, name))}


def unused(decisions: Sheet | None, items: list[Item]) -> list[tuple[str, str]]:
    """Decisions that settle nothing, by (student, criterion's id): not both markers marked this student in full."""
    settled = {(item.student, item.criterion.id) for item in items}
    return [key for key in decisions.grades if key not in settled] if decisions else []


def agreement(rubric: Rubric, items: list[Item]) -> list[Agreement]:
    """How well the two markers agree, criterion by criterion."""
    found = []
    for criterion in rubric.criteria:
        pairs = [item.points for item in items if item.criterion.id == criterion.id]
        bands = [[criterion.bands.index(criterion.band(points)) for points in pair] for pair in pairs]
        mean = float(np.mean([abs(a - b) for a, b in pairs])) if pairs else math.nan
        found.append(Agreement(criterion, len(pairs), mean, weighted_kappa(bands, len(criterion.bands))))
    return found


def weighted_kappa(pairs: list[list[int]], categories: int) -> float:
    """Cohen's kappa of pairs of ordered categories 0 to `categories` - 1, weighted by the squared difference.

    1 is full agreement, 0 what chance gives; NaN where it is undefined: no pairs, or both markers in one category.
    Source: Cohen, "Weighted kappa", Psychological Bulletin 70 (1968), 213-220.
    """
    observed = np.zeros((categories, categories))
    for a, b in pairs:
        observed[a, b] += 1
    expected = np.outer(observed.sum(1), observed.sum(0)) / max(len(pairs), 1)
    weights = np.subtract.outer(np.arange(categories), np.arange(categories)) ** 2
    chance = float((weights * expected).sum())
    return 1 - float((weights * observed).sum()) / chance if chance else math.nan


def record_text(items: list[Item], markers: tuple[str, str]) -> str:
    """The moderation as CSV: both marks, their difference and what became of them."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["student", "criterion", *markers, "difference", "flagged", "decided", "agreed"])
    for item in items:
        agreed = "" if item.agreed is None else f"{item.agreed:g}"
        marks = [f"{points:g}" for points in (*item.points, item.difference)]
        signs = ["yes" if sign else "no" for sign in (item.flagged, item.decided)]
        writer.writerow([item.student, item.criterion.id, *marks, *signs, agreed])
    return file.getvalue()


def report_html(
    assignment: str, items: list[Item], markers: tuple[str, str], agreements: list[Agreement], missing: dict[str, str]
) -> str:
    """One page with what flagged marks there are, all marks, and how well the markers agree."""
    return render(
        "moderation.html",
        assignment=assignment, items=items, markers=markers, agreements=agreements, missing=missing,
    )  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What was done with one student's criterion in the gradebook, and what stood there before."""

    item: Item
    before: float | None
    written: bool


def write(book: GradebookWriter, assignment: str, items: Iterable[Item], replace: bool) -> list[Entry]:
    """Enter settled marks into the gradebook, each with a comment that says it is moderated.

    A mark that differs from what a marker entered there is written only if `replace` is set. A marker's own words in a
    comment are kept.
    """
    settled = [item for item in items if item.agreed is not None]
    given = {student: book.marks(assignment, student) for student in dict.fromkeys(item.student for item in settled)}
    for item in settled:  # before anything is written
        if item.criterion.cell not in given[item.student]:
            raise CourseError(
                f"{assignment}: expected a cell {item.criterion.cell!r} that is marked by hand, as the rubric says; "
                f"found {', '.join(given[item.student])}"
            )
    entries = []
    for student, group in groupby(settled, key=lambda item: item.student):
        marks = {}
        for item in group:
            cell = item.criterion.cell
            before = given[student][cell]
            if replace or before.points is None or math.isclose(before.points, item.agreed):
                marks[cell] = ManualGrade(item.agreed, _comment(item, before.comment))
            entries.append(Entry(item, before.points, cell in marks))
        book.mark(assignment, student, marks)
    return entries


def _comment(item: Item, before: str) -> str:
    """The gradebook's new comment: the band, what a marker wrote there, the markers' comments, the moderation."""
    words = item.criterion.own_words(before)
    for note in (MEAN, DECIDED):
        words = words.replace(note, "").strip()
    added = [text for text in (*item.comments, item.note) if text not in words]
    return item.criterion.comment(item.agreed, "\n\n".join(filter(None, [words, *added])))


def _unmarked(rubric: Rubric, sheets: tuple[Sheet, Sheet], student: str) -> str:
    gaps = []
    for sheet in sheets:
        missing = [name for name in rubric.ids if (student, name) not in sheet.grades]
        if missing:
            what = ", ".join(missing) if student in sheet.students else "not in the sheet"
            gaps.append(f"{sheet.marker}: {what}")
    return "; ".join(gaps)


def _band_width(criterion: Criterion) -> float:
    lows = [band.low for band in criterion.bands]
    return min((upper - lower for upper, lower in pairwise(lows)), default=criterion.points)


def _reaches(difference: float, limit: float) -> bool:
    return difference > limit or math.isclose(difference, limit)
