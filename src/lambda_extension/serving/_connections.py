"""The accept loop of both servers: each connection in a task of its own, so that none costs another."""

from __future__ import annotations

import errno
import socket
from typing import Protocol

import anyio
import anyio.abc
import anyio.lowlevel

from lambda_extension._budget import EXHAUSTED_PAUSE
from lambda_extension.serving._faults import Faults

# The peer of a queued connection has gone, or something between us and it failed: the next one is another matter.
_PEER_GONE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTUNREACH})
# The process or the machine has no file, or no memory, left. It takes time until it has.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ConnectionServer(Protocol):
    """Serves accepted connections, whichever way."""

    async def wait_room(self) -> None:
        """Wait until one more connection, which is there, can be served."""
        ...

    async def serve_connection(self, sock: socket.socket) -> None:
        """Serve one accepted, non-blocking connection until it ends; close it. Errors of its own do not leave."""
        ...

    async def run(self) -> None:
        """Do what has to be done beside the connections; cancelled when the last of them has ended."""
        ...

    async def end(self) -> None:
        """Close the connections that are idle, and each other one when its answer has been given. Does not wait."""
        ...


async def accept_connections(
    sock: socket.socket, server: ConnectionServer, faults: Faults, accepting: anyio.CancelScope
) -> None:
    """Accept connections until `accepting` is cancelled, then let them end; how long that may take, the caller says.

    Args:
        sock: A listening socket; closed when no more is accepted.
        server: Serves what is accepted.
        faults: Where is noted that no connection could be accepted.
        accepting: The scope of accepting alone.
    """
    # Two groups: what the server does beside the connections, such as time-outs, goes on until the last has ended.
    async with anyio.create_task_group() as background:
        background.start_soon(server.run, name="lambda_extension server")
        async with anyio.create_task_group() as connections:
            # Closed before the connections end: who comes from then on is refused, and does not wait for nobody.
            with sock, accepting:
                sock.setblocking(False)
                while True:
                    accepted = await _accept(sock, faults)
                    try:
                        await server.wait_room()
                    except BaseException:  # the end has come
                        accepted.close()
                        raise
                    connections.start_soon(server.serve_connection, accepted, name="lambda_extension connection")
            # Only now is it known that no further connection begins, which nobody would then end.
            await server.end()
        background.cancel_scope.cancel()


async def _accept(sock: socket.socket, faults: Faults) -> socket.socket:
    await anyio.lowlevel.checkpoint()  # so that what was accepted before has begun, and counts
    while True:
        try:
            accepted, _ = sock.accept()
        except BlockingIOError:
            await anyio.wait_readable(sock)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                faults.note("no connection could be accepted: out of files or memory")
                await anyio.sleep(EXHAUSTED_PAUSE)
            elif error.errno not in _PEER_GONE:
                raise
        else:
            accepted.setblocking(False)
            return accepted
