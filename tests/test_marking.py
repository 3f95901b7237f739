"""Reports are marked by a rubric: in nbgrader's formgrader, by two markers, and in the feedback that students read."""

import base64
import csv
import json
import math
import re
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from conftest import RealCourse
from coursework import COURSEWORK, EXERCISE, make_course
from hypothesis import given
from hypothesis import strategies as st
from nbconvert import HTMLExporter
from nbgrader.api import Gradebook
from sklearn.metrics import cohen_kappa_score
from test_nbgrader import CHROMIUM, command, environment, wait_until_it_answers
from typer.testing import CliRunner

from autograder import moderation
from autograder.cli import app
from autograder.course import CourseError
from autograder.feedback import ManualGrade
from autograder.gradebook import open_gradebook
from autograder.intake import ReleasedNotebook, read_submission
from autograder.results import SubmissionResult
from autograder.rubric import load_rubric
from autograder.sheets import Sheet, read_sheet, sheet_text

pytestmark = pytest.mark.filterwarnings("ignore:Object of type <Submitted")

HACK = "document.title='hacked'"
ATTACK = f"""A *report* with $a<b$.

<script>{HACK}</script>

<div>

<img src=x onerror="{HACK}">

</div>

```mermaid
</pre><img src=x onerror="{HACK}">
```

```"><img src=x onerror="{HACK}">
x
```

$$<img src=x onerror="{HACK}">$$ and ![](attachment:figure.png) and ![](attachment:<svg/onload={HACK}>)

[a](javascript:{HACK}) <javascript:{HACK}> [b](x "\"onmouseover={HACK} ") ![c" onerror="{HACK}](x)

| <svg onload="{HACK}"> | b |
|---|---|
| c | d |

# <svg onload="{HACK}">
"""


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


def formgrader_page(course, student: str, answer: str | None = None) -> BeautifulSoup:
    """What the formgrader's handler would send of a submission, with this answer if any, without its server."""
    loaded = course.load()
    if answer is not None:
        course.hand_in(student, {"report_data": answer})
    released = ReleasedNotebook.load(course.notebook)
    rebuilt = read_submission(loaded.submitted / student / EXERCISE, released).notebook
    folder = loaded.autograded / student / EXERCISE
    folder.mkdir(parents=True)
    (folder / f"{EXERCISE}.ipynb").write_text(json.dumps(rebuilt))
    loaded.config.HTMLExporter.template_name = "formgrade"
    resources = {
        "assignment_id": EXERCISE, "notebook_id": EXERCISE, "submission_id": "x", "index": 0, "total": 1,
        "base_url": "", "student": student, "last_name": "", "first_name": "",
        "notebook_path": f"./autograded/{student}/{EXERCISE}/{EXERCISE}.ipynb",
    }  # fmt: skip
    page, _ = HTMLExporter(config=loaded.config).from_filename(str(folder / f"{EXERCISE}.ipynb"), resources)
    return BeautifulSoup(page, "html.parser")


def test_an_answer_cannot_act_on_the_markers_page(coursework):
    course, _ = coursework
    page, plain = (formgrader_page(course, name, answer) for name, answer in (("eve", ATTACK), ("ada", "A report.")))
    for kind in ("script", "svg", "iframe"):
        assert len(page.find_all(kind)) == len(plain.find_all(kind)), kind
    handlers = [
        [name for tag in one.find_all(True) for name in tag.attrs if name.startswith("on")] for one in (page, plain)
    ]
    assert handlers[0] == handlers[1]
    assert not page.find_all(href=re.compile("^\\s*javascript:", re.IGNORECASE))
    answer = page.find(id="report_data").find_parent(class_="nbgrader_cell")
    assert answer.find("em", string="report") and "<script>" in answer.get_text()
    assert "picture figure.png: see the notebook as it was handed in" in answer.get_text()


