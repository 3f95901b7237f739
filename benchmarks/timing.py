"""Time functions in turn, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """Milliseconds that the runs of one function took."""

    least: float
    median: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Times:
        """The two figures of some runs."""
        return cls(min(milliseconds), statistics.median(milliseconds))


def interleave(functions: Mapping[str, Callable[[], object]], rounds: int = 7) -> dict[str, Times]:
    """Run each function once to warm up, then all of them in turn, `rounds` times.

    Returns:
        The least and the median time of each function, by its name.
    """
    for function in functions.values():
        function()
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            taken[name].append(1000 * (time.perf_counter() - start))
    return {name: Times.of(times) for name, times in taken.items()}
