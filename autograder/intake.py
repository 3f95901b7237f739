"""Take in what a student handed in: refuse it, or rebuild the notebook from the released one.

Nothing of a submission is ever converted, executed or copied as it came. Of the student's notebook only the text of the
solution cells and of the written answers is taken, by `grade_id`; everything else comes from the course's own
released notebook. So edited tests, changed points, deleted cells or a foreign kernel can have no effect.
"""

from __future__ import annotations

import copy
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

MAX_NOTEBOOK_BYTES = 25 * 2**20  # pictures in a student's outputs add up
CLEAR_OUTPUTS = "Clear its outputs (Edit > Clear Outputs of All Cells)"
MAX_CELL_CHARACTERS = 200_000
MAX_FILES = 500  # and folders
MAX_MAGICS = 50  # lines of one cell: IPython reads the whole cell anew for each
TEST_PREFIX = "test-"  # the test cell of the suite's cell "iou" has the grade_id "test-iou"
PRELUDE_TAG = "prelude"  # cells of the instructor's that students' functions need, such as imports
STARTER_TAG = "starter"  # solution cells that come with code to start from; kept for the marker, never run
_MAYBE_MAGIC = re.compile(r"^\s*[%!?]|\?\s*$|=\s*[%!]", re.MULTILINE)


class Refused(Exception):
    """The submission cannot be graded; the message tells the student why and what to do."""


@dataclass(frozen=True)
class ReleasedNotebook:
    """The notebook that students received, as parsed JSON; the mould of every rebuilt submission."""

    name: str
    notebook: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> ReleasedNotebook:
        """Read the released notebook at `path`."""
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["source"] = cell_text(cell)  # one text, as nbformat has it in memory
        return cls(path.stem, notebook)

    @cached_property
    def solutions(self) -> dict[str, int]:
        """Position of each cell that students fill in, code and text, by grade_id."""
        return {cell_id(cell): i for i, cell in enumerate(self.notebook["cells"]) if _flag(cell, "solution")}

    @cached_property
    def tests(self) -> dict[str, int]:
        """Position of each test cell, by the suite's name for it."""
        return {
            cell_id(cell).removeprefix(TEST_PREFIX): i
            for i, cell in enumerate(self.notebook["cells"])
            if _flag(cell, "grade") and not _flag(cell, "solution")
        }

    def heading(self, position: int) -> str:
        """The last Markdown heading above the cell at `position`; an empty string if there is none."""
        for cell in reversed(self.notebook["cells"][:position]):
            if cell["cell_type"] == "markdown":
                for line in reversed(cell["source"].splitlines()):
                    if line.startswith("#"):
                        return line.lstrip("#").strip()
        return ""

    def stub(self) -> Submission:
        """The untouched notebook as if it had been handed in."""
        return self.rebuild({}, [])

    def rebuild(self, texts: dict[str, str], notes: list[str]) -> Submission:
        """A submission with `texts` in its solution cells (by grade_id) and the released text in all other places."""
        notebook = copy.deepcopy(self.notebook)
        unchanged = []
        for name, position in self.solutions.items():
            cell = notebook["cells"][position]
            released = cell["source"]
            cell["source"] = texts.get(name, released)
            if cell["source"].strip() == released.strip():
                unchanged.append(name)
        return Submission(self, notebook, unchanged, notes)


@dataclass
class Submission:
    """A rebuilt notebook, and notes on what had to be repaired."""

    released: ReleasedNotebook
    notebook: dict[str, Any]
    unchanged: list[str]  # solution cells that are still as released
    notes: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        """What the student wrote in the solution cell `name`."""
        return self.notebook["cells"][self.released.solutions[name]]["source"]

    def code(self) -> dict[str, str]:
        """The cells that run in the sandbox, by name, in order: the instructor's prelude, the student's solutions."""
        cells = {}
        for position, cell in enumerate(self.notebook["cells"]):
            tags = cell["metadata"].get("tags", ())
            runs = PRELUDE_TAG in tags or (_flag(cell, "solution") and STARTER_TAG not in tags)
            if cell["cell_type"] == "code" and runs:
                cells[cell_id(cell) or f"prelude-{position}"] = _without_magics(cell_text(cell))
        return cells


