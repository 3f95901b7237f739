"""The pool: each student's result depends on that student alone, and runs can be interrupted, resumed and repeated."""

import json
import os
import signal
from dataclasses import replace

import pytest

from autograder import grade
from autograder.grade import ClassJob, grade_class
from autograder.results import Panel, SubmissionResult, TestResult

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture
def job(toy) -> ClassJob:
    toy.hand_in("ada", **toy.right)
    toy.hand_in("grace", add="def add(a, b):\n    return a - b", essay="Because.")
    toy.hand_in("stub")
    return ClassJob(
        exercise="toy",
        suite=toy.suite,
        released=toy.notebook,
        submitted=toy.root / "submitted",
        autograded=toy.root / "autograded",
        feedback=toy.root / "feedback",
        seed="seed",
    )


def grade_all(job: ClassJob, *students: str, workers: int = 1) -> dict:
    return {outcome.result.student: outcome for outcome in grade_class(job, list(students), workers)}


def files(job: ClassJob, student: str) -> dict:
    """Content and time of each file that grading wrote for the student."""
    found = [*(job.autograded / student).rglob("*"), *(job.feedback / student).rglob("*")]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found if path.is_file()}


# --------------------------------------------------------------------------------------------------------- one class


def test_a_class_is_graded_and_its_files_written(job):
    outcomes = grade_all(job, "ada", "grace", "stub", workers=2)
    assert {name: outcome.result.points for name, outcome in outcomes.items()} == {"ada": 5, "grace": 0, "stub": 0}
    assert all(outcome.result.max_points == 5 and outcome.regraded for outcome in outcomes.values())
    assert outcomes["ada"].unchanged == ["essay"] and outcomes["grace"].unchanged == ["area"]
    assert not any(test.internal for outcome in outcomes.values() for test in outcome.result.tests)
    for student in outcomes:
        names = {path.name for path in files(job, student)}
        assert names == {"toy.ipynb", "toy.html", "result.json"}


def test_the_autograded_notebook_holds_points_as_plain_floats(job):
    grade_all(job, "ada")
    notebook = json.loads((job.autograded / "ada" / "toy" / "toy.ipynb").read_text())
    shown = [c["outputs"][0]["data"] for c in notebook["cells"] if c.get("outputs")]
    assert [data["text/plain"] for data in shown] == ["3.0", "2.0"]
    assert "Two small numbers" in shown[0]["text/html"]


def test_feedback_shows_hints_but_nothing_of_hidden_tests_inputs(job):
    outcome = grade_all(job, "grace")["grace"]
    page = (job.feedback / "grace" / "toy" / "toy.html").read_text()
    hidden = next(test for test in outcome.result.tests if test.hidden)
    assert "That is the difference." in page and "Numbers have no upper end." in page
    assert "hidden sum" in hidden.withheld and "hidden sum" not in page and "secret" not in page


def test_what_a_student_wrote_is_escaped_on_the_page(job, toy):
    toy.hand_in("eve", add="def add(a, b):\n    raise ValueError('<script>alert(1)</script>')", essay="<img src=x>")
    grade_all(job, "eve")
    page = (job.feedback / "eve" / "toy" / "toy.html").read_text()
    assert "<script>alert" not in page and "<img src=x" not in page and "&lt;script&gt;alert" in page


def test_a_refused_submission_gets_its_reason_and_the_others_their_grades(job, toy):
    toy.hand_in("zoe").write_bytes(b"\xff\xfe not a notebook")
    outcomes = grade_all(job, "zoe", "ada")
    assert outcomes["zoe"].result.points == 0 and "not UTF-8" in outcomes["zoe"].result.refused
    assert outcomes["ada"].result.points == 5
    assert "not UTF-8" in (job.feedback / "zoe" / "toy" / "toy.html").read_text()


def test_the_same_student_gets_the_same_points_with_any_number_of_workers(job, toy):
    chance = "import random\ndef add(a, b):\n    return a + b if random.random() < 0.5 else 0"
    names = [f"student{number}" for number in range(12)]
    for name in names:
        toy.hand_in(name, add=chance)
    runs = []
    for workers in (1, 2):
        outcomes = grade_all(replace(job, force=True), *names, workers=workers)
        runs.append({name: outcomes[name].result.points for name in names})
    assert runs[0] == runs[1] and len(set(runs[0].values())) > 1


def test_results_survive_the_way_to_json():
    panel = Panel("yours", "<b>é</b>")
    test = TestResult("t", "c", "title", 2.5, False, True, "message", "hint", "id", (panel,), "withheld", "internal")
    result = SubmissionResult("ada", "toy", [test], ["note"], "reason", True, 1.5, "abc")
    assert SubmissionResult.from_json(result.to_json()) == result


# ------------------------------------------------------------------------------------------------- again and again


