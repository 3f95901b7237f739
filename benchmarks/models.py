"""Time networks beside torchvision's and transformers', with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import torchvision
import typer
from rich.progress import track
from transformers import SamConfig, SamModel

from benchmarks import Row, console, report
from benchmarks.timing import interleave
from segedu.models import build_sam, deeplab_v3, fcn_resnet50, for_inference
from segedu.models.sam.checkpoints import from_transformers

EXAMPLE = "Example: [bold]python -m benchmarks models --rounds 5 --json models.json[/]"
SIZE = 520  # pixels: that of torchvision's evaluation

Call = Callable[[], torch.Tensor]


def run(
    rounds: Annotated[int, typer.Option(min=1, help="Times that each network and its peer run, in turn.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file, too.")] = None,
) -> None:
    """Time the forward pass of one image, and require first that both networks say the same of it."""
    cases: dict[str, tuple[Callable[[], tuple[Call, Call]], str, float]] = {
        f"FCN on ResNet-50, {SIZE}²": (_fcn, "torchvision", 1.1),
        f"FCN, for_inference, {SIZE}²": (lambda: _fcn(for_inference), "torchvision", 1.1),
        f"DeepLab v3 on ResNet-50, {SIZE}²": (_deeplab, "torchvision", 2.0),
        f"DeepLab v3, for_inference, {SIZE}²": (lambda: _deeplab(for_inference), "torchvision", 2.0),
        "SAM's encoder, ViT-B, 1024²": (_sam_encoder, "transformers", 1.5),
    }
    rows = []
    with torch.inference_mode():
        for operation, (make, peer, goal) in track(cases.items(), "timing", console=console, transient=True):
            torch.manual_seed(0)
            ours, theirs = make()
            _require_equal(operation, ours(), theirs())
            times = interleave({"ours": ours, peer: theirs}, rounds)
            rows.append(Row.of(operation, times["ours"], peer, times[peer], goal))
    report(f"forward pass of one image, {torch.get_num_threads()} threads", rows, json_file)


def _as_it_is(model: torch.nn.Module) -> torch.nn.Module:
    return model


def _fcn(prepared: Callable[[torch.nn.Module], torch.nn.Module] = _as_it_is) -> tuple[Call, Call]:
    theirs = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None)
    return _calls(fcn_resnet50(), theirs, prepared)


def _deeplab(prepared: Callable[[torch.nn.Module], torch.nn.Module] = _as_it_is) -> tuple[Call, Call]:
    theirs = torchvision.models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None)
    return _calls(deeplab_v3(), theirs, prepared)


def _calls(
    ours: torch.nn.Module, theirs: torch.nn.Module, prepared: Callable[[torch.nn.Module], torch.nn.Module]
) -> tuple[Call, Call]:
    ours.load_state_dict(theirs.eval().state_dict())
    ours = prepared(ours.eval())
    image = torch.rand(1, 3, SIZE, SIZE)
    return lambda: ours(image), lambda: theirs(image)["out"]


def _sam_encoder() -> tuple[Call, Call]:
    theirs = SamModel(SamConfig()).eval()
    for name, weight in theirs.vision_encoder.named_parameters():
        if "pos" in name:  # these are zero in a new network
            weight.normal_(std=0.02)
    ours = build_sam("vit_b")
    ours.load_state_dict(from_transformers(theirs.state_dict()))
    image = torch.randn(1, 3, 1024, 1024)
    return lambda: ours.encode_image(image), lambda: theirs.vision_encoder(image).last_hidden_state


def _require_equal(operation: str, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    if error > 1e-4:
        raise SystemExit(f"{operation}: the results differ by {error:.1e} of their scale, so their times say nothing")
