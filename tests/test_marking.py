"""Reports are marked by a rubric: in nbgrader's formgrader, by two markers, and in the feedback that students read."""

import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import RealCourse
from coursework import EXERCISE, make_course
from nbgrader.api import Gradebook
from test_nbgrader import CHROMIUM, command, environment, wait_until_it_answers

pytestmark = pytest.mark.filterwarnings("ignore:Object of type <Submitted")

ATTACK = "A report.\n\n<script>document.title='hacked'</script>\n\n<img src=x onerror=\"document.title='hacked'\">"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """A released coursework with its rubric; tests leave it as it is."""
    root = tmp_path_factory.mktemp("made up") / "course"
    root.mkdir()
    return RealCourse(root), make_course(root)


@pytest.fixture
def coursework(made_up, tmp_path):
    """A copy for one test to work in."""
    course, rubric = made_up
    return RealCourse(Path(shutil.copytree(course.root, tmp_path / "course"))), rubric


def marks(course, student: str) -> dict[str, tuple]:
    """(points, needs a marker, comment) of each answer marked by hand, as nbgrader's gradebook has them."""
    with Gradebook(course.load().db_url, "segedu") as book:
        notebook = book.find_submission_notebook(EXERCISE, EXERCISE, student)
        comments = {comment.name: comment.manual_comment for comment in notebook.comments}
        return {
            grade.name: (grade.manual_score, grade.needs_manual_grade, comments[grade.name])
            for grade in notebook.grades
            if grade.name.startswith("report_")
        }


@contextmanager
def jupyter(course):
    """A Jupyter server in the course's folder: its address and token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = "for-this-test-only"
    words = f"--no-browser --allow-root --ip=127.0.0.1 --port={port} --IdentityProvider.token={token}".split()
    log = course.root / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *words, "--ServerApp.port_retries=0"],
            cwd=course.root, env=environment(), stdout=file, stderr=file,
        )  # fmt: skip
        try:
            wait_until_it_answers(process, f"http://127.0.0.1:{port}/api?token={token}", log)
            yield f"http://127.0.0.1:{port}", token
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def marking_page(course, student: str):
    """The formgrader's page of a submission, in a browser."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with Gradebook(course.load().db_url, "segedu") as book:
        submission = book.find_submission_notebook(EXERCISE, EXERCISE, student).id
    with jupyter(course) as (address, token), sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--headless", "--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{address}/tree?token={token}")  # logs in
        page.goto(f"{address}/formgrader/submissions/{submission}")
        page.wait_for_function("formgrader.grades && formgrader.grades.loaded && formgrader.comments.loaded")
        yield page
        browser.close()


@pytest.mark.slow
@pytest.mark.usefixtures("sandbox")
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)")
def test_a_chosen_band_ends_in_the_gradebook_and_in_the_feedback(coursework):
    course, rubric = coursework
    literature, data, method, writing = rubric.criteria
    course.hand_in("ada", {**course.reference(), **{criterion.cell: ATTACK for criterion in rubric.criteria}})
    command(course, "autograder", "grade", EXERCISE)
    assert set(marks(course, "ada").values()) == {(None, True, None)}
    with marking_page(course, "ada") as page:
        forms = page.locator(".rubric-form")
        assert forms.count() == 4
        assert page.title() == EXERCISE, "a script in an answer ran in the marker's page"

        def choose(cell: str, points: str) -> None:
            with page.expect_response("**/api/grade/*"), page.expect_response("**/api/comment/*"):
                page.locator(f"[data-cell={cell}]").get_by_role("button", name=points, exact=True).click()

        def enter(selector: str, text: str, path: str) -> None:
            with page.expect_response(path):
                page.locator(selector).fill(text)
                page.locator(selector).dispatch_event("change")

        choose(literature.cell, "9.5")
        assert page.locator(f"#{literature.cell}").input_value() == "9.5"
        assert literature.bands[1].words in page.locator(f"#{literature.cell}-comment").input_value()
        comment = f"#{data.cell}-comment"
        enter(comment, "Mind the crowds.", "**/api/comment/*")
        choose(data.cell, "5")
        choose(data.cell, "9")  # the words change with the band, the marker's own stay
        enter(f"#{method.cell}", "6.25", "**/api/comment/*")  # nbgrader's own field, between two steps
        chosen = page.locator(f"[data-cell={method.cell}] tr.chosen")
        assert chosen.locator("th").inner_text() == "Sufficient"
        page.locator("body").screenshot(path=course.root / "page.png")
    found = marks(course, "ada")
    assert found[literature.cell] == (9.5, False, literature.bands[1].note)
    assert found[data.cell] == (9, False, f"{data.bands[0].note}\n\nMind the crowds.")
    assert found[method.cell] == (6.25, False, method.bands[2].note)
    assert found[writing.cell] == (None, True, None)

    command(course, "autograder", "feedback", EXERCISE)
    page = (course.root / "feedback" / "ada" / EXERCISE / f"{EXERCISE}.html").read_text()
    assert "Good (9 to 11.5 points)." in page and page.count(literature.bands[1].words) == 1
    assert "Mind the crowds." in page and page.count(data.bands[0].words) == 1
    assert "to be marked, 10 points" in page and "<script>" not in page
    command(course, "nbgrader", "generate_feedback", EXERCISE, "--force")
    page = (course.root / "feedback" / "ada" / EXERCISE / f"{EXERCISE}.html").read_text()
    assert literature.bands[1].words in page and "Mind the crowds." in page
