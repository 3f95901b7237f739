"""Which classes are seen together, and whether more often than chance would have it."""

from __future__ import annotations

import numpy as np

from segedu.explore.objects import Objects
from segedu.explore.view import Row, View, new_figure

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
    figure, axes = new_figure(2, (10, 1.4 + 0.32 * max(len(labels), 6)))
    for axis, values, texts, options, title in (
        (axes[0], shown, [[f"{value:.0f}" for value in row] for row in shown], {"cmap": "cividis"}, "images with both"),
        (
            axes[1],
            log_lift,
            [[_lift(*cell) for cell in zip(*rows, strict=True)] for rows in zip(lift, expected, strict=True)],
            {"cmap": "PuOr", "vmin": -3, "vmax": 3},
            f"lift, in brackets below {FEW} expected",
        ),
    ):
        picture = axis.imshow(values, **options)
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set(title=title, xlabel="class", ylabel="class")
        bar = figure.colorbar(picture, ax=axis, shrink=0.8, label="images" if axis is axes[0] else "lift")
        if axis is axes[1]:
            bar.set_ticks(range(-3, 4), labels=["⅛", "¼", "½", "1", "2", "4", "8"])
        for row, line in enumerate(texts):
            for column, text in enumerate(line):
                colour = picture.cmap(picture.norm(values[row, column]))
                dark = np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5 and np.isfinite(values[row, column])
                axis.text(column, row, text, ha="center", va="center", fontsize=6.5, color="white" if dark else "black")
    return View(figure, pairs(objects))


def _lift(value: float, expected: float) -> str:
    if np.isnan(value):
        return ""
    text = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
    return f"({text})" if expected < FEW else text
