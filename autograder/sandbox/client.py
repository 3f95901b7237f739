"""The grader's side of the sandbox: start the fork server, load a submission into a fork, call its functions.

Nothing that comes back is believed: sizes and times are bounded, and a process that dies, hangs or talks nonsense fails
the call at hand and is replaced by a new one for the next.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autograder.sandbox import codec, policy
from autograder.sandbox.errors import NotDefined, StudentError, TookTooLong
from autograder.sandbox.policy import Limits
from autograder.student import StudentFunction

_START_SECONDS = 120.0  # importing torch on a cold disk takes most of a minute
_MAX_PROCESSES = 12  # forks for one submission
_MAX_TIMEOUTS = 2  # of one function; further calls fail at once
_MAX_TEXT = 2_000  # characters of a student's message


class SandboxUnavailable(RuntimeError):
    """No sandbox can be made on this machine; the message says why and what to install."""


class Zygote:
    """A fork server with the modules `preload` loaded and those of `forbidden` out of reach.

    `confined=False` leaves the walls out: for `--insecure` alone.
    """

    def __init__(
        self,
        preload: tuple[str, ...] = ("numpy",),
        limits: Limits | None = None,
        confined: bool = True,
        forbidden: tuple[str, ...] = (),
    ) -> None:
        self.limits = limits or Limits()
        self.confined = confined
        if confined and (reason := policy.missing()):
            raise SandboxUnavailable(reason)
        script, site = Path(__file__).with_name("zygote.py"), policy.site_packages()
        if confined:
            script, site = Path(policy.HERE, "zygote.py"), [f"{policy.SITE}{i}" for i in range(len(site))]
        settings = {
            "preload": preload,
            "confined": confined,
            "is_root": os.geteuid() == 0,
            "limits": asdict(self.limits),
            "site": site,
        }
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        args = ["-I", "-S", str(script), str(theirs.fileno()), json.dumps(settings)]
        command = policy.bubblewrap_command(args, forbidden) if confined else [sys.executable, *args]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=[theirs.fileno()],
            env=None if confined else policy.environment(),
        )
        theirs.close()
        self._control.settimeout(_START_SECONDS)
        if self._receive() != b"ready":
            reason = self._last_words()
            self.__exit__()
            if confined and reason.startswith("bwrap: "):
                reason += f" {policy.NAMESPACES_HINT}"
            raise SandboxUnavailable(f"the sandbox could not be started: {reason}")

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._control.close()
        self._errors.close()

    def fork(self) -> tuple[int, socket.socket]:
        """A new process for one submission: its number and the socket to talk to it."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"fork"], [theirs.fileno()])
            reply = self._receive()
        if not reply:
            raise SandboxUnavailable(f"the sandbox's fork server ended: {self._last_words()}")
        return int(reply), ours

    def end(self, process: int) -> int:
        """End a fork, whatever it does, and return its exit code (negative: the signal that ended it)."""
        self._control.send(b"%d" % process)
        return int(self._receive() or 0)

    def _receive(self) -> bytes:
        try:
            return self._control.recv(64)
        except (TimeoutError, ConnectionError):
            return b""

    def _last_words(self) -> str:
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-2000:] or "it said nothing"


def why_unavailable() -> str | None:
    """Try to make a sandbox; say why this machine has none, or None if all is well."""
    try:
        with Zygote(()):
            return None
    except SandboxUnavailable as error:
        return str(error)


