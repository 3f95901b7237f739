"""What all data sets have in common: images with targets, decoded when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torchvision import tv_tensors

Target = np.ndarray | dict[str, Any]


class Samples:
    """Images and their targets, by index: a map-style data set for torch's `DataLoader`.

    Args:
        transforms: called with the image and the target of a sample, as those of `torchvision.transforms.v2` are.
        cache: keep each decoded sample in memory. The transforms get a copy of it.

    Attributes:
        names: of the samples, in their order.
        classes: the name of label k at place k.
        ignore_index: the label of pixels that do not count, or None where targets are instances.
    """

    names: list[str]
    classes: tuple[str, ...]
    ignore_index: int | None = 255

    def __init__(self, transforms: Callable | None = None, cache: bool = False) -> None:
        self.transforms = transforms
        self.kept: dict[int, tuple[np.ndarray, Target]] | None = {} if cache else None

    def read(self, index: int) -> tuple[np.ndarray, Target]:
        """Decode a sample into arrays: the image, uint8 (H, W, 3) or (H, W) if grey, and the target."""
        raise NotImplementedError

    def to_target(self, target: Target) -> Any:
        """The tensors of a target that was read; they share no memory with it."""
        from torchvision import tv_tensors

        return tv_tensors.Mask(_tensor(target))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, Any]:
        from torchvision import tv_tensors

        if not -len(self) <= index < len(self):
            raise IndexError(f"index must be below {len(self)}, the number of samples, got {index}")
        image, target = self._read(index % len(self))
        planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        sample = tv_tensors.Image(_tensor(planes)), self.to_target(target)
        return sample if self.transforms is None else self.transforms(*sample)

    def _read(self, index: int) -> tuple[np.ndarray, Target]:
        if self.kept is None:
            return self.read(index)
        if index not in self.kept:
            self.kept[index] = self.read(index)
        return self.kept[index]


def _tensor(array: np.ndarray) -> Any:
    """A tensor with a contiguous copy of an array, so that nothing done to it changes what is cached."""
    import torch

    return torch.from_numpy(np.array(array, order="C"))
