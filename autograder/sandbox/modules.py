"""Build a student's `nn.Module`, give it the suite's weights, run it and differentiate it; arrays alone come back.

Each order stands for itself: nothing of a module is kept, so a process that was replaced in between changes no answer.
This runs where the student's code does, in the sandbox or in the notebook, and imports nothing of the project.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def run_module(build: Callable[..., Any], args: tuple, kwargs: dict, order: dict[str, Any]) -> dict[str, Any]:
    """Do what an order of `autograder.student.StudentModule` says.

    Args:
        build: the student's class, or a function that returns a module.
        args, kwargs: of `build`.
        order: `weights` (dict by name, or None to keep the student's own), `inputs` (tuple of arrays and other plain
            data, or None to stop before the module is called), `train` (bool: the module's mode) and `upstream` (the
            gradient at the output, or None).

    Returns:
        `state`: parameters and buffers by name, after the call; `parameters`: the names of those that are learnt;
        `output`; and with an upstream gradient also `input_gradients` and `gradients` by name, None where none came.

    Raises:
        TypeError: if there is no module, or its output cannot be differentiated.
        ValueError: if its weights have other names or shapes.
    """
    torch = sys.modules["torch"]
    module = build(*args, **kwargs)
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"it should make an nn.Module, and makes something of type {type(module).__name__}")
    learnt = dict(module.named_parameters())
    if order["weights"] is not None:
        _load(module, learnt, {name: torch.as_tensor(value) for name, value in order["weights"].items()})
    result: dict[str, Any] = {"parameters": list(learnt)}
    if order["inputs"] is not None:
        module.train(order["train"])
        upstream = order["upstream"]
        inputs = [torch.as_tensor(x) if hasattr(x, "dtype") else x for x in order["inputs"]]
        if upstream is not None:
            upstream = torch.as_tensor(upstream)
            for x in inputs:
                if isinstance(x, torch.Tensor):
                    x.requires_grad_(x.is_floating_point())
        with torch.set_grad_enabled(upstream is not None):
            output = module(*inputs)
        result["output"] = output
        if upstream is not None:
            result |= _differentiate(output, upstream, inputs, learnt)
    result["state"] = dict(module.state_dict())
    return result


def _load(module: Any, learnt: dict[str, Any], weights: dict[str, Any]) -> None:
    """Copy weights into a module, or say how the two differ. Buffers that are not among them stay as they are."""
    own = module.state_dict()
    wrong = [f"{name} is missing" for name in weights.keys() - own.keys()]
    wrong += [f"{name} should not be there" for name in learnt.keys() - weights.keys()]
    wrong += [
        f"{name} should have shape {tuple(weights[name].shape)} and has {tuple(own[name].shape)}"
        for name in own.keys() & weights.keys()
        if own[name].shape != weights[name].shape
    ]
    if wrong:
        raise ValueError(f"the module does not have the weights that it is asked to have: {'; '.join(sorted(wrong))}")
    module.load_state_dict({**own, **weights})


def _differentiate(output: Any, upstream: Any, inputs: list[Any], learnt: dict[str, Any]) -> dict[str, Any]:
    torch = sys.modules["torch"]
    if not isinstance(output, torch.Tensor):
        raise TypeError(f"the output should be a tensor, yours is a {type(output).__name__}")
    if output.shape != upstream.shape:
        raise ValueError(f"the output should have shape {tuple(upstream.shape)}, yours has {tuple(output.shape)}")
    if output.grad_fn is None:
        raise TypeError("the output does not depend on weights or input in a way that torch can differentiate")
    learns = [getattr(x, "requires_grad", False) for x in inputs]
    wanted = [x for x, does in zip(inputs, learns, strict=True) if does]
    wanted += [weight for weight in learnt.values() if weight.requires_grad]
    found = iter(torch.autograd.grad(output, wanted, upstream, allow_unused=True))
    return {
        "input_gradients": [next(found) if does else None for does in learns],
        "gradients": {name: next(found) if weight.requires_grad else None for name, weight in learnt.items()},
    }
