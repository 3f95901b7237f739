"""What the commands share: what they print with, their options, and how they end on an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from autograder.course import CourseError
from autograder.sandbox.client import SandboxUnavailable

CourseFolder = Annotated[Path, typer.Option("--course", help="The course: the folder with nbgrader_config.py.")]

console = Console()
errors = Console(stderr=True)


def progress_bar(label: str) -> Progress:
    """A progress bar that also reads well in a log file."""
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Show what an instructor can mend as one line, without a traceback."""
    try:
        yield
    except SandboxUnavailable as error:
        errors.print(f"[bold red]No sandbox:[/] {error}", highlight=False)
        errors.print("Students' code is not run without one. To grade all the same, untrusted: --insecure")
        raise typer.Exit(3) from error
    except (CourseError, OSError) as error:
        errors.print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error
