"""What may be wrong with annotations, each finding with the ids to look it up by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from segedu.datasets.coco import Document, Record, is_number
from segedu.explore.crossings import self_crossings
from segedu.explore.objects import id_of, readable
from segedu.explore.view import VERMILION, Progress, View, new_figure, untracked
from segedu.metrics.overlap import mask_iou

KINDS = {
    "unreadable": "no mask or box can be made of it",
    "id": "has no id of its own",
    "crowd": "one mask for several objects",
    "tiny": "next to no pixels",
    "self-crossing": "the outline crosses itself",
    "outside": "the outline leaves the image",
    "duplicate": "nearly the mask of another one",
    "area": "the field `area` is not the mask's",
    "box": "the field `bbox` is not the mask's",
    "no annotations": "an image in which nothing is marked",
}
"""The kinds of findings. A crowd is no mistake, but who does not know of it will make some."""


@dataclass(frozen=True)
class Flaw:
    """One finding."""

    kind: str  #: of KINDS
    image_id: int
    annotation_id: int | None  #: None if it is the image; -1 if the annotation has no number for an id
    found: str  #: what was found, for people


@dataclass(frozen=True)
class Limits:
    """How much is too much."""

    tiny: int = 32  #: pixels; a mask with fewer is tiny
    same: float = 0.9  #: IoU of two masks of one image from which on they are duplicates
    area: float = 0.1  #: by how much of the mask `area` may differ from it
    area_pixels: int = 10  #: and by how many pixels at least, as small outlines never enclose quite their pixels
    box: float = 3.0  #: by how many pixels a side of `bbox` may differ from the mask's


def find_flaws(document: Document, limits: Limits | None = None, progress: Progress | None = None) -> list[Flaw]:
    """Look at every annotation, image by image, in the order of the images' ids.

    What cannot be read is not looked at further, and a mask without pixels is only tiny. Two crowds, or a crowd and
    an object in it, are never duplicates.

    Args:
        document: as `segedu.datasets.coco.read_document` gives it.
        limits: how much is too much; those of `Limits` if None.
        progress: wraps the images, to show how far it is.
    """
    limits = limits or Limits()
    names = {category["id"]: category["name"] for category in document.categories}
    flaws, seen = [], set()
    for image in (progress or untracked)(document.images, "looking for flaws"):
        if not document.annotations[image["id"]]:
            flaws.append(Flaw("no annotations", image["id"], None, f"nothing is marked in {image['file_name']}"))
        for annotation in document.annotations[image["id"]]:
            number = id_of(annotation)
            if number in seen or number == -1:
                found = "has been used before" if number in seen else f"must be a number, got {annotation.get('id')!r}"
                flaws.append(Flaw("id", image["id"], number, f"the id {found}"))
            seen.add(number)
        sound, masks, broken = readable(document, image)
        flaws += [Flaw("unreadable", image["id"], id_of(annotation), error) for annotation, error in broken]
        for annotation, mask in zip(sound, masks, strict=True):
            for kind, found in _of_one(annotation, mask, limits):
                name = names[annotation["category_id"]]
                flaws.append(Flaw(kind, image["id"], id_of(annotation), f"{name}: {found}"))
        flaws += _duplicates(image, sound, masks, names, limits)
    return flaws


def flaws(document: Document, limits: Limits | None = None, progress: Progress | None = None) -> View:
    """Find flaws, as `find_flaws` does.

    Returns:
        Bars that count them by kind, and rows with kind, image_id, annotation_id and found.
    """
    table = [asdict(flaw) for flaw in find_flaws(document, limits, progress)]
    counts = Counter(row["kind"] for row in table)
    figure, (axis,) = new_figure(1, (7, 3.4))
    values = [counts[kind] for kind in KINDS]
    axis.barh(range(len(KINDS)), values, color=VERMILION, edgecolor="black", linewidth=0.4)
    for place, value in enumerate(values):
        axis.text(value, place, f" {value:,}", va="center", fontsize=8)
    axis.set_yticks(range(len(KINDS)), [f"{kind}: {what}" for kind, what in KINDS.items()], fontsize=8)
    axis.set(xlabel="findings", ylabel="kind", ylim=(len(KINDS) - 0.4, -0.6), xlim=(0, 1.12 * max(1, *values)))
    axis.xaxis.get_major_locator().set_params(integer=True)
    return View(figure, table)


def _of_one(annotation: Record, mask: np.ndarray, limits: Limits) -> Iterator[tuple[str, str]]:
    """What one annotation shows by itself: kinds, and what was found."""
    height, width = mask.shape
    pixels = int(mask.sum())
    if annotation.get("iscrowd"):
        yield "crowd", f"{pixels:,} pixels for several"
    if pixels < limits.tiny:
        yield "tiny", f"{pixels} pixels"
    if isinstance(annotation["segmentation"], list):
        crossings = sum(len(self_crossings(polygon)) for polygon in annotation["segmentation"])
        if crossings:
            yield "self-crossing", f"crossings of its outline with itself: {crossings}"
        corners = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in annotation["segmentation"]])
        beyond = max(-corners.min(), (corners - (width, height)).max())
        if beyond > 0:
            yield "outside", f"its outline is {beyond:.1f} pixels outside of {width} x {height}"
    if not pixels:
        return
    area = annotation.get("area")
    if not is_number(area):
        yield "area", f"area must be a number, got {area!r:.80}"
    elif abs(area - pixels) > max(limits.area * pixels, limits.area_pixels):
        yield "area", f"area is {area:,.1f}, its mask has {pixels:,} pixels"
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    tight = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    x, y, box_width, box_height = annotation["bbox"]
    gap = np.abs(tight - (x, y, x + box_width, y + box_height)).max()
    if gap > limits.box:
        own = ", ".join(str(value) for value in (*tight[:2], *(tight[2:] - tight[:2])))
        yield "box", f"a side of bbox {annotation['bbox']} is {gap:.1f} pixels from that of its mask, [{own}]"


def _duplicates(
    image: Record, annotations: list[Record], masks: np.ndarray, names: dict[int, str], limits: Limits
) -> list[Flaw]:
    """Pairs of objects with nearly one mask, of one class or of two; the later one is listed."""
    alone = [place for place, annotation in enumerate(annotations) if not annotation.get("iscrowd")]
    if len(alone) < 2:
        return []
    overlaps = np.triu(mask_iou(masks[alone], masks[alone]), 1)
    found = []
    for a, b in np.argwhere(overlaps >= limits.same):  # two masks without pixels have NaN, and are none
        first, second = annotations[alone[a]], annotations[alone[b]]
        words = f"{names[second['category_id']]}: IoU {overlaps[a, b]:.2f} with {names[first['category_id']]}"
        found.append(Flaw("duplicate", image["id"], id_of(second), f"{words} {id_of(first)}"))
    return found
