"""A run for people to look at: record.csv, run.png and TensorBoard's logs, all made of the history."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from segedu.datasets.local import write


def write_csv(path: Path, history: list[dict[str, Any]]) -> None:
    """Write a row for each entry of the history, with a column for each number in any of them."""
    columns = dict.fromkeys(key for row in history for key, value in row.items() if not isinstance(value, list))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write(path, text.getvalue().encode())


def in_words(measures: Mapping[str, Any], classes: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values of measures, for a table; those of each class come one by one."""
    rows = []
    for key, value in measures.items():
        name = key.removesuffix("_per_class").replace("_", " ").replace("iou", "IoU")
        if isinstance(value, list):
            rows += [(f"{name} of {label}", _number(one)) for label, one in zip(classes, value, strict=True)]
        else:
            rows.append((name, _number(value)))
    return rows


def _number(value: float | None) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "none there" if value is None or math.isnan(value) else f"{value:.4f}"


def plot_run(path: Path, history: list[dict[str, Any]], monitor: str, title: str) -> None:
    """Draw loss and measure over the steps as a PNG."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    losses = [(row["step"], row["loss"]) for row in history if "loss" in row]
    measures = [(row["step"], row[monitor]) for row in history if monitor in row]
    for axes, points, name in ((left, losses, "training loss"), (right, measures, monitor.replace("_", " "))):
        axes.plot(*zip(*points, strict=True), "o-" if len(points) < 40 else "-", markersize=3) if points else None
        axes.set(xlabel="step", title=name)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    write(path, image.getvalue())


class TensorBoard:
    """Logs that `tensorboard --logdir` shows; nothing, if it is not installed."""

    def __init__(self, folder: Path, first_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # takes seconds to import
        except ModuleNotFoundError:
            self.writer = None
        else:
            self.writer = SummaryWriter(str(folder), purge_step=first_step)

    def add(self, row: dict[str, Any]) -> None:
        """Log the numbers of one row of the history."""
        for key, value in row.items() if self.writer else ():
            if key != "step" and not isinstance(value, list):
                self.writer.add_scalar(key, value, row["step"])

    def close(self) -> None:
        if self.writer:
            self.writer.close()
