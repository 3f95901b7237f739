"""COCO's average precision and average recall of detected objects (Lin et al. 2014)."""

import json
import math
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as coco

from segedu.masks import compress_counts

NAMES = (
    *("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge"),
    *("AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge"),
)


def average_precision(
    ground_truth: str | Path | dict[str, Any],
    detections: str | Path | list[dict[str, Any]],
    iou_type: Literal["segm", "bbox"] = "segm",
) -> dict[str, float]:
    """COCO's 12 numbers for detected objects, those of pycocotools.

    Detections of a category are taken from the highest score down; each finds the best true object that is still free,
    if their IoU reaches a threshold. Precision is the share of detections so far that found one, recall the share of
    objects found so far. AP is precision averaged over 101 recalls from 0 to 1, categories, and the IoU thresholds
    0.50, 0.55, ..., 0.95; AR the recall with at most 1, 10 or 100 detections an image.

    Args:
        ground_truth: COCO's instances JSON, a path or the loaded file: `images` (`id`, `height`, `width`),
            `annotations` (`image_id`, `category_id`, `segmentation` or `bbox`; `area` and `iscrowd` where they are
            known) and `categories` (`id`). It is left as it is.
        detections: COCO's results JSON, a path or the loaded file: a list of `image_id`, `category_id`, `score` and
            `segmentation` (run lengths, counts as ``str``, ``bytes`` or a list, or polygons) or `bbox` (x, y, width,
            height in pixels). It may be empty, and is left as it is.
        iou_type: compare masks, "segm", or boxes, "bbox".

    Returns:
        From 0 to 1, in COCO's order: AP, AP50, AP75 (at IoU 0.5 and 0.75), APsmall, APmedium, APlarge (objects of up
        to 32² pixels, up to 96², larger), AR1, AR10, AR100, ARsmall, ARmedium, ARlarge; -1 where the truth has no
        object of that size.

    Raises:
        ValueError: for detections of images or categories that the ground truth does not have, and for records that
            lack what is needed; says which.

    Run lengths that come as text are taken at their word, for to read them all would take longer than to compare them.
    Of those that a stranger made, require first that `segedu.masks.rle_area` accepts them; wrong ones may never end.

    Objects are numbered afresh, because COCO's programs take an object with the id 0 for one that was never found.
    """
    if iou_type not in ("segm", "bbox"):
        raise ValueError(f"iou_type must be 'segm' or 'bbox', got {iou_type!r}")
    truth, found = _load(ground_truth), _load(detections)
    if not isinstance(truth, dict) or not {"images", "annotations", "categories"} <= truth.keys():
        raise ValueError("ground_truth must be an object with images, annotations and categories, as COCO's JSON is")
    if not isinstance(found, list):
        raise ValueError(f"detections must be a list of objects, as COCO's results are, got {type(found).__name__}")
    shape = "segmentation" if iou_type == "segm" else "bbox"
    _check("ground truth", truth["annotations"], truth, ("image_id", "category_id", shape))
    _check("detection", found, truth, ("image_id", "category_id", "score", shape))

    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    objects, guesses = _numbered(truth["annotations"], sizes), _numbered(found, sizes)
    for record, area in zip(objects, _areas(objects, shape), strict=True):
        record.setdefault("area", area)
        record.setdefault("iscrowd", 0)
    # As in COCO's program, boxes that are there give the detections' areas even where masks are compared.
    boxed = all(guess.get("bbox") for guess in guesses)
    for record, area in zip(guesses, _areas(guesses, "bbox" if boxed else shape), strict=True):
        record |= {"area": area, "iscrowd": 0}

    evaluation = COCOeval_faster(_index(truth, objects), _index(truth, guesses), iou_type)
    evaluation.rle_iou_max_workers = 1  # each comparison is so short that threads only wait for one another
    evaluation.run()
    return dict(zip(NAMES, map(float, evaluation.stats[:12]), strict=True))


def _load(document: Any) -> Any:
    """Return a JSON document, loaded if a path is given."""
    return json.loads(Path(document).read_text(encoding="utf-8")) if isinstance(document, str | Path) else document


def _check(kind: str, records: list[dict], truth: dict, needed: tuple[str, ...]) -> None:
    """Require records that are whole, and of the images and categories of the ground truth."""
    images, categories = ({record["id"] for record in truth[name]} for name in ("images", "categories"))
    for number, record in enumerate(records):
        if missing := [key for key in needed if key not in record]:
            raise ValueError(f"each {kind} must have {', '.join(needed)}; number {number} lacks {', '.join(missing)}")
        if record["image_id"] not in images:
            raise ValueError(f"{kind} number {number} is of image {record['image_id']!r}, which ground_truth lacks")
        if record["category_id"] not in categories:
            raise ValueError(
                f"{kind} number {number} is of category {record['category_id']!r}, which ground_truth lacks; "
                f"it has {sorted(categories)}"
            )
        score = record.get("score", 0)
        if not isinstance(score, Real) or not math.isfinite(score):
            raise ValueError(f"{kind} number {number} must have a finite score, got {score!r:.80}")


def _numbered(records: list[dict], sizes: dict[int, tuple[int, int]]) -> list[dict]:
    """Copy records, with new numbers and with compressed run lengths."""
    copies = [{**record, "id": number} for number, record in enumerate(records, start=1)]
    for copy in copies:
        if "segmentation" in copy:
            copy["segmentation"] = _rle(copy["segmentation"], sizes[copy["image_id"]])
    return copies


def _areas(records: list[dict], shape: str) -> list[float]:
    """Give the area of each record's mask or box, in pixels."""
    if shape == "bbox":
        return [record["bbox"][2] * record["bbox"][3] for record in records]
    return coco.area([record["segmentation"] for record in records]).tolist() if records else []


def _rle(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Return the mask of a record, polygons or run lengths, as compressed run lengths."""
    if not isinstance(segmentation, dict):
        return coco.merge(coco.frPyObjects(segmentation, *size))
    if tuple(segmentation["size"]) != size:
        raise ValueError(f"run lengths must have their image's size {size}, got {tuple(segmentation['size'])}")
    counts = segmentation["counts"]
    return segmentation if isinstance(counts, str | bytes) else {"size": size, "counts": compress_counts(counts)}


def _index(truth: dict, annotations: list[dict]) -> COCO:
    """Put annotations together with copies of the images and categories that they refer to."""
    images, categories = ([dict(record) for record in truth[name]] for name in ("images", "categories"))
    return COCO({"images": images, "annotations": annotations, "categories": categories})
