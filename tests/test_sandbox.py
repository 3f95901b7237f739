"""The sandbox: students' functions work as usual inside it, and their process can do nothing else."""

import math
import os
import sys

import numpy as np
import pytest

from autograder.sandbox import policy
from autograder.sandbox.client import SandboxedStudent, SandboxUnavailable, Zygote
from autograder.sandbox.errors import NotDefined, StudentError, TookTooLong
from autograder.sandbox.policy import Limits


@pytest.fixture
def student(zygote):
    """Make a sandboxed student of a source text (or of cells by name); all end with the test."""
    made = []

    def make(source, **settings):
        cells = source if isinstance(source, dict) else {"work": source}
        made.append(SandboxedStudent(settings.pop("zygote", zygote), cells, **settings))
        return made[-1]

    yield make
    for each in made:
        each.__exit__()


@pytest.fixture(scope="module")
def hurried(sandbox):
    """A fork server with little time, so that tests need not wait long for its end."""
    with Zygote(("numpy",), Limits(seconds=1.0, load_seconds=2.0, total_seconds=30.0)) as zygote:
        yield zygote


@pytest.fixture(scope="module")
def narrow(sandbox):
    """A fork server with little room, and time enough on a busy machine."""
    with Zygote(("numpy",), Limits(memory=300 * 2**20, disk=2**20, open_files=16)) as zygote:
        yield zygote


# ------------------------------------------------------------------------------------------------- functions that work


def test_arrays_numbers_text_and_keywords_go_both_ways(student):
    ada = student("def f(a, *, scale=1, **more):\n    return a * scale, {'more': more, 'dtype': str(a.dtype)}")
    array, rest = ada.f(np.arange(6, dtype=np.uint8).reshape(2, 3), scale=2, x=None, y=[1.5, "é"])
    np.testing.assert_array_equal(array, [[0, 2, 4], [6, 8, 10]])
    assert rest == {"more": {"x": None, "y": [1.5, "é"]}, "dtype": "uint8"}


def test_cells_share_one_namespace_and_keep_state_between_calls(student):
    ada = student({"one": "seen = []", "two": "def f(x):\n    seen.append(x)\n    return seen"})
    assert [ada.f(1), ada.f(2)] == [[1], [1, 2]]


def test_the_students_changes_to_an_argument_do_not_come_back(student):
    array = np.zeros(3)
    student("def f(a):\n    a += 1\n    return a").f(array)
    assert not array.any()


def test_prints_warnings_and_logs_cost_nothing(student):
    source = """
import logging, sys, warnings
print("loading", file=sys.stderr)
def f():
    print("x" * 10**6)
    warnings.warn("careful")
    logging.error("oh")
    return input and 3
"""
    assert student(source).f() == 3


def test_an_exception_comes_with_its_kind_message_and_line(student):
    ada = student("def helper(x):\n    return {}[x]\n\ndef f(x):\n    return helper(x)")
    with pytest.raises(StudentError) as caught:
        ada.f("key")
    error = caught.value
    assert (error.kind, error.message, error.function) == ("KeyError", "'key'", "f")
    assert error.where == "in line 2 of its cell: return {}[x]"
    with pytest.raises(StudentError, match="KeyError"):
        ada.f("again")


def test_an_undefined_function_is_named_with_what_went_wrong_before(student):
    ada = student({"load": "import numpy\nnumpy.no_such_thing", "work": "value = 3"})
    with pytest.raises(NotDefined, match=r"`f` is not defined\. Cell `load` raised AttributeError.*in line 2 of its"):
        ada.f()
    with pytest.raises(NotDefined, match="`value` is not defined"):
        ada.value()


def test_a_cell_with_a_syntax_error_leaves_the_others_working(student):
    ada = student({"bad": "def g(:", "good": "def f():\n    return 1"})
    assert ada.f() == 1
    assert "Cell `bad` raised SyntaxError" in ada.cell_errors["bad"]


@pytest.mark.parametrize("source", ["object()", "{1, 2}", "lambda: 0", "np.array([None])", "(x for x in [])"])
def test_a_result_that_is_no_plain_data_is_an_error_in_words(student, source):
    ada = student(f"import numpy as np\ndef f():\n    return {source}\ndef g():\n    return 1")
    with pytest.raises(StudentError, match="cannot be graded"):
        ada.f()
    assert ada.g() == 1


