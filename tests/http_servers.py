"""Servers of the tests' own, each in a thread that ends with its block, and never holds up the end of a run."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from typing import TypeVar

Server = TypeVar("Server", bound=BaseServer)

# Seconds between two looks of a server whether it is to end, and how long its end may take.
_POLL = 0.01
_BOUND = 5


class QuietHandler(BaseHTTPRequestHandler):
    """Reads a body whole, answers in one call, and writes nothing to the terminal."""

    def read_body(self) -> bytes:
        """Return the body, decompressed; b"" where there is none."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; `Retry_After="1"` is sent as Retry-After."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running(server: Server) -> Generator[Server]:
    """Run a server until the end of the block, whatever the block raises, and close it."""
    thread = threading.Thread(target=server.serve_forever, args=(_POLL,), daemon=True)
    with server:
        thread.start()
        try:
            yield server
        finally:
            # `shutdown` waits for the thread without a bound: beside it, so that a server that hangs is told of.
            ending = threading.Thread(target=server.shutdown, daemon=True)
            ending.start()
            thread.join(_BOUND)
            assert not thread.is_alive(), f"{server!r} does not end"


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Generator[str]:
    """Serve on a port of its own, each connection in a thread of its own; give the URL without a slash at its end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # whose threads are daemons, so that none is waited for
    with running(server):
        yield f"http://127.0.0.1:{server.server_port}"


def free_port() -> int:
    """Return a port of this machine that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
