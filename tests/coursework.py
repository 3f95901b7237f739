"""A made-up coursework: the first exercise with a report of four answers that the coursework's rubric marks."""

import json
import shutil
from pathlib import Path

from autograder.rubric import Rubric, load_rubric

ROOT = Path(__file__).parents[1]
EXERCISE = "ps01-masks-and-iou"
COURSEWORK = ROOT / "solutions" / "coco-assignment" / "rubric.toml"


def make_course(root: Path) -> Rubric:
    """Make and release the course in `root`; return its rubric."""
    from autograder.course import Course
    from autograder.release import release

    rubric = load_rubric(COURSEWORK)
    source = root / "solutions" / EXERCISE
    shutil.copytree(ROOT / "solutions" / EXERCISE, source, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copy(COURSEWORK, source)
    shutil.copy(ROOT / "nbgrader_config.py", root)
    path = source / f"{EXERCISE}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    usual = {"grade": True, "solution": True, "locked": False, "task": False, "schema_version": 3}
    for criterion in rubric.criteria:
        title = f"## {criterion.title} ({criterion.points:g} points)"
        marks = {"nbgrader": {**usual, "grade_id": criterion.cell, "points": criterion.points}}
        notebook["cells"] += [
            {"cell_type": "markdown", "id": f"about-{criterion.id}", "metadata": {}, "source": title},
            {"cell_type": "markdown", "id": criterion.id, "metadata": marks, "source": "YOUR ANSWER HERE"},
        ]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    release(Course.load(root), [EXERCISE])
    return rubric
