"""The made-up class of the assignment: twelve students, and what must come out for each."""

import json

import pytest

from autograder import coursework_demo
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
