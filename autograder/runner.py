"""Run a pytest suite for one student after another.

pytest starts and collects once; its run loop then serves job after job, each with its own student, seed and results.
A fresh pytest for each student would spend most of its time on starting.
"""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autograder.results import TestResult
from autograder.sandbox.errors import NotDefined, StudentError, TookTooLong
from autograder.suite import CheckFailed, Exercise, Expect, Graded

# What a grading run has no use for; `unraisableexception` alone collects garbage five times after every run.
_PLUGINS_OFF = """
cacheprovider capture terminal unraisableexception threadexception faulthandler logging junitxml pastebin doctest
recwarn setuponly stepwise warnings
""".split()


@dataclass(frozen=True)
class Job:
    """One student's run of a suite.

    `student` offers the student's functions as attributes. `identity` seeds the tests' inputs. `cell` restricts the
    run to one test cell, `hidden=False` to the tests that students may see.
    """

    student: Any
    identity: str
    cell: str | None = None
    hidden: bool = True

    def wants(self, test: Graded) -> bool:
        return self.cell in (None, test.cell) and (self.hidden or not test.hidden)


class SuiteError(Exception):
    """The suite itself is broken: it cannot be collected, or does not keep the rules."""


def run_suite(path: Path, jobs: Iterable[Job], done: Callable[[Job, list[TestResult]], None]) -> None:
    """Collect the suite at `path`, run it for each job in turn, and hand each job's results to `done`.

    `jobs` may be a generator that waits for work. Raises `SuiteError` if the suite cannot be collected.
    """

    def serve(exercise: Exercise, items: list[pytest.Function], plugin: _Plugin) -> None:
        for job in jobs:
            chosen = [item for item in items if job.wants(item.function.graded)]
            # Visible tests first: student's code that has seen a hidden input can't show it in a later message.
            order = sorted(chosen, key=lambda item: item.function.graded.secret)
            results = {item: plugin.run(item, job, exercise) for item in order}
            done(job, [results[item] for item in chosen])

    _collect(path, serve)


def load_suite(path: Path) -> tuple[Exercise, dict[str, Graded]]:
    """Return the exercise that the suite at `path` declares, and its graded tests by name."""
    found: list[tuple[Exercise, dict[str, Graded]]] = []
    _collect(path, lambda exercise, items, _: found.append((exercise, {i.name: i.function.graded for i in items})))
    return found[0]


def _collect(path: Path, serve: Callable[[Exercise, list[pytest.Function], _Plugin], None]) -> None:
    plugin = _Plugin(serve)
    args = ["-c", os.devnull, "--rootdir", str(path.parent), "--import-mode=importlib", str(path)]
    args += [part for name in _PLUGINS_OFF for part in ("-p", f"no:{name}")]
    # pytest would take a loaded module of this name for the suite: one of another folder, or as it was before an edit.
    sys.modules.pop(path.stem, None)
    before = os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    # Installed plug-ins (Hypothesis, coverage ...) would be loaded for every student's check.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        code = pytest.main(args, plugins=[plugin])
    finally:
        del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        if before is not None:
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = before
    if plugin.error is not None:
        raise plugin.error
    if not plugin.served:
        raise SuiteError(f"{path} cannot be used as a suite: {plugin.collect_error or code!r}")


def seeded(*parts: str) -> np.random.Generator:
    """A generator that depends on all of `parts` and on nothing else."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


class _Plugin:
    """The suite's fixtures, and a run loop that serves jobs instead of running every test once."""

    def __init__(self, serve: Callable[[Exercise, list[pytest.Function], _Plugin], None]) -> None:
        self.serve = serve
        self.served = False
        self.error: BaseException | None = None
        self.collect_error = ""

    @pytest.fixture(name="student")
    def _student(self) -> Any:
        return self.job.student

    @pytest.fixture(name="rng")
    def _rng(self, request: pytest.FixtureRequest) -> np.random.Generator:
        return seeded(self.job.identity, self.exercise_name, request.node.name)

    @pytest.fixture(name="expect")
    def _expect(self) -> Expect:
        self.current_expect = Expect()
        return self.current_expect

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.collect_error = report.longreprtext

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed or not session.items:
            return True
        try:
            exercise = _exercise_of(session.items)
            self.served = True
            self.serve(exercise, session.items, self)
        except BaseException as error:  # pytest would print an "internal error" and lose it
            self.error = error
        return True

    def run(self, item: pytest.Function, job: Job, exercise: Exercise) -> TestResult:
        self.job = job
        self.exercise_name = exercise.name
        self.current_expect = Expect()
        self.failure: BaseException | None = None
        # pytest tears down what the next item does not need: naming the module keeps it set up for whatever comes next.
        item.ihook.pytest_runtest_protocol(item=item, nextitem=item.parent)
        return _result(item.name, item.function.graded, exercise, self.failure, self.current_expect)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo) -> pytest.TestReport:
        # pytest's own report formats a traceback with source for each failure; feedback needs the exception alone.
        if call.excinfo is not None:
            self.failure = call.excinfo.value
        outcome = "passed" if call.excinfo is None else "failed"
        return pytest.TestReport(item.nodeid, item.location, {}, outcome, None, call.when, duration=call.duration)


def _exercise_of(items: list[pytest.Function]) -> Exercise:
    exercise = getattr(items[0].module, "exercise", None)
    if not isinstance(exercise, Exercise):
        raise SuiteError(f"{items[0].path.name} must define `exercise = Exercise(...)`, found {exercise!r}")
    points = dict.fromkeys(exercise.cells, 0.0)
    for item in items:
        mark = getattr(item.function, "graded", None)
        if mark is None:
            raise SuiteError(f"{item.name} in {items[0].path.name} has no @graded(...)")
        if mark.cell not in points:
            raise SuiteError(f"{item.name} names the cell {mark.cell!r}; `Exercise.cells` has {sorted(points)}")
        points[mark.cell] += mark.points
    for cell, total in points.items():
        # Less is right for what students get: their copy lacks the hidden tests.
        if total > exercise.cells[cell] + 1e-9:
            raise SuiteError(f"the tests of {cell!r} give {total:g} points, more than its {exercise.cells[cell]:g}")
    return exercise


def _result(name: str, mark: Graded, exercise: Exercise, failure: BaseException | None, expect: Expect) -> TestResult:
    message, hint_id, internal, withheld = "", "", "", ""
    match failure:
        case None:
            pass
        case CheckFailed():
            message, hint_id = failure.message, failure.hint_id
        case StudentError():
            message = failure.explain(hidden=mark.secret)
            withheld = str(failure)
        case AssertionError():
            message = str(failure).partition("\n")[0]
        case _:
            message = "The check could not work with what your function returned: is it of the kind that is asked for?"
            internal = "".join(traceback.format_exception(failure))
    if hint_id and hint_id not in exercise.hints:
        internal += f"{name} gives the hint {hint_id!r}, which `Exercise.hints` does not have"
    default = "" if isinstance(failure, NotDefined | TookTooLong) else mark.hint
    if mark.secret and not isinstance(failure, StudentError):
        message, withheld = "", message
    return TestResult(
        name=name,
        cell=mark.cell,
        title=mark.title,
        max_points=mark.points,
        passed=failure is None,
        hidden=mark.hidden,
        message=message[:1].upper() + message[1:],
        hint="" if failure is None else exercise.hints.get(hint_id, default),
        hint_id="" if failure is None else hint_id or name.removeprefix("test_"),
        panels=() if failure is None or mark.secret else tuple(expect.panels),
        withheld=withheld,
        internal=internal,
    )
