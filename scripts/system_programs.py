"""Install system programs that are missing, where that needs no password; where it does, name the command.

    python scripts/system_programs.py bubblewrap chromium node

Prints nothing when all are there. Never asks anything, and never fails: it says what goes without a program.
It runs before .venv exists, so it uses the standard library only.
"""

import ctypes
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROME_ON_MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"

# Package managers in the order in which they are looked for, each with the words that install without a question.
MANAGERS = {
    "apt-get": ["install", "-y", "--no-install-recommends"],
    "dnf": ["install", "-y"],
    "pacman": ["-S", "--noconfirm", "--needed"],
    "brew": ["install"],
}


def has_libseccomp() -> bool:
    """Whether the library that the sandbox filters system calls with can be loaded."""
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Program:
    """A program, its packages by package manager, what goes without it, and how to see that it is there."""

    name: str
    packages: dict[str, list[str]]
    without: str
    is_there: Callable[[], bool]


PROGRAMS = {
    "bubblewrap": Program(
        "bubblewrap with libseccomp",
        {
            "apt-get": ["bubblewrap", "libseccomp2"],
            "dnf": ["bubblewrap", "libseccomp"],
            "pacman": ["bubblewrap", "libseccomp"],
        },
        "there is no sandbox: the demo leaves the hostile submissions out, and grading refuses unless told --insecure",
        lambda: shutil.which("bwrap") is not None and has_libseccomp(),
    ),
    "chromium": Program(
        "Chromium",
        {"apt-get": ["chromium"], "dnf": ["chromium"], "pacman": ["chromium"], "brew": ["google-chrome"]},
        "the tests that open pages in a browser are skipped",
        lambda: any(map(shutil.which, CHROMIUM_NAMES)) or os.access(CHROME_ON_MAC, os.X_OK),
    ),
    "node": Program(
        "Node with npm",
        {"apt-get": ["nodejs", "npm"], "dnf": ["nodejs", "npm"], "pacman": ["nodejs", "npm"], "brew": ["node"]},
        "the book's mathematics is set by matplotlib, its fonts are left out, and the accessibility test is skipped",
        lambda: all(map(shutil.which, ("node", "npm"))),
    ),
    "compiler": Program(
        "a C++ compiler with Python's headers",
        {
            "apt-get": ["g++", "libpython3-dev"],
            "dnf": ["gcc-c++", "python3-devel"],
            "pacman": ["gcc"],
        },
        "the fully connected CRF is not compared with pydensecrf2, which pip has to compile",
        lambda: shutil.which("g++") is not None and (Path(sysconfig.get_path("include")) / "Python.h").exists(),
    ),
    "venv": Program(
        "Python's module ensurepip",
        {"apt-get": [f"python3.{sys.version_info.minor}-venv"]},
        "no virtual environment can be made",
        lambda: importlib.util.find_spec("ensurepip") is not None,
    ),
}


def run(command: list[str], seconds: float) -> bool:
    """Whether the command succeeded within that many seconds. It has no standard input, so it cannot ask."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, timeout=seconds).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def prefix(manager: str) -> list[str] | None:
    """The words before the package manager's own that let it install without a password; None if it needs one."""
    if manager == "brew":  # it belongs to an ordinary user and refuses to run as root
        return None if os.geteuid() == 0 else []
    # sudo clears the environment, so the variable that forbids apt's questions is set behind it.
    noninteractive = ["env", "DEBIAN_FRONTEND=noninteractive"]
    if os.geteuid() == 0:
        return noninteractive
    if shutil.which("sudo") and run(["sudo", "-n", "true"], seconds=10):
        return ["sudo", "-n", *noninteractive]
    return None


def install(program: Program, manager: str, words: list[str]) -> bool:
    """Install the program's packages; whether it is there afterwards."""
    if manager == "apt-get":  # a fresh machine has no package lists; a short wait, in case it has no network either
        run([*words, "apt-get", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1", "update"], seconds=300)
    run([*words, manager, *MANAGERS[manager], *program.packages[manager]], seconds=900)
    return program.is_there()


def ensure(program: Program) -> None:
    """Leave the program installed, or say what goes without it and which command installs it."""
    if program.is_there():
        return
    manager = next(filter(shutil.which, MANAGERS), None)
    if manager is None or manager not in program.packages:
        remedy = "Install it with your system's package manager"
        if program.name.startswith("bubblewrap") and sys.platform != "linux":
            remedy = "It exists for Linux only"
    else:
        words = prefix(manager)
        if words is not None:
            print(f"{program.name} is missing; installing it with {manager}.", flush=True)
            if install(program, manager, words):
                return
        sudo = [] if manager == "brew" or os.geteuid() == 0 else ["sudo"]
        command = shlex.join([*sudo, manager, *MANAGERS[manager], *program.packages[manager]])
        remedy = ("Install it with: " if words is None else "The installation failed. Try again with: ") + command
    print(f"{program.name} is missing. Without it {program.without}.\n    {remedy}", flush=True)


if __name__ == "__main__":
    for key in sys.argv[1:]:
        ensure(PROGRAMS[key])
