"""What a student's process may do: the walls (bubblewrap), the limits (rlimits) and the system calls (seccomp).

`bubblewrap_command` is for the grader; the rest is what a forked process does to itself before it sees a line of a
student's code. Only the standard library is imported, for the file runs inside the sandbox too.

The layers, outermost first. bubblewrap starts the fork server in new namespaces with a read-only view of the system's
libraries and Python's packages, and nothing else: no home, no course, no /etc, no network. Each forked process gets
a process and a mount namespace of its own and a small private /tmp, becomes an ordinary user with no capabilities,
may not gain any, may start no process and no thread, and is refused the system calls that no exercise needs.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

SANDBOX_UID = 61_999  # of no account; only root can change to it, an ordinary user's sandbox keeps the user's uid
SITE = "/site-packages"
# Not the whole of /usr: courses and repositories are kept in /usr/src and /usr/local, too.
_SYSTEM = """
/usr/bin /usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/share /usr/local/bin /usr/local/lib
/bin /lib /lib32 /lib64 /sbin
""".split()
HERE = "/sandbox"

INSTALL_HINT = (
    "Install it with the system's package manager: 'apt-get install bubblewrap libseccomp2' (Debian, Ubuntu), "
    "'dnf install bubblewrap libseccomp' (Fedora), 'pacman -S bubblewrap libseccomp' (Arch)."
)

NAMESPACES_HINT = (
    "If this machine keeps ordinary users from making namespaces, an administrator can allow it; on Ubuntu: "
    "'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0'. In a container, start that one with the right "
    "to make namespaces."
)


@dataclass(frozen=True)
class Limits:
    """Bounds on one student's process."""

    seconds: float = 5.0  # wall clock of one call
    load_seconds: float = 20.0  # wall clock of the cells together
    total_seconds: float = 60.0  # wall clock of all calls together
    memory: int = 2 * 2**30  # bytes of address space on top of what the fork server has
    disk: int = 32 * 2**20  # bytes of the private /tmp, and of one file
    open_files: int = 64


def missing() -> str | None:
    """Say what this machine lacks for the sandbox and how to get it, or None."""
    if not sys.platform.startswith("linux"):
        return f"the sandbox needs Linux (bubblewrap), this is {sys.platform}."
    if shutil.which("bwrap") is None:
        return f"bubblewrap (bwrap) is not installed. {INSTALL_HINT}"
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return f"libseccomp is not installed. {INSTALL_HINT}"
    return None


def bubblewrap_command(python_args: list[str], forbidden: tuple[str, ...] = ()) -> list[str]:
    """The command line that runs Python with `python_args` inside the walls, the `forbidden` modules left out.

    The fork server keeps the capabilities that it needs to give each fork namespaces and a user of its own, and to
    end it; it runs no student's code. As root no user namespace is made: inside one, the host's uid 0 would stay.
    """
    command = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    capabilities = ["CAP_SYS_ADMIN", "CAP_SETPCAP"]
    if os.geteuid() == 0:
        capabilities += ["CAP_SETUID", "CAP_SETGID", "CAP_KILL"]
    else:
        # uid 0 of a user namespace is the ordinary user outside. With any other uid bubblewrap would make a second,
        # inner user namespace, whose capabilities do not reach the process and mount namespaces.
        command += ["--unshare-user", "--uid", "0", "--gid", "0"]
    for capability in capabilities:
        command += ["--cap-add", capability]

    shown: dict[str, str] = {}  # by its place inside, what of the machine is seen there
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), name]
        elif path.exists():
            shown[name] = name
    prefix = sys.base_prefix
    if prefix != "/usr" and prefix != "/usr/local":
        shown[prefix] = prefix
    shown |= {f"{SITE}{number}": path for number, path in enumerate(site_packages())}
    for inside, path in shown.items():
        command += [*_parents(Path(inside)), "--perms", "0755", "--dir", inside, "--ro-bind", path, inside]
    # Suites and solutions must not be seen where they lie among the libraries: this package is installed there, or the
    # repository is below Python's own folder.
    package = Path(__file__).resolve().parents[1]
    secret = package if package.parent.name.endswith("-packages") else package.parent
    for inside, path in shown.items():
        if secret.is_relative_to(path):
            place = str(Path(inside, secret.relative_to(path)))
            command += ["--perms", "0555", "--tmpfs", place, "--remount-ro", place]
    for place in _unseen(shown, forbidden):
        command += ["--perms", "0555", "--tmpfs", place, "--remount-ro", place]
    command += ["--perms", "0755", "--dir", HERE]
    for name in ("codec.py", "guard.py", "modules.py", "policy.py", "zygote.py"):
        command += ["--ro-bind", str(Path(__file__).with_name(name)), f"{HERE}/{name}"]
    command += ["--dev", "/dev", "--proc", "/proc", "--perms", "1777", "--tmpfs", "/tmp"]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--clearenv"]
    for name, value in environment().items():
        command += ["--setenv", name, value]
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    return [*command, str(executable), *python_args]


