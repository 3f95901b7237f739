"""The runner: one collection serves many students, inputs follow the seed, and nothing hidden gets out."""

import numpy as np
import pytest

from autograder.runner import Job, SuiteError, load_suite, run_suite, seeded
from autograder.sandbox.errors import NotDefined, StudentError, TookTooLong


class Recorder:
    """A student who answers with `answers` (functions by name) and remembers what each was asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def __getattr__(self, name):
        def call(*args):
            self.asked.append((name, args))
            return self.answers[name](*args)

        return call


def right(**changes) -> Recorder:
    return Recorder(**{"add": lambda a, b: a + b, "area": lambda mask: int(mask.sum()), **changes})


def run(suite, *jobs: Job) -> list[list]:
    found = []
    run_suite(suite, jobs, lambda _, results: found.append(results))
    return found


def raising(error: Exception):
    def function(*_):
        raise error

    return function


# ------------------------------------------------------------------------------------------------------ the run loop


def test_a_suite_is_loaded_once_for_many_students(toy):
    log = toy.root / "loaded"
    toy.suite.write_text(f"open({str(log)!r}, 'a').write('x')\n{toy.suite.read_text()}")
    results = run(toy.suite, *(Job(right(), f"student {n}") for n in range(50)))
    assert log.read_text() == "x"
    assert [[test.passed for test in tests] for tests in results] == [[True] * 3] * 50


def test_results_come_in_the_suites_order_with_points_by_cell(toy):
    (tests,) = run(toy.suite, Job(right(add=lambda a, b: a - b), "x"))
    assert [test.name for test in tests] == ["test_add", "test_add_large", "test_area"]
    assert [(test.cell, test.points, test.max_points) for test in tests] == [
        ("add", 0, 1),
        ("add", 0, 2),
        ("area", 2, 2),
    ]


def test_jobs_may_wait_for_each_others_results(toy):
    served = []

    def jobs():
        for number in range(3):
            assert len(served) == number
            yield Job(right(), f"{number}")

    run_suite(toy.suite, jobs(), lambda job, _: served.append(job.identity))
    assert served == ["0", "1", "2"]


def test_hidden_tests_come_last(toy):
    student = right()
    run(toy.suite, Job(student, "x"))
    assert [name for name, _ in student.asked] == ["add", "area", "add"]


def test_a_job_can_be_one_cell_or_the_visible_tests(toy):
    cell, visible = run(toy.suite, Job(right(), "x", cell="add"), Job(right(), "x", hidden=False))
    assert [test.name for test in cell] == ["test_add", "test_add_large"]
    assert [test.name for test in visible] == ["test_add", "test_area"]


def test_an_error_while_jobs_are_made_is_not_swallowed(toy):
    def jobs():
        yield Job(right(), "x")
        raise ConnectionError("the source of jobs is gone")

    with pytest.raises(ConnectionError, match="is gone"):
        run_suite(toy.suite, jobs(), lambda *_: None)


def test_fixtures_are_fresh_for_each_student(toy):
    toy.suite.write_text(
        """
import pytest
from autograder.suite import Exercise, graded
exercise = Exercise("toy", cells={"a": 1})

@pytest.fixture
def seen():
    return []

@graded("a", points=1, title="t", hint="h")
def test_a(student, seen, expect):
    seen.append(student)
    expect.given(number=1)
    assert len(seen) == 1 and len(expect.panels) == 1, "left over from another student"
