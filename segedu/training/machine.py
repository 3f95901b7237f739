"""What a training has to do with the machine it runs on: time, hardware, bits and signals."""

from __future__ import annotations

import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from segedu.training.processes import Processes


class Clock:
    """Seconds of training, over all calls that a run took."""

    def __init__(self) -> None:
        self.before = 0.0
        self.start = time.monotonic()

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start


def hardware(processes: Processes) -> str:
    """What the training runs on, in words."""
    if processes.device.type == "cuda":
        device = torch.cuda.get_device_name(processes.device)
    else:
        device = f"{_cpu()}, {torch.get_num_threads()} threads"
    return f"{processes.count} x {device}, PyTorch {torch.__version__}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@contextmanager
def deterministic() -> Iterator[None]:
    """Ask PyTorch for the same bits each time; where it has no such way, it warns."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # it would only cost time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = fill


@contextmanager
def stop_when_asked() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C and SIGTERM for the next moment when the state is whole; a second Ctrl-C stops at once."""
    asked = False

    def note(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: signals are somebody else's
        before = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
