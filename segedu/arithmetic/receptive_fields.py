"""What an output sees: receptive fields, as the layers say and as gradients say."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segedu.arithmetic.field_tracer import Field, FieldTracer
from segedu.arithmetic.without_values import on_meta


@dataclass(frozen=True)
class ReceptiveField:
    """Which inputs an output can depend on, along one axis, away from the image's edge.

    Attributes:
        size: inputs from the first to the last that the largest one reaches.
        sizes: all sizes, ascending; more than one where outputs of different phases see differently, as after a
            transposed convolution.
        stride: how far the field moves from an output to the next, in inputs.
        offset: centre of the first output's field, in inputs from the centre of the first input; negative outside.
    """

    size: int
    sizes: tuple[int, ...]
    stride: float
    offset: float

    @classmethod
    def of(cls, field: Field) -> ReceptiveField:
        """What a traced field comes to."""
        sizes = field.last - field.first + 1
        (inside,) = field.inside.nonzero(as_tuple=True)
        if not len(inside):
            raise ValueError("every output's field reaches beyond the image: trace a larger one")
        found = tuple(sizes[inside].unique().tolist())
        centres = (field.first + field.last)[inside] / 2
        stride = _slope(centres)
        return cls(max(found), found, stride, float(centres[0]) - stride * int(inside[0]))


def _slope(values: Tensor) -> float:
    """The mean step of values (n,) whose steps repeat with some period, as those of phases do."""
    for period in range(1, len(values)):
        steps = values[period:] - values[:-period]
        if (steps == steps[0]).all():
            return float(steps[0]) / period
    return 0.0


def receptive_field(model: nn.Module, channels: int = 3, size: int = 2048) -> ReceptiveField:
    """The theoretical receptive field of a model's outputs, along the width, by tracing intervals through it.

    Every operation says which of its inputs an output depends on: convolutions, poolings, transposed convolutions,
    unpooling, interpolation, crops, padding, sums and concatenations do; anything else that changes the last two axes
    (a dense layer, global pooling, attention over tokens) is taken to see everything. Nothing is computed: the
    image has no values.

    Args:
        model: takes (1, channels, size, size) and returns a tensor (1, C, h, w), or a tuple or list whose last
            item is one.
        channels: of the image.
        size: of the image; larger than twice the field.

    Raises:
        ValueError: if no output's field lies within the image.

    Source: Araujo, Norris and Sim 2019, "Computing receptive fields of convolutional neural networks", Distill.
    """
    with on_meta(model, (1, channels, size, size)) as image, FieldTracer(image) as tracer:
        result = model(image)
    result = result[-1] if isinstance(result, tuple | list) else result
    return ReceptiveField.of(tracer.field_of(result))


def effective_receptive_field(
    model: nn.Module, images: Tensor, position: tuple[int, int] | None = None, seed: int = 0
) -> Tensor:
    """How much the input's pixels move one output: the mean absolute gradient, over the batch and channels.

    The output's channels are weighted by random signs, since their gradients could cancel.

    Args:
        model: takes `images`, returns (B, C, h, w); put it into `eval()` where batch statistics would mix images.
        images: float (B, C, H, W); random ones, several, measure the network and not a picture.
        position: (x, y) of the output, in outputs; the centre if None.
        seed: of the signs.

    Returns:
        Float (H, W), on the device of `images`, with its maximum scaled to 1 (all zero where nothing moves it).

    Source: Luo et al. 2016, "Understanding the effective receptive field in deep CNNs", section 3.
    """
    images = images.detach().requires_grad_()
    output = model(images)
    h, w = output.shape[-2:]
    x, y = position or (w // 2, h // 2)
    signs = torch.randint(0, 2, output.shape[:2], generator=torch.Generator().manual_seed(seed)).to(output) * 2 - 1
    (gradient,) = torch.autograd.grad((output[..., y, x] * signs).sum(), images)
    strength = gradient.abs().mean((0, 1))
    return strength / strength.max().clamp_min(torch.finfo(strength.dtype).tiny)
