"""Grade a class with `autograder grade` and with stock nbgrader, from the command to gradebook and feedback."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from autograder.course import Course
from autograder.intake import ReleasedNotebook
from autograder.release import release
from autograder.verify import load_mutants, reference_solutions
from benchmarks import Row, console, report
from benchmarks.timing import Times

EXAMPLE = "Example: [bold]python -m benchmarks grading --peer-submissions 200 --json grading.json[/]"
EXERCISE = "ps01-masks-and-iou"
PEER = "nbgrader autograde, generate_feedback"
GOAL = 10.0
REPOSITORY = Path(__file__).parents[1]

# nbgrader as it comes: it runs the notebook in a kernel of its own, the points are what `check` returns there.
STOCK_CONFIG = """c = get_config()
c.CourseDirectory.course_id = "segedu"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
"""


def run(
    submissions: Annotated[int, typer.Option(min=1, help="Submissions that we grade.")] = 200,
    peer_submissions: Annotated[int, typer.Option(min=1, help="Of these, submissions that nbgrader grades.")] = 30,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each of the two runs, in turn.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file, too.")] = None,
) -> None:
    """Time `autograder grade` beside stock nbgrader: programs' start, gradebook and feedback included."""
    with tempfile.TemporaryDirectory() as folder:
        course = make_course(Path(folder, "course"), submissions)
        ours, peers = [], []
        for number in range(1, rounds + 1):
            ours.append(1000 * _ours(course) / submissions)
            console.print(f"round {number}: ours {60_000 / ours[-1]:,.0f} submissions a minute", highlight=False)
            handed_in = min(peer_submissions, submissions)
            peers.append(1000 * _peer(course, handed_in) / handed_in)
            console.print(f"round {number}: nbgrader {60_000 / peers[-1]:,.1f} submissions a minute", highlight=False)
    operation = f"grade a submission of {EXERCISE}"
    row = Row.of(operation, Times.of(ours), PEER, Times.of(peers), GOAL)
    report(f"grading: {submissions} submissions, nbgrader {peer_submissions}", [row], json_file)
    for name, ours_ms, peer_ms in (
        ("least times", row.ours_ms, row.peer_ms),
        ("median times", row.ours_median_ms, row.peer_median_ms),
    ):
        rates = (
            f"ours {60_000 / ours_ms:,.0f} a minute, nbgrader {60_000 / peer_ms:,.1f}, ratio {peer_ms / ours_ms:.1f}"
        )
        console.print(f"{name}: {rates}", highlight=False)


def make_course(root: Path, submissions: int) -> Path:
    """A course in `root` with a class that handed in what students do, good and bad; return `root`.

    A fifth of the class is right, half has one of the mutants' misconceptions, a fifth stopped half way, a tenth
    handed in the notebook as it was. Nobody is hostile: that would measure time limits.
    """
    shutil.copytree(REPOSITORY / "solutions" / EXERCISE, root / "solutions" / EXERCISE)
    shutil.copy(REPOSITORY / "nbgrader_config.py", root)
    course = Course.load(root)
    release(course, [EXERCISE])
    released = ReleasedNotebook.load(course.released_notebook(EXERCISE))
    reference = reference_solutions(course, EXERCISE)
    mutants = load_mutants(EXERCISE, reference)
    rng = random.Random(0)
    for number in range(submissions):
        match number % 10:
            case 0 | 1:
                texts = reference
            case 2 | 3:
                texts = dict(list(reference.items())[: rng.randrange(1, len(reference))])
            case 4:
                texts = {}
            case _:
                mutant = mutants[number % len(mutants)]
                texts = {**reference, mutant.cell: mutant.source}
        folder = course.submitted / f"student{number:03d}" / EXERCISE
        folder.mkdir(parents=True)
        notebook = released.rebuild(texts, []).notebook
        (folder / f"{EXERCISE}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    return root


def _ours(course: Path) -> float:
    """Seconds that `autograder grade` takes for the class, with a new gradebook."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = shutil.copytree(course, Path(folder, "ours"))
        return _seconds(["autograder", "grade", EXERCISE, "--course", str(fresh)], fresh)


def _peer(course: Path, submissions: int) -> float:
    """Seconds that stock nbgrader takes for the first of the class, with a new gradebook."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = shutil.copytree(course, Path(folder, "peer"))
        (fresh / "nbgrader_config.py").write_text(STOCK_CONFIG)
        for student in sorted((fresh / "submitted").iterdir())[submissions:]:
            shutil.rmtree(student)
        seconds = _seconds(["nbgrader", "autograde", EXERCISE], fresh)
        seconds += _seconds(["nbgrader", "generate_feedback", EXERCISE], fresh)
        pages = len(list((fresh / "feedback").glob("*/*/*.html")))
        if pages != submissions:
            raise RuntimeError(f"nbgrader wrote {pages} feedback pages, expected {submissions}")
        return seconds


def _seconds(command: list[str], folder: Path) -> float:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return seconds
