"""The demo: a course of its own, a made-up class, every grade held against the one that it must be, and the book."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from nbgrader.api import Gradebook
from rich.markup import escape
from rich.table import Table

from autograder import release
from autograder.classroom import Material, Sample, make_class
from autograder.console import console, errors
from autograder.course import Course, CourseError, write_file
from autograder.intake import TEST_PREFIX
from autograder.run import grade_exercise
from autograder.sandbox.client import why_unavailable

REPOSITORY = Path(__file__).parents[1]
_CONFIG = """\
# Made by `autograder demo`, which deletes this folder and makes it anew each time.
from autograder.nbgrader_plugins import configure

c = get_config()
c.CourseDirectory.course_id = "demo"
configure(c)
"""


@dataclass
class Demo:
    """What the demo found. `wrong` tells of each student whose grade or feedback is not what it must be."""

    course: Course
    exercise: str
    samples: list[Sample] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    no_sandbox: str = ""
    book: Path | None = None
    book_failed: bool = False

    @property
    def failed(self) -> bool:
        return bool(self.wrong) or self.book_failed

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step, and note how long it takes."""
        console.print(f"[dim]{name} ...[/]", highlight=False)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def run(folder: Path, exercise: str, students: int, workers: int, keep: bool, book: bool) -> Demo:
    """Make the course in `folder` and a class of so many students, grade its `exercise`, compare, build the book.

    `keep` goes on with the course of an earlier run, of which only what has changed is graded again. Raises
    `CourseError` where the demo cannot be made.
    """
    demo = Demo(make_course(folder, keep), exercise)
    demo.no_sandbox = why_unavailable() or ""
    if demo.no_sandbox:
        errors.print(f"[bold red]No sandbox:[/] {demo.no_sandbox}", highlight=False)
        errors.print("So the hostile submissions are left out, and the others are graded with --insecure.")
    with demo.step(f"releasing {exercise}"):
        release.release(demo.course, [exercise])
    with demo.step("making the class"):
        samples = [
            sample
            for sample in make_class(Material(demo.course, exercise))
            if not (demo.no_sandbox and sample.kind == "hostile")
        ]
        rounds = range(1, 1 + -(-students // len(samples)))  # a large class has several of a kind
        again = (replace(sample, student=f"{sample.student}-{n}") for n in rounds[1:] for sample in samples)
        demo.samples = [*samples, *again][:students]
        for sample in demo.samples:
            _hand_in(demo.course, sample, exercise)
    names = [sample.student for sample in demo.samples]
    with demo.step(f"grading {len(names)} submissions"):
        summary = grade_exercise(demo.course, exercise, names, workers, False, "demo", bool(demo.no_sandbox))
    with demo.step("comparing every grade"):
        demo.wrong = compare(demo.course, demo.samples, exercise)
        for line in summary.grader_errors:
            demo.wrong.setdefault(line.partition(":")[0], []).append(line)
    if book:
        _build_book(demo)
    return demo


def make_course(folder: Path, keep: bool) -> Course:
    """A fresh course in `folder`, or with `keep` the one that is there."""
    if not (REPOSITORY / "solutions").is_dir():
        raise CourseError(f"the demo needs a clone of the repository: there is no {REPOSITORY / 'solutions'}")
    config = folder / "nbgrader_config.py"
    if folder.exists() and not (config.is_file() and config.read_text(encoding="utf-8") == _CONFIG):
        if not folder.is_dir() or any(folder.iterdir()):
            raise CourseError(f"{folder} is not a demo's folder; name one that is empty or not there: --course-dir")
    elif folder.exists() and not keep:
        shutil.rmtree(folder)
    write_file(config, _CONFIG)
    ignore = shutil.ignore_patterns(".*")
    shutil.copytree(REPOSITORY / "solutions", folder / "source", dirs_exist_ok=True, ignore=ignore)
    return Course.load(folder)


def _hand_in(course: Course, sample: Sample, exercise: str) -> None:
    folder = course.submitted / sample.student / exercise
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sample.write(folder)


def compare(course: Course, samples: Sequence[Sample], exercise: str) -> dict[str, list[str]]:
    """What is wrong with each student's grades and feedback, in words; students with all right are left out."""
    wrong: dict[str, list[str]] = {}
    with Gradebook(course.db_url, "demo") as book:
        for sample in samples:
            lines = []
            submission = book.find_submission(exercise, sample.student)
            due = 0.0
            for grade in submission.notebooks[0].grades:
                if grade.cell_type == "code":
                    cell = grade.name.removeprefix(TEST_PREFIX)
                    want = grade.max_score - sample.loses.get(cell, 0)
                    due += want
                    if abs(grade.score - want) > 1e-9:
                        lines.append(f"{cell}: {grade.score:g} points instead of {want:g}")
            if abs(submission.score - due) > 1e-9:
                lines.append(f"in all {submission.score:g} points instead of {due:g}")
            if _plain(sample.phrase) not in feedback_text(course, sample.student, exercise):
                lines.append(f"the feedback does not say: {sample.phrase}")
            page = feedback_page(course, sample.student, exercise).read_text(encoding="utf-8")
            if sample.refused == ("<section>" in page):
                lines.append("was graded, but should be refused" if sample.refused else "was refused")
            if lines:
                wrong[sample.student] = lines
    return wrong


def feedback_page(course: Course, student: str, exercise: str) -> Path:
    """Where the student's feedback is."""
    return course.feedback / student / exercise / f"{exercise}.html"


def feedback_text(course: Course, student: str, exercise: str) -> str:
    """What the student reads there, without mark-up."""
    page = feedback_page(course, student, exercise).read_text(encoding="utf-8")
    return _plain(html.unescape(re.sub("<[^>]*>", "", page)))


def _plain(text: str) -> str:
    return text.replace("`", "")  # pages show what is in backticks as code


def _build_book(demo: Demo) -> None:
    script = REPOSITORY / "book" / "build.py"
    if not script.is_file():
        console.print(f"The book is left out: there is no {script}.", highlight=False)
        return
    with (
        demo.step("building the book"),
        console.status("building the book"),
        (demo.course.root / "book.log").open("w", encoding="utf-8") as log,
    ):
        done = subprocess.run([sys.executable, script], cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT)
    demo.book = REPOSITORY / "book" / "_build" / "html" / "index.html"
    demo.book_failed = done.returncode != 0 or not demo.book.is_file()
    if demo.book_failed:
        lines = Path(log.name).read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        errors.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def show(demo: Demo) -> None:
    """Print what came out, and where to look."""
    table = Table("submissions", box=None, pad_edge=False)
    for column in ("how many", "as it must be", "wrong"):
        table.add_column(column, justify="right")
    for kind in dict.fromkeys(sample.kind for sample in demo.samples):
        students = [sample.student for sample in demo.samples if sample.kind == kind]
        bad = sum(student in demo.wrong for student in students)
        table.add_row(kind, str(len(students)), str(len(students) - bad), f"[bold red]{bad}[/]" if bad else "0")
    total, bad = len(demo.samples), len(demo.wrong)
    table.add_row("[bold]all", f"[bold]{total}", f"[bold]{total - bad}", f"[bold red]{bad}[/]" if bad else "[bold]0")
    console.print(table)
    abouts = {sample.student: sample.about for sample in demo.samples}
    for student, lines in demo.wrong.items():
        console.print(f"[bold red]{student}[/]: {escape(abouts.get(student, ''))}", highlight=False)
        for line in lines:
            console.print(f"    {escape(line)}", highlight=False)
    times = Table("step", box=None, pad_edge=False)
    times.add_column("seconds", justify="right")
    for name, seconds in demo.seconds.items():
        times.add_row(name, f"{seconds:.1f}")
    times.add_row("[bold]all", f"[bold]{sum(demo.seconds.values()):.1f}")
    console.print(times)
    if demo.no_sandbox:
        console.print("[bold red]Without a sandbox: hostile submissions were left out, the rest is not trusted.[/]")
    for line in _where_to_look(demo):
        console.print(line, highlight=False, soft_wrap=True)
    if demo.book_failed:
        errors.print(f"[bold red]The book could not be built:[/] {demo.course.root / 'book.log'}", soft_wrap=True)


def _where_to_look(demo: Demo) -> list[str]:
    shown = next((sample.student for sample in demo.samples if sample.kind == "mutant"), demo.samples[0].student)
    here = Path.cwd()

    def near(path: Path) -> str:
        return escape(os.path.relpath(path, here) if path.is_relative_to(here) else str(path))

    lines = [
        "Where to look:",
        f"  a student's feedback   {near(feedback_page(demo.course, shown, demo.exercise))}",
        f"  the gradebook          {near(demo.course.root / 'gradebook.db')} (nbgrader's, SQLite)",
        f"  nbgrader's formgrader  cd {near(demo.course.root)} && {Path(sys.executable).parent / 'jupyter'} notebook",
    ]
    return lines + ([f"  the book               {near(demo.book)}"] if demo.book and not demo.book_failed else [])
