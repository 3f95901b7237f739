"""A class of cheaters, of broken notebooks and of honest work, graded through the real pool: every grade is as due.

Whoever attacks loses the points of the attacked cell at most; nobody else's grade changes, nothing outside of the
course is touched, and no feedback page shows anything of a hidden test.
"""

import ast
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from autograder.check import suite_path
from autograder.classroom import Material, Sample, make_class
from autograder.course import Course
from autograder.release import release
from autograder.run import grade_exercise
from autograder.sandbox import codec, policy
from autograder.sandbox.client import SandboxedStudent, SandboxUnavailable, Zygote
from autograder.sandbox.errors import StudentError
from autograder.suite import CheckFailed, Expect

ROOT = Path(__file__).parents[1]
EXERCISE = "ps01-masks-and-iou"
CONFIG = """
from autograder.nbgrader_plugins import configure

c = get_config()
configure(c)
"""

sandboxed = pytest.mark.usefixtures("sandbox")


def new_course(root: Path) -> Course:
    root.mkdir()
    (root / "nbgrader_config.py").write_text(CONFIG)
    shutil.copytree(ROOT / "solutions" / EXERCISE, root / "source" / EXERCISE)
    course = Course.load(root)
    release(course, [EXERCISE])
    return course


def hand_in(course: Course, sample: Sample) -> None:
    folder = course.submitted / sample.student / EXERCISE
    folder.mkdir(parents=True)
    sample.write(folder)


def points_in_gradebook(course: Course) -> dict[str, dict[str, float]]:
    """Each student's points of the tests, as nbgrader reads them from the gradebook."""
    with Gradebook(course.db_url) as book:
        return {
            submission.student.id: {
                grade.name.removeprefix("test-"): grade.score
                for grade in submission.notebooks[0].grades
                if grade.name.startswith("test-")
            }
            for submission in book.assignment_submissions(EXERCISE)
        }


def page(course: Course, student: str) -> str:
    return (course.feedback / student / EXERCISE / f"{EXERCISE}.html").read_text()


