"""`segedu coco explore`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segedu.cli.common import Data, console, errors, plain_errors

if TYPE_CHECKING:
    import numpy as np

    from segedu.datasets.coco import Document
    from segedu.explore import Objects, View

EXAMPLE = "Example: [bold]segedu coco explore --data ~/data --split val --out coco-val[/]"


def explore(
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Folder for the figures (PNG) and tables (CSV).")],
    data: Data = None,
    split: Annotated[str, typer.Option("--split", help="train or val.")] = "val",
) -> None:
    """Look at what COCO's instances are: classes, sizes, places, company, colours, and flaws of the annotations."""
    from rich.markup import escape
    from rich.progress import track

    from segedu import explore as look
    from segedu.datasets import find_folder
    from segedu.datasets.coco import SPLITS, lacking, read_document
    from segedu.datasets.coco_instances import annotations_file, categories_of

    def progress(items, what):
        return track(list(items), what, console=errors, transient=True)

    tables: dict[str, list[dict]] = {}

    def keep(name: str, view: View) -> None:
        view.save(out, name)
        tables[name] = view.table

    damage: Exception | None = None
    with plain_errors():
        if split not in SPLITS:
            raise ValueError(f"--split must be one of {', '.join(SPLITS)}, got {split!r}")
        folder = find_folder("coco-instances", data)
        with errors.status("reading annotations"):
            document = read_document(annotations_file(folder, split), categories_of)
        out.mkdir(parents=True, exist_ok=True)  # now, and not when all has been measured
        objects = look.measure(document, progress)
        for view in (look.classes, look.sizes, look.positions, look.crowding, look.together, look.chords):
            keep(view.__name__, view(objects))
        keep("flaws", look.flaws(document, progress=progress))
        photos = folder / f"{split}2017"
        no_photos = not any((photos / image["file_name"]).is_file() for image in document.images)
        try:
            if not no_photos:
                if lacks := lacking(photos, document.images):
                    raise FileNotFoundError(f"{lacks}; go on with the download: segedu data get coco-instances")
                keep("colours", look.colours(_pixels(photos, document, progress)))
        except (ValueError, OSError) as error:  # it takes longest, and what was found without it is shown
            damage = error
    _summary(objects, tables)
    if no_photos:
        console.print(f"No colours: there are no images in {escape(str(photos))}", soft_wrap=True)
    console.print(f"Wrote {', '.join(tables)} as .png and .csv to {escape(str(out))}", soft_wrap=True)
    if damage:
        errors.print(f"[bold red]No colours:[/] {escape(str(damage))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2)


def _pixels(photos: Path, document: Document, progress: Callable) -> Iterator[np.ndarray]:
    from segedu.datasets.coco import read_pixels

    with closing(progress(document.images, "counting colours")) as images:
        for image in images:
            yield read_pixels(photos / image["file_name"], image)


def _summary(objects: Objects, tables: dict[str, list[dict]]) -> None:
    """The findings that one wants to know first."""
    from collections import Counter

    from rich.markup import escape
    from rich.table import Table

    from segedu.explore import imbalance

    classes = [row for row in tables["classes"] if row["images"]]
    images, alone = len(objects.image_ids), int((~objects.crowd).sum())
    table = Table("what", "found")
    table.add_row("images", f"{images:,}")
    table.add_row("objects, and crowds", f"{alone:,}, and {int(objects.crowd.sum()):,}")
    table.add_row("classes that occur", f"{len(classes)} of {len(objects.names)}")
    if alone:
        first = classes[0]
        table.add_row("most frequent class", f"{escape(first['class'])}, {first['share']:.0%} of all objects")
        table.add_row("most to least frequent", f"{imbalance(classes):,.0f} : 1")
        every = tables["sizes"][0]
        shares = (f"{every[kind] / alone:.0%} {kind}" for kind in ("small", "medium", "large"))
        table.add_row("sizes, by COCO's limits", ", ".join(shares))
        table.add_row("median object", f"{every['median_relative_area']:.2%} of its image")
        table.add_row("in the middle ninth", f"{tables['positions'][0]['in_middle']:.0%} of the objects")
        per_image = sum(row["classes"] for row in tables["crowding"]) / images
        table.add_row("in an image, on average", f"{alone / images:.1f} objects of {per_image:.1f} classes")
    if tables["together"]:
        pair = tables["together"][0]
        names = escape(f"{pair['class_a']} and {pair['class_b']}")
        table.add_row(
            "most often together", f"{names}: {pair['images']} images, {pair['expected']:.1f} expected by chance"
        )
    for word in ("mean", "std") if "colours" in tables else ():
        values = ", ".join(f"{row[word]:.3f}" for row in tables["colours"])
        table.add_row(f"{word} of red, green, blue (0 to 1)", values)
    for kind, count in Counter(row["kind"] for row in tables["flaws"]).most_common():
        table.add_row(f"flaws: {kind}", f"{count:,}")
    console.print(table)
