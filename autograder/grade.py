"""Grade submissions: one after the other in a sandbox, or a class of them with a pool of processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

from autograder import feedback
from autograder.course import write_file
from autograder.intake import Refused, ReleasedNotebook, Submission, read_submission, timestamp_text
from autograder.results import SubmissionResult, TestResult
from autograder.runner import Job, load_suite, run_suite, seeded
from autograder.sandbox.client import SandboxedStudent, Zygote
from autograder.suite import Exercise, Graded

RESULT_FILE = "result.json"
STUCK_SECONDS = 300.0  # far more than the sandbox grants one submission: the grader itself is stuck
VERSION = 1  # of what a result depends on besides its inputs: raise it when grading itself changes


def grade_stream(
    suite: Path,
    exercise: Exercise,
    zygote: Zygote,
    submissions: Iterable[tuple[str, Submission]],
    seed: str,
    done: Callable[[Submission, SubmissionResult], None],
) -> None:
    """Grade (student, submission) pairs as they come, each in a fresh process of the sandbox.

    `exercise` is what the suite at `suite` declares.
    """
    started, current = 0.0, None

    def jobs() -> Iterator[Job]:
        nonlocal started, current
        for student, submission in submissions:
            started, current = time.perf_counter(), (student, submission)
            entropy = int(seeded(seed, student, exercise.name).integers(2**32))
            with SandboxedStudent(
                zygote, submission.code(), exercise.forbidden, entropy, exercise.seconds
            ) as functions:
                yield Job(functions, f"{seed}\0{student}")

    def finish(job: Job, tests: list[TestResult]) -> None:
        student, submission = current
        result = SubmissionResult(student, exercise.name, tests, insecure=not zygote.confined)
        result.notes = [*submission.notes, *job.student.cell_errors.values()]
        result.seconds = time.perf_counter() - started
        done(submission, result)

    run_suite(suite, jobs(), finish)


def refused_result(student: str, exercise: Exercise, tests: dict[str, Graded], reason: str) -> SubmissionResult:
    """The result of a submission that could not be graded: no points, and the reason."""
    failed = [
        TestResult(name, mark.cell, mark.title, mark.points, False, mark.hidden, hint_id="refused")
        for name, mark in tests.items()
    ]
    return SubmissionResult(student, exercise.name, failed, refused=reason)


def with_outputs(submission: Submission, result: SubmissionResult) -> dict:
    """The rebuilt notebook with each test cell's points and feedback as its output.

    nbgrader reads the points from `text/plain`; its formgrader and feedback pages show `text/html`.
    """
    notebook = submission.notebook
    for name, position in submission.released.tests.items():
        data = {"text/plain": repr(result.cell_points(name)), "text/html": feedback.cell_html(result.cell(name))}
        output = {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": data}
        notebook["cells"][position].update(outputs=[output], execution_count=1)
    return notebook


@dataclass(frozen=True)
class ClassJob:
    """A class to grade: an exercise and the folders of its course."""

    exercise: str
    suite: Path
    released: Path
    submitted: Path
    autograded: Path
    feedback: Path
    seed: str
    insecure: bool = False
    force: bool = False  # also what has not changed since it was last graded

    def result_path(self, student: str) -> Path:
        """Where the student's result is kept between runs."""
        return self.autograded / student / self.exercise / RESULT_FILE


@dataclass(frozen=True)
class Outcome:
    """What the pool reports of one submission. `grader_error` is for the instructor: the grader itself failed."""

    result: SubmissionResult
    unchanged: list[str]  # solution cells left as they were
    regraded: bool = True
    grader_error: str = ""


def grade_class(job: ClassJob, students: list[str], workers: int = 0) -> Iterator[Outcome]:
    """Grade these students' submissions with `workers` processes (0: one for each core); yield outcomes as they come.

    Each process writes its students' autograded notebooks, feedback pages and result files; nothing else is
    written. A process that dies is replaced, and so is one that takes `STUCK_SECONDS` for a submission; the submission
    it had is tried once more, then given up.
    """
    workers = min(workers or len(os.sched_getaffinity(0)), max(len(students), 1))
    pool = [_Worker(job) for _ in range(workers)]
    pending = list(reversed(students))
    tries: dict[str, int] = {}
    try:
        while pool:
            ready = wait([worker.pipe for worker in pool], timeout=1.0)
            for worker in pool:
                if worker.pipe not in ready and time.monotonic() > worker.deadline:
                    worker.process.kill()  # its pipe ends, which the next round sees
            for connection in ready:
                worker = next(worker for worker in pool if worker.pipe is connection)
                message = worker.receive()
                if isinstance(message, Exception):
                    pool.remove(worker)
                    student = worker.student
                    if student is None:
                        raise message
                    tries[student] = tries.get(student, 0) + 1
                    if tries[student] < 2:
                        pending.append(student)
                    else:
                        yield _given_up(job, student, str(message))
                    if pending:
                        pool.append(_Worker(job))
                    continue
                # Before the outcome is yielded: the worker goes on while the gradebook is written.
                worker.give(pending.pop() if pending else None)
                if worker.student is None:
                    pool.remove(worker)
                    worker.process.join()
                if isinstance(message, Outcome):
                    yield message
    finally:
        for worker in pool:
            worker.process.kill()
            worker.process.join()


