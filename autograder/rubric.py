"""A mark scheme as data: criteria with bands of points and words, read from an assignment's `rubric.toml`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from html import escape
from math import isclose, isfinite
from pathlib import Path
from typing import Any

from autograder.course import Course, CourseError

RUBRIC_FILE = "rubric.toml"  # beside the assignment's source notebook; the release copies it to the students


class RubricError(CourseError):
    """A rubric's file is wrong; the message names file, key, what was expected and what was found."""


@dataclass(frozen=True)
class Band:
    """What earns `low` to `high` points, both included."""

    title: str
    low: float
    high: float
    words: str

    @property
    def span(self) -> str:
        """The points as text, such as "9 to 11.5"."""
        return f"{self.low:g} to {self.high:g}"

    @property
    def note(self) -> str:
        """What the gradebook's comment begins with when this band is chosen."""
        return f"{self.title} ({self.span} points): {self.words}"


@dataclass(frozen=True)
class Criterion:
    """One thing that is marked. `cell` is the grade_id of the notebook's cell that gets the points."""

    id: str
    cell: str
    title: str
    points: float
    looks_at: str
    bands: tuple[Band, ...]  # the best first

    def band(self, points: float) -> Band:
        """The band that `points` belong to. Raises `ValueError` outside 0 to the criterion's points."""
        if not 0 <= points <= self.points:
            raise ValueError(f"{self.id}: points must be from 0 to {self.points:g}, got {points!r}")
        return next(band for band in self.bands if points >= band.low)

    def own_words(self, comment: str) -> str:
        """A marker's comment without the note of a band that it begins with."""
        note = next((band.note for band in self.bands if comment.startswith(band.note)), "")
        return comment.removeprefix(note).strip()

    def comment(self, points: float, own_words: str = "") -> str:
        """What the gradebook says of these points: the note of their band, then the marker's own words."""
        return "\n\n".join(text for text in (self.band(points).note, own_words.strip()) if text)


@dataclass(frozen=True)
class Report:
    """What every report must have. `papers` counts peer-reviewed ones."""

    min_words: int
    max_words: int
    papers: int


@dataclass(frozen=True)
class Rubric:
    """The mark scheme of an assignment. Points are given in steps of `step`."""

    title: str
    step: float
    criteria: tuple[Criterion, ...]
    report: Report | None

    @property
    def points(self) -> float:
        return sum(criterion.points for criterion in self.criteria)

    @property
    def ids(self) -> list[str]:
        return [criterion.id for criterion in self.criteria]

    def of_cell(self, grade_id: str) -> Criterion | None:
        """The criterion that the notebook's cell is marked by, if any."""
        return next((criterion for criterion in self.criteria if criterion.cell == grade_id), None)

    def marks(self, band: Band) -> list[float]:
        """The points that a marker can give in this band, the lowest first."""
        return [band.low + i * self.step for i in range(round((band.high - band.low) / self.step) + 1)]

    def to_markdown(self) -> str:
        """A table with a row for each criterion and a column for each band."""
        titles = [band.title for band in self.criteria[0].bands]
        rows = [["Criterion", *titles], ["---"] * (1 + len(titles))]
        for criterion in self.criteria:
            name = f"**{criterion.title}** ({criterion.points:g} points). {criterion.looks_at}"
            rows.append([name, *(f"**{band.span}.** {band.words}" for band in criterion.bands)])
        return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)

    def to_html(self) -> str:
        """The same table as HTML."""
        head = "".join(f'<th scope="col">{escape(band.title)}</th>' for band in self.criteria[0].bands)
        lines = [
            f'<table class="rubric"><caption>{escape(self.title)} ({self.points:g} points)</caption>',
            f'<thead><tr><th scope="col">Criterion</th>{head}</tr></thead><tbody>',
        ]
        for criterion in self.criteria:
            cells = "".join(f"<td><b>{band.span}.</b> {escape(band.words)}</td>" for band in criterion.bands)
            name = f"{escape(criterion.title)} ({criterion.points:g} points)"
            lines.append(f'<tr><th scope="row">{name}<p>{escape(criterion.looks_at)}</p></th>{cells}</tr>')
        return "\n".join([*lines, "</tbody></table>"]) + "\n"


