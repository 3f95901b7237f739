"""Measure the `predictions.json` that students hand in beside their notebooks: COCO's results of held-out images.

The file is data from a student and is only ever parsed, with every size bounded; no student's code runs. The truth is
COCO's own, on the grader's machine, or any file in its layout. It is public, so a measure is no proof: what agrees
too well with it is pointed out, and people look.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from autograder.brief import read_institution
from autograder.course import Course, CourseError, write_file
from autograder.intake import Refused, read_file, regular_files
from segedu.datasets.catalogue import find_folder
from segedu.datasets.coco import Document, Record, choose, read_document
from segedu.datasets.coco_instances import annotations_file, categories_of, read_objects
from segedu.masks import rle_area, rle_decode
from segedu.metrics import ConfusionMatrix, average_precision

PREDICTIONS_FILE = "predictions.json"
SCORE_FILE = "predictions-score.json"  # beside the autograded notebook
MAX_BYTES = 20 * 2**20
MAX_SEGMENTS = 100  # of an image: COCO looks at no more
VOID = 255


@dataclass(frozen=True)
class Measured:
    """What a student's predictions are worth; the field names are those of the JSON form.

    `verdict` is "reached" or "below" (the least mean IoU), "too good" (look at how the file was made), "unusable" or
    "missing"; `reason` says why, to the student. Measures are from 0 to 1, and None where nothing was measured or the
    truth has nothing to measure.
    """

    student: str
    verdict: str
    reason: str = ""
    images: int = 0  # with a segment at least
    segments: int = 0
    mean_iou: float | None = None
    iou_per_class: dict[str, float | None] = field(default_factory=dict)
    ap: float | None = None
    ap50: float | None = None
    sha256: str = ""  # of the file, as it was measured


class HeldOut:
    """The truth of the held-out images, in the classes of the assignment.

    Args:
        document: COCO's instances, of which the first `images` are held out.
        evaluation: that of `institution.toml`.
    """

    def __init__(self, document: Document, evaluation: dict[str, Any]) -> None:
        groups = evaluation["classes"]
        self.names = ("background", *groups)
        self.least, self.too_good = evaluation["least_mean_iou"], evaluation["too_good"]
        label_of_group = {group: label for label, parts in enumerate(groups.values(), start=1) for group in parts}
        self.label_of = {
            category["id"]: label_of_group[category["supercategory"]]
            for category in document.categories
            if category.get("supercategory") in label_of_group
        }
        if not self.label_of:
            raise CourseError(f"{document.source}: no category is of {', '.join(label_of_group)}, the assignment's")
        self.images = {image["id"]: image for image in choose(document, categories_of, evaluation["images"])}
        self.targets = {key: self._target(document, image) for key, image in self.images.items()}
        self.truth = {
            "images": list(self.images.values()),
            "annotations": [
                {**one, "category_id": self.label_of[one["category_id"]]}
                for key in self.images
                for one in document.annotations[key]
                if one["category_id"] in self.label_of
            ],
            "categories": [{"id": label, "name": name} for label, name in enumerate(self.names) if label],
        }

    def measure(self, student: str, records: list[Record]) -> Measured:
        """Measure results that `read_predictions` has read. Raises `Refused` where a record is not what it must be."""
        found: dict[int, list[Record]] = {key: [] for key in self.images}
        for number, record in enumerate(records, start=1):
            clean = self._checked(record, f"Record {number}")
            found[clean["image_id"]].append(clean)
        confusion = ConfusionMatrix(len(self.names), ignore_index=VOID)
        for key, target in self.targets.items():
            if len(found[key]) > MAX_SEGMENTS:
                raise Refused(f"Image {key} has more than {MAX_SEGMENTS} segments. Raise the least area, or join some.")
            labels = np.zeros(target.shape, np.uint8)
            for record in sorted(found[key], key=lambda one: one["score"]):  # the surest ends on top
                labels[rle_decode(record["segmentation"])] = record["category_id"]
            confusion.update(labels, target)
        clean_records = [record for some in found.values() for record in some]
        mean, scores = float(confusion.mean_iou()), average_precision(self.truth, clean_records)
        verdict = "too good" if mean > self.too_good else "reached" if mean >= self.least else "below"
        reason = {
            "too good": f"Your mean IoU is {mean:.3f}. No network is so near to COCO's annotators: we look at it.",
            "below": f"Your mean IoU is {mean:.3f}; {self.least:g} is asked for, which the baseline reaches.",
            "reached": f"Your mean IoU is {mean:.3f}; {self.least:g} was asked for.",
        }[verdict]
        each = zip(self.names, confusion.iou_per_class(), strict=True)
        return Measured(
            student,
            verdict,
            reason,
            images=sum(map(bool, found.values())),
            segments=len(records),
            mean_iou=mean,
            iou_per_class={name: float(value) if isfinite(value) else None for name, value in each},
            ap=_or_none(scores["AP"]),
            ap50=_or_none(scores["AP50"]),
        )

    def _target(self, document: Document, image: Record) -> np.ndarray:
        """The label map of an image: crowds void, then objects from the largest to the smallest."""
        objects = read_objects(document, image)
        ids = [one["category_id"] for one in document.annotations[image["id"]]]
        labels = np.zeros((image["height"], image["width"]), np.uint8)
        order = sorted(range(len(ids)), key=lambda n: (not objects["crowd"][n], -int(objects["masks"][n].sum())))
        for number in order:
            if ids[number] in self.label_of:
                label = VOID if objects["crowd"][number] else self.label_of[ids[number]]
                labels[objects["masks"][number]] = label
        return labels

    def _checked(self, record: Any, name: str) -> Record:
        """What is needed of a record that may hold anything."""
        if not isinstance(record, dict):
            raise Refused(f"{name} is not an object with image_id, category_id, segmentation and score.")
        key, label, score = (record.get(part) for part in ("image_id", "category_id", "score"))
        for part, value in (("image_id", key), ("category_id", label)):
            if type(value) is not int:
                raise Refused(f"{name} must have a whole number as {part}, and has {value!r:.40}.")
        if key not in self.images:
            raise Refused(f"{name} is of image {key!r:.40}, which is not held out. Was it made on other data?")
        if not 0 < label < len(self.names):
            raise Refused(f"{name} has the category {label!r:.40}; the classes are 1 to {len(self.names) - 1}.")
        if type(score) not in (int, float) or not 0 <= score <= 1:
            raise Refused(f"{name} must have a score from 0 to 1, and has {score!r:.40}.")
        size = [self.images[key]["height"], self.images[key]["width"]]
        shape = record.get("segmentation")
        if not isinstance(shape, dict) or shape.get("size") != size or not isinstance(shape.get("counts"), str):
            raise Refused(f"{name} must have a segmentation of size {size} with run lengths as text.")
        segmentation = {"size": size, "counts": shape["counts"]}
        try:
            rle_area(segmentation)  # which checks it
        except ValueError as error:
            raise Refused(f"{name} has run lengths that cannot be read: {error}.") from error
        return {"image_id": key, "category_id": label, "score": float(score), "segmentation": segmentation}


def held_out(course: Course, assignment: str, truth: Path | None, data: Path | None) -> HeldOut:
    """Read the truth: of the file `truth`, or of COCO in the folder `data`, by default where SEGEDU_DATA says.

    Raises:
        CourseError: if there is none or it is broken, or the assignment does not say what is held out.
    """
    evaluation = read_institution(course.source / assignment)["evaluation"]
    try:
        path = truth or annotations_file(find_folder("coco-instances", data), evaluation["split"])
        document = read_document(path, categories_of)
        if len(document.images) < evaluation["images"]:
            raise CourseError(
                f"{path} has {len(document.images)} images; {evaluation['images']} are held out. Get the rest."
            )
        return HeldOut(document, evaluation)
    except (OSError, ValueError) as error:
        raise CourseError(f"the truth of the held-out images cannot be read: {error}") from error


def read_predictions(folder: Path) -> list[Any]:
    """The records in a submission's `predictions.json`. Raises `Refused` where it cannot be read."""
    path = folder / PREDICTIONS_FILE
    if path not in regular_files(folder):
        raise Refused(f"{PREDICTIONS_FILE} is missing. Run the notebook to its end and hand in the file beside it.")
    try:
        records = json.loads(read_file(path, MAX_BYTES, "Raise the least area of a segment"))
    except (ValueError, RecursionError) as error:
        raise Refused(f"{PREDICTIONS_FILE} is not valid JSON ({str(error)[:80]}). Write it anew.") from error
    if not isinstance(records, list):
        raise Refused(f"{PREDICTIONS_FILE} must be a list of results, and is of type {type(records).__name__}.")
    return records


