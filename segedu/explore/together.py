"""Which classes are seen together, and whether more often than chance would have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segedu.explore.objects import Objects
from segedu.explore.view import Row, View, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

FEW = 5
"""Of fewer expected images a lift says little: one image more or less changes it much."""


def cooccurrence(objects: Objects) -> np.ndarray:
    """How many images show both of two classes: int64 (K, K), symmetric; the diagonal counts the images of a class."""
    shown = objects.shown().astype(np.int64)
    return shown.T @ shown


def pairs(objects: Objects) -> list[Row]:
    """All pairs of two classes that occur, those in most images first.

    If the classes knew nothing of each other, a pair would be in `expected` = n_a n_b / M of the M images, where n_a
    and n_b show either. Images without annotations are among the M.

    Returns:
        Rows with class_a, class_b, images (that show both), images_a, images_b, expected, and lift: images / expected,
        1 for classes that know nothing of each other.
    """
    matrix, names, total = cooccurrence(objects), objects.names, len(objects.image_ids)
    occurring = np.flatnonzero(matrix.diagonal())
    rows = []
    for place, a in enumerate(occurring):
        for b in occurring[place + 1 :]:
            expected = matrix[a, a] * matrix[b, b] / total
            rows.append(
                {
                    "class_a": names[a],
                    "class_b": names[b],
                    "images": int(matrix[a, b]),
                    "images_a": int(matrix[a, a]),
                    "images_b": int(matrix[b, b]),
                    "expected": float(expected),
                    "lift": float(matrix[a, b] / expected),
                }
            )
    return sorted(rows, key=lambda row: -row["images"])


def most_shown(matrix: np.ndarray, most: int) -> np.ndarray:
    """The labels of the classes in most images, at most so many, of a matrix of `cooccurrence`."""
    order = np.argsort(-matrix.diagonal(), kind="stable")[:most]
    return order[matrix.diagonal()[order] > 0]


def together(objects: Objects, most: int = 12) -> View:
    """Set the classes against each other.

    Args:
        objects: measured ones.
        most: how many classes the figure shows, those in most images; the table has all that occur.

    Returns:
        Heat maps of the images that show both of two classes, and of their lift; and the rows of `pairs`.
    """
    matrix = cooccurrence(objects)
    labels = most_shown(matrix, most)
    shown = matrix[np.ix_(labels, labels)].astype(float)
    expected = np.outer(shown.diagonal(), shown.diagonal()) / max(len(objects.image_ids), 1)
    lift = np.where(np.eye(len(labels), dtype=bool), np.nan, shown / expected)
    with np.errstate(divide="ignore"):
        log_lift = np.clip(np.log2(lift), -3, 3)

    names = [objects.names[label] for label in labels]
    figure, (left, right) = new_figure(2, (10, 1.4 + 0.32 * max(len(labels), 6)))
    if not len(labels):
        return View(figure, [])
    counts = left.imshow(shown, cmap="cividis", vmin=0)
    lifts = right.imshow(log_lift, cmap="PuOr", vmin=-3, vmax=3, alpha=np.clip(expected / FEW, 0.1, 1))
    left.set_title("images with both", fontsize=10)
    right.set_title(f"lift (pale, in brackets: below {FEW} expected)", fontsize=10)
    for place in np.ndindex(shown.shape):
        _write(left, place, f"{shown[place]:.0f}", counts, 1.0)
        if np.isfinite(lift[place]):
            _write(right, place, _lift(lift[place], expected[place]), lifts, min(expected[place] / FEW, 1))
    for axis in (left, right):
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set(xlabel="class", ylabel="class")
    figure.colorbar(counts, ax=left, shrink=0.8, label="images")
    bar = figure.colorbar(lifts, ax=right, shrink=0.8, label="lift")
    bar.solids.set_alpha(1)
    bar.set_ticks(range(-3, 4), labels=["⅛", "¼", "½", "1", "2", "4", "8"])
    return View(figure, pairs(objects))


def _write(axis: Axes, place: tuple[int, ...], text: str, picture: AxesImage, strength: float) -> None:
    """Write into a cell, in white where its colour is dark."""
    row, column = place
    colour = picture.cmap(picture.norm(picture.get_array()[place]))[:3]
    dark = strength * (1 - np.dot(colour, (0.299, 0.587, 0.114))) > 0.5
    axis.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")


def _lift(value: float, expected: float) -> str:
    text = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
    return f"({text})" if expected < FEW else text
