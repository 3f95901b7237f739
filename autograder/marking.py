"""What nbgrader's formgrader page shows of ours: the bands of a rubric as a form, and answers that cannot act on it.

nbgrader renders the page with nbconvert; `configure` in nbgrader_plugins.py hands it the template and these filters.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from autograder.course import Course, CourseError
from autograder.rubric import Rubric, rubric_of


def page_rubric(resources: dict[str, Any]) -> Rubric | str | None:
    """The rubric for the page with these resources; None if its assignment has none, a text if it cannot be read."""
    try:
        course = _course(resources)
        return course and rubric_of(course, resources["assignment_id"])
    except CourseError as error:
        return str(error)


def handed_in(resources: dict[str, Any]) -> str:
    """Where the notebook lies as it was handed in, for the Jupyter server that shows the page; empty if nowhere."""
    course = _course(resources)
    path = Path(resources["student"], resources["assignment_id"], f"{resources['notebook_id']}.ipynb")
    if course is None or not (course.submitted / path).is_file():
        return ""
    graded = (course.autograded / path).relative_to(course.root).as_posix()  # its place is in the page's resources
    return (
        resources["notebook_path"].removesuffix(graded) + (course.submitted / path).relative_to(course.root).as_posix()
    )


def _course(resources: dict[str, Any]) -> Course | None:
    folder = Path(resources["metadata"]["path"])  # of the autograded notebook: the server may run elsewhere
    root = next((parent for parent in folder.parents if (parent / "nbgrader_config.py").is_file()), None)
    return root and Course.load(root)


@pass_context
def safe_markdown(context: Context, source: str) -> str:
    """Markdown to HTML, in which the HTML that a student wrote is shown as text.

    nbgrader 0.9.6 puts it into the marker's page as it came: a script there could give its author points.
    """
    cell = context.get("cell", {})
    marks = cell.get("metadata", {}).get("nbgrader", {})
    students = bool(marks.get("solution") or marks.get("task"))
    renderer = _Renderer(
        escape=students,
        allow_harmful_protocols=not students,
        attachments=cell.get("attachments", {}),
        path=context.get("resources", {}).get("metadata", {}).get("path", ""),
    )
    return MarkdownWithMath(renderer=renderer).render(source)


class _Renderer(IPythonRenderer):
    """nbconvert's, less what an answer could break the page with."""

    def block_mermaidjs(self, code: str) -> str:
        return super().block_mermaidjs(html.escape(code))  # nbconvert 7.17 leaves it as it is, whatever `escape` says

    def image(self, text: str, url: str, title: str | None = None) -> str:
        name = url.removeprefix("attachment:")
        if name != url and name not in self.attachments:  # an error in nbconvert, and so no page at all
            return f"<em>[picture {html.escape(name)}: see the notebook as it was handed in]</em>"
        return super().image(text, url, title)