def measure_class(course: Course, assignment: str, truth: HeldOut, students: list[str]) -> Iterator[Measured]:
    """Measure each student's predictions, keep the result beside the autograded notebook, and yield it."""
    for student in students:
        folder = course.submitted / student / assignment
        try:
            result = truth.measure(student, read_predictions(folder))
        except Refused as refusal:
            verdict = "unusable" if (folder / PREDICTIONS_FILE).exists() else "missing"
            result = Measured(student, verdict, str(refusal))
        result = replace(result, sha256=_digest(folder))
        write_file(course.autograded / student / assignment / SCORE_FILE, json.dumps(asdict(result), indent=1))
        yield result


def kept_measure(course: Course, assignment: str, student: str) -> Measured | None:
    """What `measure_class` kept of a student. None if there is nothing, or the file has changed since."""
    path = course.autograded / student / assignment / SCORE_FILE
    if not path.exists():
        return None
    kept = Measured(**json.loads(path.read_text(encoding="utf-8")))
    return kept if kept.sha256 == _digest(course.submitted / student / assignment) else None


def _digest(folder: Path) -> str:
    """The SHA-256 of what is handed in as predictions; "" if nothing that can be read is."""
    path = folder / PREDICTIONS_FILE
    try:
        if path not in regular_files(folder):
            return ""
    except Refused:
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _or_none(value: float) -> float | None:
    return None if value < 0 else value  # COCO's -1: there was nothing to find
