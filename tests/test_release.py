"""What students get: the public suite, and a release that is in step with its sources."""

import ast
import re
import subprocess
import sys

import nbformat
import pytest

from autograder import release as releasing
from autograder.check import suite_path
from autograder.course import CourseError
from autograder.release import differences, public_suite
from autograder.runner import Job, load_suite, run_suite

EXERCISE = "ps01-masks-and-iou"
SUITES = sorted(suite_path(EXERCISE).parent.glob("ps*.py"))


@pytest.fixture
def public(toy):
    path = toy.root / "checks.py"
    path.write_text(public_suite(toy.suite))
    return path


def test_hidden_tests_and_what_only_they_use_are_gone(public):
    text = public.read_text()
    for word in ("test_add_large", "large", "secret", "Only the hidden", "Numbers have no upper end"):
        assert word not in text
    assert "test_add" in text and "test_area" in text and "That is the difference." in text


def test_the_public_suite_runs_and_gives_the_visible_results(public, toy):
    class Student:
        add = staticmethod(lambda a, b: a - b)
        area = staticmethod(lambda mask: int(mask.sum()))

    found = []
    for path in (toy.suite, public):
        run_suite(path, [Job(Student, "ada", hidden=False)], lambda _, results: found.append(results))
    assert found[0] == found[1] and [test.passed for test in found[1]] == [False, True]


def test_helpers_that_visible_tests_share_stay(toy):
    toy.suite.write_text(
        toy.suite.read_text().replace("rng.integers(1, 100, 2).tolist()", "[large(rng), twice(2)]")
        + "\n\ndef twice(x):\n    return base * x\n\n\nbase = 3\n\n\ndef unused():\n    return unused_too()\n"
        + "\n\ndef unused_too():\n    return 1\n"
    )
    text = public_suite(toy.suite)
    assert "def large" in text and "def twice" in text and "base = 3" in text and "unused" not in text


def test_what_only_hidden_tests_read_is_gone_wherever_it_stands(toy):
    toy.suite.write_text(
        toy.suite.read_text()
        .replace("import numpy as np\n", "import math\nimport statistics as s\n\nimport numpy as np\n")
        .replace("a, b = large(rng), large(rng)", "a, b = math.floor(SECRET), ANSWERS[ping(3)]")
        .replace("mask = rng.random((9, 13))", "s.mean(SHOWN)\n    mask = rng.random((9, 13))")
        + "\n\nSECRET = 77\nSECRET += 1\nANSWERS: list = [SECRET, 78]\nANSWERS[0] = 0\nSHOWN, TOO = [1], [2]\n"
        + "\n\ndef ping(x):\n    return pong(x - 1) if x else 0\n"
        + "\n\ndef pong(x):\n    return ping(x)\n"
    )
    text = public_suite(toy.suite)
    for gone in ("SECRET", "77", "ANSWERS", "ping", "pong", "import math", "def large"):
        assert gone not in text
    for kept in ("import statistics as s", "SHOWN, TOO", "from autograder.suite import"):
        assert kept in text
    compile(text, "checks.py", "exec")


def test_what_visible_tests_read_stays_by_whatever_way(toy):
    toy.suite.write_text(
        toy.suite.read_text()
        .replace(
            "import numpy as np\n", "from __future__ import annotations\n\nfrom math import (\n    floor,\n    pi,\n)\n"
        )
        .replace("a, b = large(rng), large(rng)", "a, b = floor(pi), large(rng)")
        .replace("a, b = rng.integers(1, 100, 2).tolist()", "a, b = next_number(), floor(TABLE[0])")
        + "\n\nTABLE = [1.5]\nTABLE[0] = 2.5\nCOUNT = 1\nCOUNT += 1\n"
        + "\n\ndef next_number():\n    global COUNT\n    COUNT += 1\n    return COUNT\n"
    )
    text = public_suite(toy.suite)
    for kept in ("from __future__ import annotations\n", "from math import floor\n", "TABLE = [1.5]\nTABLE[0] = 2.5\n"):
        assert kept in text
    assert "COUNT = 1\nCOUNT += 1\n" in text and "pi" not in text.split()
    path = toy.root / "checks.py"
    path.write_text(text)
    found = []

    class Student:
        add = staticmethod(lambda a, b: a + b)
        area = staticmethod(lambda mask: int(mask.sum()))

    run_suite(path, [Job(Student, "ada", hidden=False)], lambda _, results: found.extend(results))
    assert [test.passed for test in found] == [True, True]


def test_the_real_suites_public_part_loads_without_its_hidden_tests(released_course):
    checks = released_course.notebook.with_name("checks.py")
    whole, public = load_suite(suite_path(EXERCISE)), load_suite(checks)
    assert public[0] == whole[0]
    assert public[1] == {name: mark for name, mark in whole[1].items() if not mark.hidden}
    hidden = [name for name, mark in whole[1].items() if mark.hidden]
    assert hidden and not any(name in checks.read_text() for name in hidden)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.stem)
def test_the_public_part_lacks_no_name_and_has_none_to_spare(suite):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F", "--quiet", "-"],
        input=public_suite(suite),
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout


def test_every_test_that_is_left_is_a_whole_function(released_course):
    source = released_course.notebook.with_name("checks.py").read_text()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert re.match(r"graded\(", ast.unparse(node.decorator_list[0]))


def test_the_released_notebook_holds_stubs_and_no_solutions(released_course):
    notebook = nbformat.read(released_course.notebook, 4)
    nbformat.validate(notebook)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "BEGIN SOLUTION" not in text and "Marking scheme" not in text and "NotImplementedError" in text
    assert not any(cell.get("outputs") for cell in notebook.cells)
    reference = released_course.reference()
    assert not any(
        reference[cell.metadata.nbgrader.grade_id] == cell.source for cell in notebook.cells if solution(cell)
    )


def solution(cell) -> bool:
    return cell.metadata.get("nbgrader", {}).get("solution", False)


# ------------------------------------------------------------------------------------------------------------ in step


def test_a_fresh_release_is_in_step(course):
    assert differences(course.load()) == []


def test_every_way_to_be_out_of_step_is_named(course):
    folder = course.notebook.parent
    course.notebook.write_text(course.notebook.read_text().replace("NotImplementedError", "NotImplemented"))
    folder.joinpath("checks.py").unlink()
    folder.joinpath("extra.txt").touch()
    (folder.parent / "ps00-old").mkdir()
    found = "\n".join(differences(course.load()))
    assert f"{course.notebook} is not what its source makes" in found
    assert f"{folder / 'checks.py'} is missing" in found
    assert f"{folder / 'extra.txt'} should not be there" in found
    assert f"{folder.parent / 'ps00-old'} has no source" in found


def test_an_unknown_exercise_is_named_with_those_there_are(course):
    with pytest.raises(CourseError, match=f"no exercise 'ps99'.*exercises there: {EXERCISE}"):
        releasing.release(course.load(), ["ps99"])


def test_points_that_disagree_stop_the_release(course):
    source = course.root / "solutions" / EXERCISE / f"{EXERCISE}.ipynb"
    notebook = nbformat.read(source, 4)
    cell = next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "test-rle")
    cell.metadata.nbgrader.points = 7
    nbformat.write(notebook, source)
    with pytest.raises(CourseError, match=r"'rle' disagree: the notebook's test cell has 7.*cells 6, .*add up to 6"):
        releasing.release(course.load(), [EXERCISE])
