"""A class for every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from segedu.datasets import open_dataset
from segedu.metrics import ConfusionMatrix
from segedu.models.upsampling import interpolate
from segedu.training.segments import Segments
from segedu.training.tasks import Track

IGNORED = 255


class Semantic:
    """Semantic segmentation by cross-entropy, measured by the mean IoU of the whole validation split.

    Args:
        dataset: one of `segedu.datasets` whose targets are label maps.
        train: its split to learn from; "train+val" joins two.
        validation: its split to measure on; "" for none.
        crop: height and width of the training images, in pixels.
        scale: by which training images are resized before they are cropped, drawn evenly between these two.
        enlarge: by which images are resized for the model in use, and when it is measured: thin things get wider.
        mirror: show the model the mirror image too, in use and when it is measured, and take the mean of both answers.
        flip: the probability of a mirror image.
        colour: the largest relative change of brightness, contrast and saturation.
        grey: the probability of an image without colours.
        class_weights: weigh the pixels of class c by 1 / log(1.1 + f), with f the share of the training pixels that are
            of class c (Paszke et al. 2016, ENet, section 5.2, who have 1.02 for 1.1).
        data: the folder of local data.
    """

    monitor = "mean_iou"

    def __init__(
        self,
        *,
        dataset: str,
        train: str = "train",
        validation: str = "val",
        crop: Sequence[int],
        scale: Sequence[float] = (1.0, 1.0),
        enlarge: float = 1.0,
        mirror: bool = False,
        flip: float = 0.5,
        colour: float = 0.0,
        grey: float = 0.0,
        class_weights: bool = False,
        data: Path | None = None,
    ) -> None:
        self.use = {"enlarge": enlarge, "mirror": mirror}
        self.augment = augmentation(tuple(crop), tuple(scale), flip, colour, grey)
        self.training_set = open_dataset(dataset, train, data=data, cache=True)
        self.validation_set = open_dataset(dataset, validation, data=data) if validation else None
        self.classes = self.training_set.classes
        self.class_weights = torch.ones(len(self.classes))
        if class_weights:
            self.class_weights = 1 / torch.log(1.1 + class_shares(self.training_set))

    def __len__(self) -> int:
        return len(self.training_set)

    def sample(self, index: int) -> tuple[Tensor, Tensor]:
        return self.augment(*self.training_set[index])

    def collate(self, samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, C, H, W) and labels uint8 (B, H, W)."""
        images, labels = zip(*samples, strict=True)
        return torch.stack(images), torch.stack(labels)

    def weight(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        labels = batch[1].flatten()
        labels = labels[labels != IGNORED].long()
        return self.class_weights.to(labels.device)[labels].sum()

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        weights = self.class_weights.to(images.device)
        logits = model(v2.functional.to_dtype(images, scale=True))
        return F.cross_entropy(logits.float(), labels.long(), weights, ignore_index=IGNORED, reduction="sum")

    def evaluate(self, model: nn.Module, device: torch.device, track: Track) -> dict[str, float | list[float]]:
        if self.validation_set is None:
            return {}
        return self.measure(model, self.validation_set, device, track, **self.use)

    @staticmethod
    def measure(
        model: nn.Module,
        dataset: Dataset,
        device: torch.device,
        track: Track,
        enlarge: float = 1.0,
        mirror: bool = False,
    ) -> dict[str, float | list[float]]:
        """The four metrics of Long et al. (2015) and the IoU of each class, over all pixels of a data set. Waits.

        Args:
            model: in evaluation mode, on the device.
            dataset: of images and label maps, with `classes`.
            device: of the model.
            track: see `segedu.training.tasks`.
            enlarge, mirror: see `Semantic`.
        """
        confusion = ConfusionMatrix(len(dataset.classes), ignore_index=IGNORED)
        for image, labels in track(dataset, "validating"):
            predicted = probabilities(model, image[None].to(device), enlarge, mirror).argmax(1)[0]
            confusion.update(predicted.to(torch.uint8).cpu(), labels)
        return {
            "pixel_accuracy": float(confusion.pixel_accuracy()),
            "mean_accuracy": float(confusion.mean_accuracy()),
            "mean_iou": float(confusion.mean_iou()),
            "frequency_weighted_iou": float(confusion.frequency_weighted_iou()),
            "iou_per_class": [float(value) for value in confusion.iou_per_class()],
        }

    @staticmethod
    def segment(model: nn.Module, image: np.ndarray, enlarge: float = 1.0, mirror: bool = False) -> Segments:
        """A segment for each class that is in an RGB image, uint8 (H, W, 3), scored by its mean probability."""
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(next(model.parameters()).device)
        maps = probabilities(model, pixels, enlarge, mirror)[0].cpu().numpy()
        labels = maps.argmax(0)
        categories = np.unique(labels)
        masks = labels == categories[:, None, None]
        means = [float(maps[c][mask].mean()) for c, mask in zip(categories, masks, strict=True)]
        return Segments(labels, masks, categories, means)


def augmentation(
    crop: tuple[int, int], scale: tuple[float, float], flip: float, colour: float, grey: float
) -> v2.Transform:
    """What a training image and its labels go through: resized, cropped (where it ends, black and void), recoloured."""
    steps = [
        RandomZoom(scale),
        v2.RandomCrop(crop, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORED}),
        v2.RandomHorizontalFlip(flip),
    ]
    if colour:
        steps.append(v2.ColorJitter(brightness=colour, contrast=colour, saturation=colour))
    if grey:
        steps.append(v2.RandomGrayscale(grey))
    return v2.Compose(steps)


class RandomZoom(v2.Transform):
    """Resize by a factor drawn evenly from a range; labels by their nearest pixel."""

    def __init__(self, scale: tuple[float, float]) -> None:
        super().__init__()
        least, most = scale
        if not 0 < least <= most:
            raise ValueError(f"scale must be two factors above 0, the smaller first, got {scale}")
        self.scale = scale

    def make_params(self, flat_inputs: list) -> dict[str, float]:
        return {"factor": torch.empty(1).uniform_(*self.scale).item()}

    def transform(self, inpt: Tensor, params: dict[str, float]) -> Tensor:  # the names that v2.Transform gives
        size = [max(round(side * params["factor"]), 1) for side in inpt.shape[-2:]]
        return self._call_kernel(v2.functional.resize, inpt, size=size, antialias=True)


def class_shares(dataset: Dataset) -> Tensor:
    """The share of each class in the pixels that are of any: float (C,)."""
    counts = torch.zeros(256, dtype=torch.int64)
    for _, labels in dataset:
        counts += torch.bincount(labels.flatten(), minlength=256)
    counts = counts[: len(dataset.classes)]
    return counts / counts.sum()


@torch.inference_mode()
def probabilities(model: nn.Module, images: Tensor, enlarge: float = 1.0, mirror: bool = False) -> Tensor:
    """The probability of each class, float (B, K, H, W), in images uint8 (B, C, H, W); see `Semantic` for the rest."""
    shown = v2.functional.to_dtype(images.as_subclass(Tensor), scale=True)
    if enlarge != 1:
        size = [round(side * enlarge) for side in images.shape[2:]]
        shown = F.interpolate(shown, size, mode="bilinear", align_corners=False)
    found = interpolate(model(shown), like=images).softmax(1)
    if mirror:
        found = (found + interpolate(model(shown.flip(3)).flip(3), like=images).softmax(1)) / 2
    return found