def read_submission(folder: Path, released: ReleasedNotebook) -> Submission:
    """Read and rebuild the submission in `folder`. Raises `Refused` where it can't be graded."""
    notebook, notes = read_notebook(folder, released)
    texts, more = solution_texts(notebook, released)
    return released.rebuild(texts, notes + more)


def read_notebook(folder: Path, released: ReleasedNotebook) -> tuple[dict[str, Any], list[str]]:
    """The notebook in `folder` as it was handed in, as parsed JSON, and notes. Raises `Refused` if there is none."""
    files = regular_files(folder)
    notebooks = [path for path in files if path.suffix == ".ipynb"]
    wanted = folder / f"{released.name}.ipynb"
    notes = []
    if wanted not in notebooks:
        if len(notebooks) != 1:
            found = ", ".join(sorted(_shown(path.name) for path in notebooks[:10])) or "none"
            raise Refused(f"The notebook {wanted.name} is missing (notebooks found: {found}). Hand it in by this name.")
        notes.append(f"Your notebook is named {_shown(notebooks[0].name)}; it should be {wanted.name}.")
        wanted = notebooks[0]
    return _parse(read_file(wanted)), notes


def solution_texts(notebook: dict[str, Any], released: ReleasedNotebook) -> tuple[dict[str, str], list[str]]:
    """The texts of a student's solution cells by grade_id, and notes on cells that were not as released."""
    notes: list[str] = []
    texts: dict[str, str] = {}
    own_cells = 0
    metadata = notebook.get("metadata")
    kernel = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    if isinstance(kernel, dict) and kernel.get("name") not in (None, "python3"):
        notes.append(f"The notebook asks for the kernel {str(kernel['name'])[:40]!r}; it was graded with python3.")
    found: dict[str, list[dict]] = {}
    known = {cell_text(cell).strip() for cell in released.notebook["cells"]} | {""}
    for cell in notebook["cells"]:
        if not isinstance(cell, dict):
            continue
        name = cell_id(cell)
        if name:
            found.setdefault(name, []).append(cell)
        elif cell.get("cell_type") == "code" and cell_text(cell).strip() not in known:
            own_cells += 1
    for name, position in released.solutions.items():
        mould = released.notebook["cells"][position]
        candidates = found.get(name, [])
        if not candidates:
            notes.append(f"The cell `{name}` is missing; it counts as not answered.")
            continue
        if len(candidates) > 1:
            notes.append(f"The cell `{name}` is there {len(candidates)} times; the last one you wrote in counts.")
        written = [cell for cell in candidates if cell_text(cell).strip() != cell_text(mould).strip()]
        chosen = (written or candidates)[-1]
        if chosen.get("cell_type") != mould["cell_type"]:
            notes.append(f"The cell `{name}` was changed to a {_shown(str(chosen.get('cell_type')))} cell.")
        text = cell_text(chosen)
        if len(text) > MAX_CELL_CHARACTERS:
            notes.append(f"The cell `{name}` holds more than {MAX_CELL_CHARACTERS:,} characters; it was left out.")
            continue
        texts[name] = text
    for name, position in released.tests.items():
        mould = released.notebook["cells"][position]
        candidates = found.get(cell_id(mould), [])
        if len(candidates) != 1 or cell_text(candidates[0]).strip() != cell_text(mould).strip():
            notes.append(f"The test cell of `{name}` was changed, copied or removed; the original was used.")
    for name, position in {**released.solutions, **released.tests}.items():
        mould = released.notebook["cells"][position]
        if any(_marks(cell) != _marks(mould) for cell in found.get(cell_id(mould), [])):
            notes.append(f"The points or flags of `{name}` were changed; the original ones were used.")
    if own_cells:
        plural = "s" if own_cells > 1 else ""
        notes.append(
            f"You added {own_cells} code cell{plural} of your own. They are not graded: "
            "functions that your solution needs belong in its solution cell."
        )
    return texts, notes


def cell_id(cell: dict[str, Any]) -> str:
    """The nbgrader grade_id of a cell, or an empty string."""
    metadata = cell.get("metadata")
    mark = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = mark.get("grade_id") if isinstance(mark, dict) else None
    return name if isinstance(name, str) else ""


