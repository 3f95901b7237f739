"""Downloads, from a server on this machine that behaves as badly as real ones."""

import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from web import CONTENT

from segedu import download
from segedu.download import DownloadError, fetch

SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(200_000)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "models" / "weights.bin"


def interrupted(server, path, *cuts):
    """A first call that stops after so many bytes."""
    server.cuts, server.statuses = list(cuts), [200] * len(cuts) + [404]
    with pytest.raises(DownloadError):
        fetch(server.url, path, progress=False)
    server.cuts, server.statuses, server.requests, server.sent = [], [], [], 0


def assert_right(path, content=CONTENT):
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path], "something was left beside the file"


# What there is, comes


def test_gets_a_file_and_its_folder(server, path):
    assert fetch(server.url, str(path), sha256=SHA256.upper(), size=len(CONTENT), progress=False) == path
    assert_right(path)
    assert server.requests == [(None, None)]


@pytest.mark.parametrize("content", [b"", b"x"])
def test_gets_the_smallest_files(server, path, content):
    server.content = content
    fetch(server.url, path, sha256=hashlib.sha256(content).hexdigest(), progress=False)
    assert_right(path, content)


def test_follows_to_another_address(server, path):
    server.moved = ["/elsewhere", server.url]
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert_right(path)


def test_shows_how_far_it_is(server, path, capsys):
    fetch(server.url, path, progress=False)
    assert capsys.readouterr() == ("", "")
    path.unlink()
    fetch(server.url, path)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.search(r"weights\.bin.*300\.0/300\.0\s+kB", shown.err, re.DOTALL)


# What is there already


def test_leaves_the_right_file(server, path):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert fetch(server.url, path, sha256=SHA256, size=len(CONTENT)) == path
    assert server.requests == []


@pytest.mark.parametrize("known", [{"sha256": SHA256}, {"size": len(CONTENT)}])
def test_neither_takes_nor_deletes_another_file(server, path, known):
    path.parent.mkdir()
    path.write_bytes(OTHER)
    with pytest.raises(ValueError, match="delete it to download it again"):
        fetch(server.url, path, **known)
    assert_right(path, OTHER)
    assert server.requests == []


# Connections that break


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("resets", [False, True])
def test_goes_on_where_a_connection_broke(server, path, chunked, resets):
    # More often than it tries in vain, for each brings something new.
    server.cuts, server.chunked, server.resets = [40_000] * 7, chunked, resets
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert_right(path)
    assert len(server.requests) == 8
    assert server.requests[0] == (None, None)
    assert {condition for _, condition in server.requests[1:]} == {'"one"'}
    if not resets:  # a reset may take bytes with it that were sent
        assert server.sent == len(CONTENT) + 7, "each time, the last byte comes again"


def test_goes_on_where_an_earlier_call_stopped(server, path):
    interrupted(server, path, 100_000)
    assert not path.exists()
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert_right(path)
    assert server.requests == [("bytes=99999-", '"one"')]


def test_asks_for_one_byte_where_all_had_come(server, path):
    interrupted(server, path, 100_000)
    path.with_name("weights.bin.part").write_bytes(CONTENT)
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert_right(path)
    assert server.sent == 1


@pytest.mark.parametrize("honours_if_range", [True, False])
@pytest.mark.parametrize("content", [OTHER, CONTENT[:50_000]])
def test_starts_over_when_the_server_has_another_file(server, path, content, honours_if_range):
    interrupted(server, path, 100_000)
    server.content, server.marks, server.honours_if_range = content, {"ETag": '"two"'}, honours_if_range
    fetch(server.url, path, progress=False)
    assert_right(path, content)


def test_starts_over_when_the_server_cannot_send_a_part(server, path):
    interrupted(server, path, 100_000)
    server.honours_range = False
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert_right(path)
    assert server.sent == len(CONTENT)


def test_starts_over_when_the_server_sends_another_part(server, path):
    interrupted(server, path, 100_000)
    server.off_by = 10
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert_right(path)


def test_mixes_no_files_when_the_server_has_another_one_for_a_while(server, path):
    interrupted(server, path, 50_000)
    server.content, server.marks = OTHER, {}
    interrupted(server, path, 100_000)
    server.content, server.marks = CONTENT, {"ETag": '"one"'}
    fetch(server.url, path, progress=False)
    assert_right(path)


def test_goes_by_the_date_where_the_tag_is_weak(server, path):
    date = "Tue, 15 Nov 1994 12:45:26 GMT"
    server.marks = {"ETag": 'W/"one"', "Last-Modified": date}
    server.cuts = [100_000]
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert_right(path)
    assert server.requests[1] == ("bytes=99999-", date)


def test_starts_over_when_it_cannot_know_that_the_file_is_the_same(server, path):
    server.marks, server.cuts = {}, [100_000]
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert_right(path)
    assert server.requests == [(None, None)] * 2


def test_gives_up_when_nothing_new_comes(server, path):
    server.cuts = [100_000] + [1] * 20  # the byte that comes again
    with pytest.raises(DownloadError, match=r"cut after 100000 of 300000 bytes, 5 times in a row"):
        fetch(server.url, path, progress=False)
    assert len(server.requests) == 5
    assert not path.exists()


