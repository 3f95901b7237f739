"""One process, or several that `torchrun` started: what each does, and what they do together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """The processes of a training, as one of them sees it.

    Attributes:
        rank: of this one; process 0 writes the files.
        count: of all.
        device: of this one.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this is the process that measures, shows and writes."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """A value summed over all processes, without a gradient."""
        value = value.detach().to(self.device, copy=True)
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def from_first(self, value: float) -> float:
        """The value that process 0 has."""
        told = torch.tensor(value, dtype=torch.float64, device=self.device)
        if self.count > 1:
            dist.broadcast(told, 0)
        return told.item()

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            dist.barrier()

    def share(self, model: nn.Module) -> nn.Module:
        """A model whose gradients are averaged over all processes."""
        if self.count == 1:
            return model
        # A loss need not use all weights: SAM has some for prompts that a batch may not hold.
        return DistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)


@contextmanager
def join(device: str | None = None) -> Iterator[Processes]:
    """Take this process's place among those of `torchrun`; without `torchrun` it is the only one.

    Args:
        device: "cpu", "cuda", "cuda:1" ...; by default a GPU if there is one. Processes take a GPU each.
    """
    kind = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if "LOCAL_RANK" not in os.environ:
        yield Processes(0, 1, kind)
        return
    if kind.type == "cuda":
        kind = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(kind)
    dist.init_process_group("nccl" if kind.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), kind)
    finally:
        dist.destroy_process_group()


class _Sum(torch.autograd.Function):
    """The sum over processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


class JointBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the mean and variance of the batches of all processes.

    torch.nn.SyncBatchNorm is for GPUs only.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide = x.float()
        count = _Sum.apply(wide.new_tensor(float(x.numel() // x.shape[1])))
        mean = _Sum.apply(wide.sum((0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def normalise_jointly(model: nn.Module) -> None:
    """Turn a model's batch normalisation into that of all processes, with the same weights."""
    for layer in model.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = JointBatchNorm2d
