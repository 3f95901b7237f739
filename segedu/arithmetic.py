"""Convolution arithmetic: sizes, receptive fields, parameters and multiply-adds, of any `nn.Module` by tracing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segedu.tracing import Field, FieldTracer, MemoryTracer


def output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, *, ceil_mode: bool = False
) -> int:
    """How many outputs a convolution or a pooling has along one axis: floor((n + 2p - r(k - 1) - 1) / s) + 1.

    Args:
        size: inputs along the axis, n.
        kernel: taps k of the kernel; with atrous rate r it spans r(k - 1) + 1 inputs.
        stride: s.
        padding: p, on each side.
        dilation: the atrous rate r.
        ceil_mode: round up, as Caffe's poolings do; a window must still begin within the input or its left padding.

    Raises:
        ValueError: if an argument is out of its range, or the kernel spans more than the padded input.

    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning", relationships 6 and 15.
    """
    _check_layer(kernel, stride, padding, dilation)
    room = size + 2 * padding - effective_kernel(kernel, dilation)
    if size < 1 or room < 0:
        raise ValueError(
            f"a kernel that spans {effective_kernel(kernel, dilation)} inputs needs as many after padding, "
            f"got {size} + 2 * {padding}"
        )
    count = room // stride + 1
    if ceil_mode and room % stride and count * stride < size + padding:
        count += 1
    return count


def transposed_output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """How many outputs a transposed convolution has along one axis: s(n - 1) + r(k - 1) + 1 - 2p + a.

    It is the size of the input that a convolution with the same arguments maps to n outputs. With a stride there are
    s such sizes; the output padding a, below s, says which.

    Raises:
        ValueError: if an argument is out of its range, or nothing is left.

    Source: Dumoulin and Visin 2016, relationship 14.
    """
    _check_layer(kernel, stride, padding, dilation)
    if not 0 <= output_padding < max(stride, dilation):
        raise ValueError(f"output_padding must be at least 0 and below the stride or rate, got {output_padding}")
    result = stride * (size - 1) + effective_kernel(kernel, dilation) - 2 * padding + output_padding
    if size < 1 or result < 1:
        raise ValueError(f"{size} inputs leave {result} outputs: expected at least 1 of each")
    return result


def effective_kernel(kernel: int, dilation: int = 1) -> int:
    """How many inputs a kernel with atrous rate r spans: r(k - 1) + 1.

    Source: Chen et al. 2018, "DeepLab", section 3.1.
    """
    return dilation * (kernel - 1) + 1


def _check_layer(kernel: int, stride: int, padding: int, dilation: int) -> None:
    if min(kernel, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            "kernel, stride and dilation must be at least 1 and padding at least 0, "
            f"got {kernel}, {stride}, {dilation} and {padding}"
        )


def count_parameters(model: nn.Module, *, trainable: bool = False) -> int:
    """How many numbers a model learns: weights and biases, shared ones once; running means are not parameters.

    Args:
        model: any module.
        trainable: leave out the frozen ones (those that require no gradient).
    """
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad or not trainable)


def count_multiply_adds(model: nn.Module, shape: tuple[int, ...]) -> int:
    """How many multiplications with an addition the forward pass takes: convolutions, matrix products, attention.

    A convolution takes one for each tap of its kernel, input channel of its group, and number of its output; biases,
    activations and poolings are not counted, as in most papers ("FLOPs" there are these, or twice these).

    Args:
        model: any module that takes one tensor.
        shape: of its input, such as (1, 3, 224, 224). No memory is used for it, nor time for computing.
    """
    with _on_meta(model, shape) as image, FlopCounterMode(display=False) as counter:
        model(image)
    return counter.get_total_flops() // 2


def activation_memory(model: nn.Module, shape: tuple[int, ...], after: str | None = None) -> int:
    """How many bytes of features a forward pass holds at once, without training: the most, or those after a layer.

    The image, the weights and what a kernel needs within itself do not count.

    Args:
        model: any module that takes one tensor.
        shape: of its input; no memory is used for it.
        after: name of a submodule. If given, what is held right after it has run: after the last block of an encoder,
            its result and what is kept for the decoder.

    Raises:
        AttributeError: if there is no such submodule.
    """
    held = []
    with _on_meta(model, shape) as image, MemoryTracer() as tracer:
        hooks = []
        if after is not None:
            hooks.append(model.get_submodule(after).register_forward_hook(lambda *_: held.append(tracer.alive)))
        try:
            model(image)
        finally:
            for hook in hooks:
                hook.remove()
    return held[-1] if held else tracer.peak


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
    with _on_meta(model, (1, channels, size, size)) as image, FieldTracer(image) as tracer:
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


@dataclass(frozen=True)
class Layer:
    """A row of `layer_table`: one module without children, in the order of the calls.

    `receptive_field` is None where an output sees everything, or no output only the image.
    """

    name: str
    kind: str
    kernel: int | None
    stride: int | None
    dilation: int | None
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: int | None


def layer_table(model: nn.Module, shape: tuple[int, ...]) -> list[Layer]:
    """What each layer of a model does to an image: one row for each call of a module that has no children.

    Args:
        model: takes one tensor.
        shape: of the input, (1, C, H, W).
    """
    rows: list[Layer] = []
    names = {module: name for name, module in model.named_modules()}

    def add(module: nn.Module, _: tuple, output: Tensor | tuple[Tensor, ...]) -> None:
        output = output[0] if isinstance(output, tuple) else output
        done = counter.get_total_flops() // 2 - sum(row.multiply_adds for row in rows)
        kernel, stride, dilation = (_along_width(module, key) for key in ("kernel_size", "stride", "dilation"))
        rows.append(
            Layer(
                names[module],
                type(module).__name__,
                kernel,
                stride,
                dilation,
                tuple(output.shape),
                count_parameters(module),
                done,
                _field_or_none(tracer, output),
            )
        )

    with _on_meta(model, shape) as image, FlopCounterMode(display=False) as counter, FieldTracer(image) as tracer:
        leaves = [module for module in model.modules() if not any(module.children())]
        hooks = [module.register_forward_hook(add) for module in leaves]
        try:
            model(image)
        finally:
            for hook in hooks:
                hook.remove()
    return rows


def _along_width(module: nn.Module, key: str) -> int | None:
    value = getattr(module, key, None)
    return value[-1] if isinstance(value, tuple) else value if isinstance(value, int) else None


def _field_or_none(tracer: FieldTracer, output: Tensor) -> int | None:
    try:
        return ReceptiveField.of(tracer.field_of(output)).size
    except ValueError:
        return None


@contextmanager
def _on_meta(model: nn.Module, shape: tuple[int, ...]) -> Iterator[Tensor]:
    """An image without values; within, the model has none either, and evaluates. Afterwards it is as before."""
    was_training = [module for module in model.modules() if module.training]
    values = {
        (module, kind, name): tensor
        for module in model.modules()
        for kind in ("_parameters", "_buffers")
        for name, tensor in getattr(module, kind).items()
        if tensor is not None
    }
    twins: dict[int, Tensor] = {}  # a weight that two modules share stays shared
    try:
        for (module, kind, name), tensor in values.items():
            twin = twins.setdefault(id(tensor), tensor.detach().to("meta"))
            getattr(module, kind)[name] = twin
        model.eval()
        dtype = next((value.dtype for value in model.parameters() if value.is_floating_point()), torch.float32)
        with torch.no_grad():
            yield torch.empty(shape, dtype=dtype, device="meta")
    finally:
        for (module, kind, name), tensor in values.items():
            getattr(module, kind)[name] = tensor
        for module in was_training:
            module.training = True