def test_the_page_shows_each_criterion_below_its_own_answer(coursework):
    course, rubric = coursework
    page = formgrader_page(course, "ada", "A report.")
    forms = page.find_all(class_="rubric-form")
    assert [form["data-cell"] for form in forms] == [criterion.cell for criterion in rubric.criteria]
    for form, criterion in zip(forms, rubric.criteria, strict=True):
        assert [row["data-note"] for row in form.find_all("tr")] == [band.note for band in criterion.bands]
        offered = sorted(float(button["value"]) for button in form.find_all("button"))
        assert offered == [half / 2 for half in range(int(2 * criterion.points) + 1)]
    assert forms[0].find("a")["data-link"] == f"./submitted/ada/{EXERCISE}/{EXERCISE}.ipynb"


def test_the_page_shows_the_figures_that_were_handed_in(coursework):
    """The autograded notebook holds texts alone. What is no picture, or could act, is left out."""
    course, _ = coursework
    picture, other = base64.b64encode(b"one picture").decode(), base64.b64encode(b"another").decode()
    path = course.hand_in("ada", {"report_data": "A ![cat](attachment:cat.png) and ![dog](attachment:dog.svg)."})
    notebook = json.loads(path.read_text())
    cells = {cell["metadata"].get("nbgrader", {}).get("grade_id"): cell for cell in notebook["cells"]}
    svg = "<svg onload='x'></svg>"
    cells["report_data"]["attachments"] = {"cat.png": {"image/png": picture}, "dog.svg": {"image/svg+xml": svg}}
    bundles = [{"image/png": [other, "\n"]}, {"image/png": '"><script>'}, {"text/html": svg}, {"image/png": 3}, "x"]
    cells["rle"]["outputs"] = [{"output_type": "display_data", "data": bundle} for bundle in bundles] + ["x"]
    path.write_text(json.dumps(notebook))
    page = formgrader_page(course, "ada")
    urls = [image["src"] for image in page.find_all("img")]
    assert urls == [f"data:image/png;base64,{other}", f"data:image/png;base64,{picture}"]
    assert "picture dog.svg: see the notebook" in page.get_text()
    assert not page.find_all("svg")


def test_a_wrong_rubric_is_named_on_the_page_and_stops_no_marker(coursework):
    course, _ = coursework
    path = course.root / "solutions" / EXERCISE / "rubric.toml"
    path.write_text(path.read_text().replace("total = 50", "total = 60"))
    page = formgrader_page(course, "ada", "A report.")
    assert not page.find_all(class_="rubric-form")
    assert len(page.find_all(string=re.compile(r"total: expected the sum .*, 50; found 60"))) >= 4
    path.unlink()
    assert not formgrader_page(course, "bob", "A report.").find_all(class_=["rubric-form", "alert"])


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
        original = page.get_by_text("Open the notebook as it was handed in").first.get_attribute("href")
        assert original.endswith(f"/submitted/ada/{EXERCISE}/{EXERCISE}.ipynb")

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


# ------------------------------------------------------------------------------------------------- sheets and agreement

RUBRIC = load_rubric(COURSEWORK)


def sheet(marker: str, **students: tuple[float | None, ...]) -> Sheet:
    """A sheet with each student's points for literature, data, method and writing."""
    grades = {
        (student, name): ManualGrade(points, f"{marker} on {name}")
        for student, row in students.items()
        for name, points in zip(RUBRIC.ids, row, strict=True)
        if points is not None
    }
    return Sheet(marker, tuple(students), grades)


def test_a_sheet_comes_back_as_it_was_written(tmp_path):
    whole = sheet("ada", zoe=(9.5, 8, 0, 10), max=(15, None, 2, None))
    whole.grades["zoe", "data"] = ManualGrade(8, 'Two lines,\nand "quotes"; semicolons')
    path = tmp_path / "essay-ada.csv"
    path.write_text(sheet_text(RUBRIC, whole.students, whole.grades), newline="")
    assert read_sheet(path, RUBRIC, "essay") == whole


