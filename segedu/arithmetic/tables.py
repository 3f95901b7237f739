"""A model layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segedu.arithmetic.counting import count_parameters
from segedu.arithmetic.field_tracer import FieldTracer
from segedu.arithmetic.receptive_fields import ReceptiveField
from segedu.arithmetic.without_values import on_meta


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

    with on_meta(model, shape) as image, FlopCounterMode(display=False) as counter, FieldTracer(image) as tracer:
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
