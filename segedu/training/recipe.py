"""Recipes: all that decides what a training makes of its data, in one short TOML file."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parents[1] / "recipes"


@dataclass(frozen=True)
class Schedule:
    """The table [training].

    Attributes:
        steps: updates of the weights.
        batch: images in a step, over all processes and `accumulate` parts.
        accumulate: parts that a process does its share of the batch in, one after another, to save memory. Batch
            normalisation sees a part at a time; the loss is that of the whole batch.
        optimizer: "adamw", or "sgd" with momentum 0.9.
        learning_rate: at its highest; it falls to 0 as (1 - step / steps)^power.
        encoder_learning_rate: of the parameters under `encoder`; by default the same.
        power: of that decay; 0.9 as in DeepLab.
        warmup: steps in which the learning rate rises linearly.
        weight_decay: on weights of two axes or more, so not on biases and normalisations.
        clip: the largest norm of all gradients together; 0 for any.
        ema: decay of the moving average of the weights, which is what is evaluated and kept; 0 for none.
        freeze_norm: leave the encoder's batch normalisation as it came.
        evaluate_every: steps from one validation to the next.
        patience: stop after so many validations without a better one; 0 never stops.
        keep: the weights of the "last" step, or of the "best" validation.
        start: a trained model whose weights to begin with: a file of `segedu train`, or the name of one that comes with
            the course; by default weights are random, but for a `pretrained` encoder.
        precision: "float32", or "auto" for mixed precision where the device is fast at it: a GPU (in bfloat16 if it has
            it, else in float16), a CPU with instructions for bfloat16.
    """

    steps: int
    batch: int
    learning_rate: float
    accumulate: int = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    encoder_learning_rate: float | None = None
    power: float = 0.9
    warmup: int = 0
    weight_decay: float = 1e-4
    clip: float = 0.0
    ema: float = 0.0
    freeze_norm: bool = False
    evaluate_every: int = 500
    patience: int = 0
    keep: Literal["last", "best"] = "last"
    start: str = ""
    precision: Literal["auto", "float32"] = "auto"


@dataclass(frozen=True)
class Recipe:
    """A training, but for where its data lie and what it runs on.

    Attributes:
        name: of the file, without .toml.
        description: a line of what it trains.
        seed: of the first weights, the order of images, augmentation and dropout.
        model: `name` of a function of `segedu.models`, and its arguments.
        task: `kind` of `segedu.training.tasks`, and its arguments.
        training: see `Schedule`.
    """

    name: str
    description: str
    model: dict[str, Any]
    task: dict[str, Any]
    training: Schedule
    seed: int = 0

    def as_json(self) -> str:
        """The recipe as JSON: what a run and its weights say that they came from."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def recipe_names() -> list[str]:
    """The recipes that come with the course."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_recipe(recipe: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        recipe: one of `recipe_names()`, or a TOML file.
        changes: such as `training.steps=100`, the value in TOML; a value that is no TOML is text.

    Raises:
        ValueError: if there is no such recipe, or it says what nobody understands.
    """
    path = FOLDER / f"{recipe}.toml" if str(recipe) in recipe_names() else Path(recipe)
    if not path.is_file():
        raise ValueError(f"there is no recipe {str(recipe)!r}: name a TOML file, or one of {', '.join(recipe_names())}")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    for change in changes:
        _change(tables, change)
    return parse_recipe({"name": path.stem, **tables}, str(path))


def parse_recipe(tables: dict[str, Any], where: str) -> Recipe:
    """Make a recipe of its tables, as TOML or `Recipe.as_json` has them.

    Raises:
        ValueError: for keys that are missing or unknown, or values of another type.
    """
    tables = {"description": "", **tables}
    _require(Recipe, tables, where)
    training = _require(Schedule, tables["training"], f"{where}, [training]")
    for key in ("steps", "batch", "accumulate", "evaluate_every"):
        if training.get(key, 1) < 1:
            raise ValueError(f"{where}, [training]: {key} must be at least 1, got {training[key]}")
    for table, key in (("model", "name"), ("task", "kind")):
        if not isinstance(tables[table].get(key), str):
            raise ValueError(f"{where}, [{table}] must have a {key}, got {tables[table]}")
    return Recipe(**{**tables, "training": Schedule(**training)})


def _change(tables: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    *path, last = key.strip().split(".")
    if not equals or not last:
        raise ValueError(f"a change must be like training.steps=100, got {change!r}")
    for name in path:
        tables = tables.setdefault(name, {})
        if not isinstance(tables, dict):
            raise ValueError(f"{change!r} changes what is in {name!r}, which is not a table")
    try:
        tables[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        tables[last] = value.strip()


def _require(kind: type, table: object, where: str) -> dict[str, Any]:
    """The table, sure that it has the fields of a data class, of their types."""
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table, got {table!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(table.keys() - fields.keys()):
        raise ValueError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(fields)}")
    needed = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"{where}: {', '.join(missing)} must be given")
    hints = typing.get_type_hints(kind)
    for name, value in table.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{where}: {name} must be {_describe(hints[name])}, got {value!r}")
    return table


def _fits(value: object, hint: object) -> bool:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return value in typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, part) for part in typing.get_args(hint))
    if origin is dict or dataclasses.is_dataclass(hint):
        return isinstance(value, dict)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _describe(hint: object) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(repr(value) for value in typing.get_args(hint))
    return getattr(hint, "__name__", str(hint)).replace("NoneType", "nothing")