def test_what_spreadsheets_make_of_a_sheet_is_read(tmp_path):
    path = tmp_path / "bob.csv"
    lines = ["student;literature;data;method;writing", "zoe;9,5;8;0;10", ";;;;", "max;;;2,0;"]
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    found = read_sheet(path, RUBRIC)
    assert (found.marker, found.students) == ("bob", ("zoe", "max"))
    assert {key: grade.points for key, grade in found.grades.items()} == {
        ("zoe", "literature"): 9.5, ("zoe", "data"): 8, ("zoe", "method"): 0, ("zoe", "writing"): 10,
        ("max", "method"): 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("zoe,16,8,0,10", "line 2, literature: expected points from 0 to 15 in steps of 0.5; found '16'"),
        ("zoe,9.25,8,0,10", "line 2, literature: expected points from 0 to 15 in steps of 0.5; found '9.25'"),
        ("zoe,9,good,0,10", "line 2, data: expected points from 0 to 10 in steps of 0.5; found 'good'"),
        ("zoe,9,nan,0,10", "line 2, data: "),
        ("zoe,9,-1,0,10", "line 2, data: "),
        ("zoe,9,8,0,10\nzoe,9,8,0,10", "line 3: expected a student who is in no line before; found 'zoe'"),
        (",9,8,0,10", "line 2: expected a student"),
        ("zoe,9,5,8,0,10", "line 2: expected 5 columns, found more: what holds a comma must be in quotes"),
        (
            'zoe,9,8,0,10\n"max,9,8,0,10\neve,9,8,0,10',
            "line 3: expected CSV, found: unexpected end of data. Is",
        ),
        ("x" * 200_000, "line 2: expected CSV, found: "),
    ],
)
def test_a_wrong_sheet_is_refused_with_place_and_reason(tmp_path, line, said):
    path = tmp_path / "ada.csv"
    path.write_text(f"student,literature,data,method,writing\n{line}\n")
    with pytest.raises(CourseError) as caught:
        read_sheet(path, RUBRIC)
    assert str(caught.value).startswith(f"{path}: {said}")


def test_missing_columns_are_named(tmp_path):
    path = tmp_path / "ada.csv"
    path.write_text("student,literature,method\n")
    with pytest.raises(CourseError, match="expected the columns data, writing; found 'student,literature,method'"):
        read_sheet(path, RUBRIC)
    path.write_text("student,literature,data,method,writing,data,notes,notes\n")
    with pytest.raises(CourseError, match=r"expected each column once; found more of data$"):
        read_sheet(path, RUBRIC)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_sheet_in_another_encoding_is_refused(tmp_path, encoding):
    path = tmp_path / "ada.csv"
    path.write_text("student,literature,data,method,writing\nzo\u00eb,9,8,0,10\n", encoding=encoding)
    with pytest.raises(CourseError, match=r"expected a CSV file in UTF-8, found: .* Save it as CSV UTF-8"):
        read_sheet(path, RUBRIC)


def test_marks_that_are_close_are_averaged_and_the_others_wait():
    """By hand: a band of literature is 3 points wide, one of data 2; a tenth of the total is 5 points."""
    ada = sheet("ada", zoe=(9, 8, 12, 7), max=(12, 4, 9, 5), eve=(11.5, 7.5, 11.5, 7), tom=(9, 8, None, 7))
    bob = sheet("bob", zoe=(9, 7.5, 11, 7), max=(9, 6, 9, 5.5), eve=(10, 6, 10, 6), ann=(1, 1, 1, 1))
    items = moderation.compare(RUBRIC, (ada, bob))
    found = {(item.student, item.criterion.id): (item.flagged, item.agreed) for item in items}
    assert found == {
        ("zoe", "literature"): (False, 9), ("zoe", "data"): (False, 8), ("zoe", "method"): (False, 11.5),
        ("zoe", "writing"): (False, 7),
        ("max", "literature"): (True, None), ("max", "data"): (True, None), ("max", "method"): (False, 9),
        ("max", "writing"): (False, 5.5),
        # Each difference is less than a band; together they are 5.5 points.
        ("eve", "literature"): (True, None), ("eve", "data"): (True, None), ("eve", "method"): (True, None),
        ("eve", "writing"): (True, None),
    }  # fmt: skip
    assert moderation.unmarked(RUBRIC, (ada, bob)) == {
        "tom": "ada: method; bob: not in the sheet",
        "ann": "ada: not in the sheet",
    }


