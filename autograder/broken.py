"""Broken submissions: what students hand in by accident, and what an editor of notebooks can do to one.

Each starts from a complete, right notebook. Most must get full points all the same, with a note; what can't be read at
all must be refused, with the reason.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.intake import MAX_NOTEBOOK_BYTES, TEST_PREFIX, cell_id

Notebook = dict[str, Any]
Spoil = Callable[[Path, Notebook, str], None]


@dataclass(frozen=True)
class Broken:
    """`spoil(file, notebook, cell)` writes the notebook, spoilt, to `file`; what it spoils of it is about `cell`.

    `phrase` must stand in the feedback. The points of `cell` are lost if it `loses`, all if it is `refused`.
    """

    name: str
    about: str
    spoil: Spoil
    phrase: str = ""
    loses: bool = False
    refused: bool = False


def _edit(change: Callable[[list[dict], int, int], object]) -> Spoil:
    """A spoiler that changes the list of cells; it gets the positions of the solution cell and of its test cell."""

    def spoil(file: Path, notebook: Notebook, cell: str) -> None:
        notebook = copy.deepcopy(notebook)
        names = [cell_id(entry) for entry in notebook["cells"]]
        change(notebook["cells"], names.index(cell), names.index(TEST_PREFIX + cell))
        file.write_text(json.dumps(notebook), encoding="utf-8")

    return spoil


def _bytes(spoil: Callable[[bytes], bytes]) -> Spoil:
    """A spoiler of the file's bytes."""
    return lambda file, notebook, _: file.write_bytes(spoil(json.dumps(notebook, ensure_ascii=False).encode()))


def _top(**fields: Any) -> Spoil:
    """A spoiler that sets fields of the notebook itself."""
    return lambda file, notebook, _: file.write_text(json.dumps({**notebook, **fields}), encoding="utf-8")


def _beside(make: Callable[[Path], object], keep: bool = True) -> Spoil:
    """A spoiler that puts something beside the notebook, or in its place."""

    def spoil(file: Path, notebook: Notebook, _: str) -> None:
        if keep:
            file.write_text(json.dumps(notebook), encoding="utf-8")
        make(file)

    return spoil


def _own_cell(cells: list[dict], solution: int, _: int) -> None:
    # The whole solution moves to a cell of the student's own, and the solution cell only refers to it.
    moved = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells.insert(solution, {**moved, "id": "mine", "source": cells[solution]["source"]})
    cells[solution + 1]["source"] = "# see the cell above"


def _more_points(cells: list[dict], solution: int, test: int) -> None:
    cells[test]["metadata"]["nbgrader"].update(points=1000, locked=False)
    cells[solution]["metadata"]["nbgrader"].update(grade=True, points=1000)


def _hole(file: Path, size: int) -> None:
    with file.open("wb") as opened:
        opened.truncate(size)


_KERNEL = {"kernelspec": {"name": "julia-1.9", "display_name": "Julia", "language": "julia"}}
_PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)

