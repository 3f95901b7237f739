"""Generated scenes of simple shapes in a landscape, with exact semantic, instance and panoptic truth.

A scene stands in for a labelled photograph: it has things (discs, squares, triangles, stars) in front of stuff (sky,
hill, ground), shapes hide one another, and knobs add what makes real images hard. Unlike a photograph, nobody had to
guess where its outlines are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segedu.masks import ids_to_rgb, panoptic_to_instances, rle_encode

CATEGORIES = ("sky", "hill", "ground", "disc", "square", "triangle", "star")
STUFF = (0, 1, 2)
THINGS = (3, 4, 5, 6)

STUFF_COLOURS = ((168, 208, 235), (122, 160, 128), (196, 172, 132))
OBJECT_COLOURS = (
    (214, 76, 64), (240, 150, 46), (248, 206, 70), (92, 160, 74), (46, 138, 150),
    (58, 96, 170), (128, 84, 160), (206, 98, 142), (120, 78, 52), (240, 236, 226),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its truth.

    A label is an index into `categories`; labels 0-2 are stuff and labels 3-6 are things. Instance i + 1 of the
    panoptic map is `instances[i]`, numbered from back to front over all categories; stuff has instance 0.
    """

    image: np.ndarray  # (H, W, 3) uint8, RGB
    semantic: np.ndarray  # (H, W) uint8, labels; no pixel is void
    instances: np.ndarray  # (N, H, W) bool, visible parts only, so no two overlap
    instance_categories: np.ndarray  # (N,) int64, labels
    panoptic: np.ndarray  # (H, W, 2) int32, (category, instance)
    categories: tuple[str, ...] = CATEGORIES
    things: tuple[int, ...] = THINGS
    stuff: tuple[int, ...] = STUFF


def make_scene(
    seed: int,
    size: tuple[int, int] = (256, 256),
    objects: int = 6,
    *,
    scale: float = 0.12,
    overlap: float = 0.3,
    uneven_light: float = 0.0,
    noise: float = 0.0,
    texture: float = 0.0,
) -> Scene:
    """Draw one scene; the same arguments give the same bits.

    A pixel's label is that of the frontmost shape that contains the pixel's centre. Only the image is anti-aliased: at
    an outline it mixes the colours of both sides, as a camera does, and the truth does not. Layout, texture, light and
    noise draw from separate random streams, so turning one knob leaves the others as they were.

    Args:
        seed: 0 or more.
        size: height and width in pixels, each at least 32.
        objects: how many are placed, 0 to 255. One that others hide completely is not in the truth.
        scale: typical radius as a fraction of the shorter side, above 0 to 0.5; radii vary by 30 % about it, and an
            object that finds no room shrinks until it does.
        overlap: how far the circles around two objects may reach into each other, as a fraction of their added radii:
            0 keeps all objects apart, 1 lets them fall anywhere.
        uneven_light: the share of light lost at the darkest corner, 0 to 1.
        noise: standard deviation of Gaussian noise as a fraction of full scale, 0 to 1.
        texture: amplitude of blotches on every surface as a fraction of full scale, 0 to 1.

    Raises:
        ValueError: for an argument out of range, or if the objects do not fit.
    """
    height, width = size
    if min(size) < 32:
        raise ValueError(f"size must be at least 32 x 32 pixels, got {height} x {width}")
    if not 0 <= objects <= 255:
        raise ValueError(f"objects must be from 0 to 255, got {objects}")
    if not 0 < scale <= 0.5:
        raise ValueError(f"scale must be above 0 and at most 0.5, got {scale}")
    knobs = {"overlap": overlap, "uneven_light": uneven_light, "noise": noise, "texture": texture}
    for name, value in knobs.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {value}")

    layout_rng, texture_rng, light_rng, noise_rng = np.random.default_rng(seed).spawn(4)
    y, x = np.mgrid[:height, :width] + 0.5  # centres of the pixels
    canvas, semantic = _landscape(layout_rng, x, y)
    instance = np.zeros(size, np.int32)
    labels = []
    for centre, radius in _placements(layout_rng, size, objects, scale, overlap):
        label = int(layout_rng.choice(THINGS))
        colour = layout_rng.choice(OBJECT_COLOURS) + layout_rng.uniform(-12, 12, 3)
        angle = layout_rng.uniform(0, 2 * np.pi)
        window = _window(centre, radius, size)
        dx, dy = x[window] - centre[0], y[window] - centre[1]
        distance = _shape_distance(CATEGORIES[label], dx, dy, radius, angle)
        lit = 1 - 0.12 * (dx + dy) / radius  # as if lit from the upper left
        _blend(canvas[window], colour * lit[..., None], distance)
        labels.append(label)
        semantic[window][distance <= 0] = label
        instance[window][distance <= 0] = len(labels)

    canvas += 255 * texture * _blotches(texture_rng, semantic, instance)[..., None]
    canvas *= 1 - uneven_light * _shade(light_rng, x / width, y / height)[..., None]
    canvas += 255 * noise * noise_rng.standard_normal(canvas.shape)
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)

    visible = np.unique(instance[instance > 0])  # renumber without the objects that are completely hidden
    renumbered = np.searchsorted(visible, instance).astype(np.int32) + (instance > 0)
    panoptic = np.stack([semantic, renumbered], axis=-1).astype(np.int32)
    instances, categories = panoptic_to_instances(panoptic)
    return Scene(image, semantic, instances, categories, panoptic)


