"""What the book adds to every page: local fonts and mathematics, links into the repository, working launch buttons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import ReferenceRole

VENDOR = Path("_build/vendor")  # filled by build.py from node_modules; relative to the book's folder


class RepositoryLink(ReferenceRole):
    """`` {repo}`exercises/ps01` `` and `` {repo}`text <path>` ``: a link to a file or folder of the repository."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        theme = self.config.html_theme_options
        kind = "blob" if Path(self.target).suffix else "tree"
        address = f"{theme['repository_url']}/{kind}/{theme['repository_branch']}/{self.target}"
        text = nodes.literal("", self.title) if not self.has_explicit_title else nodes.Text(self.title)
        return [nodes.reference("", "", text, refuri=address)], []


def fill_in_address(app: Sphinx, docname: str, source: list[str]) -> None:
    """Write the repository's address into code blocks, where no role works."""
    address = app.config.html_theme_options["repository_url"]
    source[0] = source[0].replace("@REPOSITORY-NAME@", address.rsplit("/", 1)[-1]).replace("@REPOSITORY@", address)


def use_vendor_files(app: Sphinx, config: Config) -> None:
    """Serve what npm fetched. Without it, matplotlib sets the mathematics and the reader's own fonts are used.

    The folder joins the static path here and not in `_config.yml`: Jupyter Book would load each of its scripts on
    every page.
    """
    vendor = Path(app.confdir) / VENDOR
    if vendor.is_dir():
        config.html_static_path.append(str(VENDOR))
    if (vendor / "mathjax/tex-svg.js").is_file():
        config.html_math_renderer = "mathjax"
        config.mathjax_path = "mathjax/tex-svg.js"
    else:
        config.html_math_renderer = "mathtext"


def add_fonts(app: Sphinx) -> None:
    if (Path(app.confdir) / VENDOR / "fonts/fonts.css").is_file():
        app.add_css_file("fonts/fonts.css")


def drop_thebe(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """Thebe is off, but Jupyter Book 1.x still loads its scripts, twice, and the second one throws."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in str(script).lower() and "thebe" not in str(getattr(script, "attributes", {})).lower()
    ]
    context["css_files"] = [css for css in context["css_files"] if "thebe" not in str(css).lower()]


def mend_roles(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """Mend two things that mislead screen readers.

    A folded cell gets the name that it shows, such as *Show code cell source*, and not one for all of them; and the
    list of references is no list by its role, since the entries in it have another role.
    """
    if "body" in context:
        body = context["body"].replace(' aria-label="Toggle hidden content"', "")
        context["body"] = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')


def launch_exercise(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Point the launch buttons at the chapter's exercise: Colab opens `.ipynb` only, and chapters are Markdown.

    A page names its notebook by `exercise: path/in/the/repository.ipynb` in its front matter; a page without one
    gets no launch buttons.
    """
    buttons = context.get("header_buttons", [])
    group = next((button for button in buttons if button.get("label") == "launch-buttons"), None)
    if group is None:
        return
    exercise = app.env.metadata[pagename].get("exercise")
    if not exercise:
        buttons.remove(group)
        return
    page = f"{app.config.html_theme_options['path_to_docs']}/{Path(app.env.doc2path(pagename, base=False))}"
    for button in group["buttons"]:
        button["url"] = button["url"].replace(page, exercise)
        button["tooltip"] = f"Open the exercise in {button['text']}"
    group["tooltip"] = "Open the exercise in the cloud"


def shorten_factories(app: Sphinx, what: str, name: str, thing: object, options: object, text: str, result: str):
    """Write `...` for a dataclass's default factory: `<factory>` is not Python, and Sphinx would print it raw."""
    return (text or "").replace("<factory>", "..."), result


def keep_bars(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Keep the bars of `|P|` in docstrings, which reStructuredText would take for a substitution."""
    lines[:] = [line if "`" in line else line.replace("|", "\\|") for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_role("repo", RepositoryLink())
    app.connect("config-inited", use_vendor_files)
    app.connect("builder-inited", add_fonts)
    app.connect("source-read", fill_in_address)
    app.connect("autodoc-process-signature", shorten_factories)
    app.connect("autodoc-process-docstring", keep_bars)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", mend_roles)
    app.connect("html-page-context", launch_exercise, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
