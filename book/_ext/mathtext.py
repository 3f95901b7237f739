"""A renderer of mathematics for builds without Node: matplotlib's mathtext, as inline SVG in the colour of the text."""

from __future__ import annotations

from html import escape

from docutils import nodes
from matplotlib import rc_context
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
EM = 100  # outline units to one em
COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


def to_svg(tex: str) -> str:
    """One formula as an `<svg>` element, sized in em and set on the line; ValueError where mathtext cannot read it."""
    with rc_context({"mathtext.fontset": "stix"}):
        outline = TextPath((0, 0), f"${' '.join(tex.split())}$", size=EM)
    box = outline.get_extents().padded(4)
    pen = []
    for points, code in outline.iter_segments(curves=True, simplify=False):
        coordinates = "" if code == Path.CLOSEPOLY else " ".join(f"{value:.0f}" for value in points)
        pen.append(COMMANDS[code] + coordinates)
    return (
        f'<svg class="mathtext" role="img" aria-label="{escape(tex, quote=True)}" fill="currentColor"'
        f' viewBox="{box.x0:.0f} {-box.y1:.0f} {box.width:.0f} {box.height:.0f}"'
        f' style="width:{box.width / EM:.2f}em;height:{box.height / EM:.2f}em;vertical-align:{box.y0 / EM:.2f}em">'
        f'<path transform="scale(1 -1)" d="{"".join(pen)}"/></svg>'
    )


def render(tex: str) -> str:
    try:
        return to_svg(tex)
    except ValueError as error:
        logger.info("mathtext cannot set this formula; its TeX source is shown instead: %s (%s)", tex, error)
        return f"<code>{escape(tex)}</code>"


def visit_inline(translator: nodes.NodeVisitor, node: nodes.math) -> None:
    translator.body.append(render(node.astext()))
    raise nodes.SkipNode


def visit_block(translator: nodes.NodeVisitor, node: nodes.math_block) -> None:
    # matplotlib knows no display style: ask for large fractions by name
    tex = node.astext().replace(r"\frac", r"\dfrac")
    translator.body.append(f'<div class="mathtext-block">{render(tex)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathtext", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
