"""A marker's sheet: the points and comments that one marker gives a class, as a CSV file to fill in."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autograder.course import Course, CourseError
from autograder.feedback import ManualGrade
from autograder.rubric import Criterion, Rubric

if TYPE_CHECKING:
    from autograder.gradebook import GradebookWriter

COMMENT = " comment"  # the column beside a criterion's points
RECORD = "moderation"  # stands in the names of moderation's own files where a sheet's has its marker


@dataclass(frozen=True)
class Sheet:
    """One marker's marks: what was given by (student, criterion's id). What is not marked yet is not there."""

    marker: str
    students: tuple[str, ...]
    grades: dict[tuple[str, str], ManualGrade]


def sheet_path(course: Course, assignment: str, marker: str) -> Path:
    """Where a marker's sheet lies. Raises `CourseError` for a name that cannot be that of a file, or is a record's."""
    if not re.fullmatch(r"[^\W_][\w .@-]{0,99}", marker) or marker.casefold() == RECORD:
        raise CourseError(
            "expected a marker's name of at most 100 letters, digits, spaces and the signs . @ - _, "
            f"and not {RECORD!r}; found {marker!r:.80}"
        )
    return course.root / "marks" / f"{assignment}-{marker}.csv"


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
    except OSError as error:
        raise CourseError(f"{path}: expected a CSV file, found: {error}") from error
    except UnicodeDecodeError as error:
        raise CourseError(f"{path}: expected a CSV file in UTF-8, found: {error}. Save it as CSV UTF-8") from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    # Strict, or a quote that is never closed would take all other students into one comment.
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restval="", strict=True)
    try:
        needed = ("student", *rubric.ids)
        found = Counter(name for name in rows.fieldnames or [] if name in needed)
        if missing := [name for name in needed if name not in found]:
            raise CourseError(
                f"{path}: line 1: expected the columns {', '.join(missing)}; found {first.strip()!r:.300}"
            )
        if twice := [name for name, count in found.items() if count > 1]:
            raise CourseError(f"{path}: line 1: expected each column once; found more of {', '.join(twice)}")
        students, grades = _read_rows(rows, path, rubric)
    except csv.Error as error:
        place = f"{path}: line {rows.line_num + 1}"  # where what cannot be read begins
        raise CourseError(f"{place}: expected CSV, found: {error}. Is a quote missing, or one too many?") from error
    return Sheet(path.stem.removeprefix(f"{assignment}-"), tuple(students), grades)


def _read_rows(
    rows: csv.DictReader, path: Path, rubric: Rubric
) -> tuple[list[str], dict[tuple[str, str], ManualGrade]]:
    students: list[str] = []
    grades = {}
    for row in rows:
        place = f"{path}: line {rows.line_num}"
        student = row["student"].strip()
        if not student and not any(row[name].strip() for name in rubric.ids):
            continue
        if any(text.strip() for text in row.get(None, ())):  # 9,5 for 9.5 would move all marks after it
            count = len(rows.fieldnames)
            raise CourseError(f"{place}: expected {count} columns, found more: what holds a comma must be in quotes")
        if not student or student in students:
            raise CourseError(f"{place}: expected a student who is in no line before; found {student!r}")
        students.append(student)
        for criterion in rubric.criteria:
            if text := row[criterion.id].strip():
                points = _points(text, criterion, rubric.step)
                if points is None:
                    raise CourseError(
                        f"{place}, {criterion.id}: expected points from 0 to {criterion.points:g} "
                        f"in steps of {rubric.step:g}; found {text!r}"
                    )
                comment = (row.get(criterion.id + COMMENT) or "").strip()
                grades[student, criterion.id] = ManualGrade(points, comment)
    return students, grades


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
