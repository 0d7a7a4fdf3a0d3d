"""One connection under hypercorn on trio."""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, LifespanState


class _Stream:
    """Says when hypercorn has read all that the peer has sent before it went; trio lets nobody subclass its own."""

    def __init__(self, stream: trio.SocketStream, on_end: Callable[[], None]) -> None:
        self.socket = stream.socket
        self.send_all = stream.send_all
        self.send_eof = stream.send_eof
        self.aclose = stream.aclose
        self._receive_some = stream.receive_some
        self._on_end = on_end

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what is there, or wait for it."""
        data = await self._receive_some(max_bytes)
        if not data:
            await trio.lowlevel.checkpoint()  # in which the request before it, in a task of its own, begins
            self._on_end()
        return data


async def serve_connection(
    app: AppWrapper, config: Config, context: WorkerContext, sock: socket.socket, on_end: Callable[[], None]
) -> None:
    """Serve an accepted connection until it ends; be told when the peer has sent its last byte.

    From then on hypercorn may wait for the time-out of idle connections, which here is for ever.
    """
    stream = _Stream(trio.SocketStream(trio.socket.from_stdlib_socket(sock)), on_end)
    # It tells by what the stream lacks that this is no TLS.
    await TCPServer(app, config, context, LifespanState({}), stream)  # type: ignore[arg-type]