def read_by_student(course: Course, student: str) -> str:
    """The text of the page; the student's own cells are left out."""
    text = re.sub(r"<details.*?</details>", "", page(course, student), flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", "", text)).replace("`", "")


# --------------------------------------------------------------------------------------------------- the whole class


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> list[Sample]:
    course = new_course(tmp_path_factory.mktemp("release") / "course")
    chosen = make_class(Material(course, EXERCISE))
    # The mutants have tests of their own; a few of them stand for the students who must not suffer.
    mutants = [sample for sample in chosen if sample.kind == "mutant"]
    return [sample for sample in chosen if sample not in mutants[4:]]


@pytest.fixture(scope="module")
def graded(sandbox, tmp_path_factory, samples):
    """The class after grading: course, points by student and cell, the grader's own errors."""
    patch = pytest.MonkeyPatch()
    # Endless loops cost the suite's seconds twice; the limits' length is not what is tested.
    suite = tmp_path_factory.mktemp("suite") / f"{EXERCISE.replace('-', '_')}.py"
    source = suite_path(EXERCISE).read_text()
    suite.write_text(source.replace(f'Exercise(\n    "{EXERCISE}",', f'Exercise(\n    "{EXERCISE}", seconds=1.5,'))
    assert "seconds=1.5" in suite.read_text()
    patch.setattr("autograder.run.suite_path", lambda exercise: suite)
    course = new_course(tmp_path_factory.mktemp("class") / "course")
    for sample in samples:
        hand_in(course, sample)
    summary = grade_exercise(course, EXERCISE, [], 2, False, "a secret", False)
    patch.undo()
    return course, points_in_gradebook(course), summary.grader_errors


def pytest_generate_tests(metafunc):
    if "sample_name" in metafunc.fixturenames:
        from autograder.broken import BROKEN
        from autograder.hostile import ATTACKS

        metafunc.parametrize("sample_name", [case.name for case in (*ATTACKS, *BROKEN)])


def check_sample(sample: Sample, graded, due: dict[str, float]) -> None:
    course, points, _ = graded
    assert points[sample.student] == {cell: full - sample.loses.get(cell, 0) for cell, full in due.items()}
    assert sample.phrase.replace("`", "") in read_by_student(course, sample.student)
    assert ("<section>" not in page(course, sample.student)) == sample.refused


@pytest.fixture(scope="module")
def due(graded) -> dict[str, float]:
    course, _, _ = graded
    cells = json.loads(course.released_notebook(EXERCISE).read_text())["cells"]
    marks = [cell["metadata"].get("nbgrader", {}) for cell in cells]
    return {mark["grade_id"][5:]: mark["points"] for mark in marks if mark.get("grade_id", "").startswith("test-")}


def test_each_attack_costs_its_own_points_and_is_named(sample_name, samples, graded, due):
    check_sample(next(sample for sample in samples if sample.student == sample_name), graded, due)


def test_everybody_else_gets_what_is_due(samples, graded, due):
    others = [sample for sample in samples if sample.kind not in ("broken", "hostile")]
    assert len(others) > 10
    for sample in others:
        check_sample(sample, graded, due)


def test_nothing_stops_the_batch_or_the_grader(samples, graded):
    _, points, grader_errors = graded
    assert grader_errors == []
    assert points.keys() == {sample.student for sample in samples}


def test_nothing_is_written_where_it_should_not_be(samples, graded):
    course, _, _ = graded
    for folder in (ROOT, ROOT / "solutions", course.root, course.submitted, Path.home()):
        assert not (folder / "pickled").exists() and not (folder / "taken").exists()
    allowed = {"nbgrader_config.py", "source", "release", "submitted", "autograded", "feedback", "gradebook.db"}
    assert {path.name for path in course.root.iterdir()} - {".nbgrader.log"} <= allowed
    for sample in samples:
        folder = course.autograded / sample.student / EXERCISE
        assert {path.name for path in folder.iterdir()} <= {f"{EXERCISE}.ipynb", "result.json", "timestamp.txt"}
        assert sum(path.stat().st_size for path in folder.iterdir()) < 2**20


def hidden_lines() -> set[str]:
    """The lines of code that stand in hidden tests only."""
    source = suite_path(EXERCISE).read_text()
    lines = source.splitlines()
    hidden, public = set(), set()
    for node in ast.parse(source).body:
        secret = isinstance(node, ast.FunctionDef) and any("hidden=True" in ast.unparse(d) for d in node.decorator_list)
        found = {line.strip() for line in lines[node.lineno - 1 : node.end_lineno] if len(line.strip()) > 12}
        (hidden if secret else public).update(found)
    return hidden - public


# All that a student may read of a hidden test besides its title: how the call ended, and what is wrong with the cells.
SECRET_MESSAGE = re.compile(
    r"(`\w+` (is not written yet\.|raised (an exception|[A-Z]\w+)\.|did not return within .* loop ever end\?"
    r"|ran out of time in earlier tests\.|is not defined\. Cell `[\w-]+` .*|is not defined\.))?",
    re.DOTALL,
)


def test_no_page_shows_a_hidden_test(samples, graded):
    course, _, _ = graded
    secrets = hidden_lines()
    assert len(secrets) > 30
    for sample in samples:
        text = html.unescape(page(course, sample.student))
        assert [line for line in secrets if line in text] == []
        result = json.loads((course.autograded / sample.student / EXERCISE / "result.json").read_text())
        for test in result["tests"]:
            if test["hidden"]:
                assert test["panels"] == []
                assert SECRET_MESSAGE.fullmatch(test["message"]), test["message"]


def test_student_texts_reach_pages_and_terminals_without_control_codes(samples, graded):
    course, _, _ = graded
    assert "<script>alert" not in page(course, "markup")
    for sample in samples:
        result = json.loads((course.autograded / sample.student / EXERCISE / "result.json").read_text())
        texts = [result["refused"], *result["notes"], *(test["message"] for test in result["tests"])]
        assert all(c.isprintable() or c in "\n\t" for text in texts for c in text)


# ------------------------------------------------------------------------------ what the grader itself must not do


FRAMES = """
import os, struct
def send(body):
    data = struct.pack("<I", len(body)) + body
    while data:
        data = data[os.write(3, data):]
"""


@pytest.fixture(scope="module")
def zygote(sandbox):
    with Zygote(limits=policy.Limits(load_seconds=5.0)) as server:
        yield server


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"d\x01\x00\x00\x00s\x05\x00\x00\x00valueA",
        codec.encode({"value": 1}) + b"N",
        codec.encode({"error": ("E", "m")}),
        codec.encode({"error": (1, 2, 3)}),
        codec.encode([{"value": 1}]),
        b"l\x01\x00\x00\x00" * 1000 + b"N",
        b"a\x03\x00\x00\x00<f8\x02\x00\x00\x00" + b"\xff" * 16,
        # Empty, but of axes whose product overflows.
        b"a\x03\x00\x00\x00<f8\x04\x00\x00\x00" + 3 * (2**26).to_bytes(8, "little") + bytes(8),
    ],
)
@sandboxed
def test_a_forged_reply_fails_its_call_and_no_other(zygote, body):
    code = FRAMES + f"\ndef forged():\n    send({body!r})\n    os._exit(0)\ndef honest():\n    return 7"
    with SandboxedStudent(zygote, {"cell": code}) as student:
        with pytest.raises(StudentError):
            student.forged()
        assert student.honest() == 7


