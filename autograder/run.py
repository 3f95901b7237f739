"""One grading run over a class: the pool grades, this process writes the gradebook and shows how far it is."""

from __future__ import annotations

import time
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from autograder.check import suite_path
from autograder.console import console, progress_bar
from autograder.course import Course, CourseError
from autograder.grade import ClassJob, grade_class


class Summary:
    """What one grading run did."""

    def __init__(self, exercise: str) -> None:
        self.exercise = exercise
        self.points: list[tuple[float, float]] = []
        self.lines: list[tuple[str, str]] = []  # (student, what the instructor should know)
        self.grader_errors: list[str] = []
        self.unchanged = 0
        self.seconds = 0.0

    def show(self) -> None:
        """Print the run in two lines, and below them each submission that needs a look."""
        mean = sum(points for points, _ in self.points) / len(self.points) if self.points else 0.0
        top = self.points[0][1] if self.points else 0.0
        rate = 60 * len(self.points) / self.seconds if self.seconds else 0.0
        count = f"{len(self.points)} submissions ({self.unchanged} unchanged)"
        console.print(
            f"[bold]{self.exercise}[/]: {count} in {self.seconds:.1f} s, {rate:,.0f} a minute", highlight=False
        )
        console.print(f"mean {mean:.2f} of {top:g} points from tests", highlight=False)
        if self.lines:
            table = Table("student", "note", box=None, pad_edge=False)
            for student, line in self.lines:
                table.add_row(student, escape(line))
            console.print(table)


def grade_exercise(
    course: Course, exercise: str, students: list[str], workers: int, force: bool, seed: str | None, insecure: bool
) -> Summary:
    """Grade a class with a progress bar; the gradebook is written here, by this one process."""
    from autograder.gradebook import open_gradebook  # nbgrader takes seconds to import

    started = time.perf_counter()
    chosen = course.require_students(exercise, students)
    job = ClassJob(
        exercise=exercise,
        suite=require_suite(exercise),
        released=course.released_notebook(exercise),
        submitted=course.submitted,
        autograded=course.autograded,
        feedback=course.feedback,
        seed=seed or course.seed(),
        insecure=insecure,
        force=force,
    )
    summary = Summary(exercise)
    with open_gradebook(course) as book, progress_bar("grading") as bar:
        book.require(exercise)
        task = bar.add_task("", total=len(chosen))
        for outcome in grade_class(job, chosen, workers):
            book.save(outcome.result, outcome.unchanged)
            result = outcome.result
            summary.points.append((result.points, result.max_points))
            summary.unchanged += not outcome.regraded
            summary.lines += [(result.student, line) for line in [result.refused, *result.notes] if line]
            summary.grader_errors += [outcome.grader_error] if outcome.grader_error else []
            bar.advance(task)
    summary.lines.sort()
    summary.seconds = time.perf_counter() - started
    return summary


def require_suite(exercise: str) -> Path:
    """The exercise's suite; `CourseError` if there is none."""
    path = suite_path(exercise)
    if not path.is_file():
        raise CourseError(f"there is no suite for {exercise!r}: {path} is missing")
    return path
