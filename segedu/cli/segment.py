"""`segedu segment`."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segedu.cli.common import CHECKPOINT, Device, console, plain_errors

if TYPE_CHECKING:
    import numpy as np

EXAMPLE = (
    "Example: [bold]segedu segment camvid-deeplab street.jpg --out found[/]\n\n"
    "One object by a click: [bold]segedu segment sam-tiny cat.jpg "
    "--out found --points 320,200[/]"
)


def segment(
    checkpoint: Annotated[Path, typer.Argument(help=CHECKPOINT)],
    images: Annotated[list[Path], typer.Argument(help="JPEG, PNG or other images.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")],
    points: Annotated[
        list[str] | None,
        typer.Option("--points", help="For SAM: x,y of a click on the object, or x,y,0 beside it; may be given again."),
    ] = None,
    boxes: Annotated[
        list[str] | None,
        typer.Option("--boxes", help="For SAM: x0,y0,x1,y1 around an object; may be given again, for another object."),
    ] = None,
    device: Device = None,
) -> None:
    """Segment images of your own with a trained model.

    For each image there is an overlay to look at and a PNG of labels; segments.json has all segments in COCO's format.
    SAM is prompted with the points, which all mean one object, or boxes; without a prompt it looks for everything.
    """
    from rich.progress import track

    from segedu.training import load_model
    from segedu.training.segments import coco_document, write_json, write_label_map, write_overlay
    from segedu.training.tasks import task_class

    with plain_errors():
        names = _distinct_names(images)
        model, description = load_model(checkpoint, device or "cpu")
        find = task_class(description["recipe"]["task"]["kind"]).segment
        clicks, around = _numbers("--points", points, (2, 3)), _numbers("--boxes", boxes, (4,))
        prompts = {name: value for name, value in (("points", clicks), ("boxes", around)) if value}
        if prompts.keys() - signature(find).parameters:
            raise ValueError(f"{checkpoint} takes no prompts: --points and --boxes are for SAM")
        out.mkdir(parents=True, exist_ok=True)
        found = []
        for path, name in zip(track(images, "segmenting", console=console, transient=True), names, strict=True):
            image = _read(path)
            segments = find(model, image, **description["use"], **prompts)
            write_overlay(out / f"{name}-overlay.png", image, segments)
            write_label_map(out / f"{name}-labels.png", segments.labels)
            found.append((path.name, segments))
        write_json(out / "segments.json", coco_document(found, description["classes"]))
    count = sum(len(segments.masks) for _, segments in found)
    console.print(f"{count} segments in {len(found)} images: {out}", highlight=False, soft_wrap=True)


def _read(path: Path) -> np.ndarray:
    """An image as people see it: RGB, turned as its camera was held."""
    import numpy as np
    from PIL import ImageOps

    from segedu.datasets.local import FORMATS, open_image

    with open_image(path, (*FORMATS, "WEBP", "BMP", "GIF", "PPM")) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _numbers(option: str, values: list[str] | None, counts: tuple[int, ...]) -> list[tuple[float, ...]]:
    numbers = []
    for value in values or ():
        try:
            numbers.append(tuple(float(part) for part in value.split(",")))
        except ValueError:
            numbers.append(())
        if len(numbers[-1]) not in counts:
            wanted = " or ".join(str(count) for count in counts)
            raise ValueError(f"{option} takes {wanted} numbers with commas between them, got {value!r}")
    return numbers


def _distinct_names(images: list[Path]) -> list[str]:
    names = [path.stem for path in images]
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two images are called {double!r}, and would get the same results: segment them one by one")
    return names
