"""Time the metrics beside torchmetrics, panopticapi's arithmetic, pycocotools, faster-coco-eval and OpenCV."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import faster_coco_eval
import numpy as np
import torch
import torchmetrics
import typer
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.progress import track

from benchmarks import Row, console, report
from benchmarks.timing import interleave
from segedu import metrics
from segedu.datasets.shapes import THINGS, make_scene, to_coco
from segedu.masks import rle_decode, rle_encode

EXAMPLE = "Example: [bold]python -m benchmarks metrics --rounds 5 --json metrics.json[/]"
COCO_THINGS, COCO_STUFF = range(1, 81), range(81, 134)
VOID = 0


@dataclass(frozen=True)
class Case:
    """An operation, its peers with the least ratio that the course wants of each, and whether their results agree."""

    operation: str
    ours: Callable[[], object]
    peers: dict[str, tuple[float, Callable[[], object]]]
    numbers: Callable[[object], np.ndarray] = np.asarray


def run(
    rounds: Annotated[int, typer.Option(min=1, help="Times that each operation and its peers run, in turn.")] = 7,
    images: Annotated[int, typer.Option(min=1, help="Images in the set for average precision.")] = 200,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file, too.")] = None,
) -> None:
    """Time the metrics; before, make sure that each peer gives the same numbers."""
    rows = []
    for case in track(_cases(images), "timing", console=console, transient=True):
        _compare(case)
        functions = {"ours": case.ours, **{name: function for name, (_, function) in case.peers.items()}}
        times = interleave(functions, rounds)
        rows += [
            Row.of(case.operation, times["ours"], name, times[name], goal) for name, (goal, _) in case.peers.items()
        ]
    report("metrics", rows, json_file)


def _compare(case: Case) -> None:
    """Print by how much the peers' numbers differ from ours; stop if it is more than rounding."""
    ours = case.numbers(case.ours())
    for name, (_, peer) in case.peers.items():
        difference = np.max(np.abs(ours - case.numbers(peer())), initial=0)
        console.print(f"{case.operation}: {ours.size} numbers, differ from {name} by {difference:.1g}", highlight=False)
        if not difference < 1e-5:
            raise RuntimeError(f"{case.operation}: {name} gives other numbers, so the times do not compare")


def _cases(images: int) -> list[Case]:
    rng = np.random.default_rng(0)
    return [
        _confusion(rng, np.uint8),
        _confusion(rng, np.int64),
        _panoptic(),
        *_masks(rng),
        _boundary(),
        _average_precision(rng, images),
    ]


def _confusion(rng: np.random.Generator, dtype: type[np.integer]) -> Case:
    """Maps of random labels: uint8, as files hold them, or int64, as `argmax` gives them."""
    classes = 21
    pred, target = rng.integers(0, classes, (2, 32, 512, 512)).astype(dtype)
    tensors = torch.from_numpy(pred), torch.from_numpy(target)

    def ours() -> metrics.ConfusionMatrix:
        matrix = metrics.ConfusionMatrix(classes)
        matrix.update(*tensors)
        return matrix.matrix

    def peer(validate: bool) -> torch.Tensor:
        matrix = torchmetrics.classification.MulticlassConfusionMatrix(classes, validate_args=validate)
        matrix.update(*tensors)
        return matrix.compute()

    peers = {
        "torchmetrics, not validating": (7, lambda: peer(False)),
        "torchmetrics, validating": (70, lambda: peer(True)),
    }
    return Case(f"confusion matrix, 32 x 512², 21 classes, {np.dtype(dtype)}", ours, peers)


