"""Models without values: what takes no time and no memory to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def on_meta(model: nn.Module, shape: tuple[int, ...]) -> Iterator[Tensor]:
    """An image without values; within, the model has none either, and evaluates. Afterwards it is as before."""
    was_training = [module for module in model.modules() if module.training]
    values = {
        (module, kind, name): tensor
        for module in model.modules()
        for kind in ("_parameters", "_buffers")
        for name, tensor in getattr(module, kind).items()
        if tensor is not None
    }
    twins: dict[int, Tensor] = {}  # a weight that two modules share stays shared
    try:
        for (module, kind, name), tensor in values.items():
            twin = twins.setdefault(id(tensor), tensor.detach().to("meta"))
            getattr(module, kind)[name] = twin
        model.eval()
        dtype = next((value.dtype for value in model.parameters() if value.is_floating_point()), torch.float32)
        with torch.no_grad():
            yield torch.empty(shape, dtype=dtype, device="meta")
    finally:
        for (module, kind, name), tensor in values.items():
            getattr(module, kind)[name] = tensor
        for module in was_training:
            module.training = True
