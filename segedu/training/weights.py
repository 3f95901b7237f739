"""Trained models as files: the weights, and what they are the weights of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segedu.models.checks import load_weights
from segedu.models.registry import build_model
from segedu.shipped import shipped_folder
from segedu.training.files import CheckpointError, read_tensors, write_tensors

FORMAT = 1


def save_model(path: str | Path, model: nn.Module, description: Mapping[str, Any], *, half: bool = True) -> None:
    """Write a model for use: float16 safetensors, with a description in JSON.

    Args:
        path: of the file.
        model: its floating-point weights are rounded to float16 if `half`; its counters stay integers.
        description: with `model`, the name and arguments that `build_model` makes it of, and anything else.
        half: take half the bytes.

    Raises:
        CheckpointError: if the file cannot be written, or a weight is too large for float16 (65,504) or not finite.
    """
    state = {}
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            value = value.half() if half else value
            if not value.isfinite().all():
                raise CheckpointError(f"{path} was not written: {key} has weights that are infinite or no numbers")
        state[key] = value
    # Without ImageNet's weights first, for all weights are in the file.
    arguments = {key: value for key, value in description["model"].items() if key != "pretrained"}
    write_tensors(Path(path), state, {**description, "format": FORMAT, "model": arguments})


def shipped_models() -> dict[str, Path]:
    """The trained models that come with the course, by name. Each has a card beside it."""
    return dict(sorted((path.stem, path) for path in shipped_folder("checkpoints").glob("*.safetensors")))


def load_model(path: str | Path, device: str | torch.device = "cpu") -> tuple[nn.Module, dict[str, Any]]:
    """Build the model that a file describes, in evaluation mode, with the file's weights in float32.

    Nothing in the file is run: it names one of `segedu.models`, and has numbers.

    Args:
        path: a file of `save_model`, or the name of a model that comes with the course; see `shipped_models`.
        device: to put the model on.

    Returns:
        The model, and the description: `model`, `recipe`, `metrics` and others.

    Raises:
        CheckpointError: if there is no such file or name, or it is damaged, or not a model that we know.
    """
    path = _file_of(Path(path))
    state, description = read_tensors(path)
    if description.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is not a model of `segedu train`, or one of another version "
            f"(format {description.get('format')!r}, expected {FORMAT}): a run's model is in its model.safetensors"
        )
    try:
        arguments = dict(description["model"])
        model = build_model(arguments.pop("name"), **arguments)
        load_weights(model, {key: v.float() if v.is_floating_point() else v for key, v in state.items()}, str(path))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} describes a model that cannot be built: {error}") from error
    return model.to(device).eval(), description


def _file_of(path: Path) -> Path:
    if path.name != str(path) or path.suffix or path.exists():
        return path
    models = shipped_models()
    if path.name not in models:
        raise CheckpointError(f"there is no file {path}, and no model of this name; there are {', '.join(models)}")
    return models[path.name]