def cell_text(cell: dict[str, Any]) -> str:
    """The source of a cell: notebooks hold it as one text or as a list of lines."""
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    # A lone surrogate is valid JSON but cannot be written to a file again.
    return source.encode("utf-8", "replace").decode() if isinstance(source, str) else ""


def _flag(cell: dict[str, Any], name: str) -> bool:
    return bool(cell["metadata"].get("nbgrader", {}).get(name))


def _marks(cell: dict[str, Any]) -> list[Any]:
    """What nbgrader reads of a cell to grade it, as far as it is there."""
    mark = cell["metadata"]["nbgrader"]
    return [mark.get("points"), *(mark.get(flag) is True for flag in ("grade", "solution", "locked", "task"))]


def _shown(name: str) -> str:
    """A student's file name, or the like, as it may stand in a message: bounded, without control characters."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name[:80])


def timestamp_text(folder: Path) -> str:
    """The text of the submission's timestamp.txt, which nbgrader writes; empty where there is none to be read."""
    path = folder / "timestamp.txt"
    try:
        return read_file(path, 200).decode("utf-8", "replace").strip() if path.exists() else ""
    except Refused:
        return ""


def regular_files(folder: Path) -> list[Path]:
    """All files below `folder`; refuses links and whatever is neither file nor folder."""
    if folder.is_symlink() or not folder.is_dir():
        raise Refused("The submission is not a folder. Hand in the folder with the notebook itself.")
    files = []
    for number, (path, entry) in enumerate(_walk(folder)):
        if number == MAX_FILES:
            raise Refused(f"There are more than {MAX_FILES} files and folders. Hand in the notebook alone.")
        if entry.is_symlink():
            raise Refused(f"{_shown(entry.name)} is a symbolic link. Hand in the file itself, not a link to it.")
        if entry.is_file(follow_symlinks=False):
            files.append(path)
        elif not entry.is_dir(follow_symlinks=False):
            raise Refused(f"{_shown(entry.name)} is neither a file nor a folder. Hand in files only.")
    return [path for path in files if path.parent == folder]


def _walk(folder: Path) -> Iterator[tuple[Path, os.DirEntry]]:
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            entries = list(os.scandir(current))
        except OSError as error:
            raise Refused(f"{_shown(current.name)} cannot be opened ({error.strerror}). Hand it in again.") from error
        for entry in entries:
            yield Path(entry.path), entry
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))


def read_file(path: Path, limit: int = MAX_NOTEBOOK_BYTES, remedy: str = CLEAR_OUTPUTS) -> bytes:
    """Read a student's file, which must be one, of at most `limit` bytes; else raise `Refused`, with the `remedy`."""
    # O_NOFOLLOW: the file may have become a link since it was looked at. O_NONBLOCK: or a pipe.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Refused(f"{_shown(path.name)} cannot be opened ({error.strerror}). Hand it in again.") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{_shown(path.name)} is not a file.")
        if status.st_size > limit:
            raise Refused(
                f"{_shown(path.name)} has {status.st_size / 2**20:.0f} MiB, more than {limit // 2**20}. "
                f"{remedy} and hand it in again."
            )
        return file.read(limit)


def _parse(data: bytes) -> dict[str, Any]:
    remedy = "Open it in Jupyter, save it, and hand it in again."
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"The notebook is not UTF-8 text (byte {error.start}). {remedy}") from error
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise Refused(f"The notebook is not valid JSON{where}: the file is damaged or cut short. {remedy}") from error
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise Refused(f"The file is not a Jupyter notebook of format 4: it has no list of cells. {remedy}")
    if notebook.get("nbformat") != 4:
        raise Refused(f"The notebook has format {str(notebook.get('nbformat'))[:20]}, not 4. {remedy}")
    return notebook


def _without_magics(source: str) -> str:
    """Python of a cell that may hold IPython's magics; they do nothing in the sandbox."""
    if not 0 < len(_MAYBE_MAGIC.findall(source)) <= MAX_MAGICS:
        return source
    from IPython.core.inputtransformer2 import TransformerManager  # a third of a second, for few submissions

    try:
        return TransformerManager().transform_cell(source)
    except Exception:
        return source  # Python will name the error where the student can see it