def test_the_thresholds_can_be_set():
    ada, bob = sheet("ada", zoe=(9, 8, 12, 7)), sheet("bob", zoe=(12, 7, 12, 7))
    flags = lambda **settings: [i.flagged for i in moderation.compare(RUBRIC, (ada, bob), **settings)]  # noqa: E731
    assert flags() == [True, False, False, False]
    assert flags(criterion_percent=21) == [False, False, False, False]
    assert flags(criterion_percent=10) == [True, True, False, False]
    assert flags(criterion_percent=21, total_percent=4) == [True, True, False, False]  # 2 of 50 points apart


def test_a_moderators_decision_holds_wherever_there_is_one():
    ada, bob = sheet("ada", zoe=(3, 8, 12, 7)), sheet("bob", zoe=(6, 7, 12, 7))
    items = moderation.compare(RUBRIC, (ada, bob), sheet("mod", zoe=(5.5, None, 10, None)))
    assert [(item.flagged, item.decided, item.agreed) for item in items] == [
        (True, True, 5.5), (False, False, 7.5), (False, True, 10), (False, False, 7),
    ]  # fmt: skip
    assert [item.note for item in items] == [moderation.DECIDED, moderation.MEAN, moderation.DECIDED, moderation.MEAN]
    assert items[0].comments == ("ada on literature", "bob on literature", "mod on literature")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
@pytest.mark.filterwarnings("ignore")
def test_kappa_is_that_of_scikit_learn(pairs):
    ours = moderation.weighted_kappa([list(pair) for pair in pairs], 4)
    theirs = cohen_kappa_score(*zip(*pairs, strict=True), labels=range(4), weights="quadratic")
    assert ours == pytest.approx(theirs, nan_ok=True)


def test_agreement_of_a_case_by_hand():
    """Bands of writing: 8, 6 and 4 points. Markers agree on two of three, the third is one band apart."""
    ada = sheet("ada", a=(9, 6, 9, 8), b=(9, 6, 9, 6), c=(9, 6, 9, 4))
    bob = sheet("bob", a=(9, 6, 9, 9), b=(9, 6, 9, 6), c=(9, 6, 9, 6))
    found = moderation.agreement(RUBRIC, moderation.compare(RUBRIC, (ada, bob)))
    writing = found[-1]
    assert (writing.count, writing.mean_difference) == (3, 1)
    # Observed disagreement: 1. By chance: margins 1 1 1 and 1 2 0 give (2 * 1 + 1 * 1 + 1 * 4 + 2 * 1) / 3 = 3.
    assert writing.kappa == pytest.approx(1 - 1 / 3)
    assert found[0].mean_difference == 0 and math.isnan(found[0].kappa)
    assert math.isnan(moderation.agreement(RUBRIC, [])[0].kappa)


@given(st.data())
def test_what_is_agreed_lies_between_the_marks(data):
    marks = {c.id: st.integers(0, int(2 * c.points)).map(lambda halves: halves / 2) for c in RUBRIC.criteria}
    rows = [tuple(data.draw(mark) for mark in marks.values()) for _ in range(2)]
    for item in moderation.compare(RUBRIC, (sheet("ada", zoe=rows[0]), sheet("bob", zoe=rows[1]))):
        if item.agreed is not None:
            assert min(item.points) <= item.agreed <= max(item.points)
            assert 0 <= item.agreed - np.mean(item.points) < RUBRIC.step
            assert item.agreed / RUBRIC.step % 1 == 0


# ------------------------------------------------------------------------------------------------ into the gradebook


