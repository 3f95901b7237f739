"""The one writer of nbgrader's gradebook: read back through nbgrader's own API."""

import dataclasses
from contextlib import contextmanager

import numpy as np
import pytest
from nbgrader.api import Gradebook

from autograder.course import CourseError
from autograder.gradebook import GradebookWriter, open_gradebook
from autograder.results import SubmissionResult, TestResult
from autograder.runner import load_suite

EXERCISE = "ps01-masks-and-iou"
# Of nbgrader's own making; the grader turns it off in its process, pytest turns it on again.
pytestmark = pytest.mark.filterwarnings("ignore:Object of type <Submitted")


@pytest.fixture
def tests(released_course) -> dict:
    from autograder.check import suite_path

    return load_suite(suite_path(EXERCISE))[1]


@pytest.fixture
def result(tests):
    """Make a student's result that passes the tests of these cells; all by default."""

    def make(student: str, *cells: str, **fields) -> SubmissionResult:
        found = [
            TestResult(name, mark.cell, mark.title, mark.points, not cells or mark.cell in cells)
            for name, mark in tests.items()
        ]
        return SubmissionResult(student, EXERCISE, found, **fields)

    return make


@contextmanager
def nbgraders_book(course):
    book = Gradebook(course.load().db_url, "segedu")
    try:
        yield book
    finally:
        book.close()


def grades(course, student: str) -> dict:
    """(auto score, manual score, needs manual grade) of each graded cell, as nbgrader reads them."""
    with nbgraders_book(course) as book:
        notebook = book.find_submission_notebook(EXERCISE, EXERCISE, student)
        return {g.name: (g.auto_score, g.manual_score, g.needs_manual_grade) for g in notebook.grades}


def comments(course, student: str) -> dict:
    with nbgraders_book(course) as book:
        notebook = book.find_submission_notebook(EXERCISE, EXERCISE, student)
        return {comment.name: comment.auto_comment for comment in notebook.comments}


def scores(course) -> dict[str, float]:
    """Each student's points for the exercise, as nbgrader adds them up."""
    with nbgraders_book(course) as book:
        return {submission.student.id: submission.score for submission in book.assignment_submissions(EXERCISE)}


def essay(course, student: str) -> str:
    """The grade_id of the answer that is marked by hand."""
    return next(name for name in grades(course, student) if not name.startswith("test-"))


def mark_by_hand(course, student: str, points: float) -> None:
    """What the formgrader does when a marker enters points."""
    name = essay(course, student)
    with nbgraders_book(course) as book:
        grade = book.find_grade(name, EXERCISE, EXERCISE, student)
        grade.manual_score, grade.needs_manual_grade = points, False
        comment = book.find_comment(name, EXERCISE, EXERCISE, student)
        comment.manual_comment = "well put"
        book.db.commit()


def test_points_are_those_of_the_result(course, result):
    graded = result("ada", "rle", "iou-and-dice")
    with open_gradebook(course.load()) as book:
        book.save(graded, [])
    found = {name.removeprefix("test-"): points for name, (points, _, _) in grades(course, "ada").items()}
    assert {name: points for name, points in found.items() if points} == {"rle": 6, "iou-and-dice": 4}
    assert scores(course) == {"ada": 10}


def test_a_submission_is_written_as_a_whole_or_not_at_all(course, result, monkeypatch):
    with open_gradebook(course.load()) as book:
        book.save(result("ada", "rle"), [])
        with monkeypatch.context() as patch:
            patch.setattr(GradebookWriter, "_penalise", lambda *_: 1 / 0)
            for student in ("ada", "grace"):
                with pytest.raises(ZeroDivisionError):
                    book.save(result(student), [])
        book.save(result("mary", "rle"), [])
    assert scores(course) == {"ada": 6, "mary": 6}
    with nbgraders_book(course) as book:
        assert sorted(student.id for student in book.students) == ["ada", "mary"]


def test_numpy_points_are_stored_as_they_are(course, result):
    """nbgrader 0.9.6 reads the text "np.float64(2.0)" as full marks."""
    graded = result("ada")
    graded.tests = [
        dataclasses.replace(test, max_points=np.float64(test.max_points), passed=test.cell == "rle" and number % 2 == 0)
        for number, test in enumerate(graded.tests)
    ]
    with open_gradebook(course.load()) as book:
        book.save(graded, [])
    points = grades(course, "ada")["test-rle"][0]
    assert type(graded.cell_points("rle")) is float
    assert 0 < points < 6 and points == sum(float(test.points) for test in graded.tests)


def test_a_written_answer_waits_for_a_marker_and_an_untouched_one_gets_nothing(course, result):
    with open_gradebook(course.load()) as book:
        book.save(result("ada"), [])
        book.save(result("stub"), [essay(course, "ada")])
    assert grades(course, "ada")[essay(course, "ada")] == (None, None, True)
    assert grades(course, "stub")[essay(course, "ada")] == (0, None, False)
    assert comments(course, "stub")[essay(course, "ada")] == "No response."