def to_coco(scenes: Sequence[Scene]) -> dict:
    """COCO's instance annotations of scenes, as the dictionary that `json.dump` and pycocotools take.

    Image k has id k + 1 and the file name `scene-00000k.png`; annotation ids count from 1; category ids are labels.
    Masks are compressed RLE; boxes are [x, y, width, height] and areas are in pixels.
    """
    annotations = []
    for image_id, scene in enumerate(scenes, start=1):
        for mask, label in zip(scene.instances, scene.instance_categories, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(label),
                    "segmentation": rle_encode(mask),
                    "area": int(mask.sum()),
                    "bbox": _box(mask),
                    "iscrowd": 0,
                }
            )
    return {"images": _image_records(scenes), "annotations": annotations, "categories": _category_records(THINGS)}


def to_coco_panoptic(scenes: Sequence[Scene]) -> tuple[dict, list[np.ndarray]]:
    """COCO's panoptic annotations of scenes: the dictionary, and for each scene its (H, W, 3) uint8 PNG.

    A pixel's segment id is R + 256 G + 256² B. Ids are the instance number for things and 256 + label for stuff.
    """
    annotations, pngs = [], []
    for record, scene in zip(_image_records(scenes), scenes, strict=True):
        category, instance = scene.panoptic[..., 0], scene.panoptic[..., 1]
        segment = np.where(instance > 0, instance, 256 + category)
        segments_info = []
        for segment_id in np.unique(segment):
            mask = segment == segment_id
            segments_info.append(
                {
                    "id": int(segment_id),
                    "category_id": int(category[mask][0]),
                    "area": int(mask.sum()),
                    "bbox": _box(mask),
                    "iscrowd": 0,
                }
            )
        annotations.append({"image_id": record["id"], "file_name": record["file_name"], "segments_info": segments_info})
        pngs.append(ids_to_rgb(segment))
    categories = _category_records(STUFF + THINGS)
    return {"images": _image_records(scenes), "annotations": annotations, "categories": categories}, pngs


