"""Measures of how well a segmentation agrees with the truth."""

from segedu.metrics.confusion import ConfusionMatrix
from segedu.metrics.overlap import dice, iou, mask_iou

__all__ = ["ConfusionMatrix", "dice", "iou", "mask_iou"]
