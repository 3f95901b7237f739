"""Batches as functions of the seed and the step: so that a training can be cut anywhere, in time or over processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segedu.training.processes import Processes
from segedu.training.recipe import Recipe
from segedu.training.tasks import Task


def seed_of(seed: int, purpose: str, number: int) -> int:
    """An independent seed for each use: 63 bits of a hash."""
    digest = hashlib.blake2b(f"{seed} {purpose} {number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


class Samples(Dataset):
    """The samples of a training, one after another: sample n is of epoch n // len(task), whose order is its own."""

    def __init__(self, task: Task, seed: int) -> None:
        self.task = task
        self.seed = seed
        self.epoch = -1

    def __getitem__(self, number: int) -> Any:
        epoch, place = divmod(number, len(self.task))
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
            self.epoch, self.order = epoch, torch.randperm(len(self.task), generator=generator).tolist()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, "sample", number))
            return self.task.sample(self.order[place])


def feed(task: Task, recipe: Recipe, steps: range, processes: Processes, workers: int) -> Iterator[list[Any]]:
    """For each step, this process's share of the batch, in parts.

    Args:
        task: that samples come from.
        recipe: whose seed, batch and parts these are.
        steps: which steps.
        processes: that share each batch.
        workers: further processes that load images; 0 loads them in this one.

    Raises:
        ValueError: if the batch cannot be shared evenly.
    """
    batch, parts = recipe.training.batch, recipe.training.accumulate
    share, left = divmod(batch, processes.count * parts)
    if left:
        raise ValueError(
            f"a batch of {batch} cannot be shared evenly by {processes.count} processes in {parts} parts each: "
            f"set training.batch to a multiple of {processes.count * parts}"
        )
    starts = [
        step * batch + (part * processes.count + processes.rank) * share for step in steps for part in range(parts)
    ]
    numbers = [range(start, start + share) for start in starts]
    samples = Samples(task, recipe.seed)
    batches = iter(DataLoader(samples, batch_sampler=numbers, num_workers=workers, collate_fn=task.collate))
    for _ in steps:
        yield [next(batches) for _ in range(parts)]


def to_device(batch: Any, device: torch.device) -> Any:
    """The same tuples, lists and dicts, with their tensors on a device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
