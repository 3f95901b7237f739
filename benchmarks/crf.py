"""Time dense CRFs beside pydensecrf, which wraps the authors' own C++ code, and see first that both give the same."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from rich.progress import track

from benchmarks import Row, console, report
from benchmarks.timing import interleave
from segedu.datasets import photos
from segedu.models.crf import DenseCRF

EXAMPLE = "Example: [bold]python -m benchmarks crf --rounds 9 --json crf.json[/]"
WIDTH, HEIGHT = 500, 375  # of most images of PASCAL VOC
CASES = ((21, 10, 1.8), (21, 5, 1.5), (2, 10, 1))  # classes, iterations, goal: few values leave lanes idle
ACCURACY = 1e-3  # of probabilities


def run(
    rounds: Annotated[int, typer.Option(min=1, help="Times that each CRF runs, in turn.")] = 7,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file, too.")] = None,
) -> None:
    """Time mean field with DeepLab's two kernels on a photograph, building the lattices included."""
    if importlib.util.find_spec("pydensecrf") is None:
        raise SystemExit(
            "pydensecrf2 is not there, and needs a C++ compiler: pip install -c constraints.txt pydensecrf2"
        )
    image = cv2.resize(photos.load("coffee").image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    rows = []
    for classes, iterations, goal in track(CASES, "timing", console=console, transient=True):
        operation = f"{WIDTH} x {HEIGHT}, {classes} classes, {iterations} iterations"
        ours, theirs = _case(image, classes, iterations)
        difference = np.abs(ours() - theirs()).max()
        if not difference <= ACCURACY:
            raise RuntimeError(f"{operation}: probabilities differ by {difference:.2g}, so the times do not compare")
        times = interleave({"ours": ours, "pydensecrf": theirs}, rounds)
        rows.append(Row.of(operation, times["ours"], "pydensecrf", times["pydensecrf"], goal))
    report("dense CRFs with a Gaussian and a bilateral kernel", rows, json_file)


def _case(
    image: np.ndarray, classes: int, iterations: int
) -> tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]:
    """Our CRF and pydensecrf's on an image (H, W, 3) and scores by brightness; each gives probabilities (K, H, W)."""
    import pydensecrf.densecrf as pydensecrf  # not at the top: the other benchmarks go without it

    H, W, _ = image.shape
    noise = np.random.default_rng(0).normal(0, 1, (classes, H, W))
    levels = np.linspace(0, 255, classes)[:, None, None]
    logits = torch.from_numpy(noise - ((image.mean(2) - levels) / 100) ** 2).float()
    unary = np.ascontiguousarray(-logits.log_softmax(0).numpy().reshape(classes, -1))
    model = DenseCRF(classes, iterations)
    gaussian, bilateral = model.kernel_weights.tolist()
    channels_first = torch.from_numpy(image).permute(2, 0, 1).contiguous()

    def ours() -> np.ndarray:
        return model(logits[None], channels_first[None])[0].numpy()

    def theirs() -> np.ndarray:
        crf = pydensecrf.DenseCRF2D(W, H, classes)
        crf.setUnaryEnergy(unary)
        crf.addPairwiseGaussian(sxy=model.gaussian_sigma, compat=gaussian)
        xy, rgb = model.bilateral_sigma_xy, model.bilateral_sigma_rgb
        crf.addPairwiseBilateral(sxy=xy, srgb=rgb, rgbim=image, compat=bilateral)
        return np.array(crf.inference(iterations)).reshape(classes, H, W)

    return ours, theirs
