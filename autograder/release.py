"""Release exercises: what students get is made from the source notebook and the suite, and never edited by hand."""

from __future__ import annotations

import ast
import filecmp
import logging
import tempfile
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

from autograder.check import suite_path
from autograder.course import Course, CourseError
from autograder.intake import ReleasedNotebook
from autograder.runner import load_suite

_HEADER = "# The exercise's public tests, for the instant check. Editing them changes no grade.\n"


def public_suite(suite: Path) -> str:
    """The source of a suite without its hidden tests and without what only they use."""
    source = suite.read_text(encoding="utf-8")
    tree = ast.parse(source)
    defined = {node: _names_defined(node) for node in tree.body if not _is_hidden_test(node)}
    kept = {node for node, names in defined.items() if not names}
    while more := {node for node, names in defined.items() if names & _names_read(kept)} - kept:
        kept |= more
    used = _names_read(kept)
    lines = source.splitlines(keepends=True)
    for node in reversed(tree.body):
        if node not in kept:
            first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
            while first > 1 and lines[first - 2].startswith("#"):  # a comment above goes with what it explains
                first -= 1
            del lines[first - 1 : node.end_lineno]
        elif isinstance(node, ast.Import | ast.ImportFrom) and not defined[node] <= used:
            node.names = [alias for alias in node.names if _bound_to(alias) in used]
            lines[node.lineno - 1 : node.end_lineno] = [ast.unparse(node) + "\n"]
    return _HEADER + "".join(lines).rstrip() + "\n"


def release(course: Course, exercises: list[str]) -> None:
    """Make the release folder and the gradebook's entry of each exercise, by nbgrader's generate_assignment."""
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory

    for exercise in exercises:
        if exercise not in course.exercises():
            known = ", ".join(course.exercises()) or "none"
            raise CourseError(f"there is no exercise {exercise!r} in {course.source} (exercises there: {known})")
        config = deepcopy(course.config)
        config.CourseDirectory.assignment_id = exercise
        log = logging.getLogger("autograder.release")
        log.setLevel(logging.ERROR)
        directory = CourseDirectory(config=config, log=log)
        converter = GenerateAssignment(coursedir=directory, config=config, log=log, force=True)
        converter.start()
        _check_points(course, exercise)


def differences(course: Course) -> list[str]:
    """What in the release folder is not what a release would make now, in words; empty if nothing."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        fresh = _elsewhere(course, Path(folder))
        release(fresh, course.exercises())
        for exercise in course.exercises():
            new, old = fresh.release / exercise, course.release / exercise
            names = {path.name for path in [*new.glob("*"), *old.glob("*")] if path.is_file()}
            for name in sorted(names):
                if not (old / name).is_file():
                    found.append(f"{old / name} is missing")
                elif not (new / name).is_file():
                    found.append(f"{old / name} should not be there")
                elif not filecmp.cmp(new / name, old / name, shallow=False):
                    found.append(f"{old / name} is not what its source makes")
        extra = {path.name for path in course.release.glob("*") if path.is_dir()} - set(course.exercises())
        found += [f"{course.release / name} has no source" for name in sorted(extra)]
    return found


def _elsewhere(course: Course, folder: Path) -> Course:
    """The same course with release folder and gradebook in `folder`."""
    config = deepcopy(course.config)
    config.CourseDirectory.root = str(folder)
    config.CourseDirectory.db_url = f"sqlite:///{folder / 'gradebook.db'}"
    (folder / course.source.name).symlink_to(course.source)
    return Course(
        root=folder,
        source=folder / course.source.name,
        release=folder / course.release.name,
        submitted=folder / "submitted",
        autograded=folder / "autograded",
        feedback=folder / "feedback",
        db_url=config.CourseDirectory.db_url,
        config=config,
    )


def _check_points(course: Course, exercise: str) -> None:
    """The notebook's test cells must give the points that the suite's tests add up to."""
    suite = suite_path(exercise)
    if not suite.is_file():
        return
    released = ReleasedNotebook.load(course.released_notebook(exercise))
    declared, tests = load_suite(suite)
    totals = dict.fromkeys(declared.cells, 0.0)
    for mark in tests.values():
        totals[mark.cell] += mark.points
    for name in sorted({*released.tests, *declared.cells}):
        position = released.tests.get(name)
        cell = None if position is None else released.notebook["cells"][position]["metadata"]["nbgrader"]["points"]
        points = [cell, declared.cells.get(name), totals.get(name)]
        if None in points or max(points) - min(points) > 1e-9:
            raise CourseError(
                f"{exercise}: the points of {name!r} disagree: the notebook's test cell has {points[0]}, "
                f"Exercise.cells {points[1]}, the tests add up to {points[2]}"
            )


def _is_hidden_test(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(decorator, ast.Call)
        and any(
            keyword.arg == "hidden" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            for keyword in decorator.keywords
        )
        for decorator in node.decorator_list
    )


def _names_read(nodes: Iterable[ast.stmt]) -> set[str]:
    """Names whose values the statements need; to give a name a value is not to need it."""
    inside = [inner for node in nodes for inner in ast.walk(node)]
    names = {name.id for name in inside if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)}
    return names.union(*(statement.names for statement in inside if isinstance(statement, ast.Global)))


def _names_defined(node: ast.stmt) -> set[str]:
    """What a helper, constant or import is there for; nothing for tests, `exercise` and all else, which stay anyhow."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return set() if node.name.startswith("test_") else {node.name}
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        return set() if "exercise" in names else names
    if isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != "__future__":
        return {_bound_to(alias) for alias in node.names}
    return set()


def _bound_to(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]