def _panoptic() -> Case:
    """A scene with COCO's 133 categories, its truth moved by some pixels as the prediction.

    Without void, on which torchmetrics has rules of its own.
    """
    scene = make_scene(3, size=(480, 640), objects=40, scale=0.06)
    target = scene.panoptic.copy()
    number = target[..., 1]
    target[..., 0] = np.where(number > 0, 1 + number * 7 % 80, 81 + target[..., 0])
    pred = np.roll(target, (2, 3), (0, 1))
    pred_ids, target_ids = _to_ids(pred), _to_ids(target)
    categories = [
        {int(n): int(c) for n, c in zip(ids.ravel(), labels[..., 0].ravel(), strict=True) if c != VOID}
        for ids, labels in ((pred_ids, pred), (target_ids, target))
    ]
    in_both = sorted(set(categories[0].values()) | set(categories[1].values()))

    def with_torchmetrics() -> list[float]:
        quality = torchmetrics.detection.PanopticQuality(
            things=set(COCO_THINGS), stuffs=set(COCO_STUFF), return_per_class=True
        )
        quality.update(torch.from_numpy(pred)[None], torch.from_numpy(target)[None])
        by_category = dict(zip([*COCO_THINGS, *COCO_STUFF], quality.compute()[0].tolist(), strict=True))
        return [by_category[category] for category in in_both]

    def numbers(result: object) -> np.ndarray:
        if isinstance(result, metrics.panoptic.PanopticResult):
            result = [result.per_class[category].pq for category in in_both]
        return np.array(result)

    def with_panopticapi() -> list[float]:
        quality = _panopticapi(pred_ids, target_ids, *categories)
        return [quality[category] for category in in_both]

    return Case(
        f"panoptic quality, 480 x 640, {len(categories[1])} segments, 133 classes",
        lambda: metrics.panoptic_quality(pred, target, COCO_THINGS, COCO_STUFF, void=VOID),
        {"torchmetrics": (1000, with_torchmetrics), "panopticapi's arithmetic": (4.5, with_panopticapi)},
        numbers,
    )


def _to_ids(panoptic: np.ndarray) -> np.ndarray:
    """Number the segments as COCO's panoptic files do: uint32, 0 for void."""
    return (panoptic[..., 0] + 256 * panoptic[..., 1]).astype(np.uint32)


def _panopticapi(
    pred: np.ndarray, target: np.ndarray, pred_categories: dict[int, int], target_categories: dict[int, int]
) -> dict[int, float]:
    """PQ by category as panopticapi computes it: numbers of pairs sorted by NumPy, then Python's dictionaries.

    The true segments' areas stand in COCO's files, so they are not counted here either; nor are there crowds.
    """
    areas = dict(zip(*np.unique(pred, return_counts=True), strict=True))
    pairs, pixels = np.unique(target.astype(np.uint64) * 256**3 + pred.astype(np.uint64), return_counts=True)
    shared = {divmod(pair, 256**3): count for pair, count in zip(pairs.tolist(), pixels.tolist(), strict=True)}
    true_areas: dict[int, int] = {}
    for (true, _), count in shared.items():
        true_areas[true] = true_areas.get(true, 0) + count
    hits, overlaps, matched = {}, {}, set()
    for (true, guess), count in shared.items():
        category = target_categories.get(true)
        if category is None or category != pred_categories.get(guess):
            continue
        overlap = count / (areas[guess] + true_areas[true] - count - shared.get((VOID, guess), 0))
        if overlap > 0.5:
            hits[category] = hits.get(category, 0) + 1
            overlaps[category] = overlaps.get(category, 0) + overlap
            matched |= {("true", true), ("guess", guess)}
    misses: dict[int, int] = {}
    for true, category in target_categories.items():
        if ("true", true) not in matched:
            misses[category] = misses.get(category, 0) + 1
    for guess, category in pred_categories.items():
        if ("guess", guess) not in matched and shared.get((VOID, guess), 0) / areas[guess] <= 0.5:
            misses[category] = misses.get(category, 0) + 1
    return {
        category: overlaps.get(category, 0) / (hits.get(category, 0) + misses.get(category, 0) / 2)
        for category in {*hits, *misses}
    }


