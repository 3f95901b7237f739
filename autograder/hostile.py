"""Hostile solution cells: what a student could try to get points, to read what is secret, or to stop the grading.

Each attack is the text of a solution cell. `answer` is what the attack puts in the place of every function that the
cell should define; an attack without one keeps the right solution below its own lines. `COURSE` and `REPOSITORY`
stand for the folders of the course and of this package's repository, `FORBIDDEN` for the names that the exercise
forbids: the attacker is told where to look.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest


@dataclass(frozen=True)
class Attack:
    """`phrase` must stand in the attacker's own feedback; a cell that `keeps` its points answers rightly all along."""

    name: str
    about: str
    code: str
    phrase: str = ""
    keeps: bool = False


# Attacks that look for something note it in `found`, and show it the only way there is: in an exception.
_CONFESS = """
def answer(*args, **kwargs):
    found = []
    look(found)
    raise RuntimeError("found " + (", ".join(found) or "nothing"))
"""

# How a frame to the grader is written by hand, past the codec: a length and one encoded value.
_FRAMES = """
import os, struct
def text(value):
    return b"s" + struct.pack("<I", len(value)) + value
def frame(body):
    return struct.pack("<I", len(body)) + body
def reply(key, value):
    return frame(b"d" + struct.pack("<I", 1) + text(key) + value)
def send(data):
    while data:
        data = data[os.write(3, data):]
"""

STOPPING = [
    Attack(
        "endless-loop",
        "A loop that never ends.",
        "def answer(*args):\n    while True:\n        pass",
        "did not return within",
    ),
    Attack(
        "stubborn-loop",
        "An endless loop that swallows every exception, KeyboardInterrupt too.",
        """
def answer(*args):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass""",
        "did not return within",
    ),
    Attack("endless-cell", "The cell itself never ends.", "while True:\n    pass", "did not finish within"),
    Attack(
        "os-exit",
        "Ends the process when it is called, with status 0.",
        "import os\ndef answer(*args):\n    os._exit(0)",
        "ended itself with status 0",
    ),
    Attack(
        "os-exit-cell", "Ends the process as the cell runs.", "import os\nos._exit(0)", "ended the notebook's process"
    ),
    Attack("sys-exit-cell", "Calls sys.exit at the top of the cell.", "import sys\nsys.exit()", "raised SystemExit"),
    Attack(
        "kill-everything",
        "Sends SIGKILL to process 1, its parent, its process group and everything else.",
        """
import os
for process in (1, os.getppid(), -1, 0):
    try:
        os.kill(process, 9)
    except OSError:
        pass
def answer(*args):
    return -1.0""",
        "yours is -1",
    ),
    Attack(
        "memory-bomb",
        "Takes memory until there is no more.",
        "import numpy\nhoard = []\ndef answer(*args):\n    while True:\n        hoard.append(numpy.empty(2**24))",
        "raised MemoryError",
    ),
    Attack(
        "fork-bomb",
        "Makes as many processes as it can.",
        "import os\ndef answer(*args):\n    while True:\n        os.fork()",
        "raised BlockingIOError",
    ),
    Attack(
        "disk-bomb",
        "Fills /tmp with one file after another.",
        """
def answer(*args):
    for number in range(10**6):
        with open(f"/tmp/{number}", "wb") as file:
            file.write(bytes(10**7))""",
        "No space left on device",
    ),
    Attack(
        "threads",
        "Starts threads that go on after the call.",
        """
import threading
def answer(*args):
    while True:
        threading.Thread(target=answer).start()""",
        "can't start new thread",
    ),
    Attack(
        "recursion-bomb",
        "Calls itself without end and lifts Python's limit.",
        """
import sys
sys.setrecursionlimit(10**9)
def answer(*args):
    return [answer(*args)]""",
    ),
    Attack(
        "much-output",
        "Prints gigabytes.",
        """
import os
def answer(*args):
    for _ in range(2000):
        os.write(1, bytes(10**6))
        os.write(2, bytes(10**6))
    return -1.0""",
        "yours is -1",
    ),
]

