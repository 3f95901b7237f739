"""The assignment's demo: a course of its own, twelve made-up students, and every result compared with what is due."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from autograder import release
from autograder.console import console, errors
from autograder.course import Course, write_file
from autograder.coursework import ASSIGNMENT, Coursework, hand_in, make_coursework
from autograder.demo import compare, make_course
from autograder.predictions import Measured, held_out, measure_class
from autograder.run import grade_exercise
from autograder.sandbox.client import why_unavailable

TRUTH_FILE = "held-out.json"  # in the course's folder


@dataclass
class CourseworkDemo:
    """What came out. `wrong` tells of each student whose points, feedback or measure is not what it must be."""

    course: Course
    students: list[Coursework]
    measured: list[Measured] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=dict)


def run(folder: Path, workers: int) -> CourseworkDemo:
    """Make the course in `folder`, hand in, grade, measure the predictions, and compare.

    Without a sandbox all is graded with --insecure, which is said; none of these submissions is hostile.
    """
    course = make_course(folder, keep=False)
    no_sandbox = why_unavailable()
    if no_sandbox:
        errors.print(f"[bold red]No sandbox:[/] {escape(no_sandbox)} So this is graded with --insecure.")
    release.release(course, [ASSIGNMENT])
    students, truth = make_coursework(course)
    for student in students:
        hand_in(course, student)
    names = [student.student for student in students]
    grade_exercise(course, ASSIGNMENT, names, workers, False, "demo", bool(no_sandbox))
    demo = CourseworkDemo(course, students, wrong=compare(course, students, ASSIGNMENT))
    write_file(course.root / TRUTH_FILE, json.dumps(truth))
    known = held_out(course, ASSIGNMENT, course.root / TRUTH_FILE, None)
    demo.measured = list(measure_class(course, ASSIGNMENT, known, names))
    for student, found in zip(students, demo.measured, strict=True):
        if found.verdict != student.verdict:
            line = f"the predictions are {found.verdict} instead of {student.verdict}: {found.reason}"
            demo.wrong.setdefault(student.student, []).append(line)
    return demo


def show(demo: CourseworkDemo) -> None:
    """Print a line for each student, and where to look."""
    table = Table("student", "about", "predictions", "as due", box=None, pad_edge=False)
    table.add_column("mean IoU", justify="right")
    for student, found in zip(demo.students, demo.measured, strict=True):
        wrong = demo.wrong.get(student.student, [])
        mean = "" if found.mean_iou is None else f"{found.mean_iou:.2f}"
        table.add_row(student.student, student.about, found.verdict, "[bold red]no[/]" if wrong else "yes", mean)
    console.print(table)
    for name, lines in demo.wrong.items():
        for line in lines:
            console.print(f"[bold red]{name}[/]: {escape(line)}", highlight=False, soft_wrap=True)
    console.print(f"\nThe course: {demo.course.root}. Go on by hand, in this folder:", highlight=False, soft_wrap=True)
    for command in ("similarity {}", "mark-sheet {} --marker ada", "feedback {}"):
        console.print(f"  autograder {command.format(ASSIGNMENT)}", highlight=False)
    console.print("Everybody's code is the reference solution's here, with slips in some: it is alike by design.")
