"""The fork server: loads the libraries once, then forks a locked-down process for each submission.

It runs inside bubblewrap (see `policy`) and is driven over a control socket by `client`. A fork gets a socket of its
own from the grader; over it come the notebook's cells, then calls of the functions that they define. Frames are four
bytes of length and a message in `codec`'s form.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import signal
import socket
import struct
import sys
import traceback
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # started as a script, isolated from site-packages' .pth files
    sys.path[:0] = [str(Path(__file__).parent)]
    sys.path += json.loads(sys.argv[2])["site"]

import codec
import guard
import modules
import policy


def main() -> None:
    """Serve forks until the control socket closes."""
    control = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(sys.argv[2])
    for name in settings["preload"]:
        importlib.import_module(name)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(0)
    confined = settings["confined"]
    filter_ = policy.SystemCallFilter() if confined else None
    own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY) if confined else -1
    memory = _address_space()
    control.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 64, 1)
        if not message:
            return
        if message == b"fork":
            if confined:
                policy.new_process_namespace(own_namespace)
            child = os.fork()
            if child == 0:
                _become_student(descriptors[0], settings, filter_, memory)
            os.close(descriptors[0])
            control.send(b"%d" % child)
        else:  # the pid of a fork that is to end
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(message), signal.SIGKILL)
            _, status = os.waitpid(int(message), 0)
            control.send(b"%d" % os.waitstatus_to_exitcode(status))


def _address_space() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no /proc on macOS, where only the unconfined mode runs
        return 8 * 2**30


def _become_student(channel: int, settings: dict, filter_: policy.SystemCallFilter | None, memory: int) -> None:
    """Lock this fork down and serve its submission; never returns."""
    limits = policy.Limits(**settings["limits"])
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        channel = _only_descriptor(channel)
        os.setsid()  # kill(0, ...) reaches a whole process group, in other process namespaces too
        if filter_ is not None:
            policy.private_files(limits)
            policy.drop_privileges(settings["is_root"])
        policy.set_limits(limits, memory)
        if filter_ is not None:
            filter_.load()
    except BaseException:
        # Nothing of the student's has run. The grader sees the end of the stream and says that the sandbox failed.
        os._exit(125)
    try:
        _serve(socket.socket(fileno=channel))
    finally:
        os._exit(0)


def _only_descriptor(channel: int) -> int:
    """Close every descriptor but the standard ones and `channel`; return its new number."""
    if channel != 3:
        os.dup2(channel, 3)
    os.closerange(4, 65_536)
    return 3


def _serve(channel: socket.socket) -> None:
    setup = _receive(channel)
    random.seed(setup["seed"])
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(setup["seed"] % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(setup["seed"])
    guard.forbid(setup["forbidden"])
    namespace: dict[str, Any] = {"__name__": "__main__", "get_ipython": _NoIPython}
    cells = dict(setup["cells"])
    for name, source in cells.items():
        _send(channel, {"cell": name})
        try:
            exec(compile(source, f"<cell {name}>", "exec"), namespace)
        except BaseException as error:
            _send(channel, {"cell_error": (name, *_describe(error, cells))})
    _send(channel, {"ready": True})
    while True:
        request = _receive(channel)
        function = namespace.get(request["call"])
        if not callable(function):
            _send(channel, {"undefined": True})
            continue
        try:
            args, kwargs, order = request["args"], request["kwargs"], request["order"]
            value = modules.run_module(function, args, kwargs, order) if order else function(*args, **kwargs)
            reply = codec.encode({"value": value})
        except BaseException as error:
            reply = codec.encode({"error": _describe(error, cells)})
        channel.sendall(struct.pack("<I", len(reply)) + reply)


def _describe(error: BaseException, cells: dict[str, str]) -> tuple[str, str, str]:
    """Type name, message, and the last place in the student's own cells."""
    try:
        message = str(error)[:2000]
    except BaseException:
        message = ""
    if isinstance(error, SyntaxError):
        return type(error).__name__, message, ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith("<cell "):
            lines = cells.get(frame.filename[6:-1], "").splitlines()
            line = lines[frame.lineno - 1].strip() if 0 < (frame.lineno or 0) <= len(lines) else ""
            return type(error).__name__, message, f"in line {frame.lineno} of its cell: {line}"
    return type(error).__name__, message, ""


class _NoIPython:
    """Stands in for IPython's shell, so that magics such as %timeit in a solution cell do nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def _receive(channel: socket.socket) -> Any:
    size = struct.unpack("<I", _exactly(channel, 4))[0]
    return codec.decode(_exactly(channel, size))


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        chunk = channel.recv(min(size - len(parts), 2**20))
        if not chunk:  # the grader is done with this submission
            os._exit(0)
        parts += chunk
    return bytes(parts)


def _send(channel: socket.socket, message: Any) -> None:
    data = codec.encode(message)
    channel.sendall(struct.pack("<I", len(data)) + data)


if __name__ == "__main__":
    main()
