"""The made-up class of the assignment: twelve students, and what must come out for each."""

import csv
import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from autograder import coursework_demo
from autograder.cli import app
from autograder.coursework import ASSIGNMENT
from autograder.intake import Refused, ReleasedNotebook, read_submission


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return coursework_demo.run(tmp_path_factory.mktemp("coursework") / "course", workers=1)


@pytest.mark.slow
def test_every_result_is_as_it_must_be(demo):
    assert len(demo.students) == 12 and demo.wrong == {}
    assert {found.verdict for found in demo.measured} == {"reached", "below", "too good", "unusable", "missing"}


@pytest.mark.slow
def test_reports_and_own_code_reach_the_markers(demo):
    released = ReleasedNotebook.load(demo.course.released_notebook(ASSIGNMENT))
    texts = {}
    for student in demo.students:
        folder = demo.course.submitted / student.student / ASSIGNMENT
        try:
            submission = read_submission(folder, released)
        except Refused:
            assert student.refused
            continue
        path = demo.course.autograded / student.student / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
        kept = released.rebuild({}, []).notebook | json.loads(path.read_text())
        sources = ["".join(cell["source"]) for cell in kept["cells"]]
        texts[student.student] = submission.text("report_literature")
        assert submission.text("report_literature") in sources and submission.text("model") in sources
    assert "YOUR ANSWER HERE" in texts["late-start"]
    assert len(set(texts.values())) == len(texts) - 1  # two have not begun


@pytest.mark.slow
def test_honest_students_are_not_alike_and_the_copier_is(demo):
    similarity = pytest.importorskip("autograder.similarity")
    texts, starter, _ = similarity.read_class(demo.course, ASSIGNMENT)
    pairs = similarity.compare(texts, starter, 0.25)
    # Their code is the reference's, and references to the same papers are alike.
    alike = {
        frozenset(pair.students)
        for pair in pairs
        for part in pair.shared
        if part.kind == "report" and max(part.shares) >= 0.25
    }
    assert alike == {frozenset({"strong", "copied"})}


CRITERIA = {"literature": 15, "data": 10, "method": 15, "writing": 10}


def sheet(demo, marker, share_of):
    """Fill in a marker's sheet: of each criterion's points a share by student, in half points."""
    path = demo.course.root / "marks" / f"{ASSIGNMENT}-{marker}.csv"
    lines = list(csv.DictReader(path.open(newline="")))
    for line in lines:
        if line["student"] in share_of:
            for name, points in CRITERIA.items():
                line[name] = round(2 * share_of[line["student"]] * points) / 2
                line[f"{name} comment"] = f"{marker} on {name}"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    return str(path)


@pytest.mark.slow
def test_two_markers_a_moderator_feedback_and_export(demo):
    def run(*words):
        done = CliRunner().invoke(app, [*words, "--course", str(demo.course.root)])
        assert done.exit_code == 0, done.output
        return done.output

    names = [student.student for student in demo.students]
    ada = {name: 0.8 - 0.05 * place for place, name in enumerate(names)}
    bob = {**ada, "weak": ada["weak"] + 0.3}  # whom they disagree about
    for marker in ("ada", "bob", "moderator"):
        run("mark-sheet", ASSIGNMENT, "--marker", marker)
    sheets = sheet(demo, "ada", ada), sheet(demo, "bob", bob)
    first = run("moderate", ASSIGNMENT, *sheets, "--write")
    assert "Flagged and open: 4, of weak" in " ".join(first.split())
    decided = sheet(demo, "moderator", {"weak": 0.5})
    run("moderate", ASSIGNMENT, *sheets, "--decisions", decided, "--write")
    run("feedback", ASSIGNMENT)
    page = (demo.course.feedback / "weak" / ASSIGNMENT / f"{ASSIGNMENT}.html").read_text()
    assert re.search(r"<td>Mean IoU</td><td>0\.\d{3}</td>", page) and "Your mean IoU is 0." in page
    (tested, marked) = re.findall(r'<div class="part">([^<]*)</div>\n<div class="total">([^<]*)</div>', page)
    assert tested == ("Tested", "12 / 20") and marked == ("Marked by people", "25 / 50")
    assert "ada on literature" in page and "bob on literature" in page and "decided by a moderator" in page

    command = [sys.executable, "-m", "nbgrader", "export", f"--db=sqlite:///{demo.course.root}/gradebook.db"]
    parts = "--exporter=autograder.nbgrader_plugins.ExportParts"
    rows = {}
    for words in (["--to=grades.csv"], ["--to=parts.csv", parts]):
        subprocess.run([*command, *words], cwd=demo.course.root, check=True, capture_output=True)
        with (demo.course.root / words[0].removeprefix("--to=")).open(newline="") as file:
            rows[words[0]] = {line["student_id"]: line for line in csv.DictReader(file)}
    for student in demo.students:
        technical = 20 - sum(student.loses.values())
        share = 0.5 if student.student == "weak" else ada[student.student]
        report = sum(round(2 * share * points) / 2 for points in CRITERIA.values())
        grade, line = (found[student.student] for found in rows.values())
        assert float(grade["score"]) == pytest.approx(technical + report), student.student
        assert (float(line["tests"]), float(line["by_hand"])) == pytest.approx((technical, report))
        assert (float(line["max_tests"]), float(line["max_by_hand"]), line["marked"]) == (20, 50, "yes")
