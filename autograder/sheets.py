"""A marker's sheet: the points and comments that one marker gives a class, as a CSV file to fill in."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autograder.course import CourseError
from autograder.feedback import ManualGrade
from autograder.rubric import Criterion, Rubric

if TYPE_CHECKING:
    from autograder.gradebook import GradebookWriter

COMMENT = " comment"  # the column beside a criterion's points


@dataclass(frozen=True)
class Sheet:
    """One marker's marks: what was given by (student, criterion's id). What is not marked yet is not there."""

    marker: str
    students: tuple[str, ...]
    grades: dict[tuple[str, str], ManualGrade]


def sheet_text(rubric: Rubric, students: Iterable[str], grades: Mapping[tuple[str, str], ManualGrade]) -> str:
    """A sheet as CSV, with the marks that there are already filled in."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["student", *(name + end for name in rubric.ids for end in ("", COMMENT))])
    for student in students:
        row = [student]
        for name in rubric.ids:
            grade = grades.get((student, name), ManualGrade(None))
            row += ["" if grade.points is None else f"{grade.points:g}", grade.comment]
        writer.writerow(row)
    return file.getvalue()


def read_sheet(path: Path, rubric: Rubric, assignment: str = "") -> Sheet:
    """Read a marker's sheet, as any spreadsheet saves it: separated by commas, semicolons or tabs.

    The marker's name is the file's name without the assignment's. Raises `CourseError` with place, expected and found.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path}: expected a CSV file in UTF-8, found: {error}") from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restval="")
    missing = [name for name in ("student", *rubric.ids) if name not in (rows.fieldnames or [])]
    if missing:
        raise CourseError(f"{path}: line 1: expected the columns {', '.join(missing)}; found {first.strip()!r}")
    students: list[str] = []
    grades = {}
    for row in rows:
        student = row["student"].strip()
        if not student and not any(row[name].strip() for name in rubric.ids):
            continue
        if not student or student in students:
            raise CourseError(
                f"{path}: line {rows.line_num}: expected a student who is in no line before; found {student!r}"
            )
        students.append(student)
        for criterion in rubric.criteria:
            if text := row[criterion.id].strip():
                points = _points(text, criterion, rubric.step)
                if points is None:
                    raise CourseError(
                        f"{path}: line {rows.line_num}, {criterion.id}: expected points from 0 to {criterion.points:g} "
                        f"in steps of {rubric.step:g}; found {text!r}"
                    )
                comment = (row.get(criterion.id + COMMENT) or "").strip()
                grades[student, criterion.id] = ManualGrade(points, comment)
    return Sheet(path.stem.removeprefix(f"{assignment}-"), tuple(students), grades)


def gradebook_marks(
    book: GradebookWriter, assignment: str, rubric: Rubric, students: Iterable[str]
) -> dict[tuple[str, str], ManualGrade]:
    """What a marker has entered in the gradebook, by (student, criterion's id), without the words of bands."""
    found = {}
    for student in students:
        with suppress(CourseError):  # not graded yet
            marks = book.marks(assignment, student)
            for criterion in rubric.criteria:
                mark = marks.get(criterion.cell)
                if mark and mark.points is not None:
                    found[student, criterion.id] = ManualGrade(mark.points, criterion.own_words(mark.comment))
    return found


def _points(text: str, criterion: Criterion, step: float) -> float | None:
    """The points that a text names, with a decimal point or comma; None if it names none that can be given."""
    if not re.fullmatch(r"\d{1,6}([.,]\d{1,6})?", text):
        return None
    points = float(text.replace(",", "."))
    allowed = points <= criterion.points and math.isclose(points, step * round(points / step))
    return points if allowed else None
