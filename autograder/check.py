"""The student's instant check: the exercise's suite, less its hidden tests, run on the notebook's own functions."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from autograder.feedback import cell_html, report_text
from autograder.results import TestResult
from autograder.runner import Job, load_suite, run_suite
from autograder.sandbox import codec
from autograder.sandbox.errors import NotDefined, StudentError
from autograder.sandbox.modules import run_module
from autograder.student import StudentFunction
from autograder.suite import Exercise

CHECKS_FILE = "checks.py"  # beside the notebook: the suite without its hidden tests, made by the release


def check(cell: str | None = None) -> CheckResult:
    """Check the functions defined so far in this notebook and show what is right, what is wrong, and why.

    `cell` names the test cell, as in `check("iou")`; without it the whole exercise is checked. The notebook's folder
    must hold `checks.py` (it comes with the exercise) or bear the name of an exercise of this repository.
    """
    namespace = sys._getframe(1).f_globals
    path = find_suite(Path.cwd())
    exercise, _ = load_suite(path)
    if cell is not None and cell not in exercise.cells:
        raise ValueError(f"{exercise.name} has no check named {cell!r}; it has: {', '.join(exercise.cells)}")
    job = Job(NotebookStudent(namespace, exercise), "instant check", cell, hidden=False)
    results: list[TestResult] = []
    # Warnings go where the output goes: nbgrader's `validate` takes anything on stderr for a failure.
    with contextlib.redirect_stderr(sys.stdout):
        run_suite(path, [job], lambda _, found: results.extend(found))
    result = CheckResult(results, exercise.cells[cell] if cell else sum(exercise.cells.values()))
    if "ipykernel" not in sys.modules:
        print(result)
    return result


class CheckResult:
    """What a check found. Jupyter shows it as HTML; its `repr` is the points, which is what nbgrader reads."""

    def __init__(self, tests: list[TestResult], cell_points: float) -> None:
        self.tests = tests
        self.cell_points = float(cell_points)

    @property
    def points(self) -> float:
        """Points for the share of the visible tests that pass: all of the cell's points when all of them do."""
        visible = sum(test.max_points for test in self.tests)
        return self.cell_points * sum(test.points for test in self.tests) / visible if visible else self.cell_points

    @property
    def footer(self) -> str:
        visible = sum(test.max_points for test in self.tests)
        passed = sum(test.passed for test in self.tests)
        text = f"{passed} of {len(self.tests)} visible tests passed"
        hidden = self.cell_points - visible
        return f"{text}; hidden tests decide on {hidden:g} more points when it is graded." if hidden > 0 else f"{text}."

    def __repr__(self) -> str:
        return repr(float(self.points))

    def __str__(self) -> str:
        return f"{report_text(self.tests)}\n{self.footer}"

    def _repr_html_(self) -> str:
        return cell_html(self.tests, self.footer)


def find_suite(folder: Path) -> Path:
    """The suite for a notebook in `folder`: its `checks.py`, else the repository's suite of the folder's name."""
    beside = folder / CHECKS_FILE
    if beside.is_file():
        return beside
    own = suite_path(folder.name)
    if own.is_file():
        return own
    raise FileNotFoundError(
        f"found no {CHECKS_FILE} in {folder}, and no suite named {own.name}. "
        "Open the notebook in the exercise's own folder, with the files that came with it."
    )


def suite_path(exercise: str) -> Path:
    """Where the repository keeps the suite of the exercise of this name."""
    return Path(__file__).parent / "suites" / f"{exercise.replace('-', '_')}.py"


class NotebookStudent:
    """A notebook's functions as the suite calls them: like the sandbox, it passes copies and takes plain data back."""

    def __init__(self, namespace: dict[str, Any], exercise: Exercise) -> None:
        self._namespace = namespace
        self._exercise = exercise

    def __getattr__(self, name: str) -> StudentFunction:
        return StudentFunction(name, self._call)

    def _call(self, name: str, args: tuple, kwargs: dict, order: dict | None) -> Any:
        function = self._namespace.get(name)
        if not callable(function):
            raise NotDefined(
                "NameError", f"`{name}` is not defined yet: run its cell (Shift+Enter), then check again.", "", name
            )
        used = forbidden_use(function, self._exercise.forbidden)
        if used:
            raise StudentError("ForbiddenCall", f"{used} may not be used here: write it yourself", "", name)
        args, kwargs, order = codec.decode(codec.encode((args, kwargs, order)))
        try:
            result = run_module(function, args, kwargs, order) if order else function(*args, **kwargs)
        except Exception as error:
            raise StudentError(type(error).__name__, str(error), _where(error), name) from error
        try:
            return codec.decode(codec.encode(result))
        except codec.CodecError as error:
            raise StudentError("TypeError", str(error), "", name) from error


def forbidden_use(function: Any, forbidden: tuple[str, ...]) -> str | None:
    """The first forbidden module or function that `function` or a helper of the notebook refers to, if any.

    It reads names, so it finds an honest student's shortcut at once; the sandbox is what enforces the rule.
    """
    refused = _objects(forbidden)
    seen: set[int] = set()
    pending = [function]
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, type):
            for base in current.__mro__:
                if id(base) in refused:
                    return refused[id(base)]
            pending += [getattr(current, name) for name in vars(current)]
        if not isinstance(current, FunctionType):
            continue
        names = set(_names(current.__code__))
        for name in names:
            value = current.__globals__.get(name)
            if id(value) in refused:
                return refused[id(value)]
            path = _path_of(value) if value is not None else name
            within = names if isinstance(value, ModuleType) else set()
            for rule in forbidden:
                below = set(rule.removeprefix(f"{path}.").split("."))
                if f"{path}.".startswith(f"{rule}.") or (rule.startswith(f"{path}.") and below <= within):
                    return rule
            parts = vars(value).values() if isinstance(value, type) else [value]
            if any(getattr(part, "__globals__", None) is current.__globals__ for part in parts):
                pending.append(value)
    return None


def _objects(forbidden: tuple[str, ...]) -> dict[int, str]:
    """What the rules name in the modules that are loaded, by identity: a class may say that it lives elsewhere."""
    found = {}
    for rule in forbidden:
        parent, _, attribute = rule.rpartition(".")
        value = getattr(sys.modules.get(parent), attribute, None)
        if value is not None:
            found[id(value)] = rule
    return found


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _path_of(value: Any) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"


def _where(error: Exception) -> str:
    """The last line of the notebook itself in the traceback, for libraries' own lines help no student."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "ipykernel" in frame.filename]
    return f"in line {frames[-1].lineno} of its cell: {frames[-1].line}" if frames else ""