def rubric_of(course: Course, assignment: str) -> Rubric | None:
    """The assignment's rubric; None if it has none. Raises `RubricError` where the file is wrong."""
    path = course.source / assignment / RUBRIC_FILE
    return load_rubric(path) if path.is_file() else None


def load_rubric(path: Path) -> Rubric:
    """Read and check the rubric at `path`. Raises `RubricError` where it is wrong."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise RubricError(f"{path}: expected a TOML file, found: {error}") from error
    read = _Reader(path)
    step = read.number(data, "step", "step")
    if step <= 0:
        raise read.error("step", "a number above 0", step)
    entries = read.tables(data, "criterion", "criterion")
    criteria = tuple(_criterion(read, entry, f"criterion[{i}]", step) for i, entry in enumerate(entries))
    for key in ("id", "cell"):
        values = [getattr(criterion, key) for criterion in criteria]
        if len(set(values)) < len(values):
            raise read.error(f"criterion.{key}", "a different one for each criterion", values)
    titles = [[band.title for band in criterion.bands] for criterion in criteria]
    if any(row != titles[0] for row in titles):
        raise read.error("criterion.band.title", "the same titles in the same order for each criterion", titles)
    total, added = read.number(data, "total", "total"), sum(criterion.points for criterion in criteria)
    if not isclose(total, added):
        raise read.error("total", f"the sum of the criteria's points, {added:g}", total)
    report = _report(read, data["report"]) if "report" in data else None
    return Rubric(read.text(data, "title", "title"), step, criteria, report)


def _criterion(read: _Reader, data: dict[str, Any], key: str, step: float) -> Criterion:
    points = read.number(data, "points", f"{key}.points")
    bands = []
    expected = points  # where the next band must end
    for i, entry in enumerate(read.tables(data, "band", f"{key}.band")):
        name = f"{key}.band[{i}]"
        title, words = (read.text(entry, part, f"{name}.{part}") for part in ("title", "words"))
        low, high = (read.number(entry, end, f"{name}.{end}") for end in ("from", "to"))
        if not isclose(high, expected):
            why = "the criterion's points" if i == 0 else "one step below the band before: no gap, no overlap"
            raise read.error(f"{name}.to", f"{expected:g} ({why})", high)
        if not 0 <= low <= high or not isclose(low, step * round(low / step)):
            raise read.error(f"{name}.from", f"a multiple of {step:g} from 0 to {high:g}", low)
        bands.append(Band(title, low, high, words))
        expected = low - step
    if bands[-1].low != 0:
        raise read.error(f"{key}.band[{len(bands) - 1}].from", "0, as it is the last band", bands[-1].low)
    texts = {name: read.text(data, name, f"{key}.{name}") for name in ("id", "cell", "title", "looks_at")}
    return Criterion(points=points, bands=tuple(bands), **texts)


def _report(read: _Reader, data: Any) -> Report:
    match data:
        case {"words": [int(low), int(high)], "papers": int(papers)} if 0 <= low <= high and papers >= 0:
            return Report(low, high, papers)
    raise read.error("report", "words = [fewest, most] and papers = a number", data)


class _Reader:
    """Takes values of the right kind out of a parsed file, or says what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def error(self, key: str, expected: str, found: Any) -> RubricError:
        return RubricError(f"{self._path}: {key}: expected {expected}; found {found!r}")

    def text(self, data: dict[str, Any], name: str, key: str) -> str:
        value = data.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "a text", value)
        return " ".join(value.split())

    def number(self, data: dict[str, Any], name: str, key: str) -> float:
        value = data.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise self.error(key, "a number", value)
        return float(value)

    def tables(self, data: dict[str, Any], name: str, key: str) -> list[dict[str, Any]]:
        value = data.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
            raise self.error(key, "at least one [[" + re.sub(r"\[\d+\]", "", key) + "]] table", value)
        return value
