"""Tasks: what models are trained for. The loop knows a model's job only through `Task`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

# Classes by the `kind` of a recipe's [task], where they are: nobody imports a task but for its own use.
KINDS = {
    "cells": "segedu.training.tasks.cells:Cells",
    "promptable": "segedu.training.tasks.promptable:Promptable",
    "semantic": "segedu.training.tasks.semantic:Semantic",
}

Track = Callable[[Iterable, str], Iterable]  # shows how far an iteration is, under a description


class Task(Protocol):
    """A job: its samples, its loss, its measure.

    Randomness comes from torch's global generator on the CPU and nowhere else. The loop seeds it for each sample and
    each step, so that a batch is a function of the seed and the step: a run that was killed goes on bit for bit, and
    two processes do what one does.

    Attributes:
        monitor: the key of `evaluate`'s result by which weights are compared; more is better.
        classes: the names of what is found.
        use: what a trained model's `measure` and `segment` need to know; see `task_class`.
    """

    monitor: str
    classes: tuple[str, ...]
    use: dict[str, Any]

    def __len__(self) -> int:
        """Training images in an epoch."""
        ...

    def sample(self, index: int) -> Any:
        """A training image and its target, augmented."""
        ...

    def collate(self, samples: list) -> Any:
        """A batch: tensors in tuples, lists and dicts."""
        ...

    def weight(self, batch: Any) -> Tensor:
        """What the batch's targets weigh in all, a scalar that does not depend on the model."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss summed over the batch, a scalar: divided by `weight`, it is the mean."""
        ...

    def evaluate(self, model: nn.Module, device: torch.device, track: Track) -> dict[str, float | list[float]]:
        """Measure a model in evaluation mode on the validation images; nothing, if there are none."""
        ...


def task_class(kind: str) -> type:
    """The class of this kind of task.

    Besides what `Task` asks for, it has two functions for trained models: `measure(model, dataset, device, track)`,
    which is `evaluate` on any data set, and `segment(model, image)`, which finds the `Segments` of an RGB array. Both
    take what the task has in `use` as further arguments. If it can be measured on more than `segedu.datasets` has, its
    `open(name, split, data)` opens these too.

    Raises:
        ValueError: for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no task {kind!r}; there are: {', '.join(KINDS)}")
    module, _, name = KINDS[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def build_task(kind: str, *, data: Path | None = None, **arguments: object) -> Task:
    """The task of this kind.

    Args:
        kind: "semantic", "cells" or "promptable".
        data: the folder of local data; see `segedu.datasets`.
        arguments: of the task's class.

    Raises:
        ValueError: for another kind, or arguments that it does not take.
    """
    task = task_class(kind)
    try:
        inspect.signature(task).bind(data=data, **arguments)
    except TypeError as error:
        raise ValueError(f"{kind}{inspect.signature(task)} cannot be made of {arguments}: {error}") from error
    return task(data=data, **arguments)
