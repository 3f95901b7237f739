"""nbgrader's own commands work in a course of ours, and give the points that `autograder grade` gives."""

import copy
import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

EXERCISE = "ps01-masks-and-iou"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.usefixtures("sandbox"),
    pytest.mark.filterwarnings("ignore:Object of type <Submitted"),
]


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def command(course, module: str, *words: str) -> str:
    """Run a command line in the course's folder; return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=course.root, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def scores(course) -> dict:
    """Each student's points by grade_id, and the comments, as the gradebook has them."""
    found = {}
    with Gradebook(course.load().db_url, "segedu") as book:
        for submission in book.assignment_submissions(EXERCISE):
            (notebook,) = submission.notebooks
            grades = {g.name: (g.auto_score, g.manual_score, g.needs_manual_grade) for g in notebook.grades}
            found[submission.student.id] = (submission.score, grades)
    return found


def duplicate_cell(path: Path) -> None:
    """What ends nbgrader's whole batch as it comes (its issue 1083)."""
    notebook = json.loads(path.read_text())
    cells = notebook["cells"]
    position = next(i for i, c in enumerate(cells) if c["metadata"].get("nbgrader", {}).get("solution"))
    twin = copy.deepcopy(cells[position])
    twin["id"] = "twin"
    cells.insert(position + 1, twin)
    path.write_text(json.dumps(notebook))


@pytest.fixture(scope="module")
def graded(released_course, tmp_path_factory):
    """Two copies of a course with the same class: graded by `autograder grade`, and by nbgrader's commands."""
    folder = tmp_path_factory.mktemp("graded")
    ours = type(released_course)(Path(shutil.copytree(released_course.root, folder / "ours")))
    reference = ours.reference()
    ours.hand_in("reference", reference)
    ours.hand_in("stub", {})
    ours.hand_in("half", dict(list(reference.items())[:4]))
    for mutant in ours.mutants()[::5][:5]:
        ours.hand_in(f"mutant-{mutant.name}", {**reference, mutant.cell: mutant.source})
    duplicate_cell(ours.hand_in("duplicate", reference))
    noisy = {name: f"import sys\nprint('noise', file=sys.stderr)\n{text}" for name, text in reference.items()}
    ours.hand_in("noisy", {name: text for name, text in noisy.items() if "def " in text})
    theirs = type(released_course)(Path(shutil.copytree(ours.root, folder / "theirs")))
    command(ours, "autograder", "grade", EXERCISE)
    command(theirs, "nbgrader", "autograde", EXERCISE)
    return ours, theirs


def test_nbgrader_and_autograder_give_the_same_points(graded):
    ours, theirs = graded
    assert len(scores(ours)) == 10
    assert scores(theirs) == scores(ours)


def test_the_points_are_those_that_they_must_be(graded):
    points = {name: score for name, (score, _) in scores(graded[0]).items()}
    total = 36
    for name in ("reference", "duplicate", "noisy"):
        assert points[name] == total
    assert points["stub"] == 0 and 0 < points["half"] < total
    for mutant in graded[0].mutants():
        if f"mutant-{mutant.name}" in points:
            assert points[f"mutant-{mutant.name}"] == total - sum(mutant.loses.values())


def test_a_symbolic_link_costs_its_student_alone(course):
    """nbgrader 0.9.6 as it comes follows the link and keeps a copy of what it points to."""
    course.hand_in("honest", course.reference())
    (course.hand_in("linked", course.reference()).parent / "notes.txt").symlink_to("/etc/passwd")
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", "autograde", EXERCISE],
        cwd=course.root, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert "notes.txt is a symbolic link" in done.stdout + done.stderr
    assert not (course.root / "autograded" / "linked" / EXERCISE).exists()
    assert scores(course)["honest"][0] == 36


def test_nbgraders_feedback_shows_ours(graded):
    _, theirs = graded
    command(theirs, "nbgrader", "generate_feedback", EXERCISE)
    mutant = next(m for m in theirs.mutants() if f"mutant-{m.name}" in scores(theirs))
    page = (theirs.root / "feedback" / f"mutant-{mutant.name}" / EXERCISE / f"{EXERCISE}.html").read_text()
    assert len(list((theirs.root / "feedback").glob(f"*/{EXERCISE}/*.html"))) == 10
    assert "Hint." in page and "hidden test" in page and "input: " in page


