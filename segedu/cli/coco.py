"""`segedu coco`: look into COCO."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segedu.cli import coco_explore
from segedu.cli.common import Data, console, plain_errors

if TYPE_CHECKING:
    from segedu.datasets.coco_subset import Subset

app = typer.Typer(help="Look into COCO.", no_args_is_help=True, rich_markup_mode="rich")
app.command(epilog=coco_explore.EXAMPLE)(coco_explore.explore)

IMAGES = 200
ROUNDING = 1e-9  # by which two programs may differ in a mean
HERE = "127.0.0.1"  # in a container FiftyOne would let other machines in, if it were not told


@app.command(
    epilog="Example: [bold]segedu coco fiftyone --images 50 --categories person,dog --predictions results.json[/]\n\n"
    "FiftyOne comes with [bold]pip install 'segedu\\[eda]'[/], COCO with [bold]segedu data get coco-instances[/] or "
    "with [bold]fiftyone zoo datasets load coco-2017 --splits validation --kwargs max_samples=200[/]."
)
def fiftyone(
    data: Data = None,
    split: Annotated[str, typer.Option(help="train or val.")] = "val",
    images: Annotated[int, typer.Option(min=0, help="How many images, the first by their ids; 0 for all.")] = IMAGES,
    categories: Annotated[
        str | None, typer.Option(help="Images that show one of these, separated by commas; by default any.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="What a model found, to compare: COCO's results JSON, or a folder of PNG label maps."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Keep the data set in FiftyOne's database under this name.", show_default=False)
    ] = None,
    show: Annotated[bool, typer.Option("--app/--no-app", help="Open FiftyOne's App in the browser.")] = True,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the App, on this machine only.")] = 5151,
) -> None:
    """Load images of COCO with their truth into FiftyOne, compare predictions with it, and look at both in the App."""
    from shlex import quote

    from rich.markup import escape
    from rich.progress import track

    from segedu.datasets.coco_subset import open_subset
    from segedu.datasets.voxel51 import connect, in_use, to_fiftyone

    os.environ.setdefault("FIFTYONE_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("FIFTYONE_SHOW_PROGRESS_BARS", "false")  # we show ours
    with plain_errors():
        if name == "":
            raise ValueError("--name must not be empty: leave it out, and the data set is not kept")
        if show:
            _check_port(port)
        with console.status("Starting FiftyOne"):
            program = connect()
        chosen = [one.strip() for one in (categories or "").split(",") if one.strip()]
        with console.status("Reading COCO"):
            subset = open_subset(data, split, images or None, chosen, program.config.dataset_zoo_dir)
            found = None if predictions is None else _read(predictions, subset)
        with in_use():
            with closing(track(subset.images, "Loading", console=console)) as loading:
                dataset = to_fiftyone(subset, name or f"segedu-coco-{split}", images=loading)
            truth = " and ".join(["objects"] * bool(subset.instances) + ["label maps"] * bool(subset.panoptic))
            what = f"{len(dataset)} images of {split} with {truth}"
            console.print(f"{escape(dataset.name)}: {what}, from {escape(str(subset.photos))}", soft_wrap=True)
            if found is not None:
                _compare(dataset, subset, found)
            if name is not None:
                dataset.persistent = True  # now that it is whole
                console.print(f"FiftyOne keeps it: fiftyone app launch {escape(quote(name))}", soft_wrap=True)
        if show:
            _show(program, dataset, port)


def _show(program: ModuleType, dataset: Any, port: int) -> None:
    """Open the App, and wait until Ctrl-C."""
    from fiftyone.core.service import ServiceListenTimeout

    try:
        session = program.launch_app(dataset, port=port, address=HERE)
    except ServiceListenTimeout as error:
        raise OSError(
            f"the App did not start in a minute ({error}): try again when the machine is less busy"
        ) from error
    console.print(f"The App is at http://{HERE}:{port} until Ctrl-C.")
    try:
        session.wait(-1)
    except KeyboardInterrupt:
        with console.status("Stopping the App"):
            session.close()


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HERE, port))
        except OSError as error:
            raise OSError(
                f"port {port} must be free for the App, and is not ({error.strerror}): give another --port"
            ) from error


def _read(predictions: Path, subset: Subset) -> dict[int, Any]:
    """Results of objects from a file, or label maps from a folder."""
    from segedu.datasets.coco_subset import read_label_maps, read_results

    if not predictions.exists():
        raise FileNotFoundError(f"--predictions must name a file or a folder, got {predictions}, which is not there")
    if predictions.is_dir() and subset.panoptic:
        return read_label_maps(predictions, subset)
    if predictions.is_file() and subset.instances:
        return read_results(predictions, subset)
    there = [name for name, one in (("instances", subset.instances), ("panoptic maps", subset.panoptic)) if one]
    raise ValueError(
        "--predictions must be COCO's results, a JSON file, to compare with instances, or a folder of label maps to "
        f"compare with panoptic maps; got {predictions}, and there are {' and '.join(there)}"
    )


def _compare(dataset: Any, subset: Subset, found: dict[int, Any]) -> None:
    from rich.table import Table

    from segedu.datasets.voxel51 import add_label_maps, add_predictions
    from segedu.datasets.voxel51_scores import score_label_maps, score_objects

    of_objects = isinstance(next(iter(found.values())), list)
    if of_objects:
        of_images = f"{sum(map(bool, found.values())):,} of the {len(found):,} images"
        console.print(f"Predictions: {sum(map(len, found.values())):,} objects in {of_images}", highlight=False)
    with console.status("Adding predictions"):
        (add_predictions if of_objects else add_label_maps)(dataset, subset, found)
    with _progress("Comparing") as progress:
        scores = (score_objects if of_objects else score_label_maps)(dataset, subset, found, progress)
    table = Table("from 0 to 1", "segedu", "FiftyOne")
    for metric, values in scores.items():
        table.add_row(metric, *map(_number, values))
    console.print(table)
    if of_objects and any(theirs is not None and abs(ours - theirs) > ROUNDING for ours, theirs in scores.values()):
        console.print(
            "FiftyOne counts predictions within crowds as wrong; COCO, and segedu, leave them out. Where scores are "
            "equal, FiftyOne puts right predictions first; COCO, and segedu, keep their order."
        )


def _number(value: float | None) -> str:
    """A measure; COCO says -1 of what there is not, and a mean of nothing is NaN."""
    if value is None:
        return ""
    return f"{value:.4f}" if value >= 0 else "none there"


@contextmanager
def _progress(text: str) -> Iterator[Any]:
    """A bar for FiftyOne to move: it calls what this yields with a bar of its own."""
    from rich.progress import Progress

    with Progress(console=console) as bar:
        task = bar.add_task(text, total=None)
        yield lambda theirs: bar.update(task, completed=theirs.iteration, total=theirs.total)
