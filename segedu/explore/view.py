"""What a look at a data set gives: a figure and a table, and the two as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from segedu.datasets.local import write
from segedu.plots import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, Any]
Progress = Callable[[Iterable, str], Iterable]
"""Called with items and what is done with them; gives the items, and may show how far it is."""

ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (tuple(colour / 255) for colour in PALETTE[1:8])


class View(NamedTuple):
    """A figure, and the table with its numbers: flat rows, each with the same keys."""

    figure: Figure
    table: list[dict[str, Any]]

    def save(self, folder: Path, name: str) -> list[Path]:
        """Write `name.png` and `name.csv` to a folder, which is made; an empty table makes an empty file."""
        image, text = io.BytesIO(), io.StringIO(newline="")
        self.figure.savefig(image, format="png", dpi=130)
        if self.table:
            writer = csv.DictWriter(text, list(self.table[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.table)
        paths = [folder / f"{name}.png", folder / f"{name}.csv"]
        write(paths[0], image.getvalue())
        write(paths[1], text.getvalue().encode())
        return paths


def untracked(items: Iterable, _what: str) -> Iterable:
    """The progress that shows nothing."""
    return items


def new_figure(columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a row of axes, on white; size in inches."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, columns, figsize=size, squeeze=False, layout="constrained", facecolor="white", **options
    )
    plt.close(figure)  # or a notebook would show it twice: as an open figure and as the cell's value
    return figure, axes[0]
