"""Time functions in turn, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


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


def peak_memory(function: Callable[[], object]) -> int | None:
    """Run a function and return by how many bytes the process grew at most; None where the system does not tell.

    Linux keeps the highest memory of a process and lets it be forgotten. Small arrays may be served from memory that
    the process already has, so the figure is one for large ones.
    """
    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not forget.exists():
        return None

    def kilobytes(name: str) -> int:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1])

    forget.write_text("5")
    before = kilobytes("VmRSS")
    function()
    return 1024 * (kilobytes("VmHWM") - before)
