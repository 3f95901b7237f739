"""`segedu export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segedu.cli.common import CHECKPOINT, console, plain_errors

EXAMPLE = "Example: [bold]segedu export sam-tiny --out onnx[/]"


def export(
    checkpoint: Annotated[Path, typer.Argument(help=CHECKPOINT)],
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")],
) -> None:
    """Write a SAM as ONNX files, for programs without PyTorch, such as a web page.

    encoder.onnx runs once for an image, decoder.onnx for each prompt; the page on SAM in the book's reference says what
    they take and give.
    """
    from segedu.models.sam import Sam
    from segedu.models.sam.onnx import export_onnx
    from segedu.training import load_model

    with plain_errors():
        model, description = load_model(checkpoint)
        if not isinstance(model, Sam):
            raise ValueError(f"only a SAM can be exported; {checkpoint} is a {description['model']['name']}")
        with console.status("exporting, which takes a minute"):
            paths = export_onnx(model, out)
    for path in paths:
        console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", highlight=False, soft_wrap=True)