@sandboxed
def test_a_reply_sent_ahead_is_not_taken_for_the_next(zygote):
    ahead = codec.encode({"value": 1})
    code = (
        FRAMES
        + f"""
def sneaky():
    frame = struct.pack("<I", {len(ahead)}) + {ahead!r}
    os.write(3, frame + frame)
    return 1
def honest():
    return 7"""
    )
    with SandboxedStudent(zygote, {"cell": code}) as student:
        assert student.sneaky() == 1
        assert student.honest() == 7


@sandboxed
def test_killing_the_process_group_reaches_nobody_else(zygote):
    code = "import os\ndef kill():\n    os.kill(0, 9)\n    os.killpg(0, 9)\n    return 1"
    with SandboxedStudent(zygote, {"cell": code}) as student:
        student.kill()
    with SandboxedStudent(zygote, {"cell": "def well():\n    return 1"}) as student:
        assert student.well() == 1


def test_texts_are_not_made_an_array_of_the_longest():
    texts = ["x" * 1_000_000, *[""] * 100_000]  # as an array these are 400 GB
    with pytest.raises(CheckFailed, match="should be an array"):
        Expect().array(texts, [1.0], "the answer")


def test_the_installed_grader_is_hidden_among_the_libraries(monkeypatch, tmp_path):
    package = tmp_path / "site-packages" / "autograder" / "sandbox"
    package.mkdir(parents=True)
    monkeypatch.setattr(policy, "__file__", str(package / "policy.py"))
    monkeypatch.setattr(policy, "site_packages", lambda: [str(tmp_path / "site-packages")])
    command = policy.bubblewrap_command([])
    assert command[command.index("/site-packages0/autograder") - 1] == "--tmpfs"


# ---------------------------------------------------------------------------------- ordinary users, and no bubblewrap


AS_USER = """
import sys
sys.path.insert(0, sys.argv[1])
from autograder.sandbox.client import SandboxedStudent, Zygote
CODE = '''
import os
def kill():
    for process in (1, -1, 0):
        try:
            os.kill(process, 9)
        except OSError:
            pass
    return 1
def fork():
    os.fork()
def files():
    return [path for path in ("/etc/passwd", "/root", "/home", "/proc/self", "/tmp/x") if os.path.exists(path)]
'''
with Zygote() as zygote:
    for _ in range(2):
        with SandboxedStudent(zygote, {"cell": CODE}) as student:
            try:
                student.fork()
            except Exception as error:
                print(error.kind)
            print(student.kill(), student.files())
"""


@sandboxed
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv to change user")
def test_the_sandbox_holds_for_an_ordinary_user(tmp_path):
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    # This Python may lie in root's home; then the system's own, of the same version, does as well.
    pythons = [sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"]
    settings = {"cwd": "/", "env": {**os.environ, "PYTHONPATH": policy.site_packages()[0]}}
    can_read = "import sys, numpy; open(sys._base_executable).close()"
    readable = [p for p in pythons if _succeeds([*user, p, "-c", can_read], settings)]
    if not readable or not _succeeds([*user, "bwrap", "--unshare-user", "--ro-bind", "/", "/", "true"], settings):
        pytest.skip("the user 65534 cannot read a Python with NumPy, or may not make namespaces")
    command = [*user, readable[0], "-B", "-c", AS_USER, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **settings)
    assert done.stdout.splitlines() == 2 * ["BlockingIOError", "1 []"], done.stderr


def _succeeds(command: list[str], settings: dict) -> bool:
    return subprocess.run(command, capture_output=True, **settings).returncode == 0


def grade_without_bubblewrap(course: Course, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "autograder", "grade", EXERCISE, "--course", str(course.root), *options]
    return subprocess.run(
        command, env={**os.environ, "PATH": str(course.root), "COLUMNS": "200"}, capture_output=True, text=True
    )


def test_without_bubblewrap_grading_refuses_and_insecure_says_so_everywhere(tmp_path, samples):
    course = new_course(tmp_path / "course")
    for sample in samples[:2]:
        assert sample.kind in ("honest", "unfinished")
        hand_in(course, sample)
    refused = grade_without_bubblewrap(course)
    assert refused.returncode == 3
    assert "bubblewrap (bwrap) is not installed" in refused.stderr
    assert "apt-get install bubblewrap" in refused.stderr and "--insecure" in refused.stderr
    assert not course.autograded.exists() or not any(course.autograded.iterdir())

    done = grade_without_bubblewrap(course, "--insecure")
    assert done.returncode == 0, done.stderr
    assert "insecure" in done.stdout + done.stderr
    for sample in samples[:2]:
        assert "insecure" in page(course, sample.student)
        with Gradebook(course.db_url) as book:
            comments = book.find_submission(EXERCISE, sample.student).notebooks[0].comments
            assert comments and all("insecure" in comment.comment for comment in comments)


def test_a_worker_process_says_what_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable, match="apt-get install"):
        Zygote()
