"""A student's functions and modules as a suite sees them, wherever they run.

::

    student.iou(a, b)  # calls the student's function
    block = student.Block.module(3, 8)  # the student's nn.Module; nothing runs yet
    block.shapes()  # {"conv.weight": (8, 3, 3, 3), ...}
    block.load(weights)(x)  # its output with these weights
    block.load(weights).gradients(x, upstream=g)  # and what torch differentiates
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autograder.sandbox.errors import StudentError

# Calls a student's function by name with args and kwargs; with an order, what it returns is run as a module.
Call = Callable[[str, tuple, dict, dict | None], Any]


@dataclass(frozen=True)
class StudentFunction:
    """A student's function, or a class of modules."""

    name: str
    call: Call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, and take plain data back. Raises `StudentError` for all that can go wrong."""
        return self.call(self.name, args, kwargs, None)

    def module(self, *args: Any, **kwargs: Any) -> StudentModule:
        """The module that it makes of these arguments, each time it is needed."""
        return StudentModule(self, args, kwargs)


@dataclass(frozen=True)
class Gradients:
    """What came of differentiating `(output * upstream).sum()`.

    Attributes:
        output: of the module.
        inputs: the gradient at each input; None for an input of integers, and where nothing depends on it.
        weights: the gradient at each parameter, by name, None as above.
    """

    output: np.ndarray
    inputs: list[np.ndarray | None]
    weights: dict[str, np.ndarray | None]


@dataclass(frozen=True)
class StudentModule:
    """A student's `nn.Module`: built anew for whatever is asked, so that no answer depends on another."""

    function: StudentFunction
    args: tuple
    kwargs: dict[str, Any]
    weights: Mapping[str, Any] | None = None

    def load(self, weights: Mapping[str, Any]) -> StudentModule:
        """The same module with the suite's weights and buffers, arrays or tensors by name."""
        return replace(self, weights=weights)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter, in the module's order. Buffers are not among them."""
        reply = self._run(None)
        return {name: reply["state"][name].shape for name in reply["parameters"]}

    def __call__(self, *inputs: Any, train: bool = False) -> Any:
        """The output for these inputs, in evaluation mode unless `train`."""
        return self._run(inputs, train)["output"]

    def state_after(self, *inputs: Any, train: bool = True) -> dict[str, np.ndarray]:
        """Parameters and buffers by name after a call: running means move, for example."""
        return self._run(inputs, train)["state"]

    def gradients(self, *inputs: Any, upstream: Any, train: bool = False) -> Gradients:
        """Differentiate: `upstream` is the gradient at the output, and has its shape."""
        reply = self._run(inputs, train, upstream)
        return Gradients(reply["output"], reply["inputs"], reply["weights"])

    def _run(self, inputs: tuple | None, train: bool = False, upstream: Any = None) -> dict[str, Any]:
        order = {"weights": self.weights, "inputs": inputs, "train": train, "upstream": upstream}
        reply = self.function.call(self.function.name, self.args, self.kwargs, order)
        try:
            return _as_arrays(reply, differentiated=upstream is not None, ran=inputs is not None)
        except (KeyError, TypeError, AttributeError) as error:
            raise StudentError("TypeError", "its result could not be read", "", self.function.name) from error


def _as_arrays(reply: Any, differentiated: bool, ran: bool) -> dict[str, Any]:
    """The reply with arrays for tensors. It comes from the student's process, which may say anything."""
    state = {str(name): _array(value) for name, value in reply["state"].items()}
    parameters = [str(name) for name in reply["parameters"]]
    if not state.keys() >= set(parameters):
        raise KeyError("a parameter without values")
    result = {"state": state, "parameters": parameters, "output": reply["output"] if ran else None}
    if differentiated:
        result["output"] = _array(reply["output"])
        result["inputs"] = [None if value is None else _array(value) for value in reply["input_gradients"]]
        weights = reply["gradients"].items()
        result["weights"] = {str(name): None if value is None else _array(value) for name, value in weights}
    return result


def _array(value: Any) -> np.ndarray:
    value = value.detach().numpy() if hasattr(value, "detach") else value
    if not isinstance(value, np.ndarray):
        raise TypeError(f"not an array: {type(value).__name__}")
    return value
