"""How many objects an image has, and of how many classes."""

from __future__ import annotations

import numpy as np

from segedu.explore.objects import Objects
from segedu.explore.view import BLUE, ORANGE, View, new_figure


def crowding(objects: Objects) -> View:
    """Count what each image shows.

    Returns:
        Histograms, and a row for each image, in the order of their ids, with

            image_id,
            objects (without crowds), crowds,
            classes that it shows, by an object or a crowd.
    """
    images = len(objects.image_ids)
    alone = np.bincount(objects.image[~objects.crowd], minlength=images)
    crowds = np.bincount(objects.image[objects.crowd], minlength=images)
    kinds = objects.shown().sum(1)
    columns = zip(objects.image_ids.tolist(), alone.tolist(), crowds.tolist(), kinds.tolist(), strict=True)
    table = [dict(zip(("image_id", "objects", "crowds", "classes"), values, strict=True)) for values in columns]
    figure, axes = new_figure(2, (8, 3))
    for axis, values, word, colour in zip(axes, (alone, kinds), ("objects", "classes"), (BLUE, ORANGE), strict=True):
        numbers, counts = np.unique(values, return_counts=True)
        axis.bar(numbers, counts, color=colour, edgecolor="black", linewidth=0.4)
        axis.set(xlabel=f"{word} in an image", ylabel="images")
        for side in (axis.xaxis, axis.yaxis):
            side.get_major_locator().set_params(integer=True)
        if images:
            axis.axvline(values.mean(), color="black", linestyle=":", label=f"mean {values.mean():.1f}")
            axis.legend(fontsize=8)
    return View(figure, table)