"""
    )
    results = run(toy.suite, *(Job(right(), f"{n}") for n in range(3)))
    assert [tests[0].message for tests in results] == [""] * 3


# ------------------------------------------------------------------------------------------------------------- seeds


def inputs(suite, identity: str) -> list:
    student = right()
    run(suite, Job(student, identity))
    return [(name, [np.asarray(arg).tolist() for arg in args]) for name, args in student.asked]


def test_the_same_student_gets_the_same_inputs_and_another_others(toy):
    ada, again, grace = (inputs(toy.suite, name) for name in ("ada", "ada", "grace"))
    assert ada == again
    assert all(a != b for a, b in zip(ada, grace, strict=True))


def test_one_cells_inputs_do_not_depend_on_the_others(toy):
    alone = right()
    run(toy.suite, Job(alone, "ada", cell="area"))
    assert [np.asarray(args[0]).tolist() for _, args in alone.asked] == [inputs(toy.suite, "ada")[1][1][0]]


def test_parts_of_a_seed_do_not_run_together():
    draws = {seeded(*parts).integers(2**63) for parts in [("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), ("ab",)]}
    assert len(draws) == 5


# ---------------------------------------------------------------------------------------------------- what students see


def test_a_recognised_mistake_gets_its_own_hint(toy):
    (tests,) = run(toy.suite, Job(right(add=lambda a, b: a - b), "x"))
    assert (tests[0].hint_id, tests[0].hint) == ("minus", "That is the difference.")
    assert "should be" in tests[0].message and "yours is" in tests[0].message
    assert [panel.caption for panel in tests[0].panels] == ["input: a", "input: b"]


def test_another_mistake_gets_the_tests_hint(toy):
    (tests,) = run(toy.suite, Job(right(add=lambda a, b: 0), "x"))
    assert (tests[0].hint_id, tests[0].hint) == ("add", "Use +.")


def test_a_passed_test_says_nothing(toy):
    (tests,) = run(toy.suite, Job(right(), "x"))
    for test in tests:
        assert (test.message, test.hint, test.hint_id, test.panels, test.withheld, test.internal) == (
            ("", "", "", (), "", "")
        )


@pytest.mark.parametrize(
    "add",
    [
        lambda a, b: 17 if a > 10**6 else a + b,
        raising(StudentError("ValueError", "17 of the secret input", "in line 1")),
        raising(StudentError("Secret17", "of the student's own making")),
    ],
    ids=["wrong", "raises", "own exception"],
)
def test_a_hidden_tests_message_and_pictures_stay_with_the_instructor(toy, add):
    (tests,) = run(toy.suite, Job(right(add=add), "x", cell="add"))
    hidden = tests[1]
    assert not hidden.passed and hidden.hidden
    shown = hidden.message + hidden.hint + "".join(panel.html + panel.caption for panel in hidden.panels)
    assert "17" not in shown and "secret" not in shown.lower() and "hidden sum" not in shown
    assert (hidden.title, hidden.hint) == ("Large numbers", "Numbers have no upper end.")
    assert "17" in hidden.withheld


def test_reveal_shows_a_hidden_tests_failure(toy):
    toy.suite.write_text(toy.suite.read_text().replace("hidden=True", "hidden=True, reveal=True"))
    (tests,) = run(toy.suite, Job(right(add=lambda a, b: 17), "x", cell="add"))
    assert tests[1].hidden and "yours is 17" in tests[1].message
    assert "input: secret input" in [panel.caption for panel in tests[1].panels]


@pytest.mark.parametrize(
    ("error", "message", "has_hint"),
    [
        (StudentError("ValueError", "no", "in line 3", "add"), "`add` raised ValueError: no\nin line 3", True),
        (StudentError("NotImplementedError", "", "", "add"), "`add` is not written yet.", True),
        (NotDefined("NameError", "`add` is not defined."), "`add` is not defined.", False),
        (TookTooLong("TimeoutError", "`add` did not return."), "`add` did not return.", False),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_errors_of_students_code_are_said_in_words(toy, error, message, has_hint):
    (tests,) = run(toy.suite, Job(right(add=raising(error)), "x"))
    assert (tests[0].message, bool(tests[0].hint)) == (message, has_hint)
    assert tests[0].internal == "" and tests[2].passed


def test_an_error_of_the_suites_own_is_kept_for_the_instructor(toy):
    toy.suite.write_text(toy.suite.read_text().replace('a + b, "the sum"', '1 / 0, "the sum"'))
    (tests,) = run(toy.suite, Job(right(), "x"))
    assert not tests[0].passed and "ZeroDivisionError" in tests[0].internal
    assert "ZeroDivisionError" not in tests[0].message + tests[0].hint


def test_a_hint_that_the_exercise_lacks_is_reported(toy):
    toy.suite.write_text(toy.suite.read_text().replace('hints={"minus"', 'hints={"plus"'))
    (tests,) = run(toy.suite, Job(right(add=lambda a, b: a - b), "x"))
    assert "gives the hint 'minus'" in tests[0].internal


# ---------------------------------------------------------------------------------------------------- broken suites


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("import numpy as np", "import numpy as np, no_such_module", "no_such_module"),
        ("import numpy as np", "import numpy as np)", "unmatched"),
        ("exercise = ", "other = ", "must define `exercise = Exercise"),
        ('"toy",\n', "", "positional argument"),
        ('@graded("area"', '@graded("volume"', "names the cell 'volume'.*\\['add', 'area'\\]"),
        ('points=2, title="A mask"', 'points=3, title="A mask"', "'area' give 3 points, more than its 2"),
        ('points=2, title="A mask"', 'points=0, title="A mask"', "points must be positive, got 0"),
        ("# Only", "def test_naked(student):\n    pass\n\n\n# Only", "test_naked in toy.py has no @graded"),
    ],
    ids="import syntax no-exercise bad-exercise unknown-cell too-many-points no-points unmarked".split(),
)
def test_a_broken_suite_is_named_with_its_fault(toy, old, new, message):
    assert old in toy.suite.read_text()
    toy.suite.write_text(toy.suite.read_text().replace(old, new, 1))
    with pytest.raises(SuiteError, match=message):
        load_suite(toy.suite)


@pytest.mark.parametrize("text", ["", "x = 1\n"])
def test_a_suite_without_tests_is_no_suite(toy, text):
    toy.suite.write_text(text)
    with pytest.raises(SuiteError, match=r"toy\.py cannot be used as a suite"):
        load_suite(toy.suite)


def test_a_missing_suite_is_named(tmp_path):
    with pytest.raises(SuiteError, match=r"nowhere\.py"):
        load_suite(tmp_path / "nowhere.py")


def test_a_public_suite_may_have_fewer_points_than_its_cells(toy):
    toy.suite.write_text(toy.suite.read_text().replace('points=2, title="Large', 'points=0.5, title="Large'))
    assert load_suite(toy.suite)[0].cells["add"] == 3


def test_load_suite_returns_the_exercise_and_its_tests(toy):
    exercise, tests = load_suite(toy.suite)
    assert (exercise.name, exercise.seconds, exercise.forbidden) == ("toy", 1.0, ("json", "math.fsum"))
    assert {name: (test.cell, test.points, test.hidden) for name, test in tests.items()} == {
        "test_add": ("add", 1, False),
        "test_add_large": ("add", 2, True),
        "test_area": ("area", 2, False),
    }
