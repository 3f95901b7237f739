"""Segmentation without learning: thresholds, edges, regions and clusters."""

from segedu.classical.canny import canny, non_maximum_suppression
from segedu.classical.edge_segments import edge_segments, expand_labels, link_edges
from segedu.classical.edges import (
    gradient,
    gradient_direction,
    gradient_magnitude,
    kirsch,
    kirsch_responses,
    laplace,
    prewitt,
    roberts,
    sobel,
    zero_crossings,
)
from segedu.classical.filters import convolve, correlate, gaussian_smooth
from segedu.classical.regions import connected_components, grow_region
from segedu.classical.split_merge import Rule, SplitAndMerge, max_range, max_variance, split_and_merge
from segedu.classical.threshold import (
    adaptive_threshold,
    global_threshold,
    histogram,
    hysteresis_threshold,
    multi_otsu_thresholds,
    otsu_threshold,
)

__all__ = [
    "Rule",
    "SplitAndMerge",
    "adaptive_threshold",
    "canny",
    "connected_components",
    "convolve",
    "correlate",
    "edge_segments",
    "expand_labels",
    "gaussian_smooth",
    "global_threshold",
    "gradient",
    "gradient_direction",
    "gradient_magnitude",
    "grow_region",
    "histogram",
    "hysteresis_threshold",
    "kirsch",
    "kirsch_responses",
    "laplace",
    "link_edges",
    "max_range",
    "max_variance",
    "multi_otsu_thresholds",
    "non_maximum_suppression",
    "otsu_threshold",
    "prewitt",
    "roberts",
    "sobel",
    "split_and_merge",
    "zero_crossings",
]