@pytest.fixture
def marked(coursework):
    """A course in whose gradebook zoe and max wait for a marker, with the sheets of two of them."""
    course, rubric = coursework
    with open_gradebook(course.load()) as book:
        for student in ("zoe", "max"):
            course.hand_in(student, {})
            book.save(SubmissionResult(student, EXERCISE), [])
    sheets = sheet("ada", zoe=(9, 8, 12, 7), max=(12, 4, 9, 5)), sheet("bob", zoe=(10, 8, 12, 7), max=(6, 4, 9, 5))
    (course.root / "marks").mkdir()
    for one in sheets:
        text = sheet_text(rubric, one.students, one.grades)
        (course.root / "marks" / f"{EXERCISE}-{one.marker}.csv").write_text(text)
    return course


def run(course, *words: str):
    return CliRunner().invoke(app, [*words, "--course", str(course.root)])


def moderate(course, *words: str):
    sheets = [str(course.root / "marks" / f"{EXERCISE}-{marker}.csv") for marker in ("ada", "bob")]
    return run(course, "moderate", EXERCISE, *sheets, *words)


def test_moderating_changes_the_gradebook_only_when_told_to(marked):
    before = marks(marked, "zoe")
    done = moderate(marked)
    assert done.exit_code == 0, done.output
    assert "flagged" in done.output and "Flagged and open: 1, of max." in done.output
    assert marks(marked, "zoe") == before
    record = list(csv.DictReader((marked.root / "marks" / f"{EXERCISE}-moderation.csv").open()))
    assert len(record) == 8
    assert {row["student"]: row for row in record if row["criterion"] == "literature"} == {
        "zoe": {"student": "zoe", "criterion": "literature", "ada": "9", "bob": "10", "difference": "1",
                "flagged": "no", "decided": "no", "agreed": "9.5"},
        "max": {"student": "max", "criterion": "literature", "ada": "12", "bob": "6", "difference": "6",
                "flagged": "yes", "decided": "no", "agreed": ""},
    }  # fmt: skip
    page = (marked.root / "marks" / f"{EXERCISE}-moderation.html").read_text()
    assert "flagged, open" in page and page.count("<tr") == 1 + 4 + 1 + 8


def test_moderated_marks_say_so_in_the_gradebook(marked):
    done = moderate(marked, "--write")
    assert done.exit_code == 0 and "gradebook: 7" in done.output, done.output
    points, waits, comment = marks(marked, "zoe")["report_literature"]
    assert (points, waits) == (9.5, False)
    good = RUBRIC.criteria[0].bands[1]
    assert comment.split("\n\n") == [good.note, "ada on literature", "bob on literature", moderation.MEAN]
    assert marks(marked, "max")["report_literature"] == (None, True, None)
    again = moderate(marked, "--write")
    assert again.exit_code == 0 and marks(marked, "zoe")["report_literature"] == (9.5, False, comment)


def test_a_mark_that_stands_there_is_not_written_over_unasked(marked):
    course = marked.load()
    with open_gradebook(course) as book:
        book.mark(EXERCISE, "zoe", {"report_literature": ManualGrade(3, "Too short.")})
    done = moderate(marked, "--write")
    assert done.exit_code == 1 and "zoe, literature: 3 stays, 9.5 was agreed" in done.output
    assert marks(marked, "zoe")["report_literature"] == (3, False, "Too short.")
    assert marks(marked, "zoe")["report_data"][0] == 8
    done = moderate(marked, "--write", "--replace")
    points, _, comment = marks(marked, "zoe")["report_literature"]
    assert done.exit_code == 0 and points == 9.5 and "Too short." in comment and moderation.MEAN in comment


def test_a_decision_is_written_as_one(marked):
    done = run(marked, "mark-sheet", EXERCISE, "--marker", "moderator")
    assert done.exit_code == 0, done.output
    path = marked.root / "marks" / f"{EXERCISE}-moderator.csv"
    path.write_text(path.read_text().replace("max,,", "max,8,Talked over."))
    done = moderate(marked, "--decisions", str(path), "--write")
    assert done.exit_code == 0 and "gradebook: 8" in done.output, done.output
    points, _, comment = marks(marked, "max")["report_literature"]
    assert points == 8 and comment.endswith(f"Talked over.\n\n{moderation.DECIDED}")