def test_what_has_not_changed_is_not_graded_again(job):
    first = grade_all(job, "ada", "grace")
    before = files(job, "ada")
    again = grade_all(job, "ada", "grace")
    assert not any(outcome.regraded for outcome in again.values())
    assert {n: o.result for n, o in again.items()} == {n: o.result for n, o in first.items()}
    assert files(job, "ada") == before


def test_force_grades_again_with_the_same_result(job):
    first, again = grade_all(job, "grace")["grace"], grade_all(replace(job, force=True), "grace")["grace"]
    assert again.regraded
    assert replace(again.result, seconds=0) == replace(first.result, seconds=0)


@pytest.mark.parametrize("what", ["submission", "suite", "released", "seed"])
def test_whatever_a_grade_depends_on_makes_it_new(job, toy, what):
    grade_all(job, "ada")
    if what == "submission":
        toy.hand_in("ada", **toy.right | {"area": "def area(mask):\n    return 0"})
    elif what == "suite":
        toy.suite.write_text(toy.suite.read_text() + "\n")
    elif what == "released":
        toy.notebook.write_text(toy.notebook.read_text().replace("A toy", "The toy"))
    else:
        job = replace(job, seed="another")
    assert grade_all(job, "ada")["ada"].regraded


def test_a_refused_submission_is_looked_at_again(job, toy):
    path = toy.hand_in("zoe")
    path.write_text("{")
    assert grade_all(job, "zoe")["zoe"].result.refused
    toy.hand_in("zoe", **toy.right)
    assert grade_all(job, "zoe")["zoe"].result.points == 5


def test_grading_one_student_leaves_the_others_files_alone(job, toy):
    grade_all(job, "ada", "grace")
    before = files(job, "ada")
    toy.hand_in("ada", **toy.right | {"essay": "changed, but not graded now"})
    grade_all(replace(job, force=True), "grace")
    assert files(job, "ada") == before


def test_an_interrupted_run_goes_on_where_it_stopped(job, toy):
    names = [f"student{number}" for number in range(6)]
    for name in names:
        toy.hand_in(name, **toy.right)
    outcomes = grade_class(job, names, 1)
    done = {next(outcomes).result.student for _ in range(3)}
    outcomes.close()  # as Ctrl-C does
    again = grade_all(job, *names)
    assert {name for name, outcome in again.items() if not outcome.regraded} >= done
    assert sum(outcome.regraded for outcome in again.values()) >= 2
    assert all(outcome.result.points == 5 for outcome in again.values())


# ------------------------------------------------------------------------------------------------- workers that die


def test_a_worker_that_is_killed_is_replaced(job, toy, monkeypatch):
    pool = []
    original = grade._Worker.__init__

    def recording(worker, job):
        original(worker, job)
        pool.append(worker)

    monkeypatch.setattr(grade._Worker, "__init__", recording)
    names = [f"student{number}" for number in range(4)]
    for name in names:
        toy.hand_in(name, **toy.right)
    outcomes = grade_class(job, names, 1)
    found = [next(outcomes)]
    os.kill(pool[0].process.pid, signal.SIGKILL)
    found += outcomes
    assert {outcome.result.student: outcome.result.points for outcome in found} == dict.fromkeys(names, 5)
    assert len(pool) == 2 and not any(outcome.grader_error for outcome in found)


def test_a_submission_that_kills_its_worker_twice_is_given_up(job, toy):
    # A suite that ends its process stands in for a grader that one submission brings down.
    toy.suite.write_text(
        toy.suite.read_text().replace(
            "    mask = rng",
            "    import os\n    if student.area(np.ones(3)) == -1:\n        os._exit(9)\n    mask = rng",
        )
    )
    toy.hand_in("evil", add=toy.right["add"], area="def area(mask):\n    return -1")
    outcomes = grade_all(job, "evil", "ada", workers=1)
    assert outcomes["ada"].result.points == 5
    evil = outcomes["evil"]
    assert evil.result.points == 0 and "The grader itself failed" in evil.result.refused
    assert "evil: grading failed twice" in evil.grader_error and "exit code 9" in evil.grader_error
    assert "The grader itself failed" in (job.feedback / "evil" / "toy" / "toy.html").read_text()


def test_a_suite_that_cannot_be_loaded_stops_the_run(job, toy):
    toy.suite.write_text("import no_such_module")
    with pytest.raises(Exception, match="no_such_module"):
        grade_all(job, "ada")


def test_insecure_results_say_so_and_are_not_taken_for_trusted_ones(job):
    insecure = grade_all(replace(job, insecure=True), "ada")["ada"].result
    assert insecure.insecure and insecure.points == 5
    assert "not trusted" in (job.feedback / "ada" / "toy" / "toy.html").read_text()
    trusted = grade_all(job, "ada")["ada"]
    assert trusted.regraded and not trusted.result.insecure
