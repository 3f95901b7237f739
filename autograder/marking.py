"""What nbgrader's formgrader page shows of ours: the bands of a rubric as a form, and answers that cannot act on it.

nbgrader renders the page with nbconvert; `configure` in nbgrader_plugins.py hands it the template and these filters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from autograder.course import Course, CourseError
from autograder.rubric import Rubric, rubric_of


def page_rubric(resources: dict[str, Any]) -> Rubric | str | None:
    """The rubric for the page with these resources; None if its assignment has none, a text if it cannot be read."""
    folder = Path(resources["metadata"]["path"])  # of the autograded notebook: the server may run elsewhere
    root = next((parent for parent in folder.parents if (parent / "nbgrader_config.py").is_file()), None)
    if root is None:
        return None
    try:
        return rubric_of(Course.load(root), resources["assignment_id"])
    except CourseError as error:
        return str(error)


@pass_context
def markdown_without_html(context: Context, source: str) -> str:
    """Markdown to HTML, in which the HTML that a student wrote is shown as text.

    nbgrader 0.9.6 puts it into the marker's page as it came: a script there could give its author points.
    """
    cell = context.get("cell", {})
    marks = cell.get("metadata", {}).get("nbgrader", {})
    renderer = IPythonRenderer(
        escape=bool(marks.get("solution") or marks.get("task")),
        attachments=cell.get("attachments", {}),
        path=context.get("resources", {}).get("metadata", {}).get("path", ""),
    )
    return MarkdownWithMath(renderer=renderer).render(source)
