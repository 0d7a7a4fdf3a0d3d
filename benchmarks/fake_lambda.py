"""The part of Lambda that an extension talks to, made cheap: blocking sockets, encoded batches.

It is no emulator (the simulator of the library is): it checks nothing and keeps no state machine,
so that what is measured is the extension. A thread serves each connection.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.corpus import Batch

_IDENTIFIER = "11111111-2222-4333-8444-555555555555"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@attrs.define(kw_only=True)
class Milestones:
    """When the extension called what, in seconds of `time.perf_counter`; NaN until it did."""

    registered: float = float("nan")
    subscribed: float = float("nan")
    first_next: float = float("nan")


class FakeLambda:
    """A Runtime API on 127.0.0.1 for one extension process."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.milestones = Milestones()
        self.destination: int | None = None
        self.destinations: list[int] = []
        self.errors: list[str] = []
        self._subscribed = threading.Event()
        self._next_calls: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sent: queue.SimpleQueue[float] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True, name="fake lambda").start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._events.put(None)
        # A thread blocked in accept keeps the socket alive past close; shutdown wakes it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def wait_next(self, timeout: float = 10.0) -> float:
        """Block until the extension asks for the next event; return when it did.

        Raises:
            TimeoutError: It did not within `timeout` seconds.
        """
        try:
            return self._next_calls.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"no call of next within {timeout} s; errors: {self.errors}") from None

    def wait_subscribed(self, timeout: float = 10.0) -> int:
        """Block until the extension has subscribed; return the port that it listens on.

        Raises:
            TimeoutError: It did not within `timeout` seconds.
        """
        if not self._subscribed.wait(timeout) or self.destination is None:
            raise TimeoutError(f"no subscription within {timeout} s; errors: {self.errors}")
        return self.destination

    def invoke(self, request_id: str, *, timeout_ms: int = 30_000) -> float:
        """Answer the waiting call of next with INVOKE; return when that left."""
        return self._answer_next(
            {
                "eventType": "INVOKE",
                "deadlineMs": int(time.time() * 1000) + timeout_ms,
                "requestId": request_id,
                "invokedFunctionArn": "arn:aws:lambda:eu-west-1:111122223333:function:bench",
                "tracing": {
                    "type": "X-Amzn-Trace-Id",
                    "value": "Root=1-67c2d4a0-aabbccddeeff001122334455;Sampled=1",
                },
            }
        )

    def shut_down(self) -> float:
        """Answer the waiting call of next with SHUTDOWN; return when that left."""
        deadline = int(time.time() * 1000) + 2_000
        return self._answer_next({"eventType": "SHUTDOWN", "deadlineMs": deadline, "shutdownReason": "spindown"})

    def _answer_next(self, event: dict[str, object]) -> float:
        self._events.put(json.dumps(event).encode())
        return self._sent.get(timeout=10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pending = b""
        with connection, contextlib.suppress(OSError):
            while True:
                while b"\r\n\r\n" not in pending:
                    if not (received := connection.recv(65536)):
                        return
                    pending += received
                head, _, body = pending.partition(b"\r\n\r\n")
                length = int(found[1]) if (found := _LENGTH.search(head)) else 0
                while len(body) < length:
                    body += connection.recv(65536)
                pending = body[length:]
                self._respond(connection, head.partition(b"\r\n")[0].split(b" ")[1], body[:length])

    def _respond(self, connection: socket.socket, path: bytes, body: bytes) -> None:
        now = time.perf_counter()
        if path.endswith(b"/event/next"):
            if self.milestones.first_next != self.milestones.first_next:
                self.milestones.first_next = now
            self._next_calls.put(now)
            if (event := self._events.get()) is None:
                return
            # Before the send: afterwards the extension may already have run on the other core.
            self._sent.put(time.perf_counter())
            connection.sendall(_response(200, event))
        elif path.endswith(b"/extension/register"):
            self.milestones.registered = now
            answer = {
                "functionName": "bench",
                "functionVersion": "$LATEST",
                "handler": "bench.handler",
            }
            connection.sendall(
                _response(
                    200,
                    json.dumps(answer).encode(),
                    f"Lambda-Extension-Identifier: {_IDENTIFIER}\r\n",
                )
            )
        elif path.endswith(b"/telemetry"):
            self.milestones.subscribed = now
            self.destination = urlsplit(json.loads(body)["destination"]["URI"]).port
            self.destinations += [self.destination] if self.destination is not None else []
            connection.sendall(_response(200, b'"OK"'))
            self._subscribed.set()
        else:
            self.errors.append(f"{path.decode()}: {body.decode(errors='replace')}")
            connection.sendall(_response(202, b'{"status":"OK"}'))


class Pusher:
    """Lambda's end of the telemetry delivery: one connection kept alive, one batch in flight."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._connection.close()

    def push(self, batch: Batch, *, timeout: float = 30.0) -> float:
        """Send one batch and block until it is acknowledged; return how long that took, in seconds.

        Raises:
            TimeoutError: No acknowledgement came within `timeout` seconds.
            RuntimeError: The answer was not a success.
        """
        started = time.perf_counter()
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=timeout)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.settimeout(timeout)
        self._connection.sendall(batch.request)
        answer = self._connection.recv(65536)
        while b"\r\n\r\n" not in answer or len(answer) < _expected(answer):
            if not (more := self._connection.recv(65536)):
                break
            answer += more
        took = time.perf_counter() - started
        if answer[9:12] not in {b"200", b"204"}:
            raise RuntimeError(f"the extension answered {answer[:200]!r}")
        if answer.startswith(b"HTTP/1.0") or b"\r\nconnection: close" in answer.lower():
            self._connection.close()
            self._connection = None
        return took


def _expected(answer: bytes) -> int:
    head = answer.index(b"\r\n\r\n") + 4
    if found := _LENGTH.search(answer[:head]):
        return head + int(found[1])
    if answer[9:12] == b"204":
        return head
    return len(answer) if answer.endswith(b"0\r\n\r\n") or b"chunked" not in answer[:head] else len(answer) + 1


def _response(status: int, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
