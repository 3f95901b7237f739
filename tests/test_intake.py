"""The intake: what is handed in is refused with a reason, or becomes the released notebook with the student's text."""

import copy
import json
import os

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autograder import intake
from autograder.intake import Refused, ReleasedNotebook, read_submission, solution_texts

FILE = "toy.ipynb"


@pytest.fixture
def released(toy) -> ReleasedNotebook:
    return ReleasedNotebook.load(toy.notebook)


@pytest.fixture
def folder(toy):
    return toy.hand_in("ada", **toy.right).parent


def edit(folder, change) -> None:
    """Change the handed-in notebook by a function of its parsed JSON."""
    path = folder / FILE
    notebook = json.loads(path.read_text())
    changed = change(notebook)
    path.write_text(json.dumps(notebook if changed is None else changed))


def cell(notebook: dict, name: str) -> dict:
    return next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name)


def check_is_released_but_for_solutions(submission, released) -> None:
    """The property that all of grading rests on."""
    nbformat.validate(nbformat.from_dict(copy.deepcopy(submission.notebook)))
    assert submission.notebook.keys() == released.notebook.keys()
    assert submission.notebook["metadata"] == released.notebook["metadata"]
    for position, (ours, mould) in enumerate(
        zip(submission.notebook["cells"], released.notebook["cells"], strict=True)
    ):
        if position in released.solutions.values():
            assert isinstance(ours["source"], str)
            ours = {**ours, "source": mould["source"]}
        assert ours == mould


# -------------------------------------------------------------------------------------------------------- honest work


def test_an_honest_submission_is_taken_as_it_is(folder, released, toy):
    submission = read_submission(folder, released)
    assert {name: submission.text(name) for name in toy.right} == toy.right
    assert submission.notes == [] and submission.unchanged == ["essay"]
    check_is_released_but_for_solutions(submission, released)


def test_code_is_the_prelude_and_the_solutions_in_order(folder, released, toy):
    assert read_submission(folder, released).code() == {"imports": "import numpy as np", **toy.right}


def test_the_stub_is_unchanged_everywhere(released):
    assert released.stub().unchanged == ["add", "area", "essay"]
    check_is_released_but_for_solutions(released.stub(), released)


@pytest.mark.parametrize(
    "form", [str, lambda text: text.splitlines(keepends=True), list], ids=["text", "lines", "letters"]
)
def test_sources_may_be_one_text_or_a_list(form, folder, released, toy):
    def change(notebook):
        for each in notebook["cells"]:
            each["source"] = form("".join(each["source"]))

    edit(folder, change)
    submission = read_submission(folder, released)
    assert submission.text("add") == toy.right["add"] and submission.notes == []


