"""What all commands share: options, and errors without tracebacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console()
errors = Console(stderr=True)

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="SEGEDU_DATA", help="Folder of local data sets; by default where `segedu data get` puts them."
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1 ...; by default a GPU if there is one.")
]
CHECKPOINT = "model.safetensors of a run, or the name of a model that comes with the course, such as camvid-deeplab."


@contextmanager
def plain_errors() -> Iterator[None]:
    """Show what a user can mend as one line, without a traceback."""
    try:
        yield
    except (ValueError, OSError, ModuleNotFoundError) as error:
        errors.print(f"[bold red]Error:[/] {_escape(error)}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error


def _escape(error: Exception) -> str:
    from rich.markup import escape

    return escape(str(error))
