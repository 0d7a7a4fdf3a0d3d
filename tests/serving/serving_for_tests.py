"""A server on a port of its own, and a peer that speaks bytes."""

from __future__ import annotations

import functools
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import anyio
import anyio.abc

from lambda_extension.serving import ServerName
from lambda_extension.serving._asgi import ASGIApp
from lambda_extension.serving._connections import ConnectionServer, accept_connections
from lambda_extension.serving._direct import DirectServer, Limits
from lambda_extension.serving._faults import Faults
from lambda_extension.serving._serve import serve_app
from lambda_extension.serving._socket import listen_on

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Peer:
    """A connection on which any bytes are sent, and answers are read."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self.send = stream.send
        self.buffer = b""
        self.raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # which uvloop gives of no broken connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stream.aclose()

    async def answer(self) -> tuple[int, bytes]:
        """Read one answer that has a content-length."""
        head = await self.until(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        )
        while len(self.buffer) < length:
            self.buffer += await self.stream.receive()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return int(head.split(b" ")[1]), body

    async def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self.buffer += await self.stream.receive()
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    async def rest(self) -> bytes:
        """Read until the server closes."""
        while True:
            try:
                self.buffer += await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return self.buffer

    async def reset(self) -> None:
        """Vanish, so that the server's next write fails."""
        with suppress(OSError, ValueError):  # broken already; the latter of uvloop
            self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.stream.aclose()


class Running:
    """A server that runs.

    Attributes:
        stop: Ends it.
        ended: Set once it has ended.
        kill: Ends it at once.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.stop = anyio.Event()
        self.ended = anyio.Event()
        self.kill = anyio.CancelScope()

    async def connect(self) -> Peer:
        return Peer(await anyio.connect_tcp("127.0.0.1", self.port))

    async def ask(self, request: bytes = GET) -> tuple[int, bytes]:
        """Send one request on a connection of its own."""
        async with await self.connect() as peer:
            await peer.send(request)
            return await peer.answer()


@asynccontextmanager
async def running(
    app: ASGIApp, server: ServerName, *, graceful_timeout: float = 1.0, within: float = 20.0
) -> AsyncGenerator[Running]:
    sock = listen_on("127.0.0.1")
    run = Running(sock.getsockname()[1])
    serve = functools.partial(
        serve_app, app, sock, server=server, shutdown_trigger=run.stop.wait, graceful_timeout=graceful_timeout
    )
    async with _running(serve, run, within) as started:
        yield started


@asynccontextmanager
async def running_direct(app: ASGIApp, limits: Limits, faults: Faults | None = None) -> AsyncGenerator[Running]:
    """Run a direct server with limits of the test's own."""
    noted = faults or Faults()
    async with running_server(DirectServer(app, noted, limits), noted) as started:
        yield started


@asynccontextmanager
async def running_server(server: ConnectionServer, faults: Faults) -> AsyncGenerator[Running]:
    sock = listen_on("127.0.0.1")
    run = Running(sock.getsockname()[1])
    accepting = anyio.CancelScope()

    async def serve() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept_connections, sock, server, faults, accepting)
            await run.stop.wait()
            accepting.cancel()

    async with _running(serve, run) as started:
        yield started


@asynccontextmanager
async def _running(serve: Callable[[], Awaitable[None]], run: Running, within: float = 20.0) -> AsyncGenerator[Running]:
    async def until_the_end() -> None:
        with run.kill:
            await serve()
        run.ended.set()

    with anyio.fail_after(within):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_the_end)
            yield run
            run.stop.set()


async def read_body(receive: Any) -> bytes | None:
    """Read a request's body; None where its peer has gone."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += bytes(message["body"])
        if not message["more_body"]:
            return bytes(body)


async def answer(send: Any, body: bytes = b"", status: int = 200) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = await read_body(receive)
    if body is not None:
        await answer(send, body)