def test_outputs_and_attachments_of_the_student_are_left_behind(folder, released):
    output = {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<script>alert(1)</script>"}}
    edit(folder, lambda nb: [c.update(outputs=[output]) for c in nb["cells"] if c["cell_type"] == "code"] and None)
    edit(folder, lambda nb: cell(nb, "essay").update(attachments={"a.png": {"image/png": "AAAA"}}))
    submission = read_submission(folder, released)
    assert "alert" not in json.dumps(submission.notebook) and "a.png" not in json.dumps(submission.notebook)
    check_is_released_but_for_solutions(submission, released)


def test_the_heading_above_a_cell_names_its_task(released):
    assert released.heading(released.solutions["add"]) == "Sums (3 points)"
    assert released.heading(0) == ""


# -------------------------------------------------------------------------------------------------- repaired, and noted


def duplicate(name: str, source: str | None = None):
    def change(notebook):
        twin = copy.deepcopy(cell(notebook, name))
        twin["source"] = twin["source"] if source is None else source
        notebook["cells"].append(twin)

    return change


def remove(name: str):
    return lambda notebook: notebook["cells"].remove(cell(notebook, name))


def add_cell(source: str):
    new = {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
    return lambda notebook: notebook["cells"].insert(1, new)


REPAIRS = {
    "kernel": (lambda nb: nb["metadata"]["kernelspec"].update(name="my-env"), "asks for the kernel 'my-env'"),
    "duplicated solution": (duplicate("add"), "`add` is there 2 times"),
    "duplicated test": (duplicate("test-add"), "test cell of `add` was changed, copied or removed"),
    "deleted test": (remove("test-area"), "test cell of `area` was changed, copied or removed"),
    "edited test": (lambda nb: cell(nb, "test-add").update(source="5.0"), "test cell of `add` was changed"),
    "deleted essay": (remove("essay"), "`essay` is missing; it counts as not answered"),
    "own cells": (add_cell("def helper(): ..."), "You added 1 code cell of your own. They are not graded"),
    "now markdown": (lambda nb: cell(nb, "add").update(cell_type="markdown"), "`add` was changed to a markdown cell"),
}


@pytest.mark.parametrize("change", REPAIRS)
def test_a_changed_notebook_is_repaired_and_the_student_told(change, folder, released, toy):
    edit(folder, REPAIRS[change][0])
    submission = read_submission(folder, released)
    assert len(submission.notes) == 1 and REPAIRS[change][1] in submission.notes[0]
    assert submission.text("add") == toy.right["add"]
    check_is_released_but_for_solutions(submission, released)


@pytest.mark.parametrize(
    "change",
    [
        lambda nb: cell(nb, "test-add")["metadata"]["nbgrader"].update(points=1000),
        lambda nb: cell(nb, "add")["metadata"]["nbgrader"].update(grade=True, points=99, solution=False),
        lambda nb: cell(nb, "test-add")["metadata"]["nbgrader"].update(solution=True, locked=False),
        lambda nb: cell(nb, "imports").update(source="import os; os._exit(0)"),
        lambda nb: cell(nb, "imports")["metadata"].update(tags=[]),
        lambda nb: nb["metadata"].update(celltoolbar="Create Assignment", evil={"a": 1}),
        lambda nb: nb["cells"].reverse(),
        lambda nb: nb["cells"].extend([None, 3, [], {"metadata": 7}, {"metadata": {"nbgrader": []}}]),
        lambda nb: [c.pop("id") for c in nb["cells"]] and nb.update(nbformat_minor=2),
    ],
    ids="points flags test-as-solution imports tags metadata order junk old-minor".split(),
)
def test_changes_outside_of_solution_cells_have_no_effect(change, folder, released, toy):
    edit(folder, change)
    submission = read_submission(folder, released)
    assert submission.code() == {"imports": "import numpy as np", **toy.right}
    check_is_released_but_for_solutions(submission, released)


def test_of_a_duplicated_cell_the_last_one_written_in_counts(folder, released, toy):
    edit(folder, duplicate("add", "def add(a, b):\n    return 7"))
    edit(folder, duplicate("add", "def add(a, b):\n    raise NotImplementedError()"))
    submission = read_submission(folder, released)
    assert submission.text("add") == "def add(a, b):\n    return 7"


def test_a_deleted_solution_counts_as_the_stub(folder, released):
    edit(folder, remove("add"))
    submission = read_submission(folder, released)
    assert "NotImplementedError" in submission.text("add") and "add" in submission.unchanged


def test_a_huge_cell_is_left_out(folder, released):
    edit(folder, lambda nb: cell(nb, "add").update(source="#" * (intake.MAX_CELL_CHARACTERS + 1)))
    submission = read_submission(folder, released)
    assert "`add` holds more than 200,000 characters" in submission.notes[0] and "add" in submission.unchanged


def test_a_lone_surrogate_does_no_harm(folder, released):
    path = folder / FILE
    path.write_text(path.read_text().replace("YOUR ANSWER HERE", "half \\ud83d of a smile"))
    submission = read_submission(folder, released)
    assert submission.text("essay") == "half ? of a smile"
    json.dumps(submission.notebook, ensure_ascii=False).encode()


def test_another_file_name_is_taken_and_noted(folder, released, toy):
    (folder / FILE).rename(folder / "toy (1).ipynb")
    (folder / "helper.py").write_text("import os")
    submission = read_submission(folder, released)
    assert submission.text("add") == toy.right["add"] and "named toy (1).ipynb; it should be" in submission.notes[0]


def test_the_notebook_of_the_right_name_is_taken_among_several(folder, released, toy):
    (folder / "scratch.ipynb").write_text("not JSON at all")
    assert read_submission(folder, released).text("add") == toy.right["add"]


# ----------------------------------------------------------------------------------------------------------- refused


def cut_short(folder):
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(text[: len(text) // 2])


def replace_by(text: str | bytes):
    return lambda folder: (folder / FILE).write_bytes(text if isinstance(text, bytes) else text.encode())


def link_to_system_file(folder):
    (folder / FILE).unlink()
    (folder / FILE).symlink_to("/etc/passwd")


def link_in_subfolder(folder):
    (folder / "data").mkdir()
    (folder / "data" / "photo.png").symlink_to("/etc/shadow")


def linked_folder(folder):
    (folder / "others").symlink_to(folder.parent.parent)


def pipe(folder):
    (folder / FILE).unlink()
    os.mkfifo(folder / FILE)


def folder_named_as_notebook(folder):
    (folder / FILE).unlink()
    (folder / FILE).mkdir()


def two_others(folder):
    (folder / FILE).rename(folder / "a.ipynb")
    (folder / "b.ipynb").write_bytes((folder / "a.ipynb").read_bytes())


def too_many_files(folder):
    for number in range(intake.MAX_FILES + 1):
        (folder / f"{number}.txt").touch()


def too_large(folder):
    with (folder / FILE).open("ab") as file:
        file.truncate(intake.MAX_NOTEBOOK_BYTES + 1)


REFUSALS = {
    "not UTF-8": (replace_by('{"cells": ["é"]}'.encode("latin-1")), r"not UTF-8 text \(byte 12\).*save it"),
    "cut short": (cut_short, "not valid JSON .*damaged or cut short"),
    "empty": (replace_by(""), "not valid JSON"),
    "deep": (replace_by("[" * 200_000), "not valid JSON"),
    "huge number": (replace_by('{"cells": ' + "9" * 10_000 + "}"), "not valid JSON|no list of cells"),
    "list": (replace_by("[]"), "not a Jupyter notebook of format 4"),
    "no cells": (replace_by('{"nbformat": 4}'), "has no list of cells"),
    "format 3": (replace_by('{"nbformat": 3, "cells": []}'), "has format 3, not 4"),
    "too large": (too_large, "25 MiB.*Clear its outputs"),
    "link": (link_to_system_file, "toy.ipynb is a symbolic link"),
    "link below": (link_in_subfolder, "photo.png is a symbolic link"),
    "linked folder": (linked_folder, "others is a symbolic link"),
    "pipe": (pipe, "toy.ipynb is neither a file nor a folder"),
    "folder": (folder_named_as_notebook, "notebooks found: none"),
    "nothing": (lambda folder: (folder / FILE).unlink(), "toy.ipynb is missing .notebooks found: none"),
    "two notebooks": (two_others, "notebooks found: a.ipynb, b.ipynb"),
    "too many files": (too_many_files, "more than 500 files"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_what_cannot_be_graded_is_refused_with_the_reason(why, folder, released):
    REFUSALS[why][0](folder)
    with pytest.raises(Refused, match=REFUSALS[why][1]):
        read_submission(folder, released)


def test_a_submission_that_is_a_link_or_a_file_is_refused(folder, released, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "file").touch()
    for path in (tmp_path / "link", tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(Refused, match="not a folder"):
            read_submission(path, released)


# ------------------------------------------------------------------------------------------------------------ magics


@pytest.mark.parametrize(
    "line", ["%matplotlib inline", "%%time\nx = 1", "!rm -rf /", "np.sum?", "?np", "files = !ls", "%timeit 1 + 1"]
)
def test_magics_become_python(line, folder, released, toy):
    edit(folder, lambda nb: cell(nb, "add").update(source=f"{line}\n{toy.right['add']}"))
    code = read_submission(folder, released).code()["add"]
    compile(code, "cell", "exec")
    assert "get_ipython()" in code


@pytest.mark.parametrize("source", ['text = """\n% 5\n"""', "x = (7\n% 5)", "def f(:", "%%%", "\0"])
def test_what_only_looks_like_a_magic_is_left_to_python(source, folder, released):
    edit(folder, lambda nb: cell(nb, "add").update(source=source))
    assert isinstance(read_submission(folder, released).code()["add"], str)
    if "5" in source:
        assert read_submission(folder, released).code()["add"].strip() == source


# -------------------------------------------------------------------------------------------------------------- fuzz

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
grade_ids = st.sampled_from(["add", "area", "essay", "test-add", "test-area", "imports", "", "other"])
marks = st.fixed_dictionaries({}, optional={"grade_id": grade_ids | json_values, "points": json_values})
metadata = st.fixed_dictionaries({}, optional={"nbgrader": marks | json_values, "tags": json_values})
sources = st.text() | st.lists(st.text() | json_values) | json_values
types = st.sampled_from(["code", "markdown", "raw"]) | json_values
cells = st.fixed_dictionaries({}, optional={"cell_type": types, "metadata": metadata | json_values, "source": sources})
notebooks = st.fixed_dictionaries(
    {"nbformat": st.just(4), "cells": st.lists(cells | json_values, max_size=12)},
    optional={"metadata": st.dictionaries(st.just("kernelspec"), json_values) | json_values},
)
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)


def refused_or_sound(folder, released) -> None:
    try:
        submission = read_submission(folder, released)
    except Refused as refusal:
        assert str(refusal)
        return
    check_is_released_but_for_solutions(submission, released)
    assert all(isinstance(note, str) and len(note) < 300 for note in submission.notes)
    json.dumps([submission.notebook, submission.notes], ensure_ascii=False).encode()
    assert set(submission.code()) == {"imports", "add", "area"}


@FUZZ
@given(notebook=notebooks | json_values)
def test_any_json_is_refused_or_rebuilt(notebook, folder, released):
    (folder / FILE).write_text(json.dumps(notebook))
    refused_or_sound(folder, released)


@FUZZ
@given(data=st.data())
def test_any_change_to_an_honest_notebook_is_refused_or_rebuilt(data, folder, released, toy):
    notebook = json.loads(toy.notebook.read_text())
    for _ in range(data.draw(st.integers(1, 5))):
        place, depth = notebook, data.draw(st.integers(0, 4))
        for _ in range(depth):
            inner = place[key] if (key := _any_key(data, place)) is not None else None
            if not isinstance(inner, dict | list) or not inner:
                break
            place = inner
        if (key := _any_key(data, place)) is not None:
            place[key] = data.draw(json_values)
    (folder / FILE).write_text(json.dumps(notebook))
    refused_or_sound(folder, released)


def _any_key(data, place):
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    return data.draw(st.sampled_from(keys)) if keys else None


@FUZZ
@given(data=st.data())
def test_any_damage_to_the_bytes_is_refused_or_rebuilt(data, folder, released, toy):
    content = bytearray(toy.notebook.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=5))
    (folder / FILE).write_bytes(content)
    refused_or_sound(folder, released)


@FUZZ
@given(texts=st.dictionaries(st.sampled_from(["add", "area", "essay"]), st.text()))
def test_what_students_write_comes_through_as_they_wrote_it(texts, released):
    notebook = copy.deepcopy(released.notebook)
    for name, text in texts.items():
        cell(notebook, name)["source"] = text
    found, notes = solution_texts(json.loads(json.dumps(notebook)), released)
    printable = {name: text.encode("utf-8", "replace").decode() for name, text in texts.items()}
    assert {name: found[name] for name in texts} == printable and notes == []
