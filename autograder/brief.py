"""The brief of a coursework: what its TOML files say, written into the notebook that students get.

A Markdown cell of the source notebook may hold `{{rubric}}`, the table of `rubric.toml`, and `{{rules}}`, the
institution's rules in `institution.toml`; both files lie beside the notebook.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from autograder.course import CourseError
from autograder.rubric import RUBRIC_FILE, load_rubric

INSTITUTION_FILE = "institution.toml"


def write_brief(text: str, folder: Path) -> str:
    """The text with what the files in `folder` say in its places. Raises `CourseError` on a wrong file."""
    if "{{rubric}}" in text:
        text = text.replace("{{rubric}}", load_rubric(folder / RUBRIC_FILE).to_markdown().strip())
    if "{{rules}}" in text:
        rules = read_institution(folder)["rules"]
        lines = [f"- **{title}.** {' '.join(words.split())}" for title, words in rules.items()]
        text = text.replace("{{rules}}", "\n".join(lines))
    return text


def read_institution(folder: Path) -> dict:
    """What the institution decides: `rules`, a text by its title, and `evaluation`.

    Raises:
        CourseError: if the file in `folder` is missing or not as it should be; the message says what to do.
    """
    path = folder / INSTITUTION_FILE
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise CourseError(f"{path}: expected a TOML file, found: {error}") from error
    rules, evaluation = data.get("rules"), data.get("evaluation")
    if not isinstance(rules, dict) or not all(isinstance(words, str) for words in rules.values()):
        raise CourseError(f"{path}: rules: expected a table of texts, found {rules!r}")
    _check_evaluation(path, evaluation)
    return data


def _check_evaluation(path: Path, evaluation: object) -> None:
    if not isinstance(evaluation, dict):
        raise CourseError(f"{path}: evaluation: expected a table, found {evaluation!r}")
    classes = evaluation.get("classes")
    known = {
        "split": evaluation.get("split") in ("train", "val"),
        "images": type(evaluation.get("images")) is int and evaluation["images"] > 0,
        "least_mean_iou": _is_share(evaluation.get("least_mean_iou")),
        "too_good": _is_share(evaluation.get("too_good")),
        "classes": isinstance(classes, dict)
        and bool(classes)
        and all(isinstance(one, list) for one in classes.values()),
    }
    expected = {
        "split": '"train" or "val"',
        "images": "a number above 0",
        "classes": "a table of lists of COCO's supercategories",
    }
    for key, good in known.items():
        if not good:
            wanted = expected.get(key, "a number from 0 to 1")
            raise CourseError(f"{path}: evaluation.{key}: expected {wanted}, found {evaluation.get(key)!r}")


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
