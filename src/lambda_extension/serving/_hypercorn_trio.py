"""One connection under hypercorn on trio."""

from __future__ import annotations

import socket

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, LifespanState


async def serve_connection(app: AppWrapper, config: Config, context: WorkerContext, sock: socket.socket) -> None:
    """Serve an accepted connection until it ends."""
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
    # It tells by what the stream lacks that this is no TLS.
    await TCPServer(app, config, context, LifespanState({}), stream)  # type: ignore[arg-type]
