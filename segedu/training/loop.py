"""The loop that trains every model of the course."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from segedu.training.feed import feed
from segedu.training.files import CheckpointError, DamagedFile
from segedu.training.machine import Clock, deterministic, hardware, stop_when_asked
from segedu.training.processes import join
from segedu.training.recipe import Recipe
from segedu.training.record import TensorBoard, plot_run, write_csv
from segedu.training.run import Run
from segedu.training.tasks import build_task
from segedu.training.weights import save_model

STATE, EARLIER_STATE, MODEL = "state.safetensors", "state-before.safetensors", "model.safetensors"
ROW_EVERY = 10  # steps


class Stopped(Exception):
    """Somebody asked the training to stop, and its state is saved."""


class TrainingError(RuntimeError):
    """The training cannot go on. The message says what to do."""


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    data: Path | None = None,
    device: str | None = None,
    workers: int = 0,
    save_every: float = 60.0,
    restart: bool = False,
    console: Console | None = None,
) -> Path:
    """Train a model by a recipe, or go on with a training that was stopped or killed.

    `folder` gets model.safetensors, the trained model; record.csv, run.png and tensorboard/, which show how it went;
    and state.safetensors, from which a further call goes on, as if it had never stopped, bit for bit on the same kind
    of machine with the same number of threads. Under `torchrun` the batch is shared by all processes.

    Args:
        recipe: see `load_recipe`.
        folder: of this run.
        data: the folder of local data; see `segedu.datasets`.
        device: see `segedu.training.processes.join`.
        workers: further processes that load images.
        save_every: seconds from one saved state to the next.
        restart: forget what the folder has.
        console: where to show progress; by default nowhere.

    Returns:
        The path of the model.

    Raises:
        ValueError: if the recipe or the data do not fit each other.
        CheckpointError: if a state cannot be written or read, or is of another recipe.
        TrainingError: if the loss is no number.
        Stopped: after Ctrl-C or SIGTERM, when the state has been saved.
    """
    folder = Path(folder)
    with join(device) as processes, ExitStack() as stack:
        if restart and processes.leads:
            for name in (STATE, EARLIER_STATE, MODEL):
                (folder / name).unlink(missing_ok=True)
        processes.wait()
        stack.enter_context(deterministic())
        stopped = stack.enter_context(stop_when_asked()) if processes.count == 1 else lambda: False
        task = build_task(recipe.task["kind"], data=data, **{k: v for k, v in recipe.task.items() if k != "kind"})
        run = Run(recipe, task, processes)
        clock = Clock()
        clock.before = _resume(run, folder)
        shown = console if processes.leads else None
        training = _Training(run, folder, clock, shown, save_every)
        stack.callback(training.close)
        training.go(workers, stopped)
        return folder / MODEL


def _resume(run: Run, folder: Path) -> float:
    """Go on where the folder's run is, or begin it. Returns the seconds that it took until there."""
    states = [folder / name for name in (STATE, EARLIER_STATE) if (folder / name).exists()]
    if not states:
        run.begin()
        return 0.0
    try:
        return run.restore(states[0])["seconds"]
    except DamagedFile as error:
        if len(states) == 2:
            kept = f"The state before it is kept: to go on from there, mv {states[1]} {states[0]}"
            raise CheckpointError(f"{error}. {kept}") from error
        raise


