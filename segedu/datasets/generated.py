"""Generated scenes as a data set: the same bits everywhere, and no file needed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segedu.datasets.samples import Samples
from segedu.datasets.shapes import CATEGORIES, make_scene

SPLITS = {"train": range(0, 200), "val": range(1000, 1050), "test": range(2000, 2050)}  # seeds, so that none is in two
SIZE = (96, 128)


class Shapes(Samples):
    """Scenes and label maps, uint8 (96, 128): landscape and shapes, 0 to 6; no pixel is void.

    The scenes are the harder ones of `make_scene`: unevenly lit, noisy, textured, and shapes hide one another.

    Args:
        split: "train", "val" or "test"; "train+val" joins two.
        transforms, cache: as for `Samples`.
    """

    classes = CATEGORIES

    def __init__(self, split: str, transforms: Callable | None = None, cache: bool = False) -> None:
        super().__init__(transforms, cache)
        for part in split.split("+"):
            if part not in SPLITS:
                raise ValueError(f"split must be one of {', '.join(SPLITS)}, or several joined by +, got {part!r}")
        self.seeds = [seed for part in split.split("+") for seed in SPLITS[part]]
        self.names = [f"scene-{seed:06d}" for seed in self.seeds]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        scene = make_scene(self.seeds[index], SIZE, 6, uneven_light=0.3, noise=0.03, texture=0.05)
        return scene.image, scene.semantic
