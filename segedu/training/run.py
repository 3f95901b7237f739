"""A training's state: all that the next step depends on, which a file can hold bit for bit."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segedu.models.checks import load_weights
from segedu.models.registry import build_model
from segedu.training.feed import seed_of, to_device
from segedu.training.files import CheckpointError, read_tensors, write_tensors
from segedu.training.optimisers import build_optimizer, freeze_norm, move_average, set_learning_rate
from segedu.training.processes import Processes, normalise_jointly
from segedu.training.recipe import Recipe
from segedu.training.tasks import Task
from segedu.training.weights import load_model


class _Objective(nn.Module):
    """A model's loss as a module, for DistributedDataParallel wants the whole computation in one call."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task

    def forward(self, batch: Any) -> Tensor:
        return self.task.loss(self.model, batch)


class Run:
    """A model in training.

    Attributes:
        step: updates made so far.
        history: a row for every few steps and every validation; see `segedu.training.record`.
        best: the highest measure of a validation so far, and at which step.
    """

    def __init__(self, recipe: Recipe, task: Task, processes: Processes) -> None:
        self.recipe, self.task, self.processes = recipe, task, processes
        self.schedule = recipe.training
        arguments = dict(recipe.model)
        torch.manual_seed(seed_of(recipe.seed, "weights", 0))
        self.model = build_model(arguments.pop("name"), **arguments)
        if processes.count > 1:
            normalise_jointly(self.model)
        self.model.to(processes.device).train()
        self.average = copy.deepcopy(self.model).eval() if self.schedule.ema else None
        self.objective = processes.share(_Objective(self.model, task))
        self.optimizer = build_optimizer(self.model, self.schedule)
        self.mixed = self._mixed_precision()
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=self.mixed == torch.float16)
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.best: tuple[float, int] | None = None

    def begin(self) -> None:
        """Take the weights that the recipe says to start from, if it names any.

        Raises:
            CheckpointError: if they cannot be read, or are of another model.
        """
        if self.schedule.start:
            weights = load_model(self.schedule.start)[0].state_dict()
            try:
                load_weights(self.model, weights, f"a {self.recipe.model['name']} as the recipe has it")
            except ValueError as error:
                raise CheckpointError(f"{self.schedule.start} is no start for this recipe: {error}") from error
            if self.average is not None:
                self.average.load_state_dict(weights)

    @property
    def result(self) -> nn.Module:
        """The model that is measured and kept: the moving average, if the recipe asks for one. In evaluation mode."""
        return self.model.eval() if self.average is None else self.average

    def advance(self, parts: list[Any]) -> tuple[Tensor, float]:
        """Make a step on this process's share of a batch. Returns the whole batch's mean loss, and its rate."""
        schedule, device = self.schedule, self.processes.device
        self.model.train()
        if schedule.freeze_norm:
            freeze_norm(self.model)
        torch.manual_seed(seed_of(self.recipe.seed, f"step of process {self.processes.rank}", self.step))
        parts = [to_device(part, device) for part in parts]
        weight = self.processes.total(torch.stack([self.task.weight(part).float() for part in parts]).sum())
        weight = weight.clamp_min(torch.finfo(torch.float32).tiny)
        total = torch.zeros((), device=device)
        for number, part in enumerate(parts):
            if self.processes.count > 1:  # gradients travel once a step
                self.objective.require_backward_grad_sync = number == len(parts) - 1
            with torch.autocast(device.type, self.mixed, enabled=self.mixed is not None):
                loss = self.objective(part)
            # Gradients are averaged over processes; their sum is what the whole batch has.
            self.scaler.scale(loss * (self.processes.count / weight)).backward()
            total += loss.detach()
        if schedule.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), schedule.clip)
        rate = set_learning_rate(self.optimizer, schedule, self.step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.average is not None:
            move_average(self.average, self.model, schedule.ema, self.step)
        self.step += 1
        return self.processes.total(total) / weight, rate

    def save(self, path: Path, earlier: Path, **extra: Any) -> None:
        """Write all that the next step depends on to `path`, and keep what was there as `earlier`.

        Raises:
            CheckpointError: if the file cannot be written; the one before it stays.
        """
        tensors = {f"model/{key}": value for key, value in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average/{key}": value for key, value in self.average.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{key}": value for key, value in state.items()}
        description = {
            "recipe": self.recipe.as_json(),
            "step": self.step,
            "history": self.history,
            "best": self.best,
            "scaler": self.scaler.state_dict(),
            **extra,
        }
        write_tensors(path, tensors, description, earlier)

    def restore(self, path: Path) -> dict[str, Any]:
        """Go on from a file of `save`. Returns what else the file says.

        Raises:
            CheckpointError: if it is damaged, or of another recipe; then nothing has changed.
        """
        tensors, description = read_tensors(path)
        if "step" not in description:
            raise CheckpointError(f"{path} is no state of a training: expected one that `segedu train` wrote")
        if description["recipe"] != self.recipe.as_json():
            raise CheckpointError(
                f"{path} belongs to another recipe: {_difference(description['recipe'], self.recipe.as_json())}; "
                "choose another --out, or begin again with --restart"
            )
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, number, name = key.split("/")
                states.setdefault(int(number), {})[name] = value
        self.model.load_state_dict(_within(tensors, "model/"))
        if self.average is not None:
            self.average.load_state_dict(_within(tensors, "average/"))
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.scaler.load_state_dict(description["scaler"])
        self.step, self.history = description["step"], description["history"]
        self.best = description["best"] and tuple(description["best"])
        return description

    def _mixed_precision(self) -> torch.dtype | None:
        """Mixed precision only where it is fast: a CPU without bfloat16 is ten times slower with it than in float32."""
        if self.schedule.precision == "float32":
            return None
        if self.processes.device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        if self.processes.device.type == "cpu":
            able = torch.cpu.get_capabilities()
            return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else None
        return None


def _within(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _difference(theirs: str, ours: str) -> str:
    """Where two recipes differ, in words."""
    flat = [dict(_leaves(json.loads(text))) for text in (theirs, ours)]
    keys = sorted(key for key in flat[0].keys() | flat[1].keys() if flat[0].get(key) != flat[1].get(key))
    return ", ".join(f"{key} was {flat[0].get(key)!r} and is {flat[1].get(key)!r}" for key in keys)


def _leaves(table: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    return [
        leaf
        for key, value in table.items()
        for leaf in (_leaves(value, f"{path}{key}.") if isinstance(value, dict) else [(path + key, value)])
    ]
