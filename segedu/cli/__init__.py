"""The command line `segedu`."""

import typer

from segedu.cli import coco, data
from segedu.cli.evaluate import evaluate
from segedu.cli.export import export
from segedu.cli.segment import segment
from segedu.cli.train import train

app = typer.Typer(
    help="Get data, train the course's networks, measure them, and segment images of your own.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
for command in (train, evaluate, segment, export):
    app.command(epilog=command.__globals__["EXAMPLE"])(command)
app.add_typer(data.app, name="data")
app.add_typer(coco.app, name="coco")