def _unseen(shown: dict[str, str], forbidden: tuple[str, ...]) -> list[str]:
    """Folders inside that are to be empty: forbidden packages, and packages of another Python environment.

    `guard` refuses forbidden modules in words that help; a student who removes it finds nothing there to import.
    """
    version = f"python3.{sys.version_info.minor}"
    others = [f"{sys.base_prefix}/lib/{version}/site-packages", "/usr/lib/python3/dist-packages"]
    places = [place for place in others if Path(place).is_dir() and any(Path(place).is_relative_to(p) for p in shown)]
    for inside, path in shown.items():
        if inside.startswith(SITE):
            parts = (Path(*name.split(".")) for name in forbidden)
            places += [str(Path(inside, part)) for part in parts if Path(path, part).is_dir()]
    return places


def site_packages() -> list[str]:
    """The folders of installed packages that this Python uses, in order."""
    return [path for path in dict.fromkeys(sys.path) if path.endswith(("site-packages", "dist-packages"))]


def environment() -> dict[str, str]:
    """The fork server's environment: one thread for every library, nothing of the grader's own."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    # Some machines must steer OpenBLAS to kernels that their processor can run.
    kept = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_CORETYPE")}
    fixed = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "MPLBACKEND": "agg", "MPLCONFIGDIR": "/tmp"}
    return {**fixed, "PYTHONDONTWRITEBYTECODE": "1", **dict.fromkeys(threads, "1"), **kept}


def _parents(path: Path) -> list[str]:
    # bubblewrap makes missing parents for root alone (0700); the student's process runs as somebody else.
    folders = [parent for parent in reversed(path.parents) if parent != Path("/")]
    return [part for folder in folders for part in ("--perms", "0755", "--dir", str(folder))]


# --- inside: namespaces and privileges of a forked process ------------------------------------------------------------

_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000
_MS_RDONLY_NOSUID_NODEV_NOEXEC, _MNT_DETACH = 1 | 2 | 4 | 8, 2
_MS_NOSUID_NODEV_NOEXEC, _MS_REC_PRIVATE = 2 | 4 | 8, 0x4000 | 0x40000
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 1, 24, 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_EPERM, _EAGAIN, _ENOSYS = 1, 11, 38
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: object) -> int:
    result = getattr(_libc, name)(*args)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def new_process_namespace(own: int) -> None:
    """Give the next fork a process namespace of its own; `own` is an open /proc/self/ns/pid."""
    # A second unshare is refused until the namespace for children is one's own again.
    _call("setns", own, _CLONE_NEWPID)
    _call("unshare", _CLONE_NEWPID)


def private_files(limits: Limits) -> None:
    """A mount namespace of its own: no /proc, and an empty, bounded /tmp."""
    _call("unshare", _CLONE_NEWNS)
    _call("mount", None, b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None)
    _call("umount2", b"/proc", _MNT_DETACH)
    options = f"size={limits.disk},nr_inodes=1000,mode=1777".encode()
    _call("mount", b"tmpfs", b"/tmp", b"tmpfs", ctypes.c_ulong(_MS_NOSUID_NODEV_NOEXEC), options)
    os.chdir("/tmp")


def drop_privileges(is_root: bool) -> None:
    """Become an ordinary user without capabilities, for good. Exits the process if any is left.

    `is_root`: the grader runs as root, so there is another user to change to.
    """
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    _libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    if is_root:
        os.setgroups([])
        os.setresgid(SANDBOX_UID, SANDBOX_UID, SANDBOX_UID)
        os.setresuid(SANDBOX_UID, SANDBOX_UID, SANDBOX_UID)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    _call("capset", header, data)
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", _PR_SET_PDEATHSIG, 9, 0, 0, 0)
    _call("capget", header, data)
    if any(data) or (is_root and 0 in os.getresuid()):
        os._exit(125)


def set_limits(limits: Limits, base_memory: int) -> None:
    """Resource limits of the process; `base_memory` is the address space that it starts with, in bytes."""

    def limit(which: int, value: int) -> None:
        _, hard = resource.getrlimit(which)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))

    limit(resource.RLIMIT_AS, base_memory + limits.memory)
    limit(resource.RLIMIT_CPU, int(limits.load_seconds + limits.total_seconds) + 1)
    limit(resource.RLIMIT_FSIZE, limits.disk)
    limit(resource.RLIMIT_NOFILE, limits.open_files)
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NPROC, 0)


# Refused with EPERM: other processes and users, namespaces and mounts, sockets, kernel keys, programs, memory that
# outlives or escapes the process, and whatever changes the machine.
_REFUSED = """
ptrace process_vm_readv process_vm_writev process_madvise pidfd_open pidfd_getfd pidfd_send_signal kcmp unshare
setns mount umount umount2 pivot_root chroot move_mount open_tree fsopen fsmount fsconfig fspick mount_setattr
socket socketpair bind listen accept accept4 connect bpf perf_event_open userfaultfd io_uring_setup io_uring_enter
io_uring_register keyctl add_key request_key memfd_create memfd_secret shmget shmat shmctl msgget msgsnd msgrcv
msgctl semget semop semctl mq_open mq_unlink execve execveat personality reboot kexec_load
setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset
kexec_file_load init_module finit_module delete_module swapon swapoff acct quotactl syslog settimeofday
clock_settime clock_adjtime adjtimex sethostname setdomainname open_by_handle_at name_to_handle_at mknod mknodat
fanotify_init lookup_dcookie vhangup iopl ioperm modify_ldt
""".split()


class SystemCallFilter:
    """A seccomp filter, built once by the fork server and loaded by each fork."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._lib.seccomp_init.restype = ctypes.c_void_p
        self._lib.seccomp_init.argtypes = [ctypes.c_uint32]
        self._lib.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
        self._lib.seccomp_load.argtypes = [ctypes.c_void_p]
        allow = 0x7FFF0000
        self._context = self._lib.seccomp_init(allow)
        if not self._context:
            raise OSError("seccomp_init failed")
        for name in _REFUSED:
            self._refuse(name, _EPERM)
        # glibc tries clone3 first and falls back to clone when the kernel does not know it.
        self._refuse("clone3", _ENOSYS)
        for name in ("clone", "fork", "vfork"):
            self._refuse(name, _EAGAIN)

    def _refuse(self, name: str, code: int) -> None:
        number = self._lib.seccomp_syscall_resolve_name(name.encode())
        if number == -1:  # unknown to this version of libseccomp
            return
        error = 0x00050000 | code
        result = self._lib.seccomp_rule_add(self._context, error, number, 0)
        if result != 0:
            raise OSError(-result, f"seccomp rule for {name}: {os.strerror(-result)}")

    def load(self) -> None:
        """Put the filter in force for this process; it cannot be lifted."""
        result = self._lib.seccomp_load(self._context)
        if result != 0:
            raise OSError(-result, f"seccomp_load: {os.strerror(-result)}")
