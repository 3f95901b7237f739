"""The photographs that scikit-image ships, with masks of ours: real images with truth for things and stuff, offline.

The masks are polygons in `data/photos/` of the repository; its README says how they were made and what is wrong with
them, and names the photographs' sources and licences.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

from segedu.masks import panoptic_to_instances, polygons_to_mask
from segedu.shipped import shipped_folder

VOID = 255


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph and its truth.

    A label is an index into `categories`, which all photographs share; `things` and `stuff` are the labels of either
    kind. Instance i + 1 of the panoptic map is `instances[i]`, numbered from back to front over all categories; stuff
    has instance 0. Pixels that nobody can name are void: label 255, instance 0.
    """

    name: str
    image: np.ndarray  # (H, W, 3) or, if the photograph is grey, (H, W); uint8, RGB
    semantic: np.ndarray  # (H, W) uint8, labels or 255
    instances: np.ndarray  # (N, H, W) bool, visible parts only, so no two overlap
    instance_categories: np.ndarray  # (N,) int64, labels
    panoptic: np.ndarray  # (H, W, 2) int32, (category, instance)
    polygons: list[tuple[int, list[list[float]]]]  # (label, [[x0, y0, x1, y1, ...], ...]) from back to front
    categories: tuple[str, ...]
    things: tuple[int, ...]
    stuff: tuple[int, ...]


def names() -> list[str]:
    """List the photographs that `load` knows, in alphabetical order."""
    return sorted(path.stem for path in shipped_folder("photos").glob("*.json") if path.stem != "categories")


def load(name: str) -> Photo:
    """Load a photograph and fill its polygons, from back to front.

    Args:
        name: one of `names()`.

    Raises:
        ValueError: if there is no photograph of this name, or scikit-image's file is not the one that was labelled.
        FileNotFoundError: if the installed scikit-image does not ship the photograph.
    """
    if name not in names():
        raise ValueError(f"name must be one of {', '.join(names())}, got {name!r}")
    document = json.loads((shipped_folder("photos") / f"{name}.json").read_text(encoding="utf-8"))
    categories = json.loads((shipped_folder("photos") / "categories.json").read_text(encoding="utf-8"))
    labels = {category["name"]: label for label, category in enumerate(categories)} | {"void": VOID}
    things = tuple(label for label, category in enumerate(categories) if category["isthing"])
    stuff = tuple(label for label, category in enumerate(categories) if not category["isthing"])

    image = _read_image(document["image"], document["sha256"])
    height, width = document["size"]
    if image.shape[:2] != (height, width):
        raise ValueError(f"{document['image']} must be {height} x {width} pixels as labelled, got {image.shape[:2]}")

    polygons = [(labels[segment["category"]], segment["polygons"]) for segment in document["segments"]]
    panoptic = np.zeros((height, width, 2), np.int32)
    panoptic[..., 0] = VOID
    count = 0
    for label, outlines in polygons:
        count += label in things
        panoptic[polygons_to_mask(outlines, height, width)] = (label, count if label in things else 0)
    instances, instance_categories = panoptic_to_instances(panoptic)
    return Photo(
        name=name,
        image=image,
        semantic=panoptic[..., 0].astype(np.uint8),
        instances=instances,
        instance_categories=instance_categories,
        panoptic=panoptic,
        polygons=polygons,
        categories=tuple(category["name"] for category in categories),
        things=things,
        stuff=stuff,
    )


def _read_image(file_name: str, sha256: str) -> np.ndarray:
    """Read an image out of scikit-image's wheel, sure that it is the one whose outlines were drawn."""
    path = Path(skimage.__file__).parent / "data" / file_name
    if not path.is_file():
        raise FileNotFoundError(
            f"scikit-image {skimage.__version__} does not ship {file_name} ({path}): "
            "install the version in constraints.txt"
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{file_name} of scikit-image {skimage.__version__} must have SHA-256 {sha256}, got {found}: its masks may "
            "not fit it; install the version in constraints.txt"
        )
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)
