"""The one writer of nbgrader's gradebook.

Grading runs in many processes; their results come to this one, which holds the only database session and commits once
for each submission. What a marker has entered by hand is kept. Any SQLAlchemy URL serves, as in nbgrader.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from nbgrader.api import Comment, Grade, Gradebook, MissingEntry, SubmittedAssignment
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import parse_utc
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SAWarning, SQLAlchemyError

from autograder.course import Course, CourseError
from autograder.feedback import ManualGrade
from autograder.intake import TEST_PREFIX, timestamp_text
from autograder.results import SubmissionResult

# nbgrader 0.9.6 makes rows before it adds them to the session; SQLAlchemy warns of it for every new submission.
warnings.filterwarnings("ignore", "Object of type <Submitted", SAWarning)


@contextmanager
def open_gradebook(course: Course) -> Iterator[GradebookWriter]:
    """Open the course's gradebook, creating it if it is new. Raises `CourseError` where its database fails."""
    try:
        writer = GradebookWriter(course)
    except (SQLAlchemyError, ModuleNotFoundError) as error:  # the database's driver may not be installed
        raise _unusable(course, error) from error
    try:
        yield writer
    except SQLAlchemyError as error:
        raise _unusable(course, error) from error
    finally:
        writer.close()


class GradebookWriter:
    """Reads and writes grades of a course."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._gradebook = Gradebook(course.db_url, course.config.CourseDirectory.get("course_id", "default_course"))
        # nbgrader commits several times for each submission. On a connection of our own its commits only end the
        # session's part, and `save` ends the transaction: it writes all or nothing, and the disk is waited for once.
        # What was read is not read again for each submission: nobody changes an assignment while it is graded.
        self._gradebook.db.remove()
        self._connection = self._gradebook.engine.connect()
        self._gradebook.db.configure(
            bind=self._connection, join_transaction_mode="rollback_only", expire_on_commit=False
        )
        self._late = AssignLatePenalties(config=course.config)
        self._late.init_plugin()

    def close(self) -> None:
        self._connection.close()
        self._gradebook.close()

    def require(self, exercise: str) -> None:
        """Raise `CourseError` unless the exercise is in the gradebook."""
        try:
            self._gradebook.find_assignment(exercise)
        except MissingEntry:
            raise CourseError(
                f"{exercise} is not in the gradebook {self._course.db_url}. Run: autograder release {exercise}"
            ) from None

    def save(self, result: SubmissionResult, unchanged: list[str]) -> None:
        """Write one submission's points and comments; all of them or none.

        `unchanged` names the solution cells that the student left as they were: an untouched written answer gets its
        0 points without a marker, as in nbgrader.
        """
        self._gradebook.db.rollback()  # ends what reading began
        with self._connection.begin():
            try:
                self._save(result, unchanged)
            except BaseException:
                self._gradebook.db.rollback()
                raise

    def _save(self, result: SubmissionResult, unchanged: list[str]) -> None:
        book, exercise = self._gradebook, result.assignment
        submission = self._submission(result)
        notebook = next(notebook for notebook in submission.notebooks if notebook.name == exercise)
        for grade in notebook.grades:
            if grade.name.startswith(TEST_PREFIX):
                grade.auto_score = result.cell_points(grade.name.removeprefix(TEST_PREFIX))
            else:
                grade.auto_score = 0.0 if grade.name in unchanged or result.refused else None
            # As nbgrader has it: what was marked by hand, or can only be, wants another look.
            grade.needs_manual_grade = grade.manual_score is not None or grade.auto_score is None
        for comment in notebook.comments:
            comment.auto_comment = _comment(result, comment.name, comment.name in unchanged)
        book.db.flush()
        self._penalise(submission, notebook, result.student)
        book.db.commit()

    def manual_grades(self, exercise: str, student: str) -> dict[str, ManualGrade]:
        """What markers entered for a submission, by grade_id."""
        notebook = self._gradebook.find_submission_notebook(exercise, exercise, student)
        comments = {comment.name: comment.manual_comment or "" for comment in notebook.comments}
        found = {}
        for grade in notebook.grades:
            points = grade.auto_score if grade.manual_score is None else grade.manual_score
            if not grade.name.startswith(TEST_PREFIX):
                extra = grade.extra_credit or 0.0
                found[grade.name] = ManualGrade(
                    None if points is None else points + extra, comments.get(grade.name, "")
                )
        return found

    def marks(self, exercise: str, student: str) -> dict[str, ManualGrade]:
        """What markers entered for a submission and nothing else, by grade_id. `CourseError` if it is not there."""
        return {
            name: ManualGrade(grade.manual_score, comment.manual_comment or "")
            for name, (grade, comment) in self._by_hand(exercise, student).items()
        }

    def mark(self, exercise: str, student: str, marks: Mapping[str, ManualGrade]) -> None:
        """Enter a marker's points and comments by grade_id, as the formgrader does; all of them or none."""
        self._gradebook.db.rollback()  # ends what reading began
        with self._connection.begin():
            rows = self._by_hand(exercise, student)
            for name, mark in marks.items():
                grade, comment = rows[name]
                grade.manual_score, grade.needs_manual_grade = mark.points, False
                comment.manual_comment = mark.comment
            self._gradebook.db.commit()

    def _by_hand(self, exercise: str, student: str) -> dict[str, tuple[Grade, Comment]]:
        try:
            notebook = self._gradebook.find_submission_notebook(exercise, exercise, student)
        except MissingEntry:
            raise CourseError(
                f"{student}'s {exercise} is not in the gradebook. Grade it first: autograder grade {exercise}"
            ) from None
        comments = {comment.name: comment for comment in notebook.comments}
        return {grade.name: (grade, comments[grade.name]) for grade in notebook.grades if grade.name in comments}

    def _submission(self, result: SubmissionResult) -> SubmittedAssignment:
        book = self._gradebook
        book.update_or_create_student(result.student)
        handed_in = timestamp_text(self._course.submitted / result.student / result.assignment)
        timestamp = None if result.refused else _timestamp(handed_in)
        return book.update_or_create_submission(result.assignment, result.student, timestamp=timestamp)

    def _penalise(self, submission: SubmittedAssignment, notebook: object, student: str) -> None:
        """Apply the course's late policy, which is nbgrader's plug-in (by default none)."""
        notebook.late_submission_penalty = None
        if submission.total_seconds_late > 0:
            plugin = self._late.plugin_inst
            penalty = plugin.late_submission_penalty(student, notebook.score, submission.total_seconds_late)
            if penalty is not None:
                notebook.late_submission_penalty = min(max(penalty, 0), notebook.score)


def _unusable(course: Course, error: Exception) -> CourseError:
    """What to say of a database that fails; the password in its URL is not shown."""
    try:
        url = make_url(course.db_url).render_as_string(hide_password=True)
    except ArgumentError:
        url = "(db_url is no URL)"
    return CourseError(
        f"the gradebook {url} cannot be used: {str(error).splitlines()[0]}. Wait if another program writes to it; else "
        "see to db_url in nbgrader_config.py, or put a copy of the gradebook back"
    )


def _timestamp(text: str) -> datetime | None:
    """When it was handed in: the text of nbgrader's timestamp.txt; None where there is none that can be read."""
    try:
        return parse_utc(text) if text else None
    except Exception:  # what a student writes there makes dateutil raise errors of many kinds
        return None


def _comment(result: SubmissionResult, cell: str, unchanged: bool) -> str | None:
    """What the gradebook says of a solution cell; None if there is nothing to say."""
    lines = []
    if result.insecure:
        lines.append("Graded with --insecure: these points are not trusted.")
    if result.refused:
        lines.append(result.refused)
    elif unchanged:
        lines.append("No response.")
    lines += [note for note in result.notes if f"`{cell}`" in note]
    return "\n".join(lines) or None
