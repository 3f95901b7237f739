"""A made-up class for the assignment: twelve students, strong, average, weak, unlucky and dishonest.

Each hands in a notebook, most of them a report and `predictions.json` too, and it is known what the technical part
must give and what the measure of the predictions must say. The marks of the reports are for people to give.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autograder.brief import read_institution
from autograder.classroom import Material, Sample, Writer
from autograder.course import Course
from autograder.intake import TEST_PREFIX, cell_id
from autograder.predictions import PREDICTIONS_FILE
from segedu.datasets.shapes import THINGS, make_scene, to_coco
from segedu.masks import rle_decode, rle_encode

ASSIGNMENT = "coco-assignment"
REPORTS = Path(__file__).with_name("coursework_reports.toml")
_MARKS = re.compile(r"^### (BEGIN|END) SOLUTION\n?", re.MULTILINE)  # of the model answer
SIZE = (48, 64)  # of the generated scenes that stand for COCO's images


@dataclass(frozen=True)
class Coursework(Sample):
    """One student of the class. `verdict` is what the measure of the predictions must say."""

    verdict: str = "missing"


def make_truth(evaluation: dict[str, Any]) -> dict[str, Any]:
    """COCO's instances of generated scenes: as many as are held out, whose shapes play the assignment's classes."""
    document = to_coco([make_scene(seed, SIZE, 4, overlap=0) for seed in range(evaluation["images"])])
    groups = [group for parts in evaluation["classes"].values() for group in parts]
    for category, group in zip(document["categories"], [*groups, *["other"] * len(THINGS)], strict=False):
        category["supercategory"] = group
    return document


def make_predictions(truth: dict[str, Any], evaluation: dict[str, Any], miss: float, shift: int) -> list[dict]:
    """Results that miss a share of the objects, and have each of the others some pixels beside its place."""
    label_of_group = {
        group: label for label, parts in enumerate(evaluation["classes"].values(), start=1) for group in parts
    }
    labels = {one["id"]: label_of_group.get(one["supercategory"]) for one in truth["categories"]}
    rng = np.random.default_rng(0)
    return [
        {
            "image_id": one["image_id"],
            "category_id": labels[one["category_id"]],
            "segmentation": rle_encode(np.roll(rle_decode(one["segmentation"]), shift, axis=1)),
            "score": round(float(rng.uniform(0.5, 1)), 3),
        }
        for one in truth["annotations"]
        if labels[one["category_id"]] and rng.random() >= miss
    ]


def make_coursework(course: Course) -> tuple[list[Coursework], dict[str, Any]]:
    """The class for a course that has released the assignment, and the truth that its predictions are held against."""
    material = Material(course, ASSIGNMENT)
    evaluation = read_institution(course.source / ASSIGNMENT)["evaluation"]
    truth = make_truth(evaluation)
    reports = tomllib.loads(REPORTS.read_text(encoding="utf-8"))
    model_report = {name: text for name, text in material.reference.items() if name.startswith("report_")}
    reports["strong"] = {name: _MARKS.sub("", text) for name, text in model_report.items()}
    reports["copied"] = {name: _reworded(text) for name, text in reports["strong"].items()}
    wrong = {mutant.name: mutant for mutant in material.mutants}
    stubs = {name: material.released.stub().text(name) for name in material.released.solutions}
    good, fair, poor = ((0.05, 1), (0.25, 2), (0.85, 6))
    wider = {"model": material.reference["model"].replace("width=64", "width=96")}

    def student(
        name: str,
        about: str,
        kind: str = "honest",
        mutants: Sequence[str] = (),
        cells: dict[str, str] | None = None,
        found: tuple[float, int] | None = fair,
        verdict: str = "reached",
        write: Writer | None = None,
        **more: Any,
    ) -> Coursework:
        chosen = [wrong[mutant] for mutant in mutants]
        own = {mutant.cell: mutant.source for mutant in chosen}
        texts = {**_blank(stubs), **reports.get(name, {}), **own, **(cells or {})}
        lost = {cell: points for mutant in chosen for cell, points in mutant.loses.items()}
        phrase = material.hint(chosen[0].hint) if chosen else ""
        if write is None:
            predictions = None if found is None else json.dumps(make_predictions(truth, evaluation, *found))
            write = _writer(material, texts, predictions)
        return Coursework(name, kind, about, write, **{"loses": lost, "phrase": phrase, "verdict": verdict, **more})

    later = [name for name in material.points if name not in ("usable", "targets")]
    unfinished = {name: stubs[name] for name in later}
    everything = dict(material.points)
    students = [
        student("strong", "All right, a network of the own, the model report.", cells=wider, found=good),
        student("thorough", "All right, careful experiments, a good report.", found=good),
        student("average-metric", "Averages the IoU over images; a report that lists.", mutants=["mean-of-images"]),
        student("average-crowds", "Takes crowds for objects; an honest negative result.", mutants=["crowd-as-object"]),
        student(
            "weak",
            "Two misconceptions, a few sentences, hardly anything found.",
            mutants=["dice", "along-the-rows"],
            found=poor,
            verdict="below",
        ),
        student(
            "late-start",
            "Two of five functions, no predictions, hardly a report.",
            kind="unfinished",
            cells=unfinished,
            found=None,
            verdict="missing",
            loses={name: everything[name] for name in later},
            phrase="is not written yet",
        ),
        student(
            "broken-notebook",
            "The upload was cut off in the middle.",
            kind="broken",
            write=_cut_off(material),
            loses=everything,
            phrase="not valid JSON",
            refused=True,
            verdict="missing",
        ),
        student(
            "broken-predictions",
            "A good report, and half of a predictions file.",
            kind="broken",
            write=_writer(material, {**_blank(stubs), **reports["broken-predictions"]}, '[{"image_id": 1, "cat'),
            verdict="unusable",
        ),
        student("leaky", "Copies images, then splits them: trains on what it tests on.", mutants=["images-drawn"]),
        student("copied", "The report and the code of `strong`, a little reworded.", "dishonest", cells=wider),
        student(
            "truth-as-prediction", "Hands in the truth as predictions.", "dishonest", found=(0, 0), verdict="too good"
        ),
        student(
            "tampered",
            "Nothing is written; test cells and points are changed.",
            kind="dishonest",
            write=_tampered(material, stubs),
            loses=everything,
            phrase="The test cell of",
            verdict="missing",
        ),
    ]
    return students, truth


def hand_in(course: Course, student: Coursework) -> None:
    """Put what the student hands in where the course expects it."""
    folder = course.submitted / student.student / ASSIGNMENT
    folder.mkdir(parents=True)
    student.write(folder)


def _blank(stubs: dict[str, str]) -> dict[str, str]:
    """Reports as released."""
    return {name: text for name, text in stubs.items() if name.startswith("report_")}


def _reworded(text: str) -> str:
    """What a hasty copier makes of somebody's text."""
    for word, other in {
        "We ": "I ",
        " we ": " I ",
        "network": "model",
        "shows": "demonstrates",
        "because": "as",
    }.items():
        text = text.replace(word, other)
    return text


def _writer(material: Material, texts: dict[str, str], predictions: str | None) -> Writer:
    def write(folder: Path) -> None:
        material.writer(texts)(folder)
        if predictions is not None:
            (folder / PREDICTIONS_FILE).write_text(predictions, encoding="utf-8")

    return write


def _cut_off(material: Material) -> Writer:
    text = json.dumps(material.notebook({}))

    def write(folder: Path) -> None:
        (folder / material.filename).write_text(text[: len(text) // 2], encoding="utf-8")

    return write


def _tampered(material: Material, stubs: dict[str, str]) -> Writer:
    notebook = material.notebook(stubs)
    for cell in notebook["cells"]:
        if cell_id(cell).startswith(TEST_PREFIX):
            cell["source"] = "20.0"
            cell["metadata"]["nbgrader"]["points"] = 100

    def write(folder: Path) -> None:
        (folder / material.filename).write_text(json.dumps(notebook), encoding="utf-8")

    return write