def test_what_a_marker_entered_is_kept_when_the_submission_is_graded_again(course, result):
    with open_gradebook(course.load()) as book:
        book.save(result("ada"), [])
    mark_by_hand(course, "ada", 3.5)
    with open_gradebook(course.load()) as book:
        book.save(result("ada", "rle"), [])
        kept = book.manual_grades(EXERCISE, "ada")[essay(course, "ada")]
        assert (kept.points, kept.comment) == (3.5, "well put")
        assert scores(course) == {"ada": 6 + 3.5}
    assert grades(course, "ada")[essay(course, "ada")] == (None, 3.5, True)


def test_extra_credit_is_kept_too(course, result):
    with open_gradebook(course.load()) as book:
        book.save(result("ada", "rle"), [])
    with nbgraders_book(course) as book:
        book.find_grade("test-rle", EXERCISE, EXERCISE, "ada").extra_credit = 1.5
        book.db.commit()
    with open_gradebook(course.load()) as book:
        book.save(result("ada", "rle"), [])
        assert scores(course) == {"ada": 7.5}


def test_comments_carry_refusal_notes_and_insecurity(course, result):
    with open_gradebook(course.load()) as book:
        book.save(result("ada", insecure=True, notes=["The cell `rle` is there 2 times; ...", "other"]), [])
        book.save(result("zoe", "none", refused="The notebook is not UTF-8 text."), [])
    assert "not trusted" in comments(course, "ada")["rle"] and "2 times" in comments(course, "ada")["rle"]
    assert "2 times" not in comments(course, "ada")["four-metrics"]
    assert set(comments(course, "zoe").values()) == {"The notebook is not UTF-8 text."}
    assert grades(course, "zoe")[essay(course, "zoe")] == (0, None, False)


def test_a_comment_that_no_longer_holds_goes_away(course, result):
    with open_gradebook(course.load()) as book:
        book.save(result("ada"), ["rle"])
        book.save(result("ada"), [])
    assert comments(course, "ada")["rle"] is None


LATE = """
from nbgrader.plugins import BasePlugin

class OnePointAnHour(BasePlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return total_seconds_late // 3600
"""


@pytest.mark.parametrize(("handed_in", "penalty"), [("10:00", 0), ("12:30", 2), ("23:59", 10)])
def test_the_courses_late_policy_takes_points_but_no_more_than_there_are(
    course, result, monkeypatch, handed_in, penalty
):
    (course.root / "one_point_an_hour.py").write_text(LATE)
    monkeypatch.syspath_prepend(course.root)
    with (course.root / "nbgrader_config.py").open("a") as config:
        config.write('c.AssignLatePenalties.plugin_class = "one_point_an_hour.OnePointAnHour"\n')
    with nbgraders_book(course) as book:
        book.update_or_create_assignment(EXERCISE, duedate="2026-03-01 10:00:00 UTC")
    submitted = course.hand_in("ada", {}).parent
    (submitted / "timestamp.txt").write_text(f"2026-03-01 {handed_in}:00 UTC")
    with open_gradebook(course.load()) as book:
        for _ in range(2):  # graded twice, punished once
            book.save(result("ada", "rle", "iou-and-dice"), [])
    with nbgraders_book(course) as book:
        submission = book.find_submission(EXERCISE, "ada")
        assert (submission.score, submission.late_submission_penalty) == (10, penalty)


@pytest.mark.parametrize("text", ["", "yesterday", "9" * 40, "\0"])
def test_a_timestamp_that_cannot_be_read_is_none(course, result, text):
    submitted = course.hand_in("ada", {}).parent
    (submitted / "timestamp.txt").write_text(text)
    with open_gradebook(course.load()) as book:
        book.save(result("ada"), [])
        assert scores(course) == {"ada": 36}


def test_an_exercise_that_was_never_released_is_named(course):
    with open_gradebook(course.load()) as book:
        book.require(EXERCISE)
        with pytest.raises(CourseError, match=r"ps99 is not in the gradebook.*autograder release ps99"):
            book.require("ps99")


def test_any_database_url_of_the_course_is_used(course, result, tmp_path):
    from autograder.release import release

    database = tmp_path / "department" / "grades.db"
    database.parent.mkdir()
    with (course.root / "nbgrader_config.py").open("a") as config:
        config.write(f"c.CourseDirectory.db_url = 'sqlite:///{database}'\n")
    before = (course.root / "gradebook.db").read_bytes()
    release(course.load(), [EXERCISE])
    with open_gradebook(course.load()) as book:
        book.save(result("ada", "rle"), [])
    assert grades(course, "ada")["test-rle"][0] == 6
    assert (course.root / "gradebook.db").read_bytes() == before
