"""What puts the sandbox, the suites and marks by parts into nbgrader's own commands; see nbgrader_config.py."""

from __future__ import annotations

import contextlib
import csv
import io
from functools import cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode, from_dict
from nbgrader.api import Gradebook
from nbgrader.plugins import ExportPlugin
from nbgrader.preprocessors import ClearSolutions, NbGraderPreprocessor
from traitlets import Bool, Unicode

from autograder.brief import write_brief
from autograder.check import CHECKS_FILE, suite_path
from autograder.course import PRIVATE, Course, write_file
from autograder.grade import grade_stream, with_outputs
from autograder.intake import STARTER_TAG, ReleasedNotebook, Submission, regular_files, solution_texts
from autograder.release import public_suite
from autograder.results import SubmissionResult
from autograder.runner import load_suite
from autograder.sandbox.client import Zygote


class AddChecks(NbGraderPreprocessor):
    """For `nbgrader generate_assignment`: puts the suite, less its hidden tests, beside the released notebook."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        suite = suite_path(resources["nbgrader"]["assignment"])
        if suite.is_file():
            resources.setdefault("outputs", {})[CHECKS_FILE] = public_suite(suite).encode()
        return nb, resources


class KeepStarters(ClearSolutions):
    """For `nbgrader generate_assignment`, in place of `ClearSolutions`: leaves code that students start from."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        if STARTER_TAG in cell.metadata.get("tags", ()):
            return cell, resources
        return super().preprocess_cell(cell, resources, index)


class WriteBrief(NbGraderPreprocessor):
    """For `nbgrader generate_assignment`: puts the mark scheme and the institution's rules into the brief."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                cell.source = write_brief(cell.source, Path(resources["metadata"]["path"]))
        return nb, resources


class _OfCourse(NbGraderPreprocessor):
    def released(self, resources: dict) -> ReleasedNotebook:
        return _released(Course.load(Path.cwd()).released_notebook(resources["nbgrader"]["assignment"]))


class RebuildFromReleased(_OfCourse):
    """For `nbgrader autograde`, before all else: rebuilds what was handed in from the released notebook."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        # nbgrader has copied what lies beside the notebook, the targets of links too. An error here makes it remove
        # that again and go on with the next student.
        regular_files(Path(resources["metadata"]["path"]))
        released = self.released(resources)
        texts, notes = solution_texts(nb, released)
        for note in notes:
            self.log.warning("%s: %s", resources["nbgrader"]["student"], note)
        return from_dict(released.rebuild(texts, notes).notebook), resources


class GradeInSandbox(_OfCourse):
    """For `nbgrader autograde`, in place of `Execute`: runs the exercise's suite on the sandboxed submission."""

    seed = Unicode("", help="Seeds the tests' inputs; by default the course's own secret seed.").tag(config=True)
    insecure = Bool(False, help="Grade without a sandbox. The results are not trusted.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        released = self.released(resources)
        texts, _ = solution_texts(nb, released)
        submission = released.rebuild(texts, [])
        suite = suite_path(released.name)
        exercise, _ = load_suite(suite)
        graded: list[tuple[Submission, SubmissionResult]] = []
        student = resources["nbgrader"]["student"]
        seed = self.seed or Course.load(Path.cwd()).seed()
        zygote = _zygote(exercise.preload, exercise.forbidden, not self.insecure)
        grade_stream(suite, exercise, zygote, [(student, submission)], seed, lambda *found: graded.append(found))
        return from_dict(with_outputs(*graded[0])), resources


class ExportParts(ExportPlugin):
    """For `nbgrader export --exporter=autograder.nbgrader_plugins.ExportParts`: what tests and people gave, apart.

    Writes parts.csv, or what `--to` names: a line for each submission. Before people have marked it all, `marked` is
    "no", and their points are what there is so far.
    """

    def export(self, gradebook: Gradebook) -> None:
        rows = [
            {
                "assignment": assignment.name,
                "student_id": submitted.student_id,
                "tests": submitted.code_score,
                "max_tests": submitted.max_code_score,
                "by_hand": submitted.written_score + submitted.task_score,
                "max_by_hand": submitted.max_written_score + submitted.max_task_score,
                "marked": "no" if submitted.needs_manual_grade else "yes",
                "total": submitted.score,
                "max_total": submitted.max_score,
            }
            for assignment in gradebook.assignments
            for submitted in assignment.submissions
            if not self.assignment or assignment.name in self.assignment
            if not self.student or submitted.student_id in self.student
        ]
        if not rows:
            raise ValueError("there is nothing to export: nobody's submission has been graded, of those asked for")
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, rows[0])
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: (row["assignment"], row["student_id"])))
        write_file(Path(self.to or "parts.csv"), table.getvalue(), mode=PRIVATE)


@cache
def _released(path: Path) -> ReleasedNotebook:
    return ReleasedNotebook.load(path)


_open_zygotes = contextlib.ExitStack()  # lives as long as the process; the fork servers end with it


@cache
def _zygote(preload: tuple[str, ...], forbidden: tuple[str, ...], confined: bool) -> Zygote:
    return _open_zygotes.enter_context(Zygote(preload, confined=confined, forbidden=forbidden))


def configure(c: Any) -> None:
    """Set nbgrader's preprocessors in the configuration object `c` of an nbgrader_config.py."""
    import nbgrader
    from nbconvert.preprocessors import ClearMetadataPreprocessor
    from nbgrader import preprocessors as nb
    from nbgrader.converters import GenerateAssignment

    usual = GenerateAssignment.preprocessors.default_args[0]
    releasing = [KeepStarters if one is ClearSolutions else one for one in usual]
    c.GenerateAssignment.preprocessors = [*releasing, WriteBrief, AddChecks]
    c.Autograde.sanitize_preprocessors = [
        RebuildFromReleased,
        nb.ClearOutput,
        nb.DeduplicateIds,
        nb.OverwriteKernelspec,
        nb.OverwriteCells,
        nb.CheckCellMetadata,
    ]
    c.Autograde.autograde_preprocessors = [
        GradeInSandbox,
        nb.IgnorePattern,
        ClearMetadataPreprocessor,
        nb.LimitOutput,
        nb.SaveAutoGrades,
        nb.AssignLatePenalties,
        nb.CheckCellMetadata,
    ]
    # The formgrader: our page stands before nbgrader's of the same name, which it extends.
    theirs = Path(nbgrader.__file__).parent / "server_extensions" / "formgrader" / "templates"
    c.HTMLExporter.extra_template_basedirs = [str(Path(__file__).parent / "templates" / "nbgrader"), str(theirs)]
    c.HTMLExporter.extra_template_paths = [str(theirs)]
    c.HTMLExporter.filters = {
        "page_rubric": "autograder.marking.page_rubric",
        "handed_in": "autograder.marking.handed_in",
        "markdown2html": "autograder.marking.safe_markdown",
    }
