"""The instructor's command line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from autograder.cli_coursework import app as coursework
from autograder.cli_marking import app as marking
from autograder.console import CourseFolder, console, errors, plain_errors, progress_bar
from autograder.course import Course, CourseError
from autograder.run import grade_exercise, require_suite

app = typer.Typer(
    help="Release exercises, grade what students hand in, and give feedback, in an nbgrader course.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

Exercises = Annotated[list[str] | None, typer.Argument(help="Names of exercises; all of the course if none is named.")]
Seed = Annotated[
    str | None,
    typer.Option(envvar="AUTOGRADER_SEED", help="Seeds the tests' inputs; by default the course's own secret seed."),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Grade WITHOUT a sandbox where bubblewrap is missing. Never trust the result."),
]


@app.command(epilog="Example: [bold]autograder release ps01-masks-and-iou[/]")
def release(
    exercises: Exercises = None,
    course: CourseFolder = Path(),
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if the release is out of step.")] = False,
) -> None:
    """Make the students' notebooks and public checks from the sources (nbgrader's generate_assignment)."""
    from autograder import release as releasing

    with plain_errors():
        loaded = Course.load(course)
        if check:
            found = releasing.differences(loaded)
            for line in found:
                errors.print(line, highlight=False, soft_wrap=True)
            if found:
                errors.print("Run [bold]autograder release[/] and commit what it writes.")
                raise typer.Exit(1)
            console.print(f"{loaded.release} is in step with {loaded.source}.", highlight=False, soft_wrap=True)
            return
        names = exercises or loaded.exercises()
        releasing.release(loaded, names)
        for name in names:
            console.print(f"released {loaded.release / name}", highlight=False, soft_wrap=True)


@app.command(epilog="Example: [bold]autograder grade ps01-masks-and-iou --student alice --force[/]")
def grade(
    exercise: Annotated[str, typer.Argument(help="The exercise to grade.")],
    course: CourseFolder = Path(),
    student: Annotated[list[str] | None, typer.Option(help="Only this student; may be given several times.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 means one for each core.", min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Grade again what has not changed, too.")] = False,
    seed: Seed = None,
    insecure: Insecure = False,
) -> None:
    """Grade submitted/STUDENT/EXERCISE in the sandbox; write gradebook, autograded notebooks and feedback.

    What has not changed since the last run is not graded again, so a run that was interrupted goes on where it stopped.
    """
    with plain_errors():
        summary = grade_exercise(Course.load(course), exercise, student or [], workers, force, seed, insecure)
    summary.show()
    for line in summary.grader_errors:
        errors.print(f"[bold red]Grader error:[/] {line}", highlight=False, soft_wrap=True)
    if insecure:
        errors.print("[bold red]Graded with --insecure: without a sandbox. Do not trust these points.[/]")
    raise typer.Exit(1 if summary.grader_errors else 0)


@app.command(epilog="Example: [bold]autograder feedback ps01-masks-and-iou[/]")
def feedback(
    exercise: Annotated[str, typer.Argument(help="The exercise.")],
    course: CourseFolder = Path(),
) -> None:
    """Write the feedback pages anew, with what markers gave by hand and what `autograder predictions` measured."""
    from autograder import feedback as pages
    from autograder.course import write_file
    from autograder.grade import RESULT_FILE
    from autograder.gradebook import open_gradebook
    from autograder.intake import ReleasedNotebook, solution_texts
    from autograder.predictions import kept_measure
    from autograder.results import SubmissionResult
    from autograder.rubric import rubric_of

    with plain_errors():
        loaded = Course.load(course)
        rubric = rubric_of(loaded, exercise)
        released = ReleasedNotebook.load(loaded.released_notebook(exercise))
        graded = sorted(loaded.autograded.glob(f"*/{exercise}/{RESULT_FILE}"))
        if not graded:
            raise CourseError(f"nothing has been graded yet for {exercise}. Run: autograder grade {exercise}")
        with open_gradebook(loaded) as book, progress_bar("feedback") as bar:
            for path in bar.track(graded):
                result = SubmissionResult.from_json(path.read_text(encoding="utf-8"))
                notebook = json.loads(path.with_name(f"{exercise}.ipynb").read_text(encoding="utf-8"))
                submission = released.rebuild(solution_texts(notebook, released)[0], [])
                tasks = pages.sections(submission, result, book.manual_grades(exercise, result.student), rubric)
                target = loaded.feedback / result.student / exercise / f"{exercise}.html"
                measured = kept_measure(loaded, exercise, result.student)
                write_file(target, pages.page_html(result, tasks, measured, apart=rubric is not None))
    console.print(
        f"wrote {len(graded)} pages: {loaded.feedback}/STUDENT/{exercise}/{exercise}.html",
        highlight=False,
        soft_wrap=True,
    )


@app.command(epilog="Example: [bold]autograder verify ps01-masks-and-iou --json report.json[/]")
def verify(
    exercises: Exercises = None,
    course: CourseFolder = Path(),
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file, too.")] = None,
    seed: Annotated[str, typer.Option(help="Seeds the tests' inputs.")] = "verify",
    insecure: Insecure = False,
) -> None:
    """Hold suites to their word: the reference gets all points, the stub none, each mutant its points and hint."""
    from autograder.course import write_file
    from autograder.verify import verify as rows_of

    with plain_errors():
        loaded = Course.load(course)
        rows = [
            row
            for name in exercises or loaded.exercises()
            if require_suite(name)
            for row in rows_of(loaded, name, seed, not insecure)
        ]
    for name in dict.fromkeys(row.assignment for row in rows):
        table = Table(title=name, title_justify="left")
        for column in ("kind", "name", "points", "expected", "hint", "ok"):
            table.add_column(column, justify="right" if column in ("points", "expected") else "left", overflow="fold")
        for row in (row for row in rows if row.assignment == name):
            hint = row.hint if row.hint == row.hint_expected else f"{row.hint or 'none'} (not {row.hint_expected})"
            mark = "[green]yes[/]" if row.ok else "[bold red]NO[/]"
            table.add_row(row.kind, row.name, f"{row.points:g}", f"{row.points_expected:g}", hint, mark)
        console.print(table)
    if json_file:
        write_file(json_file, json.dumps([asdict(row) for row in rows], indent=1))
    wrong = sum(not row.ok for row in rows)
    console.print(f"{len(rows)} graded, {wrong} not as expected")
    raise typer.Exit(1 if wrong else 0)


@app.command(epilog="Example: [bold]autograder demo ps09-deeplab --students 200 --no-book[/]")
def demo(
    exercise: Annotated[str, typer.Argument(help="The exercise that the class hands in.")] = "ps01-masks-and-iou",
    course_dir: Annotated[Path, typer.Option(help="Where to make the demo's course.")] = Path("demo-course"),
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the course of the last run.")] = False,
    students: Annotated[int, typer.Option(help="The size of the class.", min=1)] = 40,
    book: Annotated[bool, typer.Option("--book/--no-book", help="Build the book, too.")] = True,
    workers: Annotated[int, typer.Option(help="Processes; 0 means one for each core.", min=0)] = 0,
) -> None:
    """Grade a made-up class, cheaters included, and hold every grade against the one that it must be.

    Makes a course of its own, with an SQLite gradebook; the folder is made anew each time.
    """
    from autograder import demo as demonstration

    with plain_errors():
        done = demonstration.run(course_dir, exercise, students, workers, keep, book)
    demonstration.show(done)
    raise typer.Exit(1 if done.failed else 0)


app.add_typer(marking)  # its commands are ours
app.add_typer(coursework)

if __name__ == "__main__":
    app()