def _landscape(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sky, a wavy hill and the ground: colours (H, W, 3) as float, and labels (H, W) as uint8."""
    height, width = x.shape
    sky = np.array(STUFF_COLOURS[0]) + (y / height * 24)[..., None]  # paler towards the horizon
    canvas, semantic = sky, np.zeros(x.shape, np.uint8)
    for label, level, swing in ((1, 0.46, 0.08), (2, 0.68, 0.02)):
        level = height * (level + rng.uniform(-0.06, 0.06))
        waves, phase = rng.uniform(0.6, 1.4), rng.uniform(0, 2 * np.pi)
        distance = level + height * swing * np.sin(2 * np.pi * waves * x / width + phase) - y
        _blend(canvas, np.array(STUFF_COLOURS[label]), distance)
        semantic[distance <= 0] = label
    return canvas, semantic


def _placements(
    rng: np.random.Generator, size: tuple[int, int], objects: int, scale: float, overlap: float
) -> list[tuple[np.ndarray, float]]:
    """Centres (x, y) and radii in pixels of circles that lie in the picture and overlap no more than allowed."""
    height, width = size
    placed: list[tuple[np.ndarray, float]] = []
    for _ in range(objects):
        radius = scale * min(size) * rng.uniform(0.7, 1.3)
        while True:
            radius = min(radius, min(size) / 2)
            centre = rng.uniform([radius, radius], [width - radius, height - radius])
            if all(np.hypot(*(centre - c)) >= (1 - overlap) * (radius + r) for c, r in placed):
                break
            radius *= 0.99
            if radius < 3:
                raise ValueError(
                    f"{objects} objects do not fit into {height} x {width} pixels with scale {scale} and "
                    f"overlap {overlap}: ask for fewer, make them smaller or let them overlap more"
                )
        placed.append((centre, radius))
    return placed


def _window(centre: np.ndarray, radius: float, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns that hold a circle and the half-covered pixels around it."""
    first = np.maximum(np.floor(centre - radius - 1), 0).astype(int)
    last = np.minimum(np.ceil(centre + radius + 1), size[::-1]).astype(int)
    return slice(first[1], last[1]), slice(first[0], last[0])


def _shape_distance(name: str, x: np.ndarray, y: np.ndarray, radius: float, angle: float) -> np.ndarray:
    """Signed distance in pixels, negative inside, from a shape that fills the circle of a radius about (0, 0)."""
    if name == "disc":
        return np.hypot(x, y) - radius
    corners = {"square": 4, "triangle": 3, "star": 10}[name]
    turns = angle + 2 * np.pi * np.arange(corners) / corners
    radii = np.where(np.arange(corners) % 2, 0.5 * radius, radius) if name == "star" else radius
    return _polygon_distance(np.stack([radii * np.cos(turns), radii * np.sin(turns)], axis=1), x, y)


def _polygon_distance(vertices: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance in pixels, negative inside, from a polygon with vertices (K, 2) of (x, y)."""
    nearest = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - x0 - along * dx, y - y0 - along * dy))
        # A ray to the right crosses this edge: an odd number of crossings means inside.
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * dx / dy)
    return np.where(inside, -nearest, nearest)


def _blend(canvas: np.ndarray, colour: np.ndarray, distance: np.ndarray) -> None:
    """Paint a surface over the canvas in place; a pixel within half a pixel of its outline gets a mix of both."""
    cover = np.clip(0.5 - distance, 0, 1)[..., None]
    canvas += cover * (colour - canvas)


def _blotches(rng: np.random.Generator, semantic: np.ndarray, instance: np.ndarray) -> np.ndarray:
    """Smooth random pattern (H, W) of unit variance with a grain of its own on every segment."""
    grains = [cv2.GaussianBlur(rng.standard_normal(semantic.shape), (0, 0), sigma) for sigma in (1.0, 2.0, 4.0)]
    grains = np.stack([grain / grain.std() for grain in grains])
    which = (semantic + instance) % len(grains)
    return np.take_along_axis(grains, which[None], axis=0)[0]


def _shade(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Plane that rises from 0 to 1 across a picture with coordinates in [0, 1], in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    plane = np.cos(angle) * x + np.sin(angle) * y
    return (plane - plane.min()) / (plane.max() - plane.min())


def _box(mask: np.ndarray) -> list[int]:
    """COCO's box [x, y, width, height] of a mask (H, W) that has at least one pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [int(v) for v in (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)]


def _image_records(scenes: Sequence[Scene]) -> list[dict]:
    return [
        {"id": k + 1, "file_name": f"scene-{k:06}.png", "height": s.image.shape[0], "width": s.image.shape[1]}
        for k, s in enumerate(scenes)
    ]


def _category_records(labels: Sequence[int]) -> list[dict]:
    return [
        {
            "id": label,
            "name": CATEGORIES[label],
            "supercategory": "shape" if label in THINGS else "landscape",
            "isthing": int(label in THINGS),
        }
        for label in labels
    ]