def test_a_decision_that_settles_nothing_is_said(marked):
    path = marked.root / "marks" / "decisions.csv"
    path.write_text("student,literature,data,method,writing\nmax,8,,,\nmaks,8,,,\n")
    done = moderate(marked, "--decisions", str(path), "--write")
    assert done.exit_code == 1 and "gradebook: 8" in done.output
    assert "not used: the decision on literature of maks, whom not both markers marked" in done.output


@pytest.mark.parametrize("marker", ["", "../ada", "a/b", ".hidden", "[/red]", "Moderation", "x" * 101])
def test_a_marker_has_a_name_that_a_file_can_have(marked, marker):
    before = sorted(marked.root.rglob("*"))
    done = run(marked, "mark-sheet", EXERCISE, "--marker", marker)
    assert done.exit_code == 2 and "expected a marker's name" in done.output
    assert sorted(marked.root.rglob("*")) == before


def test_a_sheet_is_not_lost_to_the_record_of_the_moderation(marked):
    folder = marked.root / "marks"
    mine = (folder / f"{EXERCISE}-ada.csv").rename(folder / f"{EXERCISE}-moderation.csv")
    text = mine.read_text()
    done = run(marked, "moderate", EXERCISE, str(mine), str(folder / f"{EXERCISE}-bob.csv"))
    assert done.exit_code == 2 and "would be lost as a sheet: rename it" in done.output
    assert mine.read_text() == text


def test_the_formgraders_marks_make_a_sheet_that_is_kept(marked):
    with open_gradebook(marked.load()) as book:
        comment = RUBRIC.criteria[0].comment(9.5, "Well read.")
        book.mark(EXERCISE, "zoe", {"report_literature": ManualGrade(9.5, comment)})
    words = ("mark-sheet", EXERCISE, "--marker", "cyd", "--from-gradebook")
    done = run(marked, *words)
    assert done.exit_code == 0 and "(students: 2, marks: 1)" in done.output, done.output
    path = marked.root / "marks" / f"{EXERCISE}-cyd.csv"
    assert read_sheet(path, RUBRIC).grades == {("zoe", "literature"): ManualGrade(9.5, "Well read.")}
    assert path.stat().st_mode & 0o077 == 0
    assert run(marked, *words).exit_code == 2 and run(marked, *words, "--force").exit_code == 0


def test_errors_are_one_line(marked):
    path = str(marked.root / "marks" / f"{EXERCISE}-ada.csv")
    done = run(marked, "moderate", EXERCISE, path, path)
    assert done.exit_code == 2 and "expected sheets of different people, found one twice" in done.output
    done = moderate(marked, "--decisions", path)
    assert done.exit_code == 2 and "found one twice" in done.output
    (marked.root / "gradebook.db").write_bytes(b"no database")
    done = moderate(marked, "--write")
    assert done.exit_code == 2 and "gradebook.db cannot be used: (sqlite3.DatabaseError)" in done.output
    config = marked.root / "nbgrader_config.py"
    sound = config.read_text()
    config.write_text(f"{sound}\nc.CourseDirectory.db_url = 'postgresql://ada:secret@127.0.0.1:1/x'\n")
    done = moderate(marked, "--write")
    assert done.exit_code == 2 and "ada:***@127.0.0.1:1/x cannot be used" in done.output
    assert "secret" not in done.output
    config.write_text(f"{sound}\n(\n")
    done = moderate(marked, "--write")
    assert done.exit_code == 2 and "nbgrader_config.py: expected to run it, found: SyntaxError" in done.output
    config.write_text(sound)
    (marked.root / "solutions" / EXERCISE / "rubric.toml").unlink()
    done = moderate(marked)
    assert done.exit_code == 2 and "has no rubric" in done.output
