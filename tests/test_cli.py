"""The command line: help with examples, errors of one line, exit codes that scripts can rely on."""

import dataclasses
import json
import re

import pytest
from typer.testing import CliRunner

from autograder import cli

EXERCISE = "ps01-masks-and-iou"
pytestmark = pytest.mark.filterwarnings("ignore:Object of type <Submitted")
COMMANDS = [command.name or command.callback.__name__ for command in cli.app.registered_commands]
needs_sandbox = pytest.mark.usefixtures("sandbox")


def run(*words: object):
    # A wide terminal: what is asserted must not be broken into lines.
    return CliRunner().invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "200", "NO_COLOR": "1"})


def test_the_commands_that_the_manual_names_are_there():
    assert {"release", "grade", "feedback", "verify"} <= set(COMMANDS)
    text = run("--help").output
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_and_holds_an_example_that_the_command_takes(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    example = re.search(rf"Example: autograder {command}(.*)", result.output)
    assert example
    known = set(re.findall(r"--[a-z-]+", result.output.replace(example.group(), "")))
    assert set(re.findall(r"--[a-z-]+", example.group(1))) <= known


@pytest.mark.parametrize(
    "command", [("grade", EXERCISE), ("release",), ("feedback", EXERCISE), ("verify",)], ids=" ".join
)
def test_a_folder_that_is_no_course_is_one_clear_line(command, tmp_path):
    result = run(*command, "--course", tmp_path)
    assert result.exit_code == 2
    assert "is no course: it has no nbgrader_config.py" in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output


def errors_of(result) -> str:
    """Standard error as one line, whatever the width of the terminal."""
    return " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("grade", "ps99"), "no submissions"),
        (("grade", EXERCISE), "no submissions"),
        (("grade", EXERCISE, "--student", "zoe"), "nothing was handed in for ps01-masks-and-iou by: zoe"),
        (("feedback", EXERCISE), "nothing has been graded yet"),
        (("feedback", "ps99"), "ps99 has not been released"),
        (("release", "ps99"), "there is no exercise 'ps99'"),
        (("verify", "ps99"), "there is no suite for 'ps99'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_instructors_mistake_is_one_clear_line(words, message, released_course):
    result = run(*words, "--course", released_course.root)
    assert result.exit_code == 2
    assert message in errors_of(result) and errors_of(result).startswith("Error: ")
    assert "Traceback" not in result.output + result.stderr


def test_release_check_tells_step_from_out_of_step(course):
    result = run("release", "--check", "--course", course.root)
    assert result.exit_code == 0 and "is in step with" in result.output
    course.notebook.with_name("checks.py").unlink()
    result = run("release", "--check", "--course", course.root)
    assert result.exit_code == 1 and "checks.py is missing" in errors_of(result)


@pytest.fixture
def few(course):
    """A course in which three handed in."""
    reference = course.reference()
    course.hand_in("ada", reference)
    course.hand_in("grace", dict(list(reference.items())[:2]))
    course.hand_in("zoe", {}).write_text("{")
    return course


@needs_sandbox
def test_grade_then_feedback_then_grade_again(few):
    result = run("grade", EXERCISE, "--course", few.root, "--workers", 1)
    assert result.exit_code == 0, result.output + result.stderr
    assert "3 submissions (0 unchanged)" in result.output
    assert re.search(r"zoe\s+The notebook is not valid JSON", result.output)
    pages = sorted((few.root / "feedback").glob("*/*/*.html"))
    assert [page.parts[-3] for page in pages] == ["ada", "grace", "zoe"]
    assert "to be marked" in pages[0].read_text()

    assert "2 unchanged" in run("grade", EXERCISE, "--course", few.root).output  # what was refused is read again
    assert (
        "1 submissions (0 unchanged)"
        in run("grade", EXERCISE, "--course", few.root, "--student", "ada", "--force").output
    )

    from nbgrader.api import Gradebook

    with Gradebook(few.load().db_url, "segedu") as book:
        notebook = book.find_submission_notebook(EXERCISE, EXERCISE, "ada")
        grade = next(grade for grade in notebook.grades if not grade.name.startswith("test-"))
        grade.manual_score = 3.5
        book.find_comment(grade.name, EXERCISE, EXERCISE, "ada").manual_comment = "<b>Well</b> put"
        book.db.commit()
    result = run("feedback", EXERCISE, "--course", few.root)
    assert result.exit_code == 0 and "wrote 3 pages" in result.output
    page = pages[0].read_text()
    assert "39.5 / 40" in page and "&lt;b&gt;Well&lt;/b&gt; put" in page and "to be marked" not in page


@needs_sandbox
def test_insecure_works_and_says_so(few, monkeypatch):
    monkeypatch.setattr("autograder.sandbox.policy.missing", lambda: "bubblewrap is missing.")
    result = run("grade", EXERCISE, "--course", few.root, "--student", "ada", "--insecure")
    assert result.exit_code == 0 and "Do not trust these points" in result.stderr
    assert "not trusted" in (few.root / "feedback" / "ada" / EXERCISE / f"{EXERCISE}.html").read_text()


def test_without_a_sandbox_nothing_is_graded_and_the_remedy_is_named(few, monkeypatch):
    # Worker processes look for bwrap on the path themselves.
    monkeypatch.setenv("PATH", str(few.root))
    result = run("grade", EXERCISE, "--course", few.root)
    assert result.exit_code == 3
    text = errors_of(result)
    assert "No sandbox: bubblewrap (bwrap) is not installed" in text and "apt-get install bubblewrap" in text
    assert "--insecure" in text
    assert not (few.root / "autograded").exists() and not (few.root / "feedback").exists()


@needs_sandbox
def test_verify_holds_the_suite_to_its_word(released_course, tmp_path):
    file = tmp_path / "rows.json"
    result = run("verify", EXERCISE, "--course", released_course.root, "--json", file)
    rows = json.loads(file.read_text())
    assert result.exit_code == 0, result.output
    fields = "assignment kind name points points_expected hint hint_expected ok".split()
    assert all(list(row) == fields and row["ok"] for row in rows)
    assert [row["kind"] for row in rows[:2]] == ["reference", "stub"]
    assert sum(row["kind"] == "mutant" for row in rows) >= 12
    assert f"{len(rows)} graded, 0 not as expected" in result.output


@needs_sandbox
def test_verify_fails_when_a_mutant_does_not_get_its_points(released_course, monkeypatch):
    from autograder import verify

    load = verify.load_mutants
    monkeypatch.setattr(
        verify, "load_mutants", lambda *args: [dataclasses.replace(m, loses={m.cell: 0.25}) for m in load(*args)[:1]]
    )
    result = run("verify", EXERCISE, "--course", released_course.root)
    assert result.exit_code == 1 and "1 not as expected" in result.output and "NO" in result.output