BROKEN = [
    Broken(
        "not-utf-8", "Saved in Latin-1.", _bytes(lambda data: data[:-1] + b', "\xe9": 0}'), "not UTF-8", refused=True
    ),
    Broken(
        "duplicated-cell",
        "The solution cell was copied and pasted; nbgrader ends the whole batch for it.",
        _edit(lambda cells, solution, _: cells.insert(solution, copy.deepcopy(cells[solution]))),
        "is there 2 times",
    ),
    Broken(
        "deleted-test",
        "The test cell was deleted.",
        _edit(lambda cells, _, test: cells.pop(test)),
        "was changed, copied or removed",
    ),
    Broken(
        "symbolic-link",
        "A symbolic link to the password file lies in the folder.",
        _beside(lambda file: (file.parent / "data.csv").symlink_to("/etc/shadow")),
        "is a symbolic link",
        refused=True,
    ),
    Broken("wrong-kernel", "Asks for Julia.", _top(metadata=_KERNEL), "asks for the kernel 'julia-1.9'"),
    Broken(
        "cut-short",
        "Half of the file is missing.",
        _bytes(lambda data: data[: len(data) // 2]),
        "not valid JSON",
        refused=True,
    ),
    Broken(
        "more-points",
        "Points and flags of solution and test were edited: 1000 points, please.",
        _edit(_more_points),
        "points or flags",
    ),
    Broken(
        "no-notebook",
        "Handed in a text file only.",
        _beside(lambda file: (file.parent / "answers.txt").write_text("see my mail"), keep=False),
        "is missing (notebooks found: none)",
        refused=True,
    ),
    Broken(
        "deleted-solution",
        "The solution cell was deleted.",
        _edit(lambda cells, solution, _: cells.pop(solution)),
        "is missing; it counts as not answered",
        loses=True,
    ),
    Broken(
        "wrong-name",
        "The file has another name.",
        _beside(lambda file: file.rename(file.with_name("Untitled (1) final.ipynb"))),
        "Your notebook is named Untitled (1) final.ipynb",
    ),
    Broken("old-format", "Notebook format 3.", _top(nbformat=3, nbformat_minor=0), "has format 3, not 4", refused=True),
    Broken("picture", "A PNG under the notebook's name.", _bytes(lambda _: _PNG), "not UTF-8", refused=True),
    Broken(
        "own-cell",
        "The solution stands in a cell of the student's own.",
        _edit(_own_cell),
        "You added 1 code cell",
        loses=True,
    ),
    Broken(
        "markdown-cell",
        "The solution cell was turned into Markdown.",
        _edit(lambda cells, solution, _: cells[solution].update(cell_type="markdown")),
        "was changed to a markdown cell",
    ),
    Broken(
        "edited-test",
        "The test cell prints points instead of checking.",
        _edit(lambda cells, _, test: cells[test].update(source="1000.0")),
        "was changed, copied or removed",
    ),
    Broken(
        "renamed-id",
        "The solution's grade_id was changed.",
        _edit(lambda cells, solution, _: cells[solution]["metadata"]["nbgrader"].update(grade_id="mine")),
        "is missing; it counts as not answered",
        loses=True,
    ),
    Broken(
        "numpy-beside",
        "A numpy.py that ends Python lies beside the notebook.",
        _beside(lambda file: (file.parent / "numpy.py").write_text("import os\nos._exit(1)\n")),
    ),
    Broken(
        "linked-notebook",
        "The notebook is a symbolic link to another student's.",
        _beside(lambda file: file.symlink_to(file), keep=False),
        "is a symbolic link",
        refused=True,
    ),
    Broken(
        "too-large",
        "Pictures of 26 MiB in the outputs.",
        _bytes(lambda data: data + b" " * (MAX_NOTEBOOK_BYTES + 2**20)),
        "Clear its outputs",
        refused=True,
    ),
    Broken(
        "pipe",
        "A named pipe, at which a reader would wait for ever.",
        _beside(lambda file: os.mkfifo(file.with_name("timestamp.txt"))),
        "neither a file nor a folder",
        refused=True,
    ),
    Broken(
        "strange-name",
        "The file's name is no text and holds control codes.",
        _beside(lambda file: file.rename(os.fsdecode(os.fsencode(file.parent) + b"/\xff\x1b[2J.ipynb"))),
        "Your notebook is named ",
    ),
    Broken(
        "large-timestamp",
        "A timestamp.txt of 30 GB, most of it a hole.",
        _beside(lambda file: _hole(file.with_name("timestamp.txt"), 30 * 10**9)),
    ),
    Broken(
        "many-folders",
        "Folders in folders in folders.",
        _beside(lambda file: (file.parent / "/".join("d" * 600)).mkdir(parents=True)),
        "more than 500",
        refused=True,
    ),
    Broken(
        "many-cells",
        "A notebook of a hundred thousand cells.",
        _edit(lambda cells, *_: cells.extend({"cell_type": "code", "source": f"{n}"} for n in range(100_000))),
        "You added 100000 code cells",
    ),
]
