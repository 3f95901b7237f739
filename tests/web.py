"""A web server on this machine that behaves as badly as real ones."""

import random
import re
import socket
import struct
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = random.Random(0).randbytes(300_000)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        server.requests.append((wanted, condition))
        content = server.files.get(self.path) if server.files else server.content
        if server.moved:
            return self.answer(302, b"", {"Location": server.moved.pop(0)})
        if (status := server.next(server.statuses, 200 if content is not None else 404)) != 200:
            return self.answer(status, b"sorry")
        time.sleep(server.silence)
        marks = {name: mark for name, mark in server.marks.items() if mark}
        same = condition in (None, *marks.values()) or not server.honours_if_range
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and same and server.honours_range else None
        if start is None:
            return self.answer(200, content, marks)
        if start >= len(content):
            return self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        start += server.off_by
        last = f"{len(content) - 1}/{len(content)}"
        self.answer(206, content[start:], {**marks, "Content-Range": f"bytes {start}-{last}"})

    def answer(self, status, body, headers=None):
        server = self.server
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header(*(("Transfer-Encoding", "chunked") if server.chunked else ("Content-Length", str(len(body)))))
        self.end_headers()
        cut = server.next(server.cuts, None) if status in (200, 206) else None
        for begin in range(0, len(body[:cut]), 20_000):
            block = body[:cut][begin : begin + 20_000]
            server.sent += len(block) * (status in (200, 206))
            try:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if server.chunked else block)
            except OSError:
                break
            time.sleep(server.pause)
        if cut is None and server.chunked:
            self.wfile.write(b"0\r\n\r\n")
        if cut is not None and server.resets:  # an RST instead of a FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


class Server(ThreadingHTTPServer):
    """What it does can be changed at any time."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.root}/weights.bin"
        self.behave()

    def behave(self):
        self.content = CONTENT
        self.files = {}  # by path; if there are any, nothing else is there
        self.marks = {"ETag": '"one"', "Last-Modified": None}
        self.honours_range = self.honours_if_range = True
        self.chunked = self.resets = False
        self.cuts, self.statuses, self.moved = [], [], []  # of the next requests
        self.off_by = 0  # bytes, where it should begin
        self.silence = self.pause = 0.0
        self.requests, self.sent = [], 0  # so far

    def next(self, waiting, usual):
        """What the next request gets; several may come at a time."""
        try:
            return waiting.pop(0)
        except IndexError:
            return usual

    def handle_error(self, request, client_address):
        pass


@contextmanager
def serve():
    """A server that runs meanwhile."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
