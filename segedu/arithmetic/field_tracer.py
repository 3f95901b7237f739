"""Follow which columns of an image each column of a tensor depends on, through any PyTorch code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

aten = torch.ops.aten
NOWHERE = torch.iinfo(torch.int64).max


def _columns(width: int) -> Tensor:
    """0 ... width - 1, on the CPU even where `torch.device` makes another device the usual one."""
    return torch.arange(width, device="cpu")


@dataclass(frozen=True)
class Field:
    """For each column of a tensor: the first and last column of the image that it depends on.

    Attributes:
        first, last: int64 (W,); NOWHERE and -1 for a column that depends on none, as padding does.
        inside: bool (W,), false for columns that padding has touched: the field of these is cut off.
    """

    first: Tensor
    last: Tensor
    inside: Tensor

    @classmethod
    def of_image(cls, width: int) -> Field:
        """Each column depends on itself."""
        columns = _columns(width)
        return cls(columns, columns, torch.ones(width, dtype=torch.bool, device="cpu"))

    def __len__(self) -> int:
        return len(self.first)

    def take(self, columns: Tensor) -> Field:
        """Output i depends on input columns[i], int64 (n,); one out of range is padding."""
        real = (columns >= 0) & (columns < len(self))
        columns = columns.clamp(0, len(self) - 1)
        return Field(
            torch.where(real, self.first[columns], NOWHERE),
            torch.where(real, self.last[columns], -1),
            real & self.inside[columns],
        )

    def to_all(self, width: int) -> Field:
        """Each of `width` columns depends on everything."""
        every = [self.first.min(), self.last.max(), self.inside.all()]
        return Field(*(value.repeat(width) for value in every))

    def fit(self, width: int) -> Field:
        """As it is, if it has `width` columns; else all of it to each."""
        return self if len(self) == width else self.to_all(width)


def union(fields: list[Field]) -> Field:
    """Each column depends on what the columns of all the fields depend on; these have the same width."""
    return Field(
        torch.stack([field.first for field in fields]).amin(0),
        torch.stack([field.last for field in fields]).amax(0),
        torch.stack([field.inside for field in fields]).all(0),
    )


class FieldTracer(TorchDispatchMode):
    """Within it, every tensor computed from the image gets its field.

    Operations it knows move fields exactly. Of any other that may mix columns, each output column is taken to depend
    on every input column.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.fields = WeakTensorKeyDictionary()
        self.fields[image] = Field.of_image(image.shape[-1])

    def field_of(self, tensor: Tensor) -> Field:
        """Raises: ValueError: if the tensor does not depend on the image."""
        if tensor not in self.fields:
            raise ValueError("the output does not depend on the image")
        return self.fields[tensor]

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf in self.fields]
        if inputs:
            for output in tree_leaves(result):
                if isinstance(output, Tensor):
                    self.fields[output] = self._field(operation, inputs, output, args)
        return result

    def _field(self, operation: Any, inputs: list[Tensor], output: Tensor, args: tuple) -> Field:
        width = output.shape[-1] if output.ndim else 1
        rule = RULES.get(operation.overloadpacket)
        if rule is not None:
            return rule([self.fields[tensor] for tensor in inputs], width, *args)
        moves = [
            self.fields[tensor].fit(width) if _keeps_columns(operation, tensor, output, args) else None
            for tensor in inputs
        ]
        return union([move or self.fields[tensor].to_all(width) for move, tensor in zip(moves, inputs, strict=True)])


# What may be done to a tensor without mixing its columns, besides what PyTorch tags as done to each element.
ALIKE = {
    aten.native_batch_norm,
    aten._native_batch_norm_legit_no_training,
    aten.cudnn_batch_norm,
    aten.clone,
    aten.detach,
    aten.alias,
    aten.lift_fresh,
    aten._to_copy,
    aten.floor_divide,
    aten.native_dropout,
}
RESHAPES = {aten.view, aten._unsafe_view, aten.unsqueeze, aten.squeeze, aten.expand}
REDUCES = {aten.mean, aten.sum, aten.amax, aten.amin, aten.var_mean, aten._softmax, aten._log_softmax}


def _keeps_columns(operation: Any, tensor: Tensor, output: Tensor, args: tuple) -> bool:
    packet = operation.overloadpacket
    if torch.Tag.pointwise in operation.tags or packet in ALIKE:
        return True
    if packet in RESHAPES:
        return tensor.ndim > 1 and tensor.shape[-2:] == output.shape[-2:]
    if packet in REDUCES and len(args) > 1 and args[1] is not None:
        axes = args[1] if isinstance(args[1], list | tuple) else [args[1]]
        return tensor.ndim - 1 not in [axis % tensor.ndim for axis in axes] and tensor.shape[-1] == output.shape[-1]
    return False