@pytest.mark.slow
def test_tensors_go_both_ways(sandbox):
    import torch

    with Zygote(("numpy", "torch")) as zygote:
        source = "import torch\ndef f(t):\n    return torch.relu(t), torch.rand(3), torch.get_num_threads()"
        seen = []
        for seed in (1, 1, 2):
            with SandboxedStudent(zygote, {"work": source}, seed=seed) as ada:
                relu, random, threads = ada.f(torch.tensor([-1.0, 2.0]))
                assert torch.equal(relu, torch.tensor([0.0, 2.0])) and threads == 1
                seen.append(random.tolist())
    assert seen[0] == seen[1] != seen[2]


# -------------------------------------------------------------------------------------------------------- determinism

RANDOM = """
import random
import numpy as np
def draw():
    return [random.random(), np.random.rand(), hash("text")]
"""


def test_random_generators_are_seeded_for_each_process(student):
    draws = [student(RANDOM, seed=seed).draw() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_unseeded_generators_differ_between_processes(student):
    source = "import numpy as np, os\ndef f():\n    return os.urandom(8), np.random.default_rng().random()"
    assert student(source).f() != student(source).f()


# ------------------------------------------------------------------------------------------------ death and time limits


def test_a_process_that_ends_fails_its_call_and_is_replaced(student):
    ada = student("import os\ndef end(n):\n    os._exit(n)\ndef f():\n    return 1")
    with pytest.raises(StudentError, match="the process ended itself with status 7"):
        ada.end(7)
    assert ada.f() == 1


@pytest.mark.parametrize(
    "how", ["sys.exit('bye')", "raise SystemExit(3)", "raise KeyboardInterrupt", "exit()", "quit()"]
)
def test_polite_ways_to_end_are_exceptions(student, how):
    ada = student(f"import sys\ndef f():\n    {how}\ndef g():\n    return 1")
    with pytest.raises(StudentError):
        ada.f()
    assert ada.g() == 1


def test_a_crash_is_named_by_its_signal(student):
    ada = student("import ctypes\ndef f():\n    ctypes.string_at(0)")
    with pytest.raises(StudentError, match="the process was ended by SIGSEGV"):
        ada.f()


def test_a_loop_is_stopped_and_fails_at_once_the_third_time(student, hurried):
    ada = student("def f():\n    while True:\n        pass\ndef g():\n    return 1", zygote=hurried)
    for _ in range(2):
        with pytest.raises(TookTooLong, match=r"did not return within 1 seconds: does its loop ever end"):
            ada.f()
        assert ada.g() == 1
    with pytest.raises(TookTooLong, match="ran out of time in earlier tests"):
        ada.f()


def test_a_loop_that_swallows_every_exception_is_stopped(student, hurried):
    source = """
import signal
for number in range(1, 32):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
def f():
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
"""
    with pytest.raises(TookTooLong):
        student(source, zygote=hurried).f()


def test_a_cell_that_hangs_or_ends_the_process_is_left_out(student, hurried):
    ada = student(
        {"end": "import os\nos._exit(0)", "hang": "while True: pass", "f": "def f():\n    return 1"}, zygote=hurried
    )
    assert ada.f() == 1
    assert "Cell `end` ended the notebook's process (the process ended itself" in ada.cell_errors["end"]
    assert "Cell `hang` did not finish within 2 seconds" in ada.cell_errors["hang"]


def test_cpu_time_ends_a_process_that_nobody_waits_for(sandbox):
    source = "import resource\ndef f():\n    return [resource.getrlimit(resource.RLIMIT_CPU)]"
    limits = Limits(load_seconds=3.0, total_seconds=4.0)
    with Zygote(("numpy",), limits) as zygote, SandboxedStudent(zygote, {"work": source}) as ada:
        assert ada.f() == [(8, 8)]


# ------------------------------------------------------------------------------------------------------ forbidden names

FORBIDDEN = ("json", "math.fsum", "numpy.linalg", "colorsys.rgb_to_hsv", "statistics.median")


@pytest.mark.parametrize(
    "body",
    [
        "import json",
        "import json.decoder",
        "from json import loads",
        "import json as innocent",
        "import importlib; importlib.import_module('json')",
        "__import__('json')",
        "import math; math.fsum([1])",
        "from math import fsum; fsum([1])",
        "import numpy as np; np.linalg.norm([1])",
        "import numpy.linalg",
        "from numpy import linalg; linalg.norm([1])",
        "import colorsys; colorsys.rgb_to_hsv(1, 1, 1)",
        "from statistics import median; median([1])",
        "import sys; sys.modules['json'].loads('1')",
    ],
)
@pytest.mark.parametrize("where", ["in the function", "in a cell"])
def test_forbidden_names_are_refused_however_they_are_reached(student, body, where):
    if where == "in the function":
        ada = student(f"def f():\n    {body}", forbidden=FORBIDDEN)
        with pytest.raises(StudentError):
            ada.f()
    else:
        ada = student({"use": body, "work": "def f():\n    return 1"}, forbidden=FORBIDDEN)
        assert ada.f() == 1 and "use" in ada.cell_errors


def test_a_refusal_says_what_to_do(student):
    with pytest.raises(StudentError, match=r"math\.fsum may not be used here: write it yourself") as caught:
        student("import math\ndef f():\n    return math.fsum([1])", forbidden=FORBIDDEN).f()
    assert caught.value.kind == "ForbiddenCall"


def test_names_beside_the_forbidden_ones_work(student):
    source = "import math, colorsys, statistics\ndef f():\n    return math.sqrt(4), statistics.mean([1, 3]), 1"
    assert student(source, forbidden=FORBIDDEN).f() == (2.0, 2, 1)


# -------------------------------------------------------------------------------------------------------------- limits


def test_memory_is_bounded(student, narrow):
    ada = student("import numpy as np\ndef f(n):\n    return np.ones(n, np.uint8).nbytes", zygote=narrow)
    assert ada.f(50 * 2**20) == 50 * 2**20
    with pytest.raises(StudentError, match=r"MemoryError|Unable to allocate"):
        ada.f(2**30)
    assert ada.f(7) == 7


def test_disk_is_bounded_private_and_empty(student, narrow):
    source = """
import os
def f():
    before = os.listdir("/tmp")
    with open("/tmp/mine", "wb") as file:
        file.write(b"x" * 1000)
    return before, os.getcwd()
def fill():
    with open("/tmp/large", "wb") as file:
        for _ in range(100):
            file.write(b"x" * 2**20)
"""
    ada, grace = student(source, zygote=narrow), student(source, zygote=narrow)
    assert ada.f() == ([], "/tmp")
    assert grace.f() == ([], "/tmp")
    with pytest.raises(StudentError):
        ada.fill()


def test_open_files_are_bounded(student, narrow):
    with pytest.raises(StudentError, match="Too many open files"):
        student("def f():\n    return len([open('/dev/null') for _ in range(100)])", zygote=narrow).f()


# ------------------------------------------------------------------------------------- the state of a student's process

STATE = """
import ctypes, os, resource, signal, sys
libc = ctypes.CDLL(None, use_errno=True)

def users():
    return [*os.getresuid(), *os.getresgid()], os.getgroups()

def capabilities():
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, data) == 0
    bounding = [number for number in range(41) if libc.prctl(23, number, 0, 0, 0) == 1]
    return list(data), bounding

def locks():
    PR_GET_SECCOMP, PR_GET_NO_NEW_PRIVS = 21, 39
    return libc.prctl(PR_GET_SECCOMP, 0, 0, 0, 0), libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)

def process():
    return os.getpid(), os.getppid()

def environment():
    return dict(os.environ)

def listing(path):
    return sorted(os.listdir(path))

def readable(path):
    try:
        with open(path, "rb") as file:
            file.read(1)
        return True
    except OSError:
        return False

def writable(path):
    try:
        open(path, "ab").close()
        return True
    except OSError:
        return False

def call(module, name, *args):
    return getattr(__import__(module), name)(*args)

def limits():
    names = "CORE NPROC NOFILE FSIZE".split()
    return {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in names}

def descriptors():
    found = []
    for number in range(64):
        try:
            os.fstat(number)
            found.append(number)
        except OSError:
            pass
    return found

def interfaces():
    import socket
    return [name for _, name in socket.if_nameindex()]
"""


@pytest.fixture(scope="module")
def inside(zygote):
    with SandboxedStudent(zygote, {"state": STATE}) as ada:
        yield ada


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user; others stay who they are")
def test_the_process_is_an_ordinary_user(inside):
    assert inside.users() == ([policy.SANDBOX_UID] * 6, [])


def test_the_process_has_no_capabilities_and_can_get_none(inside):
    assert inside.capabilities() == ([0] * 6, [])


def test_system_calls_are_filtered_and_no_privileges_can_be_gained(inside):
    assert inside.locks() == (2, 1)  # SECCOMP_MODE_FILTER, no_new_privs


def test_the_process_is_alone_in_its_namespace(inside):
    assert inside.process() == (1, 0)


def test_nothing_but_the_channel_is_open(inside):
    assert inside.descriptors() == [0, 1, 2, 3]


def test_no_core_no_children_few_files(inside, zygote):
    limits = inside.limits()
    assert (limits["CORE"], limits["NPROC"]) == ((0, 0), (0, 0))
    assert limits["NOFILE"][1] <= zygote.limits.open_files and limits["FSIZE"][1] <= zygote.limits.disk


def test_no_files_of_the_machine_or_the_course_can_be_seen(inside):
    assert set(inside.listing("/")) <= set("bin dev lib lib32 lib64 proc sandbox sbin tmp usr".split()) | {
        name for name in inside.listing("/") if name.startswith("site-packages")
    } | {os.path.normpath(sys.base_prefix).split("/")[1]}
    assert inside.listing("/proc") == []
    for path in ("/etc/passwd", "/etc/shadow", "/proc/self/maps", "/root/.bashrc", __file__, "/sandbox/../etc/hosts"):
        assert not inside.readable(path), path
    assert inside.listing("/sandbox") == ["codec.py", "guard.py", "modules.py", "policy.py", "zygote.py"]


def test_nothing_outside_of_tmp_can_be_written(inside):
    for path in ("/x", "/usr/x", "/sandbox/codec.py", "/sandbox/x", "/dev/x", "/site-packages0/x", "/bin/x"):
        assert not inside.writable(path), path
    assert inside.writable("/tmp/x")


def test_the_environment_holds_nothing_of_the_graders(inside, zygote):
    names = set(inside.environment())
    assert names <= set(policy.environment()) | {"PWD", "LC_CTYPE", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}


@pytest.mark.parametrize(
    ("module", "name", "args"),
    [
        ("os", "fork", ()),
        ("os", "system", ("true",)),
        ("os", "execv", ("/usr/bin/true", ["true"])),
        ("os", "posix_spawn", ("/usr/bin/true", ["true"], {})),
        ("subprocess", "run", (["true"],)),
        ("socket", "socket", ()),
        ("socket", "socketpair", ()),
        ("socket", "create_connection", (("127.0.0.1", 22),)),
        ("_thread", "start_new_thread", (print, ())),
        ("os", "chroot", ("/tmp",)),
        ("os", "mkfifo", ("/usr/x",)),
        ("os", "setuid", (0,)),
        ("os", "setgroups", ([],)),
        ("os", "memfd_create", ("x",)),
        ("os", "pidfd_open", (1,)),
        ("os", "sched_setaffinity", (2, [0])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_exercise_needs_is_refused(inside, module, name, args):
    if any(callable(arg) for arg in args):
        source = "import _thread\ndef f():\n    return _thread.start_new_thread(print, ())"
        with SandboxedStudent(inside._zygote, {"work": source}) as ada, pytest.raises(StudentError):
            ada.f()
        return
    result = None
    try:
        result = inside.call(module, name, *args)
    except StudentError as error:
        assert error.kind in {"PermissionError", "BlockingIOError", "OSError", "ProcessLookupError"}, error
    else:
        assert name == "system" and result != 0


def test_no_network_but_a_loopback_that_is_down(inside):
    with pytest.raises(StudentError, match="PermissionError"):
        inside.interfaces()


# --------------------------------------------------------------------------------------------- when there is no sandbox


def test_without_bubblewrap_there_is_no_sandbox_and_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(policy.shutil, "which", lambda _: None)
    with pytest.raises(SandboxUnavailable, match=r"bubblewrap .* not installed.*apt-get install bubblewrap"):
        Zygote()


def test_a_sandbox_that_does_not_start_says_why(sandbox):
    with pytest.raises(SandboxUnavailable, match=r"(?s)could not be started.*No module named 'no_such_module'"):
        Zygote(("no_such_module",))


def test_unconfined_works_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(policy.shutil, "which", lambda _: None)
    source = "import os\ndef f(a):\n    return a + 1, os.path.exists('/etc/passwd')"
    with Zygote(("numpy",), confined=False) as zygote, SandboxedStudent(zygote, {"work": source}) as ada:
        array, sees_files = ada.f(np.zeros(2))
        assert array.tolist() == [1, 1] and sees_files
        with pytest.raises(TookTooLong):
            SandboxedStudent(zygote, {"work": "def f():\n    while True: pass"}, seconds=0.2).f()
        with pytest.raises(StudentError, match="status 3"):
            SandboxedStudent(zygote, {"work": "import os\ndef f():\n    os._exit(3)"}).f()


def test_the_fork_server_ends_with_its_owner(sandbox):
    with Zygote(("numpy",)) as zygote:
        process = zygote._process
        ada = SandboxedStudent(zygote, {"work": "def f():\n    return 1.5"})
        assert math.isclose(ada.f(), 1.5)
    assert process.poll() is not None
