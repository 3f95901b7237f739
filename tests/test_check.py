"""The instant check, in the kind of place where students run it: a Jupyter kernel in the exercise's folder."""

import warnings

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from autograder.check import CheckResult, NotebookStudent, find_suite, forbidden_use
from autograder.release import public_suite
from autograder.runner import Job, load_suite, run_suite
from autograder.sandbox.errors import NotDefined, StudentError
from autograder.suite import CheckFailed, Exercise, Expect


def run_cells(folder, *sources: str, raising: bool = False) -> list[list]:
    """Run code cells in a kernel of their own that starts in `folder`; return each cell's outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, kernel_name="python3", resources=resources, allow_errors=raising, timeout=120).execute()
    return [cell.outputs for cell in notebook.cells]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory, toy_suite):
    """The outputs of one student's session with the toy exercise, by name."""
    folder = tmp_path_factory.mktemp("students") / "my homework"
    folder.mkdir()
    (folder / "suite.py").write_text(toy_suite)
    (folder / "checks.py").write_text(public_suite(folder / "suite.py"))
    cells = {
        "import": "import sys\nfrom autograder import check\nprint('torch' in sys.modules)",
        "undefined": 'check("add")',
        "wrong": 'def add(a, b):\n    return a - b\ncheck("add")',
        "right": 'def add(a, b):\n    return a + b\ncheck("add")',
        "noisy": """
import sys, warnings
def area(mask):
    warnings.warn("careful")
    print("debugging", file=sys.stderr)
    return int(mask.sum())
check("area")""",
        "forbidden": 'import math\ndef add(a, b):\n    return math.fsum([a, b])\ncheck("add")',
        "raises": 'def add(a, b):\n    c = a\n    return c.b\ncheck("add")',
        "whole": "check()",
        "unknown": 'check("volume")',
    }
    return dict(zip(cells, run_cells(folder, *cells.values(), raising=True), strict=True))


def shown(outputs: list, kind: str = "text/html") -> str:
    return next(output["data"][kind] for output in outputs if output["output_type"] == "execute_result")


def test_the_check_starts_without_torch(kernel):
    assert kernel["import"][0]["text"] == "False\n"


def test_what_is_not_defined_yet_is_asked_for(kernel):
    assert "is not defined yet: run its cell" in shown(kernel["undefined"])


def test_a_wrong_answer_shows_words_hint_and_inputs(kernel):
    html = shown(kernel["wrong"])
    assert "That is the difference." in html and "should be" in html and "input: a" in html
    assert shown(kernel["wrong"], "text/plain") == "0.0"


def test_all_visible_checks_passed_are_all_points_for_nbgrader_and_the_rest_is_said(kernel):
    assert shown(kernel["right"], "text/plain") == "3.0"
    assert "hidden tests decide on 2 more points" in shown(kernel["right"])


def test_warnings_and_stderr_count_for_nothing(kernel):
    assert shown(kernel["noisy"], "text/plain") == "2.0"
    assert not any(output.get("name") == "stderr" for output in kernel["noisy"])


def test_forbidden_use_is_found(kernel):
    assert "math.fsum may not be used here: write it yourself" in shown(kernel["forbidden"])


def test_an_error_is_shown_with_its_line(kernel):
    html = shown(kernel["raises"])
    assert "AttributeError" in html and "in line 3 of its cell: return c.b" in html


def test_the_whole_exercise_can_be_checked_at_once(kernel):
    html = shown(kernel["whole"])
    assert "Two small numbers" in html and "A mask" in html and "Large numbers" not in html


def test_an_unknown_check_is_named_with_those_there_are(kernel):
    (output,) = kernel["unknown"]
    assert output["ename"] == "ValueError" and "no check named 'volume'; it has: add, area" in output["evalue"]


def test_the_real_exercise_can_be_solved_in_its_folder(course):
    notebook = nbformat.read(course.notebook, 4)
    reference = course.reference()
    prelude = [cell.source for cell in notebook.cells if "prelude" in cell.metadata.get("tags", [])]
    checks = ["from autograder import check", 'check("rle")']
    outputs = run_cells(course.notebook.parent, *prelude, reference["rle"], *checks)
    assert shown(outputs[-1], "text/plain") == "6.0"


