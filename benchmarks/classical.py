"""Time thresholds, edges, regions and k-means beside OpenCV, scikit-image, SciPy, Kornia and scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import kornia
import numpy as np
import skimage
import torch
import typer
from rich.progress import track
from rich.table import Table
from scipy import ndimage
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from benchmarks import Row, console, report
from benchmarks.timing import interleave, peak_memory
from segedu import classical
from segedu.datasets import photos

EXAMPLE = "Example: [bold]python -m benchmarks classical --rounds 9 --json classical.json[/]"
MEMORY_LIMIT = 12  # times the image as float32
BLOCK, OFFSET = 35, 5
LOW, HIGH = 100, 200
TOLERANCE = 30
MAX_RANGE = 10  # of a block of the quadtree
CLUSTERS, ITERATIONS = 8, 10

Peers = dict[str, tuple[float, Callable[[], object]]]


def run(
    rounds: Annotated[int, typer.Option(min=1, help="Times that each operation and its peers run, in turn.")] = 7,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file, too.")] = None,
) -> None:
    """Time the classical methods on photographs, and show how much memory each takes on a large image."""
    rows = []
    for operation, (ours, peers) in track(_operations().items(), "timing", console=console, transient=True):
        times = interleave({"ours": ours, **{name: function for name, (_, function) in peers.items()}}, rounds)
        rows += [Row.of(operation, times["ours"], name, times[name], goal) for name, (goal, _) in peers.items()]
    settings = f"blocks of {BLOCK}, range {MAX_RANGE}, K = {CLUSTERS}, {ITERATIONS} iterations"
    report(f"classical methods on uint8 photographs: {settings}", rows, json_file)
    _report_memory(_in_use())


def _operations() -> dict[str, tuple[Callable[[], object], Peers]]:
    """Ours and its peers by operation; each peer with the least ratio that the course wants."""
    small = photos.load("camera").image.copy()  # 512 x 512, which others than NumPy may write to
    large = np.tile(small, (4, 4))
    colour = photos.load("astronaut").image
    return {
        "Otsu, 2048²": (
            lambda: classical.otsu_threshold(large),
            {
                "scikit-image": (1, lambda: skimage.filters.threshold_otsu(large)),
                "OpenCV": (0.8, lambda: cv2.threshold(large, 0, 255, cv2.THRESH_OTSU)),
            },
        ),
        **_adaptive(large),
        **_gradients(large),
        **_canny(small),
        **_regions(small, large),
        **_clusters(colour),
    }


def _adaptive(image: np.ndarray) -> dict[str, tuple[Callable[[], object], Peers]]:
    def opencv(kind: int) -> np.ndarray:
        return cv2.adaptiveThreshold(image, 255, kind, cv2.THRESH_BINARY, BLOCK, OFFSET)

    def scikit_image(method: str) -> np.ndarray:
        return image > skimage.filters.threshold_local(image, BLOCK, method, offset=OFFSET, mode="nearest")

    return {
        "adaptive mean, 2048²": (
            lambda: classical.adaptive_threshold(image, "mean", BLOCK, OFFSET),
            {
                "scikit-image": (12, lambda: scikit_image("mean")),
                "OpenCV": (1, lambda: opencv(cv2.ADAPTIVE_THRESH_MEAN_C)),
            },
        ),
        "adaptive Gaussian, 2048²": (
            lambda: classical.adaptive_threshold(image, "gaussian", BLOCK, OFFSET),
            {
                "scikit-image": (1, lambda: scikit_image("gaussian")),
                "OpenCV": (1, lambda: opencv(cv2.ADAPTIVE_THRESH_GAUSSIAN_C)),
            },
        ),
    }


def _gradients(image: np.ndarray) -> dict[str, tuple[Callable[[], object], Peers]]:
    as_float = torch.from_numpy(image)[None, None].float() / 255
    compass = [np.rot90(KIRSCH_NORTH, turn) for turn in range(4)] + [np.rot90(KIRSCH_NORTH_EAST, t) for t in range(4)]

    def opencv_sobel() -> np.ndarray:
        return cv2.magnitude(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1))

    def opencv_kirsch() -> np.ndarray:
        strongest = cv2.filter2D(image, cv2.CV_32F, compass[0])
        for kernel in compass[1:]:
            cv2.max(strongest, cv2.filter2D(image, cv2.CV_32F, kernel), dst=strongest)
        return strongest

    return {
        "Sobel magnitude, 2048²": (
            lambda: classical.sobel(image),
            {
                "scikit-image": (7, lambda: skimage.filters.sobel(image)),
                "OpenCV": (1, opencv_sobel),
                "Kornia": (1, lambda: kornia.filters.sobel(as_float)),
            },
        ),
        "Kirsch, 2048²": (lambda: classical.kirsch(image), {"OpenCV (8 filters)": (1, opencv_kirsch)}),
    }


KIRSCH_NORTH = np.array([[5, 5, 5], [-3, 0, -3], [-3, -3, -3]], np.float32)
KIRSCH_NORTH_EAST = np.array([[-3, 5, 5], [-3, 0, 5], [-3, -3, -3]], np.float32)


def _canny(image: np.ndarray) -> dict[str, tuple[Callable[[], object], Peers]]:
    as_float = torch.from_numpy(image)[None, None].float() / 255
    return {
        "Canny, 512²": (
            lambda: classical.canny(image, LOW, HIGH),
            {
                "scikit-image": (15, lambda: skimage.feature.canny(image, low_threshold=LOW, high_threshold=HIGH)),
                "OpenCV": (0.5, lambda: cv2.Canny(image, LOW, HIGH)),
                "Kornia": (1, lambda: kornia.filters.canny(as_float, 0.1, 0.2)),
            },
        )
    }


def _regions(small: np.ndarray, large: np.ndarray) -> dict[str, tuple[Callable[[], object], Peers]]:
    mask, seed = large > 127, (5, 5)

    def opencv_flood() -> np.ndarray:
        filled = np.zeros((large.shape[0] + 2, large.shape[1] + 2), np.uint8)
        cv2.floodFill(large.copy(), filled, seed, 0, TOLERANCE, TOLERANCE, cv2.FLOODFILL_FIXED_RANGE)
        return filled

    return {
        "region growing, 2048²": (
            lambda: classical.grow_region(large, seed, TOLERANCE),
            {
                "scikit-image": (1, lambda: skimage.segmentation.flood(large, seed[::-1], tolerance=TOLERANCE)),
                "OpenCV": (0.3, opencv_flood),
            },
        ),
        "components, 2048²": (
            lambda: classical.connected_components(mask),
            {
                "SciPy": (1, lambda: ndimage.label(mask, np.ones((3, 3)))),
                "scikit-image": (1, lambda: skimage.measure.label(mask)),
                "OpenCV": (0.5, lambda: cv2.connectedComponents(mask.view(np.uint8))),
            },
        ),
        "quadtree split, 512²": (
            lambda: classical.split_and_merge(small, classical.max_range(MAX_RANGE), merge=False),
            {"plain recursion": (300, lambda: _recursive_split(small, MAX_RANGE))},
        ),
    }


def _recursive_split(image: np.ndarray, max_range: int) -> np.ndarray:
    """The split as a textbook writes it: the labels of the leaves of a square image."""
    labels, leaves = np.zeros(image.shape, np.int32), 0

    def split(x: int, y: int, side: int) -> None:
        nonlocal leaves
        block = image[y : y + side, x : x + side]
        if side == 1 or int(block.max()) - int(block.min()) <= max_range:
            leaves += 1
            labels[y : y + side, x : x + side] = leaves
            return
        half = side // 2
        for dy in (0, half):
            for dx in (0, half):
                split(x + dx, y + dy, half)

    split(0, 0, len(image))
    return labels


def _clusters(image: np.ndarray) -> dict[str, tuple[Callable[[], object], Peers]]:
    channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
    points = image.reshape(-1, 3)
    start = points[np.random.default_rng(0).choice(len(points), CLUSTERS, replace=False)].astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_MAX_ITER, ITERATIONS, 0)
    start_labels = ((points[:, None].astype(np.float32) - start) ** 2).sum(-1).argmin(1).astype(np.int32)

    def scikit_learn() -> KMeans:
        model = KMeans(CLUSTERS, init=start, n_init=1, max_iter=ITERATIONS, tol=0, algorithm="lloyd")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(points.astype(np.float32))

    def opencv() -> tuple:
        flags = cv2.KMEANS_USE_INITIAL_LABELS
        return cv2.kmeans(points.astype(np.float32), CLUSTERS, start_labels.copy(), criteria, 1, flags)

    return {
        "k-means, 512² x 3": (
            lambda: classical.kmeans(channels_first, CLUSTERS, start=start, iterations=ITERATIONS, tolerance=0),
            {"scikit-learn": (2.5, scikit_learn), "OpenCV": (1, opencv)},
        )
    }


def _in_use() -> dict[str, Callable[[], object]]:
    """Every operation on a 4096 x 4096 image."""
    image = np.tile(photos.load("camera").image, (8, 8))
    mask = image > 127
    colour = np.tile(photos.load("astronaut").image, (8, 8, 1)).transpose(2, 0, 1)
    edges = classical.canny(image, LOW, HIGH)
    return {
        "global_threshold": lambda: classical.global_threshold(image, 127),
        "otsu_threshold": lambda: classical.otsu_threshold(image),
        "multi_otsu_thresholds": lambda: classical.multi_otsu_thresholds(image),
        "adaptive_threshold, mean": lambda: classical.adaptive_threshold(image, "mean", BLOCK, OFFSET),
        "adaptive_threshold, Gaussian": lambda: classical.adaptive_threshold(image, "gaussian", BLOCK, OFFSET),
        "hysteresis_threshold": lambda: classical.hysteresis_threshold(image, 100, 200),
        "sobel": lambda: classical.sobel(image),
        "prewitt": lambda: classical.prewitt(image),
        "roberts": lambda: classical.roberts(image),
        "kirsch": lambda: classical.kirsch(image),
        "laplace": lambda: classical.laplace(image),
        "canny": lambda: classical.canny(image, LOW, HIGH),
        "edge_segments": lambda: classical.edge_segments(edges),
        "grow_region": lambda: classical.grow_region(image, (5, 5), TOLERANCE),
        "connected_components": lambda: classical.connected_components(mask),
        "split_and_merge": lambda: classical.split_and_merge(image, classical.max_range(TOLERANCE)),
        "kmeans, 3 channels": lambda: classical.kmeans(colour, CLUSTERS, iterations=3),
    }


def _report_memory(operations: dict[str, Callable[[], object]]) -> None:
    table = Table("operation", title="memory beyond the image, 4096²", title_justify="left")
    table.add_column("MiB", justify="right")
    table.add_column("times the image as float32", justify="right")
    table.add_column("limit", justify="right")
    for name, operation in track(operations.items(), "measuring memory", console=console, transient=True):
        peak = peak_memory(operation)
        if peak is None:
            console.print("memory: this system does not tell the peak of a process; on Linux it does")
            return
        ratio = peak / (4 * 4096**2)
        mark = "green" if ratio < MEMORY_LIMIT else "bold red"
        table.add_row(name, f"{peak / 2**20:,.0f}", f"[{mark}]{ratio:.2f}[/]", f"{MEMORY_LIMIT}")
    console.print(table)