def test_nbgraders_feedback_works_on_what_autograder_graded(graded, tmp_path):
    ours = type(graded[0])(Path(shutil.copytree(graded[0].root, tmp_path / "course")))
    shutil.rmtree(ours.root / "feedback")
    command(ours, "nbgrader", "generate_feedback", EXERCISE, "--student=half")
    assert "not written yet" in (ours.root / "feedback" / "half" / EXERCISE / f"{EXERCISE}.html").read_text()


def test_export_writes_everyones_grades(graded):
    for course in graded:
        command(course, "nbgrader", "export", "--to=grades.csv")
        rows = list(csv.DictReader((course.root / "grades.csv").open()))
        assert {row["student_id"]: float(row["score"]) for row in rows} == {
            name: score for name, (score, _) in scores(course).items()
        }


def test_generate_assignment_makes_what_release_makes(released_course, tmp_path):
    course = type(released_course)(tmp_path / "course")
    shutil.copytree(released_course.root / "solutions", course.root / "solutions")
    shutil.copy(released_course.root / "nbgrader_config.py", course.root)
    command(course, "nbgrader", "generate_assignment", EXERCISE)
    for path in (released_course.root / "exercises" / EXERCISE).iterdir():
        assert (course.root / "exercises" / EXERCISE / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_validate_passes_the_reference_and_names_what_fails(course):
    reference = course.reference()
    source = course.root / "solutions" / EXERCISE / f"{EXERCISE}.ipynb"
    assert "Success! Your notebook passes all the tests." in command(course, "nbgrader", "validate", str(source))
    mutant = course.mutants()[0]
    wrong = course.hand_in("wrong", {**reference, mutant.cell: mutant.source})
    shutil.copy(course.notebook.with_name("checks.py"), wrong.parent)
    assert f'check("{mutant.cell}")' in command(course, "nbgrader", "validate", str(wrong))


# -------------------------------------------------------------------------------------------- formgrader, in a browser


@pytest.fixture
def server(graded):
    """A Jupyter server in the graded course: its address and token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = "for-this-test-only"
    words = f"--no-browser --allow-root --ip=127.0.0.1 --port={port} --IdentityProvider.token={token}".split()
    with (graded[1].root / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *words, "--ServerApp.port_retries=0"],
            cwd=graded[1].root,
            env=environment(),
            stdout=log,
            stderr=log,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_it_answers(process, f"{address}/api?token={token}", graded[1].root / "server.log")
            yield address, token
        finally:
            process.terminate()
            process.wait(30)


def wait_until_it_answers(process: subprocess.Popen, address: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)  # there is nothing to wait on before the port is open
    raise AssertionError(f"the Jupyter server did not start: {log.read_text()[-2000:]}")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)")
def test_the_formgrader_shows_grades_and_our_feedback(graded, server):
    sync_api = pytest.importorskip("playwright.sync_api")
    address, token = server
    expected = {name: score for name, (score, _) in scores(graded[1]).items()}
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--headless", "--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/tree?token={token}")  # logs in
        page.goto(f"{address}/formgrader/gradebook/{EXERCISE}/{EXERCISE}")
        rows = page.locator("table tbody tr").filter(has_text=re.compile("Submission #"))
        sync_api.expect(rows).to_have_count(len(expected))
        page.goto(f"{address}/formgrader/manage_submissions/{EXERCISE}")
        row = page.locator("table tbody tr").filter(has=page.get_by_text("half", exact=True))
        sync_api.expect(row).to_contain_text(f"{expected['half']:g} / 40")
        with Gradebook(graded[1].load().db_url, "segedu") as book:
            submission = book.find_submission_notebook(EXERCISE, EXERCISE, "half").id
        page.goto(f"{address}/formgrader/submissions/{submission}")
        sync_api.expect(page.get_by_text("is not written yet.").first).to_be_visible()
        sync_api.expect(page.get_by_text("hidden test").first).to_be_visible()
        browser.close()
