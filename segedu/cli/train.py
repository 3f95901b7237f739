"""`segedu train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segedu.cli.common import Data, Device, console, errors, plain_errors

EXAMPLE = (
    "Example: [bold]segedu train camvid-deeplab --data ~/data --out runs/camvid[/]\n\n"
    "On two GPUs, or two processes: [bold]torchrun --nproc-per-node 2 --no-python segedu train camvid-deeplab[/]"
)


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A recipe of the course, or a TOML file like one; without it, they are listed."),
    ] = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run; by default runs/RECIPE.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the recipe for this run: training.steps=100; may be given again."),
    ] = None,
    device: Device = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Further processes that load images.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what an earlier run left in the folder.")] = False,
    save_every: Annotated[float, typer.Option("--save-every", min=0, help="Seconds between saved states.")] = 60.0,
) -> None:
    """Train a model by a recipe, or go on with a training that was stopped or killed.

    The folder of the run gets model.safetensors (for `evaluate` and `segment`), record.csv, run.png, logs for
    TensorBoard, and the state from which the same command goes on after Ctrl-C, a crash or a power cut, bit for bit.
    """
    from segedu import training
    from segedu.training.machine import keep_freed_memory

    with plain_errors():
        if recipe is None:
            _list()
            return
        chosen = training.load_recipe(recipe, changes or ())
        folder = out or Path("runs") / chosen.name
        keep_freed_memory()
        try:
            model = training.train(
                chosen,
                folder,
                data=data,
                device=device,
                workers=workers,
                save_every=save_every,
                restart=restart,
                console=console,
            )
        except training.TrainingError as error:
            errors.print(f"[bold red]Error:[/] {error}", highlight=False)
            raise typer.Exit(1) from error
        except training.Stopped as stopped:
            errors.print(str(stopped), highlight=False)
            raise typer.Exit(130) from stopped
    console.print(f"{model}: the model; {folder / 'run.png'} shows how it went", highlight=False, soft_wrap=True)


def _list() -> None:
    from rich.table import Table

    from segedu.training import load_recipe, recipe_names

    table = Table("recipe", "trains")
    for name in recipe_names():
        table.add_row(name, load_recipe(name).description)
    console.print(table)
