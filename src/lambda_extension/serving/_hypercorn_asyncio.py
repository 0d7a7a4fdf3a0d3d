"""One connection under hypercorn on asyncio: alone in using asyncio itself, whose streams it takes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, LifespanState


class _Writer(asyncio.StreamWriter):
    """Refuses to write where nobody reads, as a broken connection does: asyncio logs a line for each such write."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_closing():
            raise ConnectionResetError
        super().write(data)


class _Reader(asyncio.StreamReader):
    """Says when hypercorn has read all that the peer has sent before it went."""

    def __init__(self, on_end: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._call_soon = loop.call_soon
        self._on_end = on_end

    def at_eof(self) -> bool:
        over = super().at_eof()
        if over:
            # Behind the request that it has just read, which begins in a task of its own.
            self._call_soon(self._on_end)
        return over


async def serve_connection(
    app: AppWrapper, config: Config, context: WorkerContext, sock: socket.socket, on_end: Callable[[], None]
) -> None:
    """Serve an accepted connection until it ends; be told when the peer has sent its last byte.

    From then on hypercorn waits for the time-out of idle connections, which here is for ever.
    """
    loop = asyncio.get_running_loop()
    reader = _Reader(on_end, loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
    writer = _Writer(transport, protocol, reader, loop)
    try:
        await TCPServer(app, loop, config, context, LifespanState({}), reader, writer)
    finally:
        transport.abort()