RETURNING = [
    Attack(
        "huge-return",
        "Returns an array of a gigabyte.",
        "import numpy\ndef answer(*args):\n    return numpy.zeros(10**9, bool)",
        "more than 64",
    ),
    Attack(
        "deep-return",
        "Returns a list in a list in a list ...",
        """
def answer(*args):
    nested = []
    for _ in range(10**5):
        nested = [nested]
    return nested""",
        "nested more than 32 deep",
    ),
    Attack(
        "object-array",
        "Returns an array of Python objects.",
        "import numpy\ndef answer(*args):\n    return numpy.array([print, open], object)",
        "cannot be graded",
    ),
    Attack(
        "agreeable-object",
        "Returns an object that equals everything and lies about all else.",
        """
class Agreeable:
    __eq__ = __lt__ = __gt__ = __le__ = __bool__ = lambda *args: True
    __float__ = lambda self: 1 / 0
    __len__ = lambda self: 2**62
    __array__ = lambda *args, **kwargs: 1 / 0
    __repr__ = __str__ = lambda self: "x" * 10**9
    __hash__ = lambda self: 0
def answer(*args):
    return Agreeable()""",
        "a value of type 'Agreeable' cannot be graded",
    ),
    Attack(
        "agreeable-number",
        "Returns a float that calls itself equal to everything.",
        """
class Right(float):
    __eq__ = __le__ = __ge__ = lambda *args: True
    __sub__ = __rsub__ = __abs__ = lambda *args: 0.0
def answer(*args):
    return Right(-1)""",
        "yours is -1",
    ),
    Attack(
        "pickle",
        "Returns a pickle that would run a command where it is loaded.",
        """
import os, pickle
class Bomb:
    def __reduce__(self):
        return os.system, ("touch COURSE/pickled REPOSITORY/pickled",)
def answer(*args):
    return pickle.dumps(Bomb())""",
        "x80",
    ),
    Attack(
        "markup",
        "Raises an exception whose text is a script and a terminal's control codes.",
        """
raise ValueError("<script>alert(1)</script>[red] \\x1b[2J\\x00 \\u202e")
""",
        "<script>alert(1)</script>[red]",
    ),
]

TALKING = [
    Attack(
        "forged-frames",
        "Writes nonsense to every open file.",
        """
import os
def answer(*args):
    for descriptor in range(3, 1000):
        try:
            os.write(descriptor, b"\\xff" * 64)
        except OSError:
            pass
    return 1.0""",
        "its result could not be read",
    ),
    Attack(
        "forged-cell",
        "Tells the grader of a cell that there is not, and dies.",
        _FRAMES + 'send(reply(b"cell", text(b"nobody")))\nos._exit(0)',
        "disturbed the grader and was left out",
    ),
    Attack(
        "forged-error",
        "Reports an error of 60 million characters.",
        _FRAMES
        + """
def answer(*args):
    send(reply(b"error", b"t" + struct.pack("<I", 3) + 2 * text(b"E") + text(b"x" * 60_000_000)))
    os._exit(0)""",
        "raised E: E",
    ),
    Attack(
        "colliding-keys",
        "Sends a dictionary whose keys all have one hash, which takes hours to build.",
        _FRAMES
        + """
def answer(*args):
    keys = (str(number * (2**61 - 1)).encode() for number in range(400_000))
    pairs = b"".join(b"i" + struct.pack("<I", len(key)) + key + b"N" for key in keys)
    send(reply(b"value", b"d" + struct.pack("<I", 400_000) + pairs))""",
        "its result could not be read",
    ),
    Attack(
        "broken-codec",
        "Rewrites the codec in its own process.",
        """
import codec
def answer(*args):
    codec.encode = lambda value: b"\\xff" * 100
    raise ValueError""",
        "its result could not be read",
    ),
    Attack(
        "broken-modules",
        "Rewrites json and struct in its own process.",
        """
import json, struct
def answer(*args):
    json.loads = json.dumps = lambda *args: {"points": 1000}
    struct.pack = lambda *args: b"\\xff\\xff\\xff\\xff"
    return 1.0""",
        "its result could not be read",
    ),
    Attack(
        "prepared-replies",
        "Sends replies ahead of the calls that they are for.",
        _FRAMES + 'def answer(*args):\n    send(3 * reply(b"value", b"f" + struct.pack("<d", -1.0)))\n    return -1.0',
        "yours is -1",
    ),
    Attack(
        "isinstance",
        "Makes isinstance say yes to everything.",
        "import builtins\nbuiltins.isinstance = lambda *args: True\ndef answer(*args):\n    return 1.0",
        "was left out",
    ),
    Attack(
        "testing-tools",
        "Overrides numpy.testing, pytest, check, and IPython's hooks.",
        """
import sys, types
import numpy.testing
for name in dir(numpy.testing):
    setattr(numpy.testing, name, lambda *args, **kwargs: None)
for name in ("pytest", "autograder", "autograder.suite", "autograder.runner"):
    sys.modules[name] = types.ModuleType(name)
sys.displayhook = lambda value: print(1000.0)
get_ipython().set_custom_exc((Exception,), lambda *args: 1000.0)
def check(*args):
    return 1000.0
def answer(*args):
    return -1.0""",
        "yours is -1",
    ),
    Attack(
        "hooks",
        "Sets hooks that would trip a grader in the same process, and solves the task.",
        """
import atexit, os, signal, sys
atexit.register(os._exit, 3)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.excepthook = sys.unraisablehook = lambda *args: os._exit(3)
sys.stdout = sys.stderr = None""",
        keeps=True,
    ),
]

