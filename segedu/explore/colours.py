"""The colours of a set of images, as training sees them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from segedu.explore.view import BLUE, GREEN, VERMILION, View, new_figure
from segedu.plots import to_rgb

CHANNELS = {"red": (VERMILION, "-"), "green": (GREEN, "--"), "blue": (BLUE, ":")}


class ColourStatistics:
    """Mean and standard deviation of each channel over all pixels of all images, of which it holds one at a time.

    It keeps how often each of the 256 values occurs, and that says all: sums of whole numbers lose nothing, however
    many there are. Values are from 0 to 1, as training normalises them. Large images weigh more than small ones.
    """

    def __init__(self) -> None:
        self.images = 0
        self.counts = np.zeros((3, 256), np.int64)

    def update(self, image: np.ndarray) -> None:
        """Count one more image: uint8 (H, W, 3), or (H, W), which is grey."""
        if image.dtype != np.uint8:
            raise ValueError(f"an image must be uint8, got {image.dtype}: count it before it is scaled or normalised")
        pixels = to_rgb(image).reshape(-1, 3)
        self.counts += [np.bincount(channel, minlength=256) for channel in pixels.T]
        self.images += 1

    @property
    def pixels(self) -> int:
        return int(self.counts[0].sum())

    def mean(self) -> np.ndarray:
        """Of red, green and blue: float64 (3,), 0 to 1; NaN before the first pixel."""
        return self._average(np.arange(256) / 255)

    def std(self) -> np.ndarray:
        """The standard deviations, float64 (3,), of all pixels together."""
        return self._average((np.arange(256) / 255 - self.mean()[:, None]) ** 2) ** 0.5

    def _average(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (self.counts * values).sum(1) / self.counts.sum(1)


def colours(images: Iterable[np.ndarray]) -> View:
    """Count the colours of images, which may come one by one.

    Args:
        images: each uint8 (H, W, 3) or (H, W).

    Returns:
        A histogram for each channel; and a row for each channel with

            channel, mean, std, median: values from 0 to 1,
            darkest, brightest: the shares of pixels with the value 0 and 255.
    """
    statistics = ColourStatistics()
    for image in images:
        statistics.update(image)
    total = max(statistics.pixels, 1)
    table = [
        {
            "channel": channel,
            "mean": float(mean),
            "std": float(std),
            "median": int(np.searchsorted(counts.cumsum(), total / 2)) / 255,
            "darkest": float(counts[0] / total),
            "brightest": float(counts[255] / total),
        }
        for channel, mean, std, counts in zip(
            CHANNELS, statistics.mean(), statistics.std(), statistics.counts, strict=True
        )
    ]
    figure, (axis,) = new_figure(1, (6, 3.2))
    for (channel, (colour, style)), counts in zip(CHANNELS.items(), statistics.counts, strict=True):
        axis.plot(
            np.arange(256) / 255, 100 * counts / total, color=colour, linestyle=style, linewidth=1.4, label=channel
        )
    axis.set(xlabel="value (0 dark, 1 bright)", ylabel="pixels (%)", xlim=(0, 1))
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return View(figure, table)
