"""The commands around marking by hand: sheets, moderation, similarity, and the student's own check of a report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from autograder.console import CourseFolder, console, plain_errors, progress_bar
from autograder.course import PRIVATE, Course, CourseError, write_file

app = typer.Typer()
Assignment = Annotated[str, typer.Argument(help="The assignment.")]


@app.command("mark-sheet", epilog="Example: [bold]autograder mark-sheet coco-assignment --marker ada[/]")
def mark_sheet(
    assignment: Assignment,
    marker: Annotated[str, typer.Option(help="Who fills it in.")],
    course: CourseFolder = Path(),
    from_gradebook: Annotated[
        bool, typer.Option("--from-gradebook", help="Fill in the marks that are in the gradebook, with their comments.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a sheet that is there.")] = False,
) -> None:
    """Write a sheet for one marker: a CSV file with a line for each student and a column for each criterion.

    A marker who works in the formgrader gets the own sheet by --from-gradebook, before the second marker begins there.
    """
    from autograder.gradebook import open_gradebook
    from autograder.moderation import require_rubric
    from autograder.sheets import gradebook_marks, sheet_path, sheet_text

    with plain_errors():
        loaded = Course.load(course)
        rubric = require_rubric(loaded, assignment)
        students = loaded.require_students(assignment)
        path = sheet_path(loaded, assignment, marker)
        if path.exists() and not force:
            raise CourseError(f"{path} is there already, perhaps with marks. To write over it: --force")
        grades = {}
        if from_gradebook:
            with open_gradebook(loaded) as book:
                grades = gradebook_marks(book, assignment, rubric, students)
        write_file(path, sheet_text(rubric, students, grades), mode=PRIVATE)
    counts = f"(students: {len(students)}, marks: {len(grades)})"
    console.print(f"wrote {escape(str(path))} {counts}", highlight=False, soft_wrap=True)


@app.command(epilog="Example: [bold]autograder moderate coco-assignment marks/*-ada.csv marks/*-bob.csv --write[/]")
def moderate(
    assignment: Assignment,
    first: Annotated[Path, typer.Argument(help="One marker's sheet.")],
    second: Annotated[Path, typer.Argument(help="The other marker's sheet.")],
    course: CourseFolder = Path(),
    decisions: Annotated[
        Path | None, typer.Option(help="A sheet with a moderator's marks, which hold wherever there is one.")
    ] = None,
    criterion_percent: Annotated[
        float | None,
        typer.Option(help="Flag a criterion that differs by this share of its points; by default, by a band.", min=0),
    ] = None,
    total_percent: Annotated[
        float, typer.Option(help="Flag a student whose totals differ by this share of all points.", min=0)
    ] = 10,
    write: Annotated[bool, typer.Option("--write", help="Enter what is settled into the gradebook.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Also where the gradebook has another mark.")] = False,
) -> None:
    """Compare two markers' sheets; flag what is far apart, and take the mean of the rest.

    Writes marks/ASSIGNMENT-moderation.csv and .html. The gradebook is changed only by --write, and a mark that stands
    there only by --replace.
    """
    from autograder import moderation
    from autograder.gradebook import open_gradebook
    from autograder.sheets import RECORD, read_sheet

    with plain_errors():
        loaded = Course.load(course)
        rubric = moderation.require_rubric(loaded, assignment)
        record = loaded.root / "marks" / f"{assignment}-{RECORD}.csv"
        given = [path.resolve() for path in (first, second, decisions) if path]
        if len(set(given)) < len(given):
            raise CourseError(f"expected sheets of different people, found one twice: {', '.join(map(str, given))}")
        if record.resolve() in given:
            raise CourseError(f"{record} is what this command writes, and would be lost as a sheet: rename it")
        sheets = (read_sheet(first, rubric, assignment), read_sheet(second, rubric, assignment))
        decided = read_sheet(decisions, rubric, assignment) if decisions else None
        items = moderation.compare(rubric, sheets, decided, criterion_percent, total_percent)
        missing = moderation.unmarked(rubric, sheets)
        agreements = moderation.agreement(rubric, items)
        markers = (sheets[0].marker, sheets[1].marker)
        write_file(record, moderation.record_text(items, markers), mode=PRIVATE)
        page = moderation.report_html(assignment, items, markers, agreements, missing)
        write_file(record.with_suffix(".html"), page, mode=PRIVATE)
        _show_moderation(items, markers, agreements, missing)
        console.print(f"wrote {escape(str(record))} and .html", highlight=False, soft_wrap=True)
        entries = []
        if write:
            with open_gradebook(loaded) as book:
                entries = moderation.write(book, assignment, items, replace)
            console.print(f"marks written into the gradebook: {sum(entry.written for entry in entries)}")
    kept = [entry for entry in entries if not entry.written]
    for entry in kept:
        line = (
            f"{entry.item.student}, {entry.item.criterion.id}: {entry.before:g} stays, {entry.item.agreed:g} was agreed"
        )
        console.print(f"[bold]not written:[/] {escape(line)}", highlight=False, soft_wrap=True)
    if kept:
        console.print("To write over them: --replace")
    unused = moderation.unused(decided, items)
    for student, criterion in unused:
        line = f"the decision on {criterion} of {student}, whom not both markers marked in full"
        console.print(f"[bold]not used:[/] {escape(line)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1 if kept or unused else 0)


def _show_moderation(items: list, markers: tuple[str, str], agreements: list, missing: dict[str, str]) -> None:
    if items:
        table = Table("student", "criterion")
        for name in (*markers, "difference", "agreed"):
            table.add_column(escape(name), justify="right")
        for item in (item for item in items if item.difference or item.decided):
            agreed = "[bold red]flagged[/]" if item.agreed is None else f"{'decided: ' * item.decided}{item.agreed:g}"
            marks = (f"{points:g}" for points in (*item.points, item.difference))
            table.add_row(escape(item.student), item.criterion.id, *marks, agreed)
        console.print(table)
        table = Table("criterion")
        for name in ("marked twice", "mean difference (points)", "weighted kappa"):
            table.add_column(name, justify="right")
        for found in agreements:
            kappa = "undefined" if math.isnan(found.kappa) else f"{found.kappa:.2f}"
            table.add_row(found.criterion.id, str(found.count), f"{found.mean_difference:.2f}", kappa)
        console.print(table)
    else:
        console.print("No student has been marked by both in full.")
    for student, reason in missing.items():
        console.print(f"not marked by both: {escape(f'{student} ({reason})')}", highlight=False, soft_wrap=True)
    open_items = [item for item in items if item.agreed is None]
    if open_items:
        students = ", ".join(dict.fromkeys(item.student for item in open_items))
        console.print(
            f"[bold]Flagged and open:[/] {len(open_items)}, of {escape(students)}. Talk them over, write the outcome "
            "into a sheet (autograder mark-sheet --marker moderator), and name it by --decisions."
        )


@app.command(epilog="Example: [bold]autograder similarity coco-assignment --threshold 30[/]")
def similarity(
    assignment: Assignment,
    course: CourseFolder = Path(),
    threshold: Annotated[
        float,
        typer.Option(help="List pairs of whom one shares this share of its own work, in per cent.", min=0, max=100),
    ] = 25,
    html: Annotated[Path | None, typer.Option(help="The page; by default similarity/ASSIGNMENT.html.")] = None,
) -> None:
    """List submissions that share passages of code or prose, for a person to look at. Similarity is not proof.

    What the starter notebook holds does not count, nor what many of the class have in common.
    """
    from autograder import similarity as similar

    with plain_errors():
        loaded = Course.load(course)
        with progress_bar("reading") as bar:
            texts, starter, refused = similar.read_class(loaded, assignment, bar.track)
        if not texts:
            raise CourseError(f"no notebook was handed in for {assignment} that can be read, in {loaded.submitted}")
        with progress_bar("comparing") as bar:
            pairs = similar.compare(texts, starter, threshold / 100, bar.track)
        page = html or loaded.root / "similarity" / f"{assignment}.html"
        write_file(page, similar.report_html(assignment, pairs, len(texts), refused, threshold), mode=PRIVATE)
    table = Table("students", "code", "report", box=None, pad_edge=False)
    for pair in pairs:
        found = {part.kind: f"{max(part.shares):.0%}" for part in pair.shared}
        table.add_row(escape(" and ".join(pair.students)), found.get("code", ""), found.get("report", ""))
    if pairs:
        console.print(table)
    console.print(
        f"submissions compared: {len(texts)}, pairs to look at: {len(pairs)}, on {page}",
        highlight=False,
        soft_wrap=True,
    )
    for student, reason in refused.items():
        console.print(f"not read: {escape(f'{student}: {reason}')}", highlight=False, soft_wrap=True)
    console.print("Similarity is not proof of copying. Read the passages and hear both students first.")


@app.command(epilog="Example: [bold]autograder selfcheck coco-assignment.ipynb --timeout 1200[/]")
def selfcheck(
    notebook: Annotated[Path, typer.Argument(help="Your notebook, as saved, with the assignment's files beside it.")],
    run: Annotated[bool, typer.Option("--run/--no-run", help="Also run a copy of it from top to bottom.")] = True,
    timeout: Annotated[int, typer.Option(help="Seconds that a cell may take.", min=1)] = 1800,
) -> None:
    """For students: check the report's length, references and figures, and that the notebook runs.

    Changes nothing. It sees form alone; what the report is worth, people judge.
    """
    from autograder import selfcheck as checking

    with plain_errors():
        rows = checking.selfcheck(notebook).rows
        if run:
            with progress_bar("running") as bar:
                task = bar.add_task("", total=None)
                rows.append(
                    checking.check_run(notebook, timeout, lambda n, of: bar.update(task, completed=n, total=of))
                )
    table = Table("", "", "found", "what to do", box=None, pad_edge=False)
    marks = {"ok": "[green]✓[/]", "look": "[yellow]?[/]", "mend": "[bold red]✗[/]"}
    for row in rows:
        table.add_row(marks[row.state], row.about, escape(row.found), escape(row.remedy))
    console.print(table)
    console.print(checking.HOW_COUNTED, style="dim", highlight=False)
    raise typer.Exit(0 if checking.SelfCheck(rows).good else 1)