LOOKING = [
    Attack(
        "network",
        "Looks for a way out: sockets of every kind.",
        """
import socket
def look(found):
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
            try:
                found.append(repr(socket.socket(family, kind)))
            except OSError:
                pass
"""
        + _CONFESS,
        "found nothing",
    ),
    Attack(
        "files",
        "Reads passwords, the gradebook, the suite, other students' work, and lists every folder for them.",
        """
import glob, os
WANTED = ["/etc/shadow", "/etc/passwd", "/root", "/home", "/proc/1/environ", "/proc/self/maps", "COURSE", "REPOSITORY",
          "COURSE/gradebook.db", "COURSE/submitted", "COURSE/source", "REPOSITORY/solutions",
          "REPOSITORY/autograder/suites/__init__.py", "/site-packages*/autograder/suites", "/sandbox/../suites"]
def look(found):
    for path in (path for pattern in WANTED for path in glob.glob(pattern) or [pattern]):
        try:
            found.append(f"{path}: {os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(80)}")
        except OSError:
            pass
        try:
            open(os.path.join(path, "taken"), "w").close()
            found.append(f"wrote to {path}")
        except OSError:
            pass
    # Folders that lie between / and the installed Python are there, but hold nothing else.
    found[:] = [line for line in found if not line.startswith("/root: ['.")]
"""
        + _CONFESS,
        "found nothing",
    ),
    Attack(
        "memory-search",
        "Looks for the suite in all frames and in all objects that the garbage collector knows.",
        """
import gc, sys
def look(found):
    frame = sys._getframe()
    while frame:
        found += [name for name in frame.f_locals if "test" in name or name in ("exercise", "suite", "hint", "rng")]
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing) is dict and "exercise" in thing or type(thing).__name__ in ("Exercise", "Graded", "Expect"):
            found.append(type(thing).__name__)
    found += [name for name in sys.modules if name.startswith(("autograder", "pytest", "nbgrader", "segedu"))]
"""
        + _CONFESS,
        "found nothing",
    ),
    Attack(
        "programs",
        "Runs other programs, and asks the kernel for more rights.",
        """
import ctypes, os, subprocess
def look(found):
    for command in (["/bin/sh", "-c", "true"], ["/usr/bin/env"], ["/usr/bin/python3", "-c", "pass"]):
        try:
            subprocess.run(command)
            found.append(f"ran {command}")
        except OSError:
            pass
    libc = ctypes.CDLL(None)
    for flag in (0x10000000, 0x20000000, 0x00020000, 0x40000000):  # user, process, mount and network namespaces
        if libc.unshare(flag) == 0:
            found.append(f"unshare {flag:x}")
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 or libc.umount2(b"/tmp", 2) == 0:
        found.append("mount")
    for become in (os.setuid, os.setgid):
        try:
            become(0)
            found += ["root"] if os.stat("/usr").st_uid == 0 and os.getuid() == 0 else []
        except OSError:
            pass
"""
        + _CONFESS,
        "found nothing",
    ),
    Attack(
        "guard-remover",
        "Takes the import guard away and looks for ready-made libraries in every place that Python has.",
        """
import importlib, sys
def look(found):
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "_Rules"]
    version = f"python3.{sys.version_info.minor}"
    sys.path += [f"{sys.base_prefix}/lib/{version}/site-packages", "/usr/lib/python3/dist-packages"]
    for name in FORBIDDEN:
        try:
            module = importlib.import_module(name)
            found += [name] if module.__file__ else []  # an empty folder is a module without a file
        except ImportError:
            pass
"""
        + _CONFESS,
        "found nothing",
    ),
]

# A few of each group first, so that a small class meets them all.
ATTACKS = [
    attack for group in zip_longest(LOOKING, STOPPING, TALKING, RETURNING) for attack in group if attack is not None
]
