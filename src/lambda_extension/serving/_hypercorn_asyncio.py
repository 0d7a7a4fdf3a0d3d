"""One connection under hypercorn on asyncio: alone in using asyncio itself, whose streams it takes."""

from __future__ import annotations

import asyncio
import socket

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


async def serve_connection(app: AppWrapper, config: Config, context: WorkerContext, sock: socket.socket) -> None:
    """Serve an accepted connection until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
    writer = _Writer(transport, protocol, reader, loop)
    try:
        await TCPServer(app, loop, config, context, LifespanState({}), reader, writer)
    finally:
        transport.abort()
