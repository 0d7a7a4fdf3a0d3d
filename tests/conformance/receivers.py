"""Telemetry destinations in the test's own process: obedient, slow or failing ones."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, final

import anyio
import anyio.abc
import attrs
import httpx
from anyio.streams.buffered import BufferedByteReceiveStream

__all__ = ["Receiver", "open_receiver"]

_ENDED = (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
_BODY_LIMIT = 16 * 1024 * 1024


@attrs.frozen(kw_only=True)
class Post:
    """One batch that arrived; `time` on the clock of `anyio.current_time()`."""

    method: str
    path: str
    headers: httpx.Headers
    body: bytes
    time: float = attrs.field(factory=anyio.current_time)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The batch's events."""
        decoded: list[dict[str, Any]] = json.loads(self.body)
        return decoded


async def accept(_: Post) -> int:
    """Answer 200 at once."""
    return 200


@final
class Receiver:
    """What arrived at one port.

    Attributes:
        posts: Batches that came by HTTP, whatever the answer was.
        accepted: Events of the batches that were answered 200, and lines that came by TCP, in order of arrival.
        lines: Lines that came by TCP.
        connections: How many TCP connections there were.
    """

    def __init__(self, port: int, respond: Callable[[Post], Awaitable[int]]) -> None:
        self.port = port
        self.posts: list[Post] = []
        self.accepted: list[dict[str, Any]] = []
        self.lines: list[bytes] = []
        self.connections = 0
        self._respond = respond
        self._changed = anyio.Event()

    def subscription(self, *types: str, schema: str = "2025-01-29", tcp: bool = False, **buffering: int) -> Any:
        """Return a request to subscribe to these types, sent here."""
        uri = f"http://sandbox.localdomain:{self.port}"
        destination = {"protocol": "TCP", "port": self.port} if tcp else {"protocol": "HTTP", "URI": uri}
        limits = {"maxItems": 1000, "maxBytes": 262_144, "timeoutMs": 100, **buffering}
        return {"schemaVersion": schema, "types": list(types), "destination": destination, "buffering": limits}

    def records(self, type_: str) -> list[Any]:
        """Return the accepted records of one type."""
        return [event["record"] for event in self.accepted if event["type"] == type_]

    async def wait_for(self, predicate: Callable[[Receiver], object], *, within: float = 10.0) -> None:
        """Wait until `predicate(receiver)` holds."""
        with anyio.fail_after(within):
            while not predicate(self):
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def serve_http(self, stream: anyio.abc.SocketStream) -> None:
        """Take batches on one connection."""
        buffered = BufferedByteReceiveStream(stream)
        try:
            while True:
                head = (await buffered.receive_until(b"\r\n\r\n", 65_536)).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = httpx.Headers([(key, text) for key, _, text in (line.partition(": ") for line in head[1:])])
                length = min(_BODY_LIMIT, int(headers["Content-Length"]))
                body = await buffered.receive_exactly(length)
                post = Post(method=method, path=path, headers=headers, body=body)
                self.posts.append(post)
                self._notify()
                status = await self._respond(post)
                if status == 200:
                    self.accepted += post.events
                    self._notify()
                await stream.send(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
        except _ENDED:
            return
        finally:
            await anyio.aclose_forcefully(stream)

    async def serve_tcp(self, stream: anyio.abc.SocketStream) -> None:
        """Take lines on one connection."""
        self.connections += 1
        buffered = BufferedByteReceiveStream(stream)
        try:
            while True:
                line = await buffered.receive_until(b"\n", _BODY_LIMIT)
                self.lines.append(line)
                self.accepted.append(json.loads(line))
                self._notify()
        except _ENDED:
            return
        finally:
            await anyio.aclose_forcefully(stream)


@asynccontextmanager
async def open_receiver(
    respond: Callable[[Post], Awaitable[int]] = accept, *, tcp: bool = False
) -> AsyncGenerator[Receiver]:
    """Listen for telemetry on a port that the kernel chooses."""
    async with (
        await anyio.create_tcp_listener(local_host="0.0.0.0") as listener,
        anyio.create_task_group() as tasks,
    ):
        receiver = Receiver(listener.extra(anyio.abc.SocketAttribute.local_port), respond)
        tasks.start_soon(listener.serve, receiver.serve_tcp if tcp else receiver.serve_http)
        yield receiver
        tasks.cancel_scope.cancel()
