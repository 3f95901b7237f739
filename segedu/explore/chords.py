"""Which classes are seen together, as a chord diagram."""

from __future__ import annotations

import numpy as np

from segedu.explore.objects import Objects
from segedu.explore.together import cooccurrence, most_shown, pairs
from segedu.explore.view import View, new_figure
from segedu.plots import PALETTE

GAP = 0.03  # between two arcs, as a part of the circle
INNER, OUTER = 0.94, 1.0


def chords(objects: Objects, most: int = 10) -> View:
    """Give each class an arc of a circle, and join two arcs by a ribbon as wide as the images that show both.

    A ribbon has the colour of the class that is in more images. An arc is as long as its ribbons are wide together.

    Args:
        objects: measured ones.
        most: how many classes the figure shows at most, those in most images; of these, such as are never seen with
            another one have no arc.

    Returns:
        The diagram, and the rows of `pairs` that it shows.
    """
    matrix = cooccurrence(objects)
    labels = most_shown(matrix, most)
    shared = matrix[np.ix_(labels, labels)]
    np.fill_diagonal(shared, 0)
    labels, shared = labels[shared.any(1)], shared[shared.any(1)][:, shared.any(1)]
    names = [objects.names[label] for label in labels]
    rows = [row for row in pairs(objects) if row["images"] and {row["class_a"], row["class_b"]} <= set(names)]
    return View(_draw(shared, names), rows)


def spans(shared: np.ndarray) -> dict[tuple[int, int], tuple[float, float]]:
    """Where on the circle the ribbons end: for the end at class i of the ribbon to class j, two angles in radians.

    Along an arc the ribbons go first to the class before it, then on backwards round the circle, so that those of one
    arc never cross each other.

    Args:
        shared: counts (K, K), symmetric, 0 on the diagonal, some in every row.
    """
    count = len(shared)
    per_image = 2 * np.pi * (1 - GAP * count) / max(shared.sum(), 1)
    ends, angle = {}, 0.0
    for i in range(count):
        for j in [(i - step) % count for step in range(1, count)]:
            if shared[i, j]:
                ends[i, j] = (angle, angle := angle + per_image * shared[i, j])
        angle += 2 * np.pi * GAP
    return ends


def _draw(shared: np.ndarray, names: list[str]):
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    figure, (axis,) = new_figure(1, (6, 6))
    axis.set(xlim=(-1.45, 1.45), ylim=(-1.45, 1.45), aspect="equal")
    axis.set_axis_off()
    colours = PALETTE[1 + np.arange(len(names)) % (len(PALETTE) - 1)] / 255
    ends = spans(shared)
    for i, j in sorted((i, j) for i, j in ends if i < j):
        near, far = _arc(*ends[i, j]), _arc(*ends[j, i])
        # Out along one arc, through the middle to the other, along it, and back: a quadratic curve each way.
        corners = [*near, (0, 0), *far, (0, 0), near[0]]
        bend = [Path.CURVE3, Path.CURVE3]
        codes = [Path.MOVETO, *[Path.LINETO] * (len(near) - 1), *bend, *[Path.LINETO] * (len(far) - 1), *bend]
        axis.add_patch(PathPatch(Path(corners, codes), facecolor=(*colours[i], 0.55), edgecolor="black", linewidth=0.5))
    for i, name in enumerate(names):
        own = [angle for (a, _), span in ends.items() if a == i for angle in span]
        first, last = min(own), max(own)
        band = [*_arc(first, last, INNER), *_arc(last, first, OUTER)]
        axis.add_patch(PathPatch(Path(band, closed=False), facecolor=colours[i], edgecolor="black", linewidth=0.8))
        middle = (first + last) / 2
        x, y = 1.05 * np.cos(middle), 1.05 * np.sin(middle)
        turn = np.degrees(middle)
        left = np.cos(middle) < 0
        axis.text(
            x,
            y,
            f"{name} ({shared[i].sum()})",
            rotation=turn + 180 * left,
            rotation_mode="anchor",
            ha="right" if left else "left",
            va="center",
            fontsize=9,
        )
    return figure


def _arc(start: float, end: float, radius: float = INNER) -> np.ndarray:
    """Points (P, 2) of an arc, about a degree apart."""
    angles = np.linspace(start, end, 2 + int(abs(end - start) * 57))
    return radius * np.stack([np.cos(angles), np.sin(angles)], -1)