class SandboxedStudent:
    """A submission's functions, as attributes; calling one runs it in the sandbox.

    `cells` are the notebook's cells by name, in order. A cell that raises, hangs or ends its process is left out, and
    `cell_errors` says so in words. Use as a context manager.
    """

    def __init__(
        self,
        zygote: Zygote,
        cells: Mapping[str, str],
        forbidden: tuple[str, ...] = (),
        seed: int = 0,
        seconds: float = 0,
    ) -> None:
        self._zygote = zygote
        self._cells = dict(cells)
        self._setup = {"forbidden": list(forbidden), "seed": seed}
        self._seconds = seconds or zygote.limits.seconds
        self._left = zygote.limits.total_seconds
        self._timeouts: Counter[str] = Counter()
        self._starts = 0
        self._process: int | None = None
        self._channel: socket.socket | None = None
        self.cell_errors: dict[str, str] = {}

    def __enter__(self) -> SandboxedStudent:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __getattr__(self, name: str) -> StudentFunction:
        if name.startswith("_"):
            raise AttributeError(name)
        return StudentFunction(name, self._call)

    def _call(self, name: str, args: tuple, kwargs: dict, order: dict | None) -> Any:
        if self._timeouts[name] >= _MAX_TIMEOUTS or self._left <= 0:
            raise TookTooLong("TimeoutError", f"`{name}` ran out of time in earlier tests.", "", name)
        if self._channel is not None and self._speaks_unasked():
            self._stop()
        if self._channel is None:
            self._start()
        started = time.monotonic()
        try:
            request = {"call": name, "args": args, "kwargs": kwargs, "order": order}
            self._send(request, started + self._seconds)
            reply = self._receive(started + min(self._seconds, self._left))
        except TimeoutError:
            self._stop()
            self._timeouts[name] += 1
            text = f"`{name}` did not return within {self._seconds:g} seconds: does its loop ever end?"
            raise TookTooLong("TimeoutError", text, "", name) from None
        except (EOFError, OSError):
            raise StudentError("ProcessEnded", self._epitaph(), "", name) from None
        except codec.CodecError as error:
            self._stop()
            raise StudentError("TypeError", f"its result could not be read: {error}", "", name) from None
        finally:
            self._left -= time.monotonic() - started
        return self._value_of(name, reply)

    def _value_of(self, name: str, reply: Any) -> Any:
        match reply:
            case {"value": value}:
                return value
            case {"error": (str(kind), str(message), str(where))}:
                raise StudentError(_readable(kind), _readable(message), _readable(where), name)
            case {"undefined": True}:
                why = " ".join(self.cell_errors.values())
                raise NotDefined("NameError", f"`{name}` is not defined. {why}".strip(), "", name)
        self._stop()
        raise StudentError("TypeError", "its result could not be read", "", name)

    def _start(self) -> None:
        """Fork and run the cells; a cell that hangs or ends the process is left out of the next try."""
        while True:
            if self._starts >= _MAX_PROCESSES:
                raise TookTooLong("TimeoutError", "the notebook's process had to be restarted too often.")
            self._starts += 1
            self._process, self._channel = self._zygote.fork()
            broken = self._load()
            if broken is None:
                return
            self._cells.pop(broken, None)

    def _load(self) -> str | None:
        """Run the cells in the new process; return the name of a cell that it did not survive."""
        started = time.monotonic()
        deadline = started + self._zygote.limits.load_seconds
        current = ""
        try:
            self._send({**self._setup, "cells": list(self._cells.items())}, deadline)
            while True:
                match self._receive(deadline):
                    case {"cell": str(name)} if name in self._cells:
                        current = name
                    case {"cell_error": (str(name), str(kind), str(message), str(where))} if name in self._cells:
                        where = f" {where}" if where else ""
                        text = f"raised {kind}: {message}{where}"
                        self.cell_errors[name] = f"Cell `{name}` {_readable(text)}"
                    case {"ready": True}:
                        return None
                    case _:
                        raise codec.CodecError("unexpected message")
        except TimeoutError:
            self._stop()
            text = f"did not finish within {self._zygote.limits.load_seconds:g} seconds and was left out."
        except (EOFError, OSError):
            text = f"ended the notebook's process ({self._epitaph()}) and was left out."
        except codec.CodecError:
            self._stop()
            text = "disturbed the grader and was left out."
        finally:
            self._left -= time.monotonic() - started
        if current not in self._cells:
            raise SandboxUnavailable(f"a sandboxed process ended before it ran anything: {text}")
        self.cell_errors[current] = f"Cell `{current}` {text}"
        return current

    def _speaks_unasked(self) -> bool:
        """Whether the process has ended, or sent a reply before the call that it would be taken for."""
        return bool(select.select([self._channel], [], [], 0)[0])

    def _epitaph(self) -> str:
        """End the process that is dead or mute already and say how it ended."""
        code = self._stop()
        if code < 0:
            known = {s.value: s.name for s in signal.Signals}
            return f"the process was ended by {known.get(-code, f'signal {-code}')}"
        return f"the process ended itself with status {code}"

    def _stop(self) -> int:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is None:
            return 0
        process, self._process = self._process, None
        return self._zygote.end(process)

    def _send(self, message: Any, deadline: float) -> None:
        data = codec.encode(message)
        self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
        self._channel.sendall(struct.pack("<I", len(data)) + data)

    def _receive(self, deadline: float) -> Any:
        size = struct.unpack("<I", self._exactly(4, deadline))[0]
        if size > codec.MAX_BYTES + 64:
            raise codec.CodecError(f"a message of {size} bytes is too large")
        return codec.decode(self._exactly(size, deadline))

    def _exactly(self, size: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._channel.settimeout(left)
            chunk = self._channel.recv(min(size - len(parts), 2**20))
            if not chunk:
                raise EOFError
            parts += chunk
        return bytes(parts)


def _readable(text: str) -> str:
    """A student's text as it may stand on pages, in databases and on terminals: bounded, without control characters."""
    shown = text[:_MAX_TEXT]
    return shown if shown.isprintable() else "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in shown)
