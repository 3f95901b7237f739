"""A course on disk: an nbgrader course folder, read from its own nbgrader_config.py."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED_FILE = ".autograder-seed"  # in the course's folder
PRIVATE = 0o600  # the mode of files that are for the instructor alone


class CourseError(Exception):
    """The folder is not a course, or lacks something; the message says what to do."""


@dataclass(frozen=True)
class Course:
    """Folders and gradebook of an nbgrader course. `config` is its traitlets configuration."""

    root: Path
    source: Path
    release: Path
    submitted: Path
    autograded: Path
    feedback: Path
    db_url: str
    config: Any

    @classmethod
    def load(cls, root: Path) -> Course:
        """Read the course in `root`, which must hold an nbgrader_config.py."""
        # nbgrader takes two seconds to import, so only commands that need a course do it.
        from nbgrader.coursedir import CourseDirectory
        from traitlets.config.loader import PyFileConfigLoader

        # nbgrader makes a gradebook by calling `alembic`, which is beside this Python even where the environment is not
        # activated.
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        root = root.resolve()
        if not (root / "nbgrader_config.py").is_file():
            raise CourseError(
                f"{root} is no course: it has no nbgrader_config.py. Name the course with --course FOLDER."
            )
        try:
            config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
        except Exception as error:  # it is a program, which may fail in any way
            raise CourseError(f"{root / 'nbgrader_config.py'}: expected to run it, found: {error!r}") from error
        config.CourseDirectory.root = str(root)
        directory = CourseDirectory(config=config)
        steps = {
            step: root / getattr(directory, f"{step}_directory")
            for step in ("source", "release", "submitted", "autograded", "feedback")
        }
        return cls(root=root, db_url=directory.db_url, config=config, **steps)

    def seed(self) -> str:
        """The course's secret, made when it is first asked for: who knows it knows the inputs of hidden tests."""
        path = self.root / SEED_FILE
        if not path.is_file():
            write_file(path, secrets.token_hex(16), mode=PRIVATE)
        return path.read_text(encoding="utf-8").strip()

    def exercises(self) -> list[str]:
        """The names of the exercises in the source folder."""
        return sorted(path.name for path in self.source.glob("*") if (path / f"{path.name}.ipynb").is_file())

    def released_notebook(self, exercise: str) -> Path:
        """The notebook that students received; `CourseError` if there is none."""
        path = self.release / exercise / f"{exercise}.ipynb"
        if not path.is_file():
            known = ", ".join(self.exercises()) or "none"
            raise CourseError(f"{exercise} has not been released ({path} is missing; exercises here: {known}).")
        return path

    def students(self, exercise: str) -> list[str]:
        """Who handed the exercise in: the folders submitted/STUDENT/EXERCISE."""
        return sorted(path.parent.name for path in self.submitted.glob(f"*/{exercise}"))

    def require_students(self, exercise: str, wanted: list[str] | None = None) -> list[str]:
        """Those `wanted`, by default all who handed it in. Raises `CourseError` if one of them did not, or nobody."""
        handed_in = self.students(exercise)
        if unknown := sorted(set(wanted or ()) - set(handed_in)):
            raise CourseError(f"nothing was handed in for {exercise} by: {', '.join(unknown)}")
        if not handed_in:
            place = f"{self.submitted}/STUDENT/{exercise}"
            raise CourseError(f"no submissions: nobody handed in {exercise}, {place} does not exist for any student")
        return wanted or handed_in


def write_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write `text` to `path` so that a reader sees the old file or the whole new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        beside = Path(file.name)
        try:
            file.write(text)
            file.flush()
            beside.chmod(mode)
            beside.replace(path)
        except BaseException:
            beside.unlink()
            raise
