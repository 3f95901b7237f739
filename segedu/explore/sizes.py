"""How large the objects are: in pixels, as COCO's measures ask, and as a part of their image."""

from __future__ import annotations

import numpy as np

from segedu.explore.objects import Objects
from segedu.explore.view import BLUE, ORANGE, SKY, Row, View, new_figure

LIMITS = (32**2, 96**2)
"""Where small ends and large begins, in pixels of the mask (COCO's detection evaluation)."""

KINDS = {"small": (SKY, ""), "medium": (ORANGE, "///"), "large": (BLUE, "...")}  # told apart in grey by the hatching


def sizes(objects: Objects, most: int = 15) -> View:
    """Measure the objects of each class, crowds left out; the classes with the most objects come first.

    Args:
        objects: measured ones.
        most: how many classes the figure shows; the table has all that occur.

    Returns:
        Histograms of area in pixels and of area relative to the image, shares of small, medium and large; and rows,
        the first one for all classes together, with

            class, objects,
            small (below 32² pixels), medium, large (96² or more): numbers of objects,
            median_area in pixels,
            median_relative_area, least_relative_area, largest_relative_area: parts of the image, 0 to 1.
    """
    alone = ~objects.crowd
    area, label = objects.area[alone], objects.label[alone]
    relative = area / objects.image_areas[objects.image[alone]]
    kind = np.searchsorted(LIMITS, area, side="right")
    order = np.argsort(-np.bincount(label, minlength=len(objects.names)), kind="stable")
    table = [_row("all", area, relative, kind)] if len(area) else []
    for one in order:
        if (own := label == one).any():
            table.append(_row(objects.names[one], area[own], relative[own], kind[own]))
    return View(_draw(area, relative, table[: most + 1]), table)


def _row(name: str, area: np.ndarray, relative: np.ndarray, kind: np.ndarray) -> Row:
    return {
        "class": name,
        "objects": len(area),
        **{word: int((kind == number).sum()) for number, word in enumerate(KINDS)},
        "median_area": float(np.median(area)),
        "median_relative_area": float(np.median(relative)),
        "least_relative_area": float(relative.min()),
        "largest_relative_area": float(relative.max()),
    }


def _draw(area: np.ndarray, relative: np.ndarray, rows: list[Row]):
    figure, axes = new_figure(3, (9.4, max(3.2, 1.2 + 0.19 * len(rows))))
    histograms = (
        (axes[0], area, "area of an object (pixels)", np.logspace(0, 6, 37), ",.0f"),
        (axes[1], 100 * relative, "area of an object (% of its image)", np.logspace(-3, 2, 31), ".2g"),
    )
    for axis, values, label, bins, form in histograms:
        axis.hist(values, bins, color="0.6", edgecolor="black", linewidth=0.4)
        axis.set(xscale="log", xlabel=label, ylabel="objects")
        if len(values):
            axis.axvline(np.median(values), color="black", linestyle=":", label=f"median {np.median(values):{form}}")
    for limit, style in zip(LIMITS, ("--", "-."), strict=True):
        axes[0].axvline(limit, color=BLUE, linestyle=style, label=f"{limit**0.5:.0f}² pixels")
    for axis in axes[:2]:
        axis.set_ylim(top=1.35 * axis.get_ylim()[1])  # room for the legend
        if axis.get_lines():
            axis.legend(fontsize=7.5, loc="upper left")
    places, left = np.arange(len(rows)), np.zeros(len(rows))
    for word, (colour, hatch) in KINDS.items():
        share = np.array([100 * row[word] / row["objects"] for row in rows])
        axes[2].barh(places, share, left=left, color=colour, hatch=hatch, edgecolor="black", linewidth=0.4, label=word)
        left += share
    axes[2].set_yticks(places, [f"{row['class']} ({row['objects']:,})" for row in rows], fontsize=8)
    axes[2].set(xlabel="objects (%)", ylabel="class (objects)", xlim=(0, 100), ylim=(len(rows) - 0.4, -0.6))
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    return figure
