"""What nbgrader's formgrader page shows of ours: the bands of a rubric as a form, and answers that cannot act on it.

nbgrader renders the page with nbconvert; `configure` in nbgrader_plugins.py hands it the template and these filters.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from autograder.course import Course, CourseError
from autograder.intake import Refused, ReleasedNotebook, cell_id, cell_text, read_notebook
from autograder.rubric import Rubric, rubric_of

PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def page_rubric(resources: dict[str, Any]) -> Rubric | str | None:
    """The rubric for the page with these resources; None if its assignment has none, a text if it cannot be read."""
    try:
        course = _course(resources)
        return course and rubric_of(course, resources["assignment_id"])
    except CourseError as error:
        return str(error)


@dataclass(frozen=True)
class HandedIn:
    """What the page shows of the notebook as it was handed in; pictures are `data:` URLs, by the cell's grade_id."""

    path: str = ""  # on the Jupyter server that shows the page
    outputs: dict[str, list[str]] = field(default_factory=dict)
    attachments: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)  # as nbformat has them


def handed_in(resources: dict[str, Any]) -> HandedIn:
    """The original of the page with these resources; it is kept in them, too, for the answers' pictures.

    The autograded notebook was rebuilt from texts, so it lacks the figures that a report speaks of.
    """
    resources["handed_in"] = HandedIn()
    course, assignment = _course(resources), resources["assignment_id"]
    if course is None:
        return resources["handed_in"]
    name = Path(resources["student"], assignment, f"{resources['notebook_id']}.ipynb")
    graded, original = (
        (step / name).relative_to(course.root).as_posix() for step in (course.autograded, course.submitted)
    )
    try:
        released = ReleasedNotebook.load(course.released_notebook(assignment))
        cells = read_notebook(course.submitted / name.parent, released)[0]["cells"]
    except (Refused, CourseError):
        return resources["handed_in"]
    found = HandedIn(resources["notebook_path"].removesuffix(graded) + original)
    for cell in (cell for cell in cells if isinstance(cell, dict) and cell_id(cell)):
        outputs, attachments = cell.get("outputs"), cell.get("attachments")
        for output in outputs if isinstance(outputs, list) else []:
            pictures = _pictures(output.get("data") if isinstance(output, dict) else None)
            urls = [f"data:{kind};base64,{data}" for kind, data in pictures.items()]
            found.outputs.setdefault(cell_id(cell), []).extend(urls[:1])
        for label, data in attachments.items() if isinstance(attachments, dict) else []:
            if pictures := _pictures(data):
                found.attachments.setdefault(cell_id(cell), {})[label] = pictures
    resources["handed_in"] = found
    return found


def _pictures(data: Any) -> dict[str, str]:
    """The pictures in a MIME bundle of a student's notebook, by kind, in base64; SVG is left out: it can act."""
    found = {}
    for kind in PICTURES:
        text = data.get(kind) if isinstance(data, dict) else None
        text = cell_text({"source": text}) if isinstance(text, str | list) else ""
        if re.fullmatch(r"[A-Za-z0-9+/=\s]+", text):
            found[kind] = "".join(text.split())
    return found


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
    original = context.get("resources", {}).get("handed_in", HandedIn())
    renderer = _Renderer(
        escape=students,
        allow_harmful_protocols=not students,
        attachments=original.attachments.get(marks.get("grade_id"), {}) if students else cell.get("attachments", {}),
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
