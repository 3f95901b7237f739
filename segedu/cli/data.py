"""`segedu data`: find, get, check and look at data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segedu.cli.common import Data, console, errors, plain_errors

if TYPE_CHECKING:
    import numpy as np

    from segedu.datasets.report import Report
    from segedu.datasets.samples import Samples, Target

app = typer.Typer(help="List, get, check and look at data sets.", no_args_is_help=True, rich_markup_mode="rich")

Name = Annotated[str, typer.Argument(help="A data set of `segedu data list`.", show_default=False)]
IMAGES = 200


@app.command("list", epilog="Example: [bold]segedu data list --data ~/data[/]")
def list_all(data: Data = None) -> None:
    """List the data sets: what they are, under which licence, and where they are on this machine."""
    from rich.table import Table

    from segedu.datasets import CATALOGUE, find_folder
    from segedu.datasets.local import data_folder

    table = Table("name", "what", "images", "here", show_lines=True)
    table.columns[0].no_wrap, table.columns[3].overflow = True, "fold"
    for name, entry in CATALOGUE.items():
        try:
            here = "needs no files" if entry.folder is None else str(find_folder(name, data))
        except FileNotFoundError:
            here = "no"
        except (ValueError, OSError) as error:
            here = str(error)
        table.add_row(name, f"{entry.about}; {entry.licence}", f"{entry.splits}; {entry.pixels}", here)
    console.print(table)
    console.print(f"Looked in {data_folder(data)}; another folder is named by --data or SEGEDU_DATA.", soft_wrap=True)


@app.command(
    epilog="Example: [bold]segedu data get coco-instances --split val --images 200 --categories person,dog[/]\n\n"
    "A download that was stopped goes on where it was when the same command is given again."
)
def get(
    name: Name,
    data: Data = None,
    split: Annotated[str | None, typer.Option(help="COCO only: train, val or train+val (the default).")] = None,
    images: Annotated[
        int | None,
        typer.Option(min=0, help=f"COCO only: how many images of each split; {IMAGES} by default, 0 for all (20 GB)."),
    ] = None,
    categories: Annotated[
        str | None, typer.Option(help="COCO only: images that show one of these, separated by commas.")
    ] = None,
) -> None:
    """Download a data set from its public home, and check it. What is there already stays, COCO's images too."""
    from segedu.datasets import CATALOGUE
    from segedu.datasets.catalogue import entry_of
    from segedu.datasets.local import data_folder

    with plain_errors():
        entry = entry_of(name)
        if entry.folder is None:
            console.print(f"{name} is generated: it needs no files.")
            return
        subset = {"split": split, "images": images, "categories": categories}
        if not name.startswith("coco-"):
            if given := [f"--{option}" for option, value in subset.items() if value is not None]:
                whole = ", ".join(one for one in CATALOGUE if not one.startswith("coco-"))
                raise ValueError(f"{', '.join(given)} is for COCO; {whole} come as a whole")
            subset = {}
        else:
            names = [one.strip() for one in (categories or "").split(",") if one.strip()]
            count = IMAGES if images is None else images or None
            subset = {"split": split or "train+val", "images": count, "categories": names}
        folder = data_folder(data) / entry.folder
        entry.load().get(folder, **subset)
        report = _check(name, folder)
    if report.wrong:
        errors.print(f"What came is wrong: delete it in {folder}, and get it again.", soft_wrap=True)
    _print(report, name, folder)


@app.command(epilog="Example: [bold]segedu data check camvid --data ~/data[/]")
def check(name: Name, data: Data = None) -> None:
    """Read all files of a data set, and list what is wrong: then the command ends with 1."""
    from segedu.datasets import find_folder
    from segedu.datasets.catalogue import entry_of

    with plain_errors():
        entry = entry_of(name)
        if entry.folder is None:
            console.print(f"{name} is generated: it needs no files.")
            return
        folder = find_folder(name, data)
        report = _check(name, folder)
    _print(report, name, folder)


@app.command(epilog="Example: [bold]segedu data preview dsb2018 --split val --index 3 --count 2 --out nuclei.png[/]")
def preview(
    name: Name,
    out: Annotated[Path, typer.Option("--out", help="The picture to write, such as preview.png.")],
    data: Data = None,
    split: Annotated[str, typer.Option(help="A split of the data set.")] = "train",
    index: Annotated[int, typer.Option(min=0, help="The first sample to show.")] = 0,
    count: Annotated[int, typer.Option(min=1, max=24, help="How many samples.")] = 3,
) -> None:
    """Draw samples: each image, and beside it its truth laid over it."""
    import numpy as np

    from segedu.datasets import open_dataset
    from segedu.plots import legend, overlay, panel

    with plain_errors():
        samples = open_dataset(name, split, data)
        if index >= len(samples):
            raise ValueError(f"--index must be below {len(samples)}, the number of samples in {split}, got {index}")
        chosen = range(index, min(index + count, len(samples)))
        pairs = [samples.read(one) for one in chosen]
        maps, names = _label_maps(samples, [target for _, target in pairs])
        pictures, titles = [], []
        for one, (image, target), labels in zip(chosen, pairs, maps, strict=True):
            pictures += [image, overlay(image, labels, ignore_index=255 if names else 0)]
            titles += [samples.names[one][:24], _title(samples, target)]
        colours = legend(np.concatenate([_categories(labels) for labels in maps])[None], names) if names else None
        figure = panel(pictures, titles, columns=2, legend=colours)
        figure.savefig(out, dpi=120)
    console.print(f"Wrote {out}", soft_wrap=True)


def _check(name: str, folder: Path) -> Report:
    from segedu.datasets.catalogue import entry_of

    with errors.status(f"reading all of {name}"):
        return entry_of(name).load().check(folder)


def _print(report: Report, name: str, folder: Path) -> None:
    console.print(f"{name} in {folder}", soft_wrap=True)
    for line in report.there:
        console.print(f"  {line}", highlight=False)
    if not report.wrong:
        console.print("Nothing is wrong with it.")
        return
    errors.print(f"[bold red]{len(report.wrong)} wrong:[/]", highlight=False)
    for number, line in enumerate(report.wrong, start=1):
        errors.print(f"{number:4}. {line}", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(1)


def _label_maps(samples: Samples, targets: list[Target]) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """What `overlay` paints, and the names of its colours; none where colours only tell instances apart.

    Of more classes than there are colours, those in these samples get numbers of their own.
    """
    import numpy as np

    from segedu.plots import PALETTE

    if samples.ignore_index is None:
        return [target["masks"] if isinstance(target, dict) else target for target in targets], ()
    maps = [
        np.stack([target["categories"], target["instances"]], -1) if isinstance(target, dict) else target
        for target in targets
    ]
    if len(samples.classes) <= len(PALETTE):
        return maps, samples.classes
    present = np.unique(np.concatenate([_categories(labels) for labels in maps]))
    present = present[present != 255]
    for labels in maps:
        known = labels[..., 0] != 255
        labels[known, 0] = np.searchsorted(present, labels[known, 0])
    return maps, tuple(samples.classes[label] for label in present)


def _categories(labels: np.ndarray) -> np.ndarray:
    return (labels[..., 0] if labels.ndim == 3 else labels).ravel()


def _title(samples: Samples, target: Target) -> str:
    """How many things there are to count."""
    if isinstance(target, dict):
        count = len(target["masks"]) if "masks" in target else target["instances"].max()
    elif samples.ignore_index is None:
        count = target.max()
    else:
        return "truth"
    return f"{count} object{'' if count == 1 else 's'}"
