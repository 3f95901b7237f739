"""A student's own check counts, finds and runs what it says."""

import json
import os
import shutil
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from autograder.cli import app
from autograder.course import CourseError
from autograder.report import Reference, read_report
from autograder.rubric import load_rubric
from autograder.selfcheck import check_run, load_notebook, selfcheck

RUBRIC = Path(__file__).parents[1] / "solutions" / "coco-assignment" / "rubric.toml"
LIST = """## References

1. Long, J., Shelhamer, E., and Darrell, T. (2015). Fully convolutional networks. CVPR. https://doi.org/10.1109/CVPR.2015.7298965
2. O. Ronneberger, P. Fischer, T. Brox. *U-Net*. MICCAI, 2015.
3. Chen, L.-C. et al. Rethinking atrous convolution. arXiv:1706.05587
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("Three plain words.", 3),
        ("A state-of-the-art mIoU of 0.75 (75 %), don't you think?", 9),
        ("# A heading\n\nand *some* **bold** `code(x)` [a link](https://example.org/a/b)", 7),
        ("Before\n\n```python\nfor x in range(10):\n    pass\n```\n\nafter", 2),
        ("The loss $L = -\\log p$ falls, $$\\sum_i x_i$$ too", 4),
        ("It costs $5 and then $7 more", 7),
        ("| model | mIoU |\n|---|---|\n| U-Net | 0.61 |", 4),
        ("![alternative text](x.png)\n\nFigure 1: What it shows", 5),
        ("<b>two words</b> <!-- not these --> end", 3),
        ("<div>\n\none\n\n</div>", 1),
        ("Text. " + LIST.replace("##", "\n\n##"), 1),
        (f"Text.\n\n{LIST}\n## Appendix\n\nmore text", 4),
        ("Text.\n\n**References**\n\nLong, J. 2015. FCN.", 1),
        ("Text.\n\n[1] Long, J. Fully convolutional networks. 2015.", 1),
        ("## References to earlier work\n\nText.", 5),
    ],
)
def test_words_counted_by_hand(text, words):
    assert read_report([text]).words == words


@given(st.lists(st.text("abcdefgé", min_size=1, max_size=8), max_size=60), st.integers(0, 3))
def test_code_formulas_and_references_add_no_words(words, kind):
    extra = ["```\nx = 1\n```", "$$x = 1$$", LIST, "`x = 1`"][kind]
    assert read_report([" ".join(words)]).words == len(words)
    assert read_report([" ".join(words) + f"\n\n{extra}"]).words == len(words)
    assert read_report([" ".join(words), extra]).words == len(words)


def test_references_and_what_they_can_be_found_by():
    found = read_report([LIST]).references
    assert [reference.source for reference in found] == ["DOI", "author and year", "arXiv"]
    assert [reference.author for reference in found] == ["Long", "Ronneberger", "Chen"]
    assert [reference.number for reference in found] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "block",
    [
        "Long, J. (2015). Fully convolutional networks.\nChen, L.-C. (2018). DeepLab.\nKirillov, A. (2023). SAM.",
        "[1] J. Long. Fully convolutional\nnetworks. 2015.\n[2] Chen. DeepLab, 2018.\n[3] Kirillov. SAM. ICCV 2023.",
        "- Long (2015), FCN\n- Chen (2018), DeepLab\n- Kirillov (2023), SAM",
        "Long, J., Shelhamer,\nDarrell, T. (2015). FCN.\n\nChen (2018). DeepLab.\ndoi:10.1109/TPAMI.2017.2699184\n\n"
        "Kirillov (2023). [SAM](https://doi.org/10.1109/ICCV51070.2023.00371)",
    ],
)
def test_lists_of_three_are_three_whatever_their_form(block):
    found = read_report([f"# Bibliography\n\n{block}"]).references
    assert len(found) == 3 and all(reference.source for reference in found)


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("as shown [2].", True), ("as shown [1, 2; 5].", True), ("as shown [1-3].", True), ("as shown [1–3].", True),
        ("as shown [12].", False), ("in 2 ways", False), ("Ronneberger et al. (2015)", True), ("as in U-Net", False),
    ],
)  # fmt: skip
def test_what_counts_as_a_citation(text, cited):
    assert Reference("[2] O. Ronneberger. U-Net. 2015.", "author and year").cited_in(text) is cited


@pytest.mark.parametrize(
    ("text", "images", "bare"),
    [
        ("![](a.png)\n\nFigure 1: A cat.", 1, 0),
        ("*Figure 1. A cat.*\n\n![](a.png)", 1, 0),
        ("![](a.png)\n**Fig. 1:** A cat.", 1, 0),
        ("![](a.png) ![](b.png)\n\nFigure 1: A cat.", 2, 1),
        ("![](a.png)\n\nFigure 1 shows a cat.", 1, 1),
        ('<img src="a.png">\n\nFigure 1: A cat.', 1, 0),
        ("Text.\n\n![](attachment:a.png)\n\nText.", 1, 1),
    ],
)
def test_pictures_without_a_caption(text, images, bare):
    report = read_report([text])
    assert (report.images, report.bare_images) == (images, bare)


# ------------------------------------------------------------ whole notebooks

GOOD = {
    "report_literature": "Long et al. (2015), Ronneberger [2] and Chen [3] agree. " + "word " * 400,
    "report_data": "Figure 1 shows the classes.\n\n![](a.png)\n\nFigure 1: The classes.\n\n" + "word " * 300,
    "report_method": "word " * 80,
    "report_writing": LIST.replace("arXiv:1706.05587", "TPAMI 2018"),
}


@pytest.fixture
def handed(tmp_path):
    """Write a notebook with these report cells and code cells, run in order, beside the rubric; return its path."""

    def write(code: tuple[str, ...] = ("x = 1", "print(x)"), **cells: str) -> Path:
        notebook = nbformat.v4.new_notebook()
        for count, source in enumerate(code, 1):
            notebook.cells.append(nbformat.v4.new_code_cell(source, execution_count=count))
        for name, text in {**GOOD, **cells}.items():
            notebook.cells.append(nbformat.v4.new_markdown_cell(text, metadata={"nbgrader": {"grade_id": name}}))
        folder = tmp_path / "my work"
        folder.mkdir(exist_ok=True)
        shutil.copy(RUBRIC, folder)
        nbformat.write(notebook, folder / "mine.ipynb")
        return folder / "mine.ipynb"

    return write


def states(path: Path) -> dict[str, str]:
    return {row.about: row.state for row in selfcheck(path).rows}


def test_a_good_report_passes(handed):
    found = selfcheck(handed())
    assert found.good and {row.state for row in found.rows} == {"ok"}
    assert "700 to 1000" in found._repr_html_() and "how words" not in found._repr_html_()


@pytest.mark.parametrize(
    ("cells", "about", "state", "said"),
    [
        ({"report_method": ""}, "cells", "mend", "`report_method` is empty"),
        ({"report_method": "YOUR ANSWER HERE"}, "cells", "mend", "`report_method` is empty"),
        ({"report_method": "word " * 400}, "length", "mend", "700 to 1000"),
        ({"report_method": "", "report_data": ""}, "length", "mend", "700 to 1000"),
        ({"report_writing": "That is all."}, "references", "mend", "0 references; at least 3"),
        ({"report_writing": LIST}, "references", "look", "3 references"),
        ({"report_writing": GOOD["report_writing"] + "4. A nice blog"}, "incomplete references", "mend", "A nice blog"),
        ({"report_writing": GOOD["report_writing"] + "4. He 2016. ResNet."}, "references not cited", "look", "He 20"),
        ({"report_data": "![](a.png)" + "word " * 300}, "figures", "mend", "Pictures: 1; captions: 0"),
        ({"report_data": "word " * 300}, "figures", "look", "names: 0"),
        ({"report_data": "Figure 2: Lost.\n\n" + "word " * 300}, "figures", "look", "captions: 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(handed, cells, about, state, said):
    rows = {row.about: row for row in selfcheck(handed(**cells)).rows}
    assert rows[about].state == state and said in rows[about].found
    assert rows[about].remedy


def test_outputs_must_be_of_one_run(handed):
    path = handed()
    notebook = json.loads(path.read_text())
    notebook["cells"][1]["execution_count"] = 7
    path.write_text(json.dumps(notebook))
    assert states(path)["outputs"] == "mend"
    notebook["cells"][1]["execution_count"] = None
    path.write_text(json.dumps(notebook))
    assert states(path)["outputs"] == "mend"


def test_in_a_notebook_it_finds_the_notebook(handed, monkeypatch):
    path = handed()
    monkeypatch.chdir(path.parent)
    assert selfcheck().good
    (path.parent / "other.ipynb").touch()
    with pytest.raises(CourseError, match=r"expected one notebook in .*, found mine\.ipynb, other\.ipynb"):
        selfcheck()


WHOLE = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
CELL = {"cell_type": "code", "metadata": {}, "source": ""}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Expecting value"),
        (b"\0", "Expecting value"),
        (b"[" * 100_000, "recursion"),
        (json.dumps(WHOLE).encode("utf-16"), "can't decode byte"),
        (b"\xe9" * 10_000, "can't decode byte"),
        ([], "no notebook of format 4"),
        ({}, "no notebook of format 4"),
        ({**WHOLE, "nbformat": 3}, "no notebook of format 4"),
        ({"nbformat": 4, "cells": []}, "no notebook of format 4"),
        ({**WHOLE, "cells": {}}, "no notebook of format 4"),
        ({**WHOLE, "cells": [1]}, "cell 1, which"),
        ({**WHOLE, "cells": [CELL, {**CELL, "source": 5}]}, "cell 2, which"),
        ({**WHOLE, "cells": [{"cell_type": "code", "metadata": {}}]}, "cell 1, which"),
    ],
)
def test_what_is_no_notebook_is_said_to_be_none(tmp_path, content, said):
    path = tmp_path / "x.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(CourseError, match=f"expected a Jupyter notebook, found: .*{said}") as caught:
        load_notebook(path)
    assert len(str(caught.value)) < 400


def test_what_is_missing_is_named(handed):
    path = handed()
    with pytest.raises(CourseError, match="found no file of this name"):
        selfcheck(path.with_name("other.ipynb"))
    (path.parent / "rubric.toml").unlink()
    with pytest.raises(CourseError, match=r"rubric\.toml is missing.*put a copy beside your notebook"):
        selfcheck(path)


def test_a_rubric_saved_by_an_editor_on_windows_is_read(tmp_path):
    path = tmp_path / "rubric.toml"
    path.write_bytes(RUBRIC.read_text(encoding="utf-8").encode("utf-8-sig"))
    assert load_rubric(path) == load_rubric(RUBRIC)


def test_a_notebook_without_code_has_no_sound_outputs(handed):
    assert states(handed(code=()))["outputs"] == "mend"


def test_the_released_coursework_asks_for_each_part():
    released = RUBRIC.parents[2] / "exercises" / "coco-assignment" / "coco-assignment.ipynb"
    if not released.is_file():
        pytest.skip("the coursework has not been released yet")
    rows = selfcheck(released).rows
    rubric = load_rubric(RUBRIC)
    assert [row.found for row in rows if row.about == "cells"] == [
        f"The cell `{c.cell}` is empty." for c in rubric.criteria
    ]


@pytest.mark.slow
def test_the_notebook_runs_in_a_copy_of_its_folder(handed, capfd):
    path = handed(
        code=(
            "from pathlib import Path",
            "Path('folder/file').write_text(Path('data.txt').read_text() + 'x')",
            "assert Path('folder/itself/file').read_text() == 'kept'",
        )
    )
    data = path.parent / "data.txt"
    data.write_text("kept")
    folder = path.parent / "folder"
    folder.mkdir()
    (folder / "itself").symlink_to(folder)
    (folder / "nothing").symlink_to("nowhere")
    (folder / "file").symlink_to(data)
    os.mkfifo(folder / "pipe")
    seen = []
    assert check_run(path, 120, lambda n, of: seen.append((n, of))).state == "ok"
    assert data.read_text() == "kept" and seen[-1][1] == 7
    stopped = check_run(handed(code=("x = 1", "\nprint(y)", "z = 1")), 120)
    assert stopped.state == "mend"
    assert "cell 2 (`print(y)`): NameError: name 'y' is not defined" in stopped.found
    late = check_run(handed(code=("import time\ntime.sleep(60)",)), 1)
    assert "cell 1 (`import time`): it took more than 1 seconds" in late.found
    left = check_run(handed(code=("import sys; sys.exit()",)), 120)
    assert left.found.endswith("`): SystemExit.")
    assert not capfd.readouterr().err, "what the kernel says of itself would hide the table"


@pytest.mark.slow
def test_the_command_shows_a_table_and_runs_the_notebook(handed):
    done = CliRunner().invoke(app, ["selfcheck", str(handed())])
    assert done.exit_code == 0 and "top to bottom" in done.output, done.output
    done = CliRunner().invoke(app, ["selfcheck", str(handed(report_method="")), "--no-run"])
    assert done.exit_code == 1 and "report_method" in done.output
