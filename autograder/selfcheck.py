"""A student's own check of a report before it is handed in: what a program can see of what the mark scheme asks.

In a notebook: `from autograder.selfcheck import selfcheck` and `selfcheck()`. In a terminal: `autograder selfcheck
NOTEBOOK`, which also runs the notebook from top to bottom.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.course import CourseError
from autograder.feedback import render
from autograder.intake import cell_id, cell_text
from autograder.report import Report, figures_named, read_report
from autograder.rubric import RUBRIC_FILE, Rubric, load_rubric

PLACEHOLDER = "YOUR ANSWER HERE"  # nbgrader's
COPIED = 200 * 2**20  # bytes: what is larger beside the notebook, such as data, is linked and not copied to run it
HOW_COUNTED = (
    "Counted are the words of text, headings, captions and tables; a word with hyphens and a number are one word each. "
    "Not counted are code, formulas, link addresses, and the references below a heading `References` or in lines like "
    "`[1] Author, year`."
)


@dataclass(frozen=True)
class Row:
    """One thing that was looked at. `state` is ok, look (a person must judge) or mend."""

    about: str
    state: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class SelfCheck:
    """What was found; Jupyter shows it as a table."""

    rows: list[Row]

    @property
    def good(self) -> bool:
        return all(row.state != "mend" for row in self.rows)

    def _repr_html_(self) -> str:
        return render("selfcheck.html", rows=self.rows, how_counted=HOW_COUNTED)


def selfcheck(notebook: str | Path | None = None) -> SelfCheck:
    """Check the report in a notebook as it was last saved; by default the only one in this folder.

    Needs `rubric.toml`, which comes with the assignment, beside it. Raises `CourseError` where either cannot be read.
    """
    path = Path(notebook) if notebook else _only_notebook(Path.cwd())
    read, rubric = load_notebook(path), path.parent / RUBRIC_FILE
    if not rubric.is_file():
        raise CourseError(f"{rubric} is missing. It comes with the assignment: put a copy beside your notebook")
    return SelfCheck([*check_report(read, load_rubric(rubric)), check_order(read)])


def load_notebook(path: Path) -> dict[str, Any]:
    """The notebook at `path` as parsed JSON; `CourseError` if it is none."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        _check_format(notebook)
    except FileNotFoundError as error:
        raise CourseError(f"{path}: expected a Jupyter notebook, found no file of this name") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CourseError(f"{path}: expected a Jupyter notebook, found: {error}. Save it in Jupyter again.") from error
    return notebook


def _check_format(notebook: Any) -> None:
    """Require what is read here, and what nbformat takes for granted. Raises `ValueError`."""
    match notebook:
        case {"nbformat": 4, "nbformat_minor": int(), "metadata": dict(), "cells": list(cells)}:
            pass
        case _:
            raise ValueError("no notebook of format 4")
    for number, cell in enumerate(cells, 1):
        match cell:
            case {"cell_type": "code" | "markdown" | "raw", "metadata": dict(), "source": str() | list()}:
                pass
            case _:
                raise ValueError(f"cell {number}, which is none of a notebook of format 4")


def check_report(notebook: dict[str, Any], rubric: Rubric) -> list[Row]:
    """What there is to say of the cells that the rubric marks."""
    texts = {cell_id(cell): cell_text(cell) for cell in notebook["cells"]}
    rows = []
    for name in (criterion.cell for criterion in rubric.criteria):
        if name not in texts:
            remedy = "Copy your text into a fresh copy of the assignment's notebook."
            rows.append(Row("cells", "mend", f"The cell `{name}` is missing.", remedy))
        elif texts[name].strip() in ("", PLACEHOLDER):
            rows.append(Row("cells", "mend", f"The cell `{name}` is empty.", "Write this part of the report there."))
            del texts[name]
    report = read_report([texts[criterion.cell] for criterion in rubric.criteria if criterion.cell in texts])
    return [*rows, *_words(report, rubric), *_references(report, rubric), _figures(report)]


def _words(report: Report, rubric: Rubric) -> list[Row]:
    if rubric.report is None:
        return []
    low, high = rubric.report.min_words, rubric.report.max_words
    found = f"{report.words} words; {low} to {high} are asked for."
    if report.words < low:
        return [Row("length", "mend", found, f"Write at least {low - report.words} words more.")]
    if report.words > high:
        return [Row("length", "mend", found, f"Cut at least {report.words - high} words.")]
    return [Row("length", "ok", found)]


