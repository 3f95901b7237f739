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
from segedu.classical.kmeans import KMeans, kmeans
from segedu.classical.lloyd import lloyd_round
from segedu.classical.regions import connected_components, grow_region
from segedu.classical.split_merge import SplitAndMerge, split_and_merge
from segedu.classical.threshold import (
    adaptive_threshold,
    global_threshold,
    histogram,
    hysteresis_threshold,
    multi_otsu_thresholds,
    otsu_threshold,
)
from segedu.classical.uniformity import Rule, max_range, max_variance

__all__ = [
    "KMeans",
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
    "kmeans",
    "laplace",
    "link_edges",
    "lloyd_round",
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
