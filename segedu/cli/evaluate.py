"""`segedu evaluate`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segedu.cli.common import CHECKPOINT, Data, Device, console, plain_errors

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLE = "Example: [bold]segedu evaluate camvid-deeplab --dataset camvid --split val[/]"


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help=CHECKPOINT)],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="A data set of `segedu data list`, or for SAM scenes or photos; by default the one it was trained on.",
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="A split of the data set; train+val joins two.")] = "val",
    data: Data = None,
    file: Annotated[Path | None, typer.Option("--json", help="Write the measures to this file.")] = None,
    device: Device = None,
) -> None:
    """Measure a trained model on a split of a data set, over all its pixels or objects."""
    import torch
    from rich.progress import track

    from segedu.datasets import open_dataset
    from segedu.datasets.local import write
    from segedu.training import load_model
    from segedu.training.tasks import task_class

    with plain_errors():
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        model, description = load_model(checkpoint, where)
        task = description["recipe"]["task"]
        if not (name := dataset or task.get("dataset")):
            raise ValueError(f"{checkpoint} was trained on several data sets: name one with --dataset")
        kind = task_class(task["kind"])
        images = getattr(kind, "open", open_dataset)(name, split, data=data)
        measures = kind.measure(
            model,
            images,
            where,
            lambda items, label: track(items, label, console=console, transient=True),
            **description["use"],
        )
    console.print(_table(measures, getattr(images, "classes", ())))
    if file is not None:
        with plain_errors():
            write(file, f"{json.dumps(_without_nan(measures), indent=2)}\n".encode())


def _table(measures: dict[str, Any], classes: tuple[str, ...]) -> Table:
    from rich.table import Table

    from segedu.training.record import in_words

    table = Table("measure", "value")
    table.columns[1].justify = "right"
    for name, value in in_words(measures, classes):
        table.add_row(name, value)
    return table


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what a class that is not there has becomes null."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
