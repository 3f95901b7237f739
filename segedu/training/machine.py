"""What a training has to do with the machine it runs on: time, hardware, bits and signals."""

from __future__ import annotations

import ctypes
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


def hardware(processes: Processes, mixed: torch.dtype | None = None) -> str:
    """What the training runs on, in words, and the type that it multiplies in if that is not float32."""
    if processes.device.type == "cuda":
        device = torch.cuda.get_device_name(processes.device)
    else:
        threads = torch.get_num_threads()
        device = f"{_cpu()}, {threads} thread{'s' if threads > 1 else ''}"
    precision = "" if mixed is None else f", {str(mixed).removeprefix('torch.')}"
    return f"{processes.count} x {device}, PyTorch {torch.__version__}{precision}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def keep_freed_memory() -> None:
    """Tell glibc to keep what a step frees for the next one, in this process. Elsewhere nothing happens.

    By default it gives tensors back to Linux one by one, which then has to clear every page again: on two cores a step
    of `camvid-deeplab` took 1.9 s so, and takes 1.35 s.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in malloc.h
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter in (trim_threshold, mmap_threshold):
            libc.mallopt(parameter, 2**31 - 1)


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