# --------------------------------------------------------------------------------------------------- without a kernel


def test_a_folder_without_checks_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"found no checks\.py in .*Open the notebook in the exercise's own folder"
    ):
        find_suite(tmp_path)


def test_checks_beside_the_notebook_come_first(tmp_path):
    folder = tmp_path / "ps01-masks-and-iou"
    folder.mkdir()
    assert find_suite(folder).name == "ps01_masks_and_iou.py"
    (folder / "checks.py").touch()
    assert find_suite(folder) == folder / "checks.py"


def test_the_terminal_shows_text(toy):
    found = []
    student = NotebookStudent({"add": lambda a, b: a - b}, load_suite(toy.suite)[0])
    run_suite(toy.suite, [Job(student, "x", "add", hidden=False)], lambda _, results: found.extend(results))
    text = str(CheckResult(found, 3))
    assert text.startswith("✗ Two small numbers (0 / 1)") and "Hint: That is the difference." in text


def test_partial_points_are_the_share_of_the_visible_tests(toy):
    exercise, _ = load_suite(toy.suite)
    found = []
    student = NotebookStudent({"add": lambda a, b: a + b, "area": lambda mask: 0}, exercise)
    run_suite(toy.suite, [Job(student, "x", hidden=False)], lambda _, results: found.extend(results))
    assert repr(CheckResult(found, 5)) == repr(5 / 3)
    assert repr(CheckResult([], 2)) == "2.0"


class TestNotebookStudent:
    exercise = Exercise("toy", cells={})

    def test_arguments_are_copies(self):
        array = np.zeros(2)
        NotebookStudent({"f": lambda a: a.fill(1)}, self.exercise).f(array)
        assert not array.any()

    def test_what_cannot_cross_to_the_grader_fails_here_too(self):
        with pytest.raises(StudentError, match="cannot be graded"):
            NotebookStudent({"f": lambda: {1}}, self.exercise).f()

    @pytest.mark.parametrize("value", [None, 3, "f"])
    def test_a_name_that_is_no_function_is_not_defined(self, value):
        with pytest.raises(NotDefined):
            NotebookStudent({"f": value}, self.exercise).f()


FORBIDDEN = ("json", "math.fsum", "numpy.linalg")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import math\ndef f(x):\n    return math.fsum(x)", "math.fsum"),
        ("from math import fsum as total\ndef f(x):\n    return total(x)", "math.fsum"),
        ("import json as j\ndef f(x):\n    return j.dumps(x)", "json"),
        ("def f(x):\n    import json\n    return json.dumps(x)", "json"),
        ("import numpy as np\ndef f(x):\n    return np.linalg.norm(x)", "numpy.linalg"),
        ("import json\ndef helper(x):\n    return json.dumps(x)\ndef f(x):\n    return helper(x)", "json"),
        ("import json\ndef f(x):\n    return [json.dumps(y) for y in x]", "json"),
        ("import math\ndef f(x):\n    return math.sqrt(x)", None),
        ("import json\ndef other():\n    return json\ndef f(x):\n    return f(x - 1) if x else 0", None),
    ],
)
def test_honest_shortcuts_are_found(source, found):
    namespace = {}
    exec(source, namespace)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert forbidden_use(namespace["f"], FORBIDDEN) == found


def test_numbers_within_the_tolerance_are_not_marked_as_wrong():
    expect = Expect()
    with pytest.raises(CheckFailed):
        expect.array(np.array([0.7854, 2.0]), np.array([np.pi / 4, 1.0]), "the angles", tolerance=1e-3)
    for panel in expect.panels:
        assert panel.html.count("outline") == 1
    expect = Expect()
    got, want = np.full((40, 40), 0.5), np.full((40, 40), 0.50001)
    got[3, 4] = 1
    with pytest.raises(CheckFailed):
        expect.array(got, want, "the map", tolerance=1e-3)
    assert "difference: 1 of 1,600 pixels" in expect.panels[-1].caption


def test_what_is_not_written_yet_raises_no_wrong_error():
    def unwritten():
        raise StudentError("NotImplementedError", "", "", "f")

    with pytest.raises(StudentError) as caught:
        Expect().raises(unwritten, ValueError, "an odd size")
    assert caught.value.explain(hidden=False) == "`f` is not written yet."
