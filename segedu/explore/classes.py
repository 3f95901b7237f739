"""Which classes there are, and how unevenly."""

from __future__ import annotations

import numpy as np

from segedu.explore.objects import Objects
from segedu.explore.view import BLUE, Row, View, new_figure


def classes(objects: Objects, most: int = 30) -> View:
    """Count objects, images and pixels of each class, the most frequent first.

    Args:
        objects: measured ones.
        most: how many classes the figure shows; the table has them all.

    Returns:
        Bars on logarithmic axes, and rows with

            class, supercategory,
            objects (without crowds), crowds,
            images that show the class, by an object or a crowd,
            pixels that a mask of the class covers,
            share of all objects, 0 to 1.
    """
    count = len(objects.names)
    alone = np.bincount(objects.label[~objects.crowd], minlength=count)
    crowds = np.bincount(objects.label[objects.crowd], minlength=count)
    images = objects.shown().sum(0)
    table = [
        {
            "class": objects.names[label],
            "supercategory": objects.supercategories[label],
            "objects": int(alone[label]),
            "crowds": int(crowds[label]),
            "images": int(images[label]),
            "pixels": int(objects.class_pixels[label]),
            "share": float(alone[label] / max(alone.sum(), 1)),
        }
        for label in np.argsort(-alone, kind="stable")
    ]
    return View(_draw(table[:most], count), table)


def imbalance(table: list[Row], column: str = "objects") -> float:
    """How many times as much the most frequent class has as the rarest one that occurs; NaN if none does.

    Args:
        table: that of `classes`.
        column: "objects", "images" or "pixels".
    """
    counts = [row[column] for row in table if row[column]]
    return max(counts) / min(counts) if counts else float("nan")


def _draw(rows: list[Row], count: int):
    figure, axes = new_figure(3, (9, 1.2 + 0.2 * max(len(rows), 3)), sharey=True)
    places = np.arange(len(rows))
    for axis, column in zip(axes, ("objects", "images", "pixels"), strict=True):
        values = [row[column] for row in rows]
        axis.barh(places, values, color=BLUE, height=0.75)
        axis.set_xscale("symlog", linthresh=1)  # a class without any has a place, too
        axis.xaxis.get_major_locator().set_params(numticks=5)
        axis.set_xlabel(f"{column} (logarithmic)")
        axis.set_xlim(0, max([1, *values]) ** 1.6 * 10)
        axis.grid(axis="x", alpha=0.3)
        for place, value in zip(places, values, strict=True):
            axis.text(max(value, 0.1) * 1.2, place, f"{value:,}", va="center", fontsize=7.5)
    names = [f"{row['class']} ({row['supercategory']})" if row["supercategory"] else row["class"] for row in rows]
    axes[0].set_yticks(places, names, fontsize=8)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    axes[0].set_ylabel("class (supercategory)" if count <= len(rows) else f"{len(rows)} most frequent of {count}")
    return figure
