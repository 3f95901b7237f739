"""Where in their images the objects are."""

from __future__ import annotations

import numpy as np

from segedu.explore.objects import Objects
from segedu.explore.view import Row, View, new_figure


def positions(objects: Objects, bins: int = 12) -> View:
    """Lay all images over each other, stretched to a unit square, and see where objects are; crowds are left out.

    Args:
        objects: measured ones.
        bins: of the map of centres, along a side.

    Returns:
        Heat maps of the objects' centres and of their masks; and rows, the first one for all classes together, with

            class, objects,
            mean_x, mean_y: of the centres, from 0 at the left and at the top to 1,
            spread_x, spread_y: their standard deviations; 0.289 if they were spread evenly,
            in_middle: the share of centres in the middle ninth of the image; 0.111 if they were spread evenly.
    """
    known = ~objects.crowd & (objects.area > 0)
    centres, labels = objects.centre[known], objects.label[known]
    table = [_row("all", centres)] if len(centres) else []
    for label in np.argsort(-np.bincount(labels, minlength=len(objects.names)), kind="stable"):
        if (own := labels == label).any():
            table.append(_row(objects.names[label], centres[own]))
    counts, _, _ = np.histogram2d(centres[:, 1], centres[:, 0], bins, ((0, 1), (0, 1)))
    return View(_draw(counts, objects.cover), table)


def _row(name: str, centres: np.ndarray) -> Row:
    (mean_x, mean_y), (spread_x, spread_y) = centres.mean(0), centres.std(0)
    return {
        "class": name,
        "objects": len(centres),
        "mean_x": float(mean_x),
        "mean_y": float(mean_y),
        "spread_x": float(spread_x),
        "spread_y": float(spread_y),
        "in_middle": float((np.abs(centres - 0.5) < 1 / 6).all(1).mean()),
    }


def _draw(counts: np.ndarray, cover: np.ndarray):
    figure, axes = new_figure(2, (8, 3.6))
    maps = ((counts, "centres of objects", "objects"), (cover, "masks of objects", "objects that cover the place"))
    for axis, (values, title, unit) in zip(axes, maps, strict=True):
        shown = axis.imshow(values, cmap="cividis", vmin=0, extent=(0, 1, 1, 0), interpolation="nearest")
        axis.set(title=title, xlabel="x (part of the width)", ylabel="y (part of the height)")
        figure.colorbar(shown, ax=axis, label=unit, shrink=0.85)
    return figure
