"""Measures of how well a segmentation agrees with the truth."""

from segedu.metrics.average_precision import average_precision
from segedu.metrics.boundary import boundary_f1, boundary_iou, mask_boundary
from segedu.metrics.confusion import ConfusionMatrix
from segedu.metrics.overlap import dice, iou, mask_iou, rle_iou
from segedu.metrics.panoptic import PanopticQuality, panoptic_quality

__all__ = [
    "ConfusionMatrix",
    "PanopticQuality",
    "average_precision",
    "boundary_f1",
    "boundary_iou",
    "dice",
    "iou",
    "mask_boundary",
    "mask_iou",
    "panoptic_quality",
    "rle_iou",
]