@given(
    st.lists(
        st.tuples(st.integers(0, 3000), st.sampled_from(["as it was", "other file", "no ranges", "no marks", "busy"])),
        max_size=8,
    )
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_what_comes_is_the_server_s_file(server, tmp_path, troubles):
    path = tmp_path / f"{time.monotonic_ns()}" / "file"
    files = [random.Random(seed).randbytes(2000 + seed) for seed in range(10)]
    version = 0
    for cut, trouble in troubles:
        server.behave()
        version += trouble == "other file"
        server.content = files[version]
        server.marks = {} if trouble == "no marks" else {"ETag": f'"{version}"'}
        server.honours_range = trouble != "no ranges"
        server.statuses, server.cuts = [503 if trouble == "busy" else 200, 404], [cut]
        try:
            fetch(server.url, path, progress=False)
        except DownloadError:
            assert not path.exists()
        else:
            break
    else:
        server.behave()
        server.content, server.marks = files[version], {"ETag": f'"{version}"'}
        fetch(server.url, path, progress=False)
    assert_right(path, files[version])


# Servers that say no, or nothing


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (500, 5), (503, 5)])
def test_says_what_the_server_answered(server, path, status, requests):
    server.statuses = [status] * 9
    with pytest.raises(DownloadError) as caught:
        fetch(server.url, path, sha256=SHA256, progress=False)
    for part in (server.url, str(status), f"place the file at {path} by hand", SHA256):
        assert part in str(caught.value)
    assert len(server.requests) == requests
    assert not path.exists()


def test_a_busy_server_is_asked_again(server, path):
    server.statuses = [503, 429, 500]
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert_right(path)


def test_does_not_wait_for_ever(server, path, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    server.silence = 1.0
    with pytest.raises(DownloadError, match="timed out"):
        fetch(server.url, path, progress=False, timeout=0.1)


def test_a_slow_server_may_take_its_time(server, path):
    server.pause = 0.02  # 0.3 s in all
    fetch(server.url, path, sha256=SHA256, progress=False, timeout=0.2)
    assert_right(path)


def test_says_so_where_nobody_listens(server, path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/weights.bin"
        with pytest.raises(DownloadError, match=r"no connection.*by hand"):
            fetch(url, path, progress=False)


def test_says_so_where_there_is_no_network(server, path, monkeypatch):
    def no_network(*args, **kwargs):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(DownloadError, match=rf"weights\.example.*no network.*{re.escape(str(path))} by hand"):
        fetch("https://weights.example/weights.bin", path, progress=False)


# Files that are not what they should be


def test_deletes_what_has_another_hash(server, path):
    server.content = OTHER
    with pytest.raises(DownloadError) as caught:
        fetch(server.url, path, sha256=SHA256, progress=False)
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(OTHER).hexdigest() in str(caught.value)
    assert list(path.parent.iterdir()) == []


def test_does_not_begin_a_file_of_another_size(server, path):
    with pytest.raises(DownloadError, match="expected 12 bytes, but the server has 300000"):
        fetch(server.url, path, size=12, progress=False)
    assert list(path.parent.iterdir()) == []


def test_stops_where_more_comes_than_there_should_be(server, path):
    server.chunked, server.content = True, bytes(20_000_000)
    with pytest.raises(DownloadError, match=r"bytes, expected 12"):
        fetch(server.url, path, size=12, progress=False)
    assert list(path.parent.iterdir()) == []
    assert server.sent < 20_000_000


def test_asks_for_the_rest_where_less_came_than_there_should_be(server, path):
    server.chunked, server.content = True, OTHER
    with pytest.raises(DownloadError, match="expected 300000 bytes, but the server has 200000"):
        fetch(server.url, path, size=300_000, progress=False)
    assert not path.exists()


# What cannot be asked for


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "data:,x", "weights.bin", ""])
def test_refuses_other_addresses(path, url):
    with pytest.raises(ValueError, match=re.escape(f"http:// or https://, got {url!r}")):
        fetch(url, path)
    assert not path.parent.exists()


def test_refuses_a_hash_that_no_file_can_have(path):
    with pytest.raises(ValueError, match="64 hexadecimal digits, got 'd41d8cd98f00b204e9800998ecf8427e'"):
        fetch("https://weights.example/weights.bin", path, sha256="d41d8cd98f00b204e9800998ecf8427e")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_does_not_follow_to_other_addresses(server, path, target):
    server.moved = [target]
    with pytest.raises(DownloadError, match=r"redirect|302"):
        fetch(server.url, path, progress=False)
    assert not path.exists()


def test_does_not_follow_from_https_to_http():
    request = urllib.request.Request("https://weights.example/weights.bin")
    with pytest.raises(DownloadError, match="less safe"):
        download._StaysOnTheWeb().redirect_request(request, None, 302, "Found", {}, "http://weights.example/")


# Several at once


FETCH = "import sys; from segedu.download import fetch; fetch(*sys.argv[1:3], sha256=sys.argv[3], progress=False)"


def in_another_process(server, path):
    command = [sys.executable, "-c", FETCH, server.url, str(path), SHA256]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def test_processes_take_turns(server, path):
    server.pause = 0.05
    processes = [in_another_process(server, path) for _ in range(3)]
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    assert_right(path)
    assert len(server.requests) == 1


def test_threads_take_turns(server, path):
    server.pause = 0.01
    threads = [threading.Thread(target=fetch, args=(server.url, path), kwargs={"progress": False}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_right(path)
    assert len(server.requests) == 1


def test_goes_on_where_a_process_was_killed(server, path):
    server.pause = 0.2
    process = in_another_process(server, path)
    part = path.with_name("weights.bin.part")
    while not (part.exists() and part.stat().st_size > 30_000):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists()
    server.pause = 0.0
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert_right(path)
    assert server.requests[1][1] == '"one"'
