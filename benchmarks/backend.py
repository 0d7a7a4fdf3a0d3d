"""A backend on loopback for delivered telemetry: a real HTTP server that can be slow, fail, and die."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

__all__ = ["Backend", "Behaviour", "backend"]

# Says what to do with a request: seconds to wait, and the status; 0 resets the connection.
Behaviour = Callable[[int], tuple[float, int]]


@attrs.define(eq=False)
class Backend:
    """What arrived.

    Attributes:
        requests: Requests, whatever became of them.
        arrivals: When each event first arrived, in epoch seconds.
        copies: How often each event was acknowledged.
        holders: The ids of the payloads that had it.
        payloads: How often each payload was acknowledged.
        sizes: How many events each acknowledged payload had.
    """

    url: str = ""
    behave: Behaviour = lambda _: (0.0, 200)
    requests: int = 0
    arrivals: dict[str, float] = attrs.field(factory=dict)
    copies: Counter[str] = attrs.field(factory=Counter)
    holders: dict[str, set[str]] = attrs.field(factory=dict)
    payloads: Counter[str] = attrs.field(factory=Counter)
    sizes: dict[str, int] = attrs.field(factory=dict)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def take(self, payload: str, body: bytes) -> None:
        """Note an acknowledged payload, under a key for each of its events."""
        now = time.time()
        with self.lock:
            self.payloads[payload] += 1
            for line in body.splitlines():
                key = key_of(json.loads(line))
                self.arrivals.setdefault(key, now)
                self.copies[key] += 1
                self.holders.setdefault(key, set()).add(payload)


def key_of(event: dict[str, Any]) -> str:
    """Name an event: a function's line by its text or JSON, a platform event by its type and request."""
    record = event["record"]
    if event["type"] == "function":
        return record if isinstance(record, str) else json.dumps(record)
    name = record.get("requestId", event["time"]) if isinstance(record, dict) else event["time"]
    return f"{event['type']} {name}"


@contextmanager
def backend(behave: Behaviour = lambda _: (0.0, 200), *, keep: bool = True) -> Iterator[Backend]:
    """Serve in a thread while the block runs; `keep` says whether to note what arrives, or to count requests only."""
    state = Backend(behave=behave)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                return  # cut off on its way: nothing has been taken
            with state.lock:
                state.requests += 1
                number = state.requests
            pause, status = state.behave(number)
            time.sleep(pause)
            if status == 0:
                self.close_connection = True
                return
            if status == 200:
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                payload = self.headers["Idempotency-Key"]
                state.sizes[payload] = len(body.splitlines())
                if keep:
                    state.take(payload, body)
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the standard library
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a killed extension leaves broken connections

    with Server(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}/ingest"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
