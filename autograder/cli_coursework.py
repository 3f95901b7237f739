"""The commands around the assignment: the predictions that students hand in."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from autograder.console import CourseFolder, console, errors, plain_errors, progress_bar
from autograder.course import Course, write_file

app = typer.Typer()


@app.command(epilog="Example: [bold]autograder predictions coco-assignment --json predictions-scores.json[/]")
def predictions(
    assignment: Annotated[str, typer.Argument(help="The assignment whose predictions.json to measure.")],
    course: CourseFolder = Path(),
    student: Annotated[list[str] | None, typer.Option(help="Only this student; may be given several times.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of local data with COCO; by default SEGEDU_DATA.")] = None,
    truth: Annotated[Path | None, typer.Option(help="The truth in COCO's layout, in place of COCO's own.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file, too.")] = None,
) -> None:
    """Measure what students' networks found in the held-out images: mean IoU and AP of their predictions.json.

    Changes no points: it is shown beside them, on the pages that `autograder feedback` writes. Needs COCO's annotations
    on this machine, and no images.
    """
    from autograder import predictions as measuring

    rows: list[measuring.Measured] = []
    with plain_errors():
        loaded = Course.load(course)
        chosen = loaded.require_students(assignment, student)
        with errors.status("reading the truth"):
            known = measuring.held_out(loaded, assignment, truth, data)
        with progress_bar("measuring") as bar:
            task = bar.add_task("", total=len(chosen))
            for row in measuring.measure_class(loaded, assignment, known, chosen):
                rows.append(row)
                bar.advance(task)
    table = Table("student", "verdict", box=None, pad_edge=False)
    for column in ("mean IoU", "AP", "AP50", "segments"):
        table.add_column(column, justify="right")
    for row in rows:
        numbers = ("" if value is None else f"{value:.3f}" for value in (row.mean_iou, row.ap, row.ap50))
        table.add_row(escape(row.student), row.verdict, *numbers, str(row.segments))
    console.print(table)
    for row in rows:
        if row.verdict == "unusable":
            console.print(f"unusable: {escape(f'{row.student}: {row.reason}')}", highlight=False, soft_wrap=True)
    asked = f"{known.least:g} asked for, too good above {known.too_good:g}"
    console.print(f"held-out images: {len(known.images)}; mean IoU: {asked}", highlight=False, soft_wrap=True)
    if json_file:
        with plain_errors():
            write_file(json_file, json.dumps([asdict(row) for row in rows], indent=1))


@app.command("demo-coursework", epilog="Example: [bold]autograder demo-coursework --course-dir demo-course[/]")
def demo_coursework(
    course_dir: Annotated[Path, typer.Option(help="Where to make the demo's course.")] = Path("demo-course"),
    workers: Annotated[int, typer.Option(help="Processes; 0 means one for each core.", min=0)] = 0,
) -> None:
    """Hand in the assignment for twelve made-up students, grade and measure it, and compare with what must come out.

    The course, with its gradebook, is left for marking by hand; the folder is made anew each time.
    """
    from autograder import coursework_demo

    with plain_errors():
        done = coursework_demo.run(course_dir, workers)
    coursework_demo.show(done)
    raise typer.Exit(1 if done.wrong else 0)
