"""What a trained model found in one image, and the files that others can read it from."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segedu.datasets.local import write
from segedu.masks import rle_area, rle_encode
from segedu.plots import overlay


@dataclass(frozen=True, eq=False)
class Segments:
    """Segments of an image of H x W pixels.

    Attributes:
        labels: integer (H, W): classes, or the numbers of objects with 0 for the background.
        masks: bool (N, H, W), one for each segment.
        categories: int (N,), indices into the model's classes.
        scores: float (N,), from 0 to 1.
    """

    labels: np.ndarray
    masks: np.ndarray
    categories: Sequence[int]
    scores: Sequence[float]


def write_label_map(path: Path, labels: np.ndarray) -> None:
    """Write labels as a grey PNG: of 8 bits if they are at most 255, else of 16."""
    if labels.min() < 0 or labels.max() > 65535:
        raise ValueError(f"a PNG takes labels from 0 to 65535, got {labels.min()} to {labels.max()}")
    _write_png(path, labels.astype(np.uint8 if labels.max() < 256 else np.uint16))


def write_overlay(path: Path, image: np.ndarray, segments: Segments) -> None:
    """Write the image, uint8 (H, W, 3), with its segments in colour."""
    _write_png(path, overlay(image, segments.labels, ignore_index=None))


def coco_document(images: Sequence[tuple[str, Segments]], classes: Sequence[str]) -> dict[str, Any]:
    """COCO's JSON of the segments of images: category i + 1 is `classes[i]`, masks are compressed run lengths.

    Source: cocodataset.org, "Data format" and "Results format": annotations have a score, too.
    """
    document: dict[str, Any] = {
        "info": {"description": "Segments found by a model of segedu"},
        "licenses": [],
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, 1)],
    }
    for number, (name, segments) in enumerate(images, 1):
        height, width = segments.labels.shape
        document["images"].append({"id": number, "file_name": name, "height": height, "width": width})
        for mask, category, score in zip(segments.masks, segments.categories, segments.scores, strict=True):
            code = rle_encode(mask)
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": number,
                    "category_id": int(category) + 1,
                    "segmentation": code,
                    "area": rle_area(code),
                    "bbox": _box(mask),
                    "iscrowd": 0,
                    "score": round(float(score), 4),
                }
            )
    return document


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    write(path, json.dumps(document).encode())


def _box(mask: np.ndarray) -> list[int]:
    """COCO's box: x, y, width, height."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return [0, 0, 0, 0]
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


def _write_png(path: Path, array: np.ndarray) -> None:
    content = io.BytesIO()
    Image.fromarray(array).save(content, "png")
    write(path, content.getvalue())
