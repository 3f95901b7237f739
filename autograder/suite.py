"""What the author of an exercise's suite writes with.

A suite is one pytest file under `autograder/suites/`. It declares its exercise and holds graded tests::

    exercise = Exercise("ps01-masks-and-iou", cells={"iou": 4}, forbidden=("sklearn.metrics",))

    @graded("iou", points=1, title="Two squares", hint="Count the pixels in both, and in either.")
    def test_two_squares(student, rng, expect):
        a, b = two_squares(rng)
        expect.given(prediction=a, target=b)
        expect.number(student.iou(a, b), 1 / 3, "the IoU", mistaken={"dice-for-iou": 0.5})

`student` calls the student's functions by name, wherever they run: in the notebook's own kernel for the instant check,
in the sandbox for the grade. `rng` is a NumPy generator seeded by course, student, exercise and test. `expect`
compares, explains and pictures. One file serves both the check and the grade; tests marked `hidden=True` are cut from
what students get.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autograder.pictures import MAX_PIXELS, describe, difference, picture, wrong_where
from autograder.results import Panel
from autograder.sandbox.errors import NotDefined, StudentError, TookTooLong


@dataclass(frozen=True)
class Exercise:
    """An exercise and its rules.

    `cells` gives the points of each test cell; its tests' points must add up to them. `hints` maps a misconception's
    name to the hint that a student who shows it reads. `forbidden` names modules and functions ("sklearn.metrics",
    "cv2.threshold") that the student's code may not use. `preload` names the modules that the sandbox loads before
    the students' code, and `seconds` bounds one call of a student's function.
    """

    name: str
    cells: Mapping[str, float]
    hints: Mapping[str, str] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()
    preload: tuple[str, ...] = ("numpy",)
    seconds: float = 5.0


@dataclass(frozen=True)
class Graded:
    """What `graded` attaches to a test function, as its attribute `graded`."""

    cell: str
    points: float
    title: str
    hint: str
    hidden: bool
    reveal: bool

    @property
    def secret(self) -> bool:
        """Whether students may see no more of a failure than title and hint."""
        return self.hidden and not self.reveal


def graded(
    cell: str, *, points: float, title: str, hint: str, hidden: bool = False, reveal: bool = False
) -> Callable[[Callable], Callable]:
    """Mark a test function as worth `points` of the test cell `cell`.

    `title` says in a student's words what is tested, `hint` what to think about when it fails. A `hidden` test is
    absent from the instant check; students see its title, points and hint, and its message and pictures only
    with `reveal=True`.
    """
    if points <= 0:
        raise ValueError(f"points must be positive, got {points!r}")

    def mark(function: Callable) -> Callable:
        function.graded = Graded(cell, float(points), title, hint, hidden, reveal)
        return function

    return mark


class CheckFailed(AssertionError):
    """The student's answer is wrong; `message` says how, `hint_id` names the misconception if one was recognised."""

    def __init__(self, message: str, hint_id: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint_id = hint_id


class Expect:
    """Comparisons that say what was expected, what came, and show it.

    `mistaken` maps the name of a misconception (a key of `Exercise.hints`) to the answer that it leads to; when the
    student's answer is that one, the student reads its hint instead of the test's own.
    """

    def __init__(self) -> None:
        self.panels: list[Panel] = []

    def given(self, **inputs: Any) -> None:
        """Show these inputs beside the answer if the test fails; the keywords become captions."""
        self.panels += [Panel(f"input: {name.replace('_', ' ')}", picture(value)) for name, value in inputs.items()]

    def number(
        self,
        got: Any,
        want: float,
        what: str,
        *,
        tolerance: float = 1e-6,
        mistaken: Mapping[str, float] | None = None,
    ) -> None:
        """`got` must be a number within `tolerance` of `want`; NaN is expected where `want` is NaN."""
        got = _as_number(got, what)
        if _close(got, want, tolerance):
            return
        for hint_id, wrong in (mistaken or {}).items():
            if _close(got, wrong, tolerance):
                raise CheckFailed(f"{what} should be {want:.6g}, yours is {got:.6g}.", hint_id)
        raise CheckFailed(f"{what} should be {want:.6g}, yours is {got:.6g}.")

    def array(
        self,
        got: Any,
        want: np.ndarray,
        what: str,
        *,
        kind: str | None = None,
        tolerance: float = 0.0,
        mistaken: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """`got` must be an array equal to `want` within `tolerance`: same shape, same values (NaN where NaN is due).

        `kind`: "bool", "integer" or "float" asks for that kind of dtype as well.
        """
        want = np.asarray(want)
        got = _as_array(got, want, what)
        if got.shape == want.shape and kind is not None and not _is_kind(got.dtype, kind):
            self._compare(got, want, tolerance)
            raise CheckFailed(f"{what} should hold {kind} values, yours has dtype {got.dtype}.")
        if got.shape == want.shape and _all_close(got, want, tolerance):
            return
        self._compare(got, want, tolerance)
        message = _array_message(got, want, what, tolerance)
        for hint_id, wrong in (mistaken or {}).items():
            wrong = np.asarray(wrong)
            if wrong.shape == got.shape and _all_close(got, wrong, tolerance):
                raise CheckFailed(message, hint_id)
        raise CheckFailed(message)

    def same(self, got: Any, want: Any, what: str, *, mistaken: Mapping[str, Any] | None = None) -> None:
        """`got` must equal `want`: numbers, text, or lists, tuples and dicts of them (a list may be a tuple)."""
        if _plain(got) == _plain(want):
            return
        self.panels += [Panel("yours", picture(got)), Panel("expected", picture(want))]
        message = f"{what} should be {describe(want)}, yours is {describe(got)}."
        for hint_id, wrong in (mistaken or {}).items():
            if _plain(got) == _plain(wrong):
                raise CheckFailed(message, hint_id)
        raise CheckFailed(message)

    def true(self, condition: bool, message: str, *, hint: str = "") -> None:
        """`condition` must hold; else the student reads `message`, and the hint named `hint`."""
        if not condition:
            raise CheckFailed(message, hint)

    def raises(self, call: Callable[[], Any], kind: type[Exception], what: str) -> None:
        """`call` must raise `kind`."""
        try:
            got = call()
        except (NotDefined, TookTooLong):
            raise
        except StudentError as error:
            if error.kind == kind.__name__:
                return
            if error.kind == NotImplementedError.__name__:
                raise  # it is not written yet
            raise CheckFailed(f"{what} should raise {kind.__name__}, yours raised {error.kind}.") from error
        raise CheckFailed(f"{what} should raise {kind.__name__}, yours returned {describe(got)}.")

    def _compare(self, got: np.ndarray, want: np.ndarray, tolerance: float) -> None:
        self.panels += [
            Panel("yours", picture(got, beside=want, tolerance=tolerance)),
            Panel("expected", picture(want, beside=got, tolerance=tolerance)),
        ]
        if got.shape == want.shape:
            self.panels += difference(got, want, tolerance)


def _as_number(got: Any, what: str) -> float:
    # An array of one element is what NumPy and torch give for a sum; a student need not care about the difference.
    if hasattr(got, "detach"):
        got = got.detach().cpu().numpy()
    if isinstance(got, np.ndarray) and got.size == 1:
        got = got.reshape(()).item()
    if isinstance(got, bool) or not isinstance(got, int | float):
        raise CheckFailed(f"{what} should be a number, yours is {describe(got)}.")
    try:
        return float(got)
    except OverflowError:
        raise CheckFailed(f"{what} should be a number of ordinary size, yours is {describe(got)}.") from None


def _as_array(got: Any, want: np.ndarray, what: str) -> np.ndarray:
    if hasattr(got, "detach"):
        got = got.detach().cpu().numpy()
    if isinstance(got, list | tuple):
        if not _holds_numbers(got):
            raise CheckFailed(f"{what} should be an array, yours is {describe(got)}.")
        try:
            got = np.asarray(got)
        except ValueError:
            raise CheckFailed(f"{what} should be an array, yours is a list of unequal parts.") from None
    if not isinstance(got, np.ndarray):
        raise CheckFailed(f"{what} should be an array of shape {want.shape}, yours is {describe(got)}.")
    if got.dtype.kind not in "biuf":
        raise CheckFailed(f"{what} should hold real numbers, yours has dtype {got.dtype}.")
    return got


def _holds_numbers(value: Any) -> bool:
    """Whether lists and tuples hold only numbers and arrays; in an array of texts, each is as long as the longest."""
    if isinstance(value, list | tuple):
        return all(map(_holds_numbers, value))
    return isinstance(value, bool | int | float | complex | np.ndarray) or hasattr(value, "detach")


def _is_kind(dtype: np.dtype, kind: str) -> bool:
    letters = {"bool": "b", "integer": "iu", "float": "f"}
    if kind not in letters:
        raise ValueError(f"kind must be one of {sorted(letters)}, got {kind!r}")
    return dtype.kind in letters[kind]


def _close(got: float, want: float, tolerance: float) -> bool:
    if math.isnan(want) or math.isnan(got):
        return math.isnan(want) and math.isnan(got)
    return got == want or abs(got - want) <= tolerance


def _all_close(got: np.ndarray, want: np.ndarray, tolerance: float) -> bool:
    return not wrong_where(got, want, tolerance).any()


def _array_message(got: np.ndarray, want: np.ndarray, what: str, tolerance: float) -> str:
    if got.shape != want.shape:
        return f"{what} should have shape {want.shape}, yours has {got.shape}."
    wrong = wrong_where(got, want, tolerance)
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    first = f"at {index} it should be {want[index].item():.6g}, yours is {got[index].item():.6g}"
    if wrong.size == 1:
        return f"{what}: {first}."
    return f"{what}: {int(wrong.sum()):,} of {wrong.size:,} values are wrong; {first}."


def _plain(value: Any) -> Any:
    """Lists for tuples and for arrays, so that only the values count."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        # As a list, an array of many megabytes takes gigabytes; no answer is one, and this equals nothing.
        return _plain(value.tolist()) if value.size <= MAX_PIXELS else object()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