def _window(field: Field, width: int, kernel: int, stride: int, padding: int, dilation: int) -> Field:
    """Column i depends on kernel columns from i * stride - padding on, dilation apart."""
    begins = _columns(width) * stride - padding
    return union([field.take(begins + tap * dilation) for tap in range(kernel)])


def _last(value: int | list[int], default: int | None = None) -> int:
    if isinstance(value, int):
        return value
    return value[-1] if value else default


def _convolution(fields, width, image, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    kernel, stride, padding, dilation = weight.shape[-1], _last(stride), _last(padding), _last(dilation)
    if not transposed:
        return _window(fields[0], width, kernel, stride, padding, dilation)
    # Input i goes to columns i * stride - padding + tap * dilation: column o comes from those where this divides.
    columns = []
    for tap in range(kernel):
        reach = _columns(width) + padding - tap * dilation
        columns.append(torch.where(reach % stride == 0, reach // stride, NOWHERE))
    # A tap that meets no input is no padding: only one that lies beyond the input's ends is.
    taken = [fields[0].take(column) for column in columns]
    return union([_ignoring(one, column == NOWHERE) for one, column in zip(taken, columns, strict=True)])


def _ignoring(field: Field, nothing: Tensor) -> Field:
    return Field(field.first, field.last, field.inside | nothing)


def _pool(fields, width, image, kernel, stride=(), padding=0, dilation=1, *_):
    kernel = _last(kernel)
    return _window(fields[0], width, kernel, _last(stride, kernel), _last(padding), _last(dilation))


def _average_pool(fields, width, image, kernel, stride=(), padding=0, *_):
    return _pool(fields, width, image, kernel, stride, padding)


def _pad(fields, width, image, pad, *_):
    return fields[0].take(_columns(width) - pad[0])


def _reflect(fields, width, image, pad):
    columns = (_columns(width) - pad[0]).abs()
    end = len(fields[0]) - 1
    mirrored = fields[0].take(end - (end - columns).abs())
    beyond = fields[0].take(_columns(width) - pad[0])
    return Field(mirrored.first, mirrored.last, mirrored.inside & beyond.inside)


def _slice(fields, width, image, axis=0, start=None, end=None, step=1):
    if axis % image.ndim != image.ndim - 1:
        return fields[0]
    begin = start or 0
    begin = max(0, begin + len(fields[0])) if begin < 0 else begin
    return fields[0].take(begin + _columns(width) * step)


def _select(fields, width, image, axis, *_):
    return fields[0].to_all(width) if axis % image.ndim == image.ndim - 1 else fields[0]


def _concatenate(fields, width, tensors, axis=0):
    if axis % tensors[0].ndim != tensors[0].ndim - 1:
        return union([field.fit(width) for field in fields])
    return Field(*(torch.cat([getattr(field, part) for field in fields]) for part in ("first", "last", "inside")))


def _unpool(fields, width, image, indices, size):
    ratio = width // image.shape[-1]
    return union(fields).take(_columns(width) // ratio)


def _upsample_nearest(fields, width, image, *_):
    return fields[0].take(_columns(width) * image.shape[-1] // width)


def _upsample_bilinear(fields, width, image, size, align_corners, *_):
    inputs = image.shape[-1]
    columns = _columns(width).double()
    where = columns * (inputs - 1) / max(1, width - 1) if align_corners else (columns + 0.5) * inputs / width - 0.5
    left = where.clamp(0, inputs - 1).floor().long()
    # Exactly on a column, the next one has weight 0.
    right = torch.where(where > left, left + 1, left).clamp(max=inputs - 1)
    return union([fields[0].take(left), fields[0].take(right)])


RULES: dict[Any, Callable[..., Field]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _pool,
    aten.avg_pool2d: _average_pool,
    aten.avg_pool3d: _average_pool,
    aten.constant_pad_nd: _pad,
    aten.reflection_pad2d: _reflect,
    aten.slice: _slice,
    aten.select: _select,
    aten.cat: _concatenate,
    aten.max_unpool2d: _unpool,
    aten.upsample_nearest2d: _upsample_nearest,
    aten.upsample_bilinear2d: _upsample_bilinear,
}
