"""What the grader's tests share: a toy exercise, the sandbox, and courses made from the repository's own sources."""

import atexit
import importlib.util
import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import nbformat
import pytest

ROOT = Path(__file__).parents[1]

# What takes long on a busy machine is no error. CI tries the same examples each time, so that a change is judged by
# what it changes; everybody else's runs try new ones.
hypothesis.settings.register_profile("segedu", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("segedu")

TOY_SUITE = '''\
"""The tests of a toy exercise."""

import numpy as np

from autograder.suite import Exercise, graded

exercise = Exercise(
    "toy",
    cells={"add": 3, "area": 2},
    hints={"minus": "That is the difference."},
    forbidden=("json", "math.fsum"),
    seconds=1.0,
)


@graded("add", points=1, title="Two small numbers", hint="Use +.")
def test_add(student, rng, expect):
    a, b = rng.integers(1, 100, 2).tolist()
    expect.given(a=a, b=b)
    expect.number(student.add(a, b), a + b, "the sum", mistaken={"minus": a - b})


# Only the hidden test uses this.
def large(rng):
    return int(rng.integers(10**12, 10**13))


@graded("add", points=2, title="Large numbers", hint="Numbers have no upper end.", hidden=True)
def test_add_large(student, rng, expect):
    a, b = large(rng), large(rng)
    expect.given(secret_input=a)
    expect.number(student.add(a, b), a + b, "the hidden sum")


@graded("area", points=2, title="A mask", hint="Count the pixels that are set.")
def test_area(student, rng, expect):
    mask = rng.random((9, 13)) < 0.5
    expect.given(mask=mask)
    expect.number(student.area(mask), int(mask.sum()), "the area")
'''


def toy_notebook() -> dict:
    """The toy exercise as students receive it."""

    def cell(make, source, grade_id=None, **marks):
        made = make(source, id=grade_id or "text")
        if grade_id:
            usual = {"grade": False, "locked": False, "solution": False, "task": False, "schema_version": 3}
            made.metadata["nbgrader"] = {**usual, "grade_id": grade_id, **marks}
        return made

    code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    cells = [
        cell(text, "# A toy exercise\n\n## Sums (3 points)"),
        cell(code, "import numpy as np", "imports", locked=True),
        cell(code, "def add(a, b):\n    raise NotImplementedError()", "add", solution=True),
        cell(code, 'check("add")', "test-add", grade=True, locked=True, points=3),
        cell(code, "def area(mask):\n    raise NotImplementedError()", "area", solution=True),
        cell(code, 'check("area")', "test-area", grade=True, locked=True, points=2),
        cell(text, "YOUR ANSWER HERE", "essay", grade=True, solution=True, points=4),
    ]
    cells[1].metadata["tags"] = ["prelude"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


@dataclass(frozen=True)
class Toy:
    """The toy exercise in a folder laid out as a course."""

    root: Path

    @property
    def right(self) -> dict[str, str]:
        """Correct solution cells, by grade_id."""
        return {"add": "def add(a, b):\n    return a + b", "area": "def area(mask):\n    return int(np.sum(mask))"}

    @property
    def suite(self) -> Path:
        return self.root / "toy.py"

    @property
    def notebook(self) -> Path:
        return self.root / "exercises" / "toy" / "toy.ipynb"

    def hand_in(self, student: str, **texts: str) -> Path:
        """Hand in the notebook with `texts` in its cells, by grade_id; return the path of the notebook."""
        return hand_in(self.notebook, self.root / "submitted" / student / "toy", texts)


def hand_in(released: Path, folder: Path, texts: dict[str, str]) -> Path:
    """Put the released notebook with `texts` in its cells, by grade_id, into `folder`, as a student does."""
    notebook = json.loads(released.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        cell["source"] = texts.get(name, cell["source"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / released.name
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def toy_suite() -> str:
    """The source of the toy exercise's suite."""
    return TOY_SUITE


@pytest.fixture
def toy(tmp_path) -> Toy:
    """The toy exercise, in a folder of its own."""
    toy = Toy(tmp_path / "toy course")
    toy.notebook.parent.mkdir(parents=True)
    toy.suite.write_text(TOY_SUITE)
    nbformat.write(toy_notebook(), toy.notebook)
    return toy


@pytest.fixture(scope="session")
def sandbox() -> None:
    """Skip what needs the sandbox where this machine has none."""
    from autograder.sandbox.client import why_unavailable

    if reason := why_unavailable():
        pytest.skip(f"no sandbox on this machine: {reason}")


@pytest.fixture(scope="session")
def zygote(sandbox):
    """A warm fork server of the sandbox, with NumPy."""
    from autograder.sandbox.client import Zygote

    with Zygote(("numpy",)) as zygote:
        yield zygote


@dataclass(frozen=True)
class RealCourse:
    """A course in a folder of its own: the repository's exercise, released."""

    root: Path

    exercise = "ps01-masks-and-iou"

    def load(self):
        from autograder.course import Course

        return Course.load(self.root)

    @property
    def notebook(self) -> Path:
        return self.root / "exercises" / self.exercise / f"{self.exercise}.ipynb"

    def reference(self) -> dict[str, str]:
        """The instructor's solution cells by grade_id."""
        from autograder.verify import reference_solutions

        return reference_solutions(self.load(), self.exercise)

    def mutants(self) -> list:
        from autograder.verify import load_mutants

        return load_mutants(self.exercise, self.reference())

    def hand_in(self, student: str, texts: dict[str, str]) -> Path:
        return hand_in(self.notebook, self.root / "submitted" / student / self.exercise, texts)


@pytest.fixture(scope="session")
def released_course(tmp_path_factory) -> RealCourse:
    """A course from the repository's sources, released once for all tests, which leave it as it is."""
    from autograder.release import release

    course = RealCourse(tmp_path_factory.mktemp("released") / "course")
    source = Path("solutions") / course.exercise
    shutil.copytree(ROOT / source, course.root / source, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copy(ROOT / "nbgrader_config.py", course.root)
    release(course.load(), [course.exercise])
    return course


@pytest.fixture
def course(released_course, tmp_path) -> RealCourse:
    """A released course for one test to work in."""
    return RealCourse(Path(shutil.copytree(released_course.root, tmp_path / "course")))


@pytest.fixture(scope="session")
def reference_of():
    """The functions of an exercise's reference solution, by its name: `reference_of("ps02-thresholding")`."""

    def functions(exercise: str) -> dict:
        notebook = nbformat.read(ROOT / "solutions" / exercise / f"{exercise}.ipynb", 4)
        namespace: dict = {}
        for cell in notebook.cells:
            solution = cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution", False)
            if solution or "prelude" in cell.metadata.get("tags", []):
                exec(cell.source, namespace)
        return namespace

    return functions


@pytest.fixture(scope="module")
def one_thread():
    """Let torch compute in one thread: on small images, and on a busy machine, threads mostly wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def running_server():
    """A web server for all tests."""
    from web import serve

    with serve() as server:
        yield server


@pytest.fixture
def server(running_server, monkeypatch):
    """A web server that behaves well, until a test tells it otherwise."""
    from segedu import download

    monkeypatch.setattr(download, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running_server.behave()
    return running_server


@pytest.fixture(scope="session")
def fiftyone():
    """FiftyOne with a MongoDB for these tests; skip what needs them where they are not to be had."""
    from mongodb import NoMongoDB, running

    if importlib.util.find_spec("fiftyone") is None:
        pytest.skip("FiftyOne is not installed: pip install -e '.[eda]'")
    stack = ExitStack()
    try:
        uri = stack.enter_context(running())
    except NoMongoDB as error:
        pytest.skip(f"no MongoDB: {error}")
    atexit.register(stack.close)  # after what FiftyOne, which is yet to be imported, does with its database at the end
    os.environ["FIFTYONE_DATABASE_URI"] = uri
    os.environ["FIFTYONE_DATABASE_NAME"] = "segedu-tests"
    os.environ["FIFTYONE_LOGGING_LEVEL"] = "ERROR"
    from segedu.datasets.voxel51 import connect

    fiftyone = connect()
    yield fiftyone
    fiftyone.delete_datasets("*")
