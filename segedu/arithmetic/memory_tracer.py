"""Count the memory of the tensors that any PyTorch code holds."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class MemoryTracer(TorchDispatchMode):
    """Within it, counts the bytes of all tensors that are computed and not yet forgotten.

    Attributes:
        alive: bytes now.
        peak: the most bytes at any time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self._users: Counter[int] = Counter()  # tensors on each storage, by its address

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        known = {id(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        storages = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = operation(*args, **(kwargs or {}))
        for output in tree_leaves(result):
            if isinstance(output, Tensor) and id(output) not in known:
                self._count(output, storages)
        self.peak = max(self.peak, self.alive)
        return result

    def _count(self, tensor: Tensor, of_inputs: set[int]) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in of_inputs and storage._cdata not in self._users:
            return  # a view of a weight or of the image
        if not self._users[storage._cdata]:
            self.alive += storage.nbytes()
        self._users[storage._cdata] += 1
        weakref.finalize(tensor, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, storage: int, size: int) -> None:
        self._users[storage] -= 1
        if not self._users[storage]:
            del self._users[storage]
            self.alive -= size