class _Worker:
    def __init__(self, job: ClassJob) -> None:
        # Spawned, not forked: the parent may hold threads and a database connection.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.student: str | None = None
        self.deadline = math.inf
        self.process = context.Process(target=_work, args=(job, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, student: str | None) -> None:
        """Have the worker grade `student`; None ends it."""
        self.student, self.deadline = student, time.monotonic() + STUCK_SECONDS
        with contextlib.suppress(OSError):  # that it has died is seen when its answer is read
            self.pipe.send(student)

    def receive(self) -> str | Outcome | Exception:
        """The next message; an exception if the process failed or died."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return RuntimeError(f"the grading process ended with exit code {self.process.exitcode}")


def _work(job: ClassJob, pipe: Connection) -> None:
    """A worker process: grades the students whose names come over the pipe until None comes."""
    try:
        released = ReleasedNotebook.load(job.released)
        exercise, tests = load_suite(job.suite)
        base = hashlib.sha256(
            b"\0".join(
                [job.suite.read_bytes(), job.released.read_bytes(), f"{VERSION} {job.seed} {job.insecure}".encode()]
            )
        )
        with Zygote(exercise.preload, confined=not job.insecure, forbidden=exercise.forbidden) as zygote:

            def submissions() -> Iterator[tuple[str, Submission]]:
                pipe.send("ready")
                for student in iter(pipe.recv, None):
                    folder = job.submitted / student / job.exercise
                    try:
                        submission = read_submission(folder, released)
                    except Refused as refusal:
                        result = refused_result(student, exercise, tests, str(refusal))
                        finish(released.stub(), replace(result, insecure=job.insecure))
                        continue
                    known = _known_result(job, student, _fingerprint(base, submission))
                    if known is not None:
                        pipe.send(Outcome(known, submission.unchanged, regraded=False))
                        continue
                    yield student, submission

            def finish(submission: Submission, result: SubmissionResult) -> None:
                result.fingerprint = _fingerprint(base, submission)
                write_outputs(job, submission, result)
                pipe.send(Outcome(result, submission.unchanged))

            grade_stream(job.suite, exercise, zygote, submissions(), job.seed, finish)
    except BaseException as error:
        pipe.send(error if isinstance(error, Exception) else RuntimeError(repr(error)))


def _fingerprint(base: hashlib._Hash, submission: Submission) -> str:
    digest = base.copy()
    digest.update(json.dumps([submission.notebook["cells"], submission.notes]).encode())
    return digest.hexdigest()


def _known_result(job: ClassJob, student: str, fingerprint: str) -> SubmissionResult | None:
    """The student's result of an earlier run if nothing that it depends on has changed."""
    path = job.result_path(student)
    if job.force or not path.is_file():
        return None
    result = SubmissionResult.from_json(path.read_text(encoding="utf-8"))
    return result if result.fingerprint == fingerprint and not result.refused else None


def write_outputs(job: ClassJob, submission: Submission, result: SubmissionResult) -> None:
    """Write the student's autograded notebook, feedback page and, last, the result file."""
    folder = job.autograded / result.student / job.exercise
    page = feedback.page_html(result, feedback.sections(submission, result))
    write_file(job.feedback / result.student / job.exercise / f"{job.exercise}.html", page)
    write_file(
        folder / f"{job.exercise}.ipynb", json.dumps(with_outputs(submission, result), ensure_ascii=False, indent=1)
    )
    timestamp = "" if result.refused else timestamp_text(job.submitted / result.student / job.exercise)
    if timestamp:
        write_file(folder / "timestamp.txt", timestamp)
    write_file(folder / RESULT_FILE, result.to_json())


def _given_up(job: ClassJob, student: str, reason: str) -> Outcome:
    released = ReleasedNotebook.load(job.released)
    text = "The grader itself failed on this submission; your instructor has been told and will look at it."
    exercise, tests = load_suite(job.suite)
    result = refused_result(student, exercise, tests, text)
    write_outputs(job, released.stub(), result)
    return Outcome(result, [], grader_error=f"{student}: grading failed twice: {reason}")