class _Training:
    """A run on its way: what happens between steps."""

    def __init__(self, run: Run, folder: Path, clock: Clock, console: Console | None, save_every: float) -> None:
        self.run, self.folder, self.clock, self.console, self.save_every = run, folder, clock, console, save_every
        self.leads = run.processes.leads
        self.saved = time.monotonic()
        self.saved_step = run.step
        self.loss = torch.zeros(())
        self.board = None
        if self.leads:
            folder.mkdir(parents=True, exist_ok=True)
            self.board = TensorBoard(folder / "tensorboard", run.step)

    def close(self) -> None:
        if self.board:
            self.board.close()

    def go(self, workers: int, stopped: Callable[[], bool]) -> None:
        """Take all steps that are left, and write the model."""
        run, schedule, processes = self.run, self.run.schedule, self.run.processes
        if self._finished() and (self.folder / MODEL).exists():
            return
        steps = range(run.step, schedule.steps)
        batches = feed(run.task, run.recipe, steps, processes, workers)
        with self._progress() as progress:
            bar = progress.add_task(run.recipe.name, total=schedule.steps, completed=run.step, note="")
            for parts in () if self._finished() else batches:
                self.loss, rate = run.advance(parts)
                last = run.step == schedule.steps
                if run.step % ROW_EVERY == 0 or last:
                    loss = self._finite_loss()
                    seconds = round(self.clock.seconds(), 1)
                    self._add({"step": run.step, "loss": loss, "learning_rate": rate, "seconds": seconds})
                    progress.update(bar, note=f"loss {loss:.4f}")
                if run.step % schedule.evaluate_every == 0 or last:
                    self._evaluate(progress)
                progress.update(bar, completed=run.step)
                if stopped():
                    self._save()
                    raise Stopped(
                        f"stopped at step {run.step} of {schedule.steps}; the same command goes on from there"
                    )
                if self._finished():
                    break
                if self.leads and time.monotonic() - self.saved > self.save_every:
                    self._save()
        if self.leads:
            self._finish()
        processes.wait()

    def _finite_loss(self) -> float:
        """The last step's loss, sure that it is one. Waits for the device."""
        loss = self.loss.item()
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {self.run.step}: lower training.learning_rate, or set training.clip; "
                f"the last good state is of step {self.saved_step}"
            )
        return loss

    def _evaluate(self, progress: Progress) -> None:
        run, monitor = self.run, self.run.task.monitor
        measures = {}
        if self.leads:
            with torch.inference_mode():
                measures = run.task.evaluate(run.result, run.processes.device, _tracker(progress))
        # Processes must stop at the same step, so all must know what the first one measured.
        value = run.processes.from_first(measures.get(monitor, -math.inf))
        better = value > (run.best[0] if run.best else -math.inf)
        if better:
            run.best = (value, run.step)
        if not self.leads:
            return
        if measures:
            self._add({"step": run.step, **measures, "seconds": round(self.clock.seconds(), 1)})
            if self.console:
                self.console.print(f"step {run.step}: {monitor} {value:.4f}", highlight=False)
        if better and run.schedule.keep == "best":
            self._write_model()
        plot_run(self.folder / "run.png", run.history, monitor, run.recipe.name)
        self._save()

    def _finished(self) -> bool:
        run = self.run
        patience = run.schedule.patience * run.schedule.evaluate_every
        return run.step >= run.schedule.steps or bool(patience and run.best and run.step - run.best[1] >= patience)

    def _add(self, row: dict[str, Any]) -> None:
        self.run.history.append(row)
        if self.board:
            self.board.add(row)

    def _save(self) -> None:
        self._finite_loss()
        self.run.save(self.folder / STATE, self.folder / EARLIER_STATE, seconds=self.clock.seconds())
        write_csv(self.folder / "record.csv", self.run.history)
        self.saved, self.saved_step = time.monotonic(), self.run.step

    def _finish(self) -> None:
        if self.run.schedule.keep == "last" or not (self.folder / MODEL).exists():
            self._write_model()
        self._save()

    def _write_model(self) -> None:
        run = self.run
        measures = next((row for row in reversed(run.history) if run.task.monitor in row), {})
        description = {
            "model": run.recipe.model,
            "classes": list(run.task.classes),
            "use": run.task.use,
            "recipe": json.loads(run.recipe.as_json()),
            "step": run.step,
            "seconds": round(self.clock.seconds()),
            "hardware": hardware(run.processes, run.mixed),
            "measures": {key: value for key, value in measures.items() if key not in ("step", "seconds")},
        }
        save_model(self.folder / MODEL, run.result, description)

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        further = (TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
        return Progress(*columns, *further, console=self.console, disable=self.console is None)


def _tracker(progress: Progress) -> Callable[[Iterable, str], Iterator]:
    def track(items: Iterable, description: str) -> Iterator:
        bar = progress.add_task(description, total=len(items), note="")
        for item in items:
            yield item
            progress.advance(bar)
        progress.remove_task(bar)

    return track
