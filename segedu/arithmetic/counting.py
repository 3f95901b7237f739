"""What a model costs: parameters, multiply-adds, memory."""

from __future__ import annotations

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segedu.arithmetic.memory_tracer import MemoryTracer
from segedu.arithmetic.without_values import on_meta


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
    with on_meta(model, shape) as image, FlopCounterMode(display=False) as counter:
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
    with on_meta(model, shape) as image, MemoryTracer() as tracer:
        hooks = []
        if after is not None:
            hooks.append(model.get_submodule(after).register_forward_hook(lambda *_: held.append(tracer.alive)))
        try:
            model(image)
        finally:
            for hook in hooks:
                hook.remove()
    return held[-1] if held else tracer.peak
