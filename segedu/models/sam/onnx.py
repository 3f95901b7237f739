"""SAM as two ONNX files, for programs without PyTorch: one runs once for an image, the other for each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from segedu.models.sam.model import Sam

if TYPE_CHECKING:
    import onnx_ir

OPSET = 20
MOST_IN_A_FILE = 2_000_000_000  # bytes of weights: protobuf, of which ONNX files are, takes 2 GiB


class _Encoder(nn.Module):
    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, image: Tensor) -> Tensor:
        return self.sam.encode_image(self.sam.preprocess(image))


class _Decoder(nn.Module):
    """One mask and three. Both have nearly all in common, which the graph then computes once."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(
        self, embedding: Tensor, points: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        one, three = (
            self.sam.decode(embedding, None, points, labels, masks=mask, has_mask=has_mask, multimask=multimask)
            for multimask in (False, True)
        )
        return torch.cat([one[0], three[0]], 1), torch.cat([one[1], three[1]], 1)


def export_onnx(sam: Sam, folder: str | Path) -> tuple[Path, Path]:
    """Write a model as encoder.onnx and decoder.onnx.

    encoder.onnx takes

    - image: RGB in [0, 1], float (1, 3, H, W), resized so that its longer side is `sam.image_size`; the graph
      normalises and pads it,

    and gives

    - embedding: float (1, `sam.embedding_channels`, h, h).

    decoder.onnx takes this and P prompts of N points each, both any numbers from 1 on:

    - points: (x, y) in pixels of the resized image, float (P, N, 2).
    - labels: int64 (P, N): 1 on the object, 0 on the background, 2 and 3 the corners of a box, -2 for no point.
    - mask: logits of an earlier answer, float (P, 1, 4 h, 4 h); zeros will do where there is none.
    - has_mask: bool (P,), whether it counts.

    and gives four answers to each prompt, of which the first is for clear prompts, such as a box or several clicks,
    and the others are for one that may mean a whole or a part of it, such as one click:

    - logits: float (P, 4, 4 h, 4 h); above 0 is object.
    - iou: what the model expects of each, float (P, 4).

    Args:
        sam: any size, on the CPU.
        folder: made if it does not exist.

    Returns:
        The paths of encoder and decoder.

    Raises:
        ModuleNotFoundError: if onnx or onnxscript are not installed.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"to write ONNX files, {' and '.join(missing)} must be installed: pip install onnx onnxscript"
        )
    side, h = sam.image_size, sam.embedding_size
    H, W = (torch.export.Dim(name, min=2, max=side) for name in "HW")
    P, N = (torch.export.Dim(name, min=1, max=2**20) for name in "PN")
    # Examples, whose variable sizes differ from each other and from 1, so that no graph takes them for constants.
    images = torch.rand(1, 3, side - 1, side)
    prompts = (
        torch.rand(1, sam.embedding_channels, h, h),
        torch.rand(3, 2, 2) * side,
        torch.ones(3, 2, dtype=torch.long),
        torch.rand(3, 1, 4 * h, 4 * h),
        torch.tensor([True, False, True]),
    )
    shapes = ({}, {0: P, 1: N}, {0: P, 1: N}, {0: P}, {0: P})
    names = ("embedding", "points", "labels", "mask", "has_mask")
    encoder = _graph(_Encoder(sam), (images,), ({2: H, 3: W},), ("image",), ("embedding",))
    decoder = _graph(_Decoder(sam), prompts, shapes, names, ("logits", "iou"))
    return _write(encoder, Path(folder) / "encoder.onnx"), _write(decoder, Path(folder) / "decoder.onnx")


def _graph(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    shapes: tuple[dict[int, torch.export.Dim], ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> onnx_ir.Model:
    """The graph of a module, each thing in it computed once."""
    from onnx_ir.passes import common

    # Strict, for otherwise a length that is asked for by len() would be taken for a constant.
    program = torch.export.export(module.eval(), examples, dynamic_shapes=shapes, strict=True)
    model = torch.onnx.export(
        program, input_names=inputs, output_names=outputs, opset_version=OPSET, dynamo=True, verbose=False
    ).model
    common.DeduplicateInitializersPass(size_limit=2**40)(model)
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    _name_sizes(model, shapes)
    return model


def _name_sizes(model: onnx_ir.Model, shapes: Sequence[dict[int, torch.export.Dim]]) -> None:
    """Call the variable sizes of inputs and outputs what the examples call them."""
    names = {}
    for value, sizes in zip(model.graph.inputs, shapes, strict=True):
        names |= {str(value.shape[axis]): size.__name__ for axis, size in sizes.items()}
    for value in (*model.graph.inputs, *model.graph.outputs):
        for axis, size in enumerate(value.shape):
            value.shape[axis] = names.get(str(size), size)


def _write(model: onnx_ir.Model, path: Path) -> Path:
    """Write a graph beside `path` and move it there when it is whole; large weights go to a second file."""
    import onnx_ir

    path.parent.mkdir(parents=True, exist_ok=True)
    large = sum(tensor.const_value.nbytes for tensor in model.graph.initializers.values()) > MOST_IN_A_FILE
    with TemporaryDirectory(dir=path.parent) as folder:
        onnx_ir.save(model, Path(folder) / path.name, external_data=f"{path.name}.data" if large else None)
        for part in sorted(Path(folder).iterdir(), reverse=True):  # the weights first
            part.replace(path.parent / part.name)
    return path
