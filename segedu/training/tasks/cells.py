"""Cells that touch, told from the background and from each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from skimage.measure import label
from torch import Tensor, nn
from torchvision import tv_tensors

from segedu.datasets import open_dataset
from segedu.instances import connected_cells
from segedu.losses import border_weights, separate_touching
from segedu.training.cell_evaluation import (
    SEPARATE,
    cell_probability,
    cell_scores,
    evaluate_cells,
    has_instances,
    stretch,
)
from segedu.training.segments import Segments
from segedu.training.tasks import Track
from segedu.training.warp import RandomWarp

Batch = tuple[Tensor, Tensor, Tensor]


class Cells:
    """Cell or background by cross-entropy, with a line of background between cells that touch.

    A pixel weighs what its class does, and more on the background between two cells: with U-Net's border weights.

    Args:
        dataset: one of `segedu.datasets` whose targets are instances, or classes with one that is called "cell".
        train: its split to learn from; "train+val" joins two.
        validation: its split to measure on; "" for none.
        crop: side of the training images, in pixels.
        scale: by which images are resized, drawn evenly between these two.
        bend: of `RandomWarp`, in pixels.
        gamma: images are raised to a power, drawn evenly by its logarithm between 1 / (1 + gamma) and 1 + gamma.
        invert: the probability of a negative, in which cells are dark on a bright ground, or the other way round.
        class_weights: weigh cells and background so that both weigh the same in all training images together.
        w0: weight of a border between two cells that touch, beside that of its class; 0 for none.
        sigma: reach of the border weights, in pixels.
        separate: how a trained model's cells are told apart in use, one of `SEPARATE`.
        data: the folder of local data.

    Source: Ronneberger et al. 2015, sections 3 and 3.1.
    """

    def __init__(
        self,
        *,
        dataset: str,
        train: str = "train",
        validation: str = "val",
        crop: int = 256,
        scale: Sequence[float] = (1.0, 1.0),
        bend: float = 10.0,
        gamma: float = 0.0,
        invert: float = 0.0,
        class_weights: bool = True,
        w0: float = 10.0,
        sigma: float = 5.0,
        separate: str = "watershed",
        data: Path | None = None,
    ) -> None:
        self.warp = RandomWarp(crop, scale, bend)
        self.gamma, self.invert, self.w0, self.sigma = gamma, invert, w0, sigma
        self.training_set = open_dataset(dataset, train, data=data)
        self.validation_set = open_dataset(dataset, validation, data=data) if validation else None
        if separate not in SEPARATE:
            raise ValueError(f"separate must be one of {', '.join(SEPARATE)}, got {separate!r}")
        self.use = {"separate": separate}
        self.monitor = f"{separate}/AP50" if has_instances(self.training_set) else "mean_iou"
        self.classes = self.training_set.classes[-1:]
        self.class_weights = _class_weights(self.training_set) if class_weights else torch.ones(2)
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.training_set)

    def sample(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """A view of an image.

        Its weights are found anew: they depend on the widths of the gaps, which differ from the image's. Weights that
        are found once, and turned and bent with the image, would differ from these by a third, and save a twentieth
        of the time of a step.

        Returns:
            Image float32 (1, crop, crop), cells uint8 (crop, crop), and weights float32 (crop, crop).
        """
        if index not in self.kept:
            image, target = self.training_set[index]
            self.kept[index] = tv_tensors.Image(stretch(image)), tv_tensors.Mask(_instances(target, self.training_set))
        image, instances = self.warp(*self.kept[index])
        # Beyond the edge lie mirror images of cells, which are cells of their own.
        cells = separate_touching(torch.from_numpy(label(instances.numpy(), connectivity=2).astype(np.int32)))
        weights = self.class_weights[(cells > 0).long()]
        if self.w0:
            weights += border_weights(cells, w0=self.w0, sigma=self.sigma, class_weights=(0.0, 0.0))
        if self.gamma:
            exponent = (1 + self.gamma) ** (2 * float(torch.rand(())) - 1)
            image = image.clamp_min(0) ** exponent
        if torch.rand(()) < self.invert:
            image = 1 - image
        return image, (cells > 0).to(torch.uint8), weights

    def collate(self, samples: list[tuple[Tensor, Tensor, Tensor]]) -> Batch:
        """Images float32 (B, 1, crop, crop), cells uint8 and weights float32 (B, crop, crop)."""
        images, cells, weights = zip(*samples, strict=True)
        return torch.stack(images), torch.stack(cells), torch.stack(weights)

    def weight(self, batch: Batch) -> Tensor:
        return batch[2].sum()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        images, cells, weights = batch
        return (F.cross_entropy(model(images).float(), cells.long(), reduction="none") * weights).sum()

    def evaluate(self, model: nn.Module, device: torch.device, track: Track) -> dict[str, float | list[float]]:
        if self.validation_set is None:
            return {}
        return self.measure(model, self.validation_set, device, track, **self.use)

    measure = staticmethod(evaluate_cells)

    @staticmethod
    def segment(model: nn.Module, image: np.ndarray, separate: str = "watershed") -> Segments:
        """The cells in an RGB image, uint8 (H, W, 3), scored by their mean probability."""
        pixels = torch.from_numpy(image).permute(2, 0, 1).to(next(model.parameters()).device)
        probability = cell_probability(model, pixels).cpu().numpy()
        labels = SEPARATE[separate](probability)
        numbers = np.arange(1, labels.max() + 1)
        masks = labels == numbers[:, None, None]
        return Segments(labels, masks, np.zeros_like(numbers), cell_scores(labels, probability))


def _instances(target: Tensor, dataset: object) -> Tensor:
    """Cells by numbers that OpenCV can resample exactly: float32."""
    if target.dtype == torch.uint8:
        target = connected_cells((target == dataset.classes.index("cell")).float(), smallest=1)
    return target.float()


def _class_weights(dataset: object) -> Tensor:
    """Of background and cells: half the inverse of their shares of all pixels. Their mean over these pixels is 1."""
    counts = sum(
        torch.bincount((_instances(target, dataset) > 0).long().flatten(), minlength=2) for _, target in dataset
    )
    return 0.5 * counts.sum() / counts