def _discs(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    x, y, radius = rng.uniform([0, 0, 10], [width, height, height / 4], (count, 3)).T[:, :, None, None]
    rows, columns = np.ogrid[:height, :width]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def _masks(rng: np.random.Generator) -> list[Case]:
    pred, target = _discs(rng, 100, 512, 512), _discs(rng, 100, 512, 512)

    def encode(masks: np.ndarray) -> list[dict]:
        return coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0), np.uint8))

    codes = rle_encode(pred), rle_encode(target)
    their_codes = encode(pred), encode(target)
    nobody = [0] * len(target)
    return [
        Case(
            "mask IoU, 100 x 100 masks of 512²",
            lambda: metrics.mask_iou(pred, target),
            {"pycocotools": (1, lambda: coco_mask.iou(encode(pred), encode(target), nobody))},
        ),
        Case(
            "mask IoU, 100 x 100 run lengths",
            lambda: metrics.rle_iou(*codes),
            {"pycocotools": (0.7, lambda: coco_mask.iou(*their_codes, nobody))},
        ),
        Case(
            "RLE encode, 100 masks of 512²",
            lambda: rle_encode(pred),
            {"pycocotools": (1.2, lambda: encode(pred))},
            lambda codes: np.array([rle_decode(code).sum() for code in codes]),
        ),
    ]


def _boundary() -> Case:
    target = _discs(np.random.default_rng(1), 20, 480, 640)
    pred = np.roll(target, 5, 2)

    def boundary(mask: np.ndarray) -> np.ndarray:
        height, width = mask.shape
        distance = max(1, round(0.02 * np.hypot(height, width)))
        padded = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)
        return mask & ~eroded[1:-1, 1:-1].view(bool)

    def opencv() -> list[float]:
        pairs = [(boundary(p), boundary(t)) for p, t in zip(pred, target, strict=True)]
        return [(p & t).sum() / (p | t).sum() for p, t in pairs]

    return Case(
        "boundary IoU, 20 masks of 480 x 640",
        lambda: metrics.boundary_iou(pred, target),
        {"OpenCV, mask by mask": (1, opencv)},
    )


def _average_precision(rng: np.random.Generator, images: int) -> Case:
    scenes = [make_scene(seed, size=(480, 640), objects=8, scale=0.15) for seed in range(images)]
    truth = {"info": {}, **to_coco(scenes)}
    detections = []
    truth["categories"] = [{"id": label, "name": str(label)} for label in COCO_THINGS]
    # Each image has a few of the 80 categories; each object has some four detections, half of them of any category, as
    # detectors give them when even low scores are kept.
    names = rng.integers(1, 81, (images, len(THINGS)))
    for annotation in truth["annotations"]:
        annotation["category_id"] = int(names[annotation["image_id"] - 1, annotation["category_id"] - THINGS[0]])
        detections += _guesses(rng, annotation)

    def with_pycocotools() -> np.ndarray:
        with contextlib.redirect_stdout(io.StringIO()):
            ground_truth = COCO()
            ground_truth.dataset = truth
            ground_truth.createIndex()
            found = ground_truth.loadRes([dict(record) for record in detections])
            evaluation = COCOeval(ground_truth, found, "segm")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation.stats

    def by_hand() -> np.ndarray:
        ground_truth = faster_coco_eval.COCO(copy.deepcopy(truth))
        found = ground_truth.loadRes([dict(record) for record in detections])
        evaluation = faster_coco_eval.COCOeval_faster(ground_truth, found, "segm")
        evaluation.run()
        return evaluation.stats[:12]

    return Case(
        f"average precision, {images} images, {len(detections):,} detections",
        lambda: metrics.average_precision(truth, detections),
        {"pycocotools": (4.5, with_pycocotools), "faster-coco-eval": (0.9, by_hand)},
        lambda result: np.array(list(result.values()) if isinstance(result, dict) else result),
    )


def _guesses(rng: np.random.Generator, annotation: dict) -> list[dict]:
    """Detections near one object, as a network gives them."""
    mask = rle_decode(annotation["segmentation"])
    return [
        {
            "image_id": annotation["image_id"],
            "category_id": annotation["category_id"] if rng.random() < 0.5 else int(rng.integers(1, 81)),
            "score": float(rng.random()),
            "segmentation": rle_encode(np.roll(mask, rng.integers(-9, 10, 2), (0, 1))),
        }
        for _ in range(rng.integers(1, 7))
    ]