def _references(report: Report, rubric: Rubric) -> list[Row]:
    least = rubric.report.papers if rubric.report else 0
    findable = [one for one in report.references if one.source]
    lost = [one for one in report.references if not one.source]
    uncited = [one for one in report.references if not one.cited_in("\n".join(report.text))]
    preprints = sum(one.source == "arXiv" for one in findable)
    found = f"{len(findable)} references; at least {least} peer-reviewed papers are asked for."
    rows = []
    if len(findable) < least:
        remedy = (
            "List them below a heading `References`, one a line, with authors, year, title, and DOI where there is one."
        )
        rows.append(Row("references", "mend", found, remedy))
    elif len(findable) - preprints < least:
        remedy = f"{preprints} are on arXiv, which reviews nothing: cite the published version where there is one."
        rows.append(Row("references", "look", found, remedy))
    else:
        rows.append(Row("references", "ok", found, "A program cannot tell whether a paper was peer-reviewed: you can."))
    if lost:
        remedy = "Add authors and year, or a DOI, so that a reader can find it."
        rows.append(Row("incomplete references", "mend", _quoted(lost), remedy))
    if uncited:
        remedy = "Cite each in the text, by its number in brackets or its first author, or take it out."
        rows.append(Row("references not cited", "look", _quoted(uncited), remedy))
    return rows


def _figures(report: Report) -> Row:
    named = figures_named("\n".join(block for block in report.text if block not in report.captions.values()))
    unmentioned = sorted(set(report.captions) - named, key=int)
    found = f"Pictures: {report.images}; captions: {len(report.captions)}; figures that the text names: {len(named)}."
    if report.bare_images:
        remedy = f"Write a line `Figure 1: what it shows` below each picture; it is missing for {report.bare_images}."
        return Row("figures", "mend", found, remedy)
    if unmentioned:
        return Row("figures", "look", found, f"The text does not refer to Figure {', '.join(unmentioned)}.")
    if not named:
        return Row("figures", "look", found, "Say in the text which figure shows what: `Figure 1`, and so on.")
    return Row("figures", "ok", found, "Figures that code draws need their number and caption in a cell beside them.")


def check_order(notebook: dict[str, Any]) -> Row:
    """Whether the saved outputs come from one run from top to bottom."""
    counts = [
        cell.get("execution_count")
        for cell in notebook["cells"]
        if cell.get("cell_type") == "code" and cell_text(cell).strip()
    ]
    if not counts:
        return Row("outputs", "mend", "There is no code in it.", "Copy your cells into the assignment's notebook.")
    if counts == list(range(1, len(counts) + 1)):
        return Row("outputs", "ok", "The saved outputs are of one run from top to bottom.")
    run = sum(isinstance(count, int) for count in counts)
    found = f"{run} of {len(counts)} code cells were run, not all once from top to bottom."
    return Row(
        "outputs", "mend", found, "Restart the kernel and run all cells (Kernel > Restart & Run All), then save."
    )


def check_run(path: Path, seconds: int, progress: Callable[[int, int], None] = lambda done, of: None) -> Row:
    """Run a copy of the notebook from top to bottom, at most `seconds` a cell; `progress` gets cells done and in all.

    The copy lies in a temporary folder with copies of the files beside the notebook, so that what is there stays as
    it is; only what is large, or a linked folder, is linked.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    current = 0

    def started(cell: Any, cell_index: int) -> None:
        nonlocal current
        current = cell_index
        progress(cell_index, len(notebook.cells))

    with tempfile.TemporaryDirectory() as folder:
        _copy_beside(path.parent, Path(folder))
        place = {"metadata": {"path": folder}}
        client = NotebookClient(
            notebook, timeout=seconds, kernel_name="python3", resources=place, on_cell_start=started
        )
        try:
            client.execute(stderr=subprocess.DEVNULL)  # where the kernel tells of itself, and of being interrupted
        except CellTimeoutError:
            reason, remedy = f"it took more than {seconds} seconds", "Make it shorter, or allow more by --timeout."
        except CellExecutionError as error:
            reason = f"{error.ename}: {error.evalue[:300]}".rstrip(": .")
            remedy = "Mend it, restart the kernel, run all, save."
        except DeadKernelError:
            reason, remedy = "the kernel died", "This is mostly for want of memory: use less at a time."
        else:
            return Row("run", "ok", "The notebook runs from top to bottom.")
    first = next((line for line in notebook.cells[current].source.splitlines() if line.strip()), "")
    return Row("run", "mend", f"It stops in cell {current + 1} (`{first[:60]}`): {reason}.", remedy)


def _copy_beside(source: Path, target: Path) -> None:
    left = COPIED
    for entry in sorted(source.iterdir()):
        if entry.name == ".ipynb_checkpoints":
            continue
        inside = () if entry.is_symlink() else entry.rglob("*")
        size = sum(file.stat().st_size for file in [entry, *inside] if file.is_file())
        if size > left:
            (target / entry.name).symlink_to(entry.resolve())
            continue
        left -= size
        _copy(entry, target / entry.name)


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder. A link to a folder, which may hold much, or itself, stays a link."""
    if source.is_file():
        shutil.copy(source, target)
    elif source.is_symlink():
        target.symlink_to(os.path.realpath(source))
    elif source.is_dir():
        target.mkdir()
        for entry in source.iterdir():
            _copy(entry, target / entry.name)


def _only_notebook(folder: Path) -> Path:
    found = sorted(folder.glob("*.ipynb"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise CourseError(f"expected one notebook in {folder}, found {names}. Name it: selfcheck('NAME.ipynb')")
    return found[0]


def _quoted(references: list) -> str:
    return "; ".join(f"“{one.text[:60]}{'…' * (len(one.text) > 60)}”" for one in references)
