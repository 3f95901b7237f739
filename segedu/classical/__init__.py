"""Segmentation without learning: thresholds, edges, regions and clusters."""

from segedu.classical.threshold import (
    adaptive_threshold,
    global_threshold,
    histogram,
    hysteresis_threshold,
    multi_otsu_thresholds,
    otsu_threshold,
)

__all__ = [
    "adaptive_threshold",
    "global_threshold",
    "histogram",
    "hysteresis_threshold",
    "multi_otsu_thresholds",
    "otsu_threshold",
]
