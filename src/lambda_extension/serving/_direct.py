"""A small HTTP/1.1 server: httptools on sockets that anyio waits for. No TLS, no HTTP/2, no websockets.

What it bounds stands in `Limits`. Nothing is read ahead of the app: while it has not answered, what its peer sends next
waits in the kernel, and then with the peer. A connection that is idle has no timer, which a freeze would make
meaningless; one that keeps us waiting in the middle of something is counted in ticks, of which a freeze is one at most.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import NamedTuple, final

import anyio
import anyio.lowlevel

from lambda_extension.serving._asgi import ASGIApp
from lambda_extension.serving._exchange import Exchange, PeerGoneError, answer_refusal
from lambda_extension.serving._faults import Faults
from lambda_extension.serving._requests import SLOW, Head, RefusedError, RequestParser

_READ_SIZE = 1 << 18
# How many times in a row a connection may go on without giving way, because what it wants is there already.
_MOST_TURNS = 16


class Limits(NamedTuple):
    """What one peer may take.

    Attributes:
        head_bytes: Longest head of a request, and of anything else that is no body.
        connections: Connections at a time. For one more, that which has been idle for longest is closed; where none
            is idle, it waits to be accepted.
        tick: Seconds between two looks at those who keep us waiting.
        patience: Ticks that a request may take to arrive, or a piece of an answer to be taken.
        farewell: Ticks for which what still comes is read and dropped, so that the last answer is not lost to a reset.
        farewell_bytes: The most of that.
    """

    head_bytes: int = 32 * 1024
    connections: int = 256
    tick: float = 1.0
    patience: int = 30
    farewell: int = 2
    farewell_bytes: int = 4 * 1024 * 1024


@final
class DirectServer:
    """Serves connections, and keeps count of them."""

    def __init__(self, app: ASGIApp, faults: Faults, limits: Limits | None = None) -> None:
        self.app = app
        self.faults = faults
        self.limits = limits or Limits()
        self.ending = False
        self._open = 0
        self._idle: dict[Connection, None] = {}
        self._waiting: set[Connection] = set()
        self._somebody_waits = anyio.Event()
        self._room = anyio.Event()

    async def wait_room(self) -> None:
        """Wait until there is room for one more connection, and make some where a connection is idle."""
        while self._open >= self.limits.connections:
            self._room = anyio.Event()
            for connection in self._idle:
                if connection.wake_if_idle():
                    break
            await self._room.wait()

    async def serve_connection(self, sock: socket.socket) -> None:
        """Serve an accepted connection until it ends, and close it."""
        self._open += 1
        connection = Connection(self, sock)
        try:
            with sock:
                await connection.run()
        finally:
            self._open -= 1
            self._idle.pop(connection, None)
            self._waiting.discard(connection)
            self._room.set()

    async def run(self) -> None:
        """Count the ticks of those who keep us waiting; without a timer where there are none."""
        while True:
            await self._somebody_waits.wait()
            while self._waiting:
                await anyio.sleep(self.limits.tick)
                for connection in list(self._waiting):
                    connection.tick()
            self._somebody_waits = anyio.Event()

    async def end(self) -> None:
        """Close what is idle; every other connection closes with its next answer."""
        self.ending = True
        for connection in list(self._idle):
            connection.wake_if_idle()

    def mark_idle(self, connection: Connection) -> None:
        """Note that a connection waits for its next request."""
        self._idle[connection] = None
        if self._open >= self.limits.connections:
            self._room.set()

    def mark_busy(self, connection: Connection) -> None:
        """Note that a connection's next request has begun."""
        self._idle.pop(connection, None)

    def mark_waiting(self, connection: Connection) -> None:
        """Count ticks for a connection whose peer keeps us waiting."""
        self._waiting.add(connection)
        self._somebody_waits.set()

    def mark_moving(self, connection: Connection) -> None:
        """Stop counting."""
        self._waiting.discard(connection)


@final
class Connection:
    """One connection: requests, one after the other, and their answers.

    Attributes:
        server: The server that it belongs to.
        client: Address and port of the peer.
        local: Address and port of our side.
    """

    def __init__(self, server: DirectServer, sock: socket.socket) -> None:
        self.server = server
        self.client: tuple[str, int] | None = None
        self.local: tuple[str, int] | None = None
        self._sock = sock
        self._parser = RequestParser(server.limits.head_bytes)
        self._turns = 0
        self._ticks = 0
        self._patience = server.limits.patience
        self._cut = False

    async def run(self) -> None:
        """Serve until the peer has gone, has to go, or the server ends."""
        try:
            self.client = self._sock.getpeername()[:2]
            self.local = self._sock.getsockname()[:2]
            # Not everywhere is it inherited from the listening socket.
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            return  # gone already
        answering = False
        while (head := await self._next_head()) is not None:
            exchange = Exchange(self, head)
            await exchange.run()
            answering = exchange.answering
            if not exchange.keeps_alive:
                break
            self._ticks = 0
            await self._give_way()
        refusal = self._parser.refusal
        if refusal is not None:
            self.server.faults.note(refusal.kind)
            if head is None or not answering:
                await self._try_to_send(answer_refusal(refusal))
        if refusal is not None or self._parser.midway:
            await self._part()

    @property
    def arrived(self) -> bool:
        """Whether the end of the request under way is here, though it may not have been asked for."""
        return None in self._parser.events

    @property
    def broken(self) -> bool:
        """Whether nothing more is taken from this peer."""
        return self._parser.refusal is not None

    @property
    def buffered(self) -> bool:
        """Whether something is here that has not been asked for."""
        return bool(self._parser.events)

    async def next_piece(self) -> bytes | None:
        """Wait for the next piece of a body; None at its end.

        Raises:
            PeerGoneError: It will not come.
        """
        events = self._parser.events
        while not events:
            if self.broken or not await self._fill():
                raise PeerGoneError
        piece = events.popleft()
        assert not isinstance(piece, Head)
        return piece

    async def wait_gone(self) -> bool:
        """Wait until the peer goes or sends more, however long that takes; tell whether it has gone."""
        return not await self._fill(counted=False)

    async def send(self, data: bytes) -> None:
        """Send all of `data`; without a wait where the kernel takes it at once.

        Raises:
            PeerGoneError: The peer has gone, or takes nothing.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                if self._cut:
                    raise PeerGoneError from None
                self._ticks = 0
                await self._wait(anyio.wait_writable, counted=True)
            except OSError as error:
                raise PeerGoneError from error

    def tick(self) -> None:
        """Note that the peer has kept us waiting for a tick more; give up on one that does so for too long."""
        self._ticks += 1
        if self._ticks > self._patience:
            self._wake()

    def wake_if_idle(self) -> bool:
        """Let a connection end that waits for its next request; not where that has just come, which is told."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self._wake()
            return True
        except OSError:
            pass
        return False

    def _wake(self) -> None:
        self._cut = True
        anyio.notify_closing(self._sock)

    async def _next_head(self) -> Head | None:
        """Wait for the next request; None if there will be none, or if what comes cannot be taken."""
        parser = self._parser
        while not parser.events:
            if self.broken:
                return None
            if parser.midway:
                if not await self._fill():
                    return None
                continue
            # At the end, a request that is here is still taken.
            self._cut = self.server.ending
            self.server.mark_idle(self)
            try:
                if not await self._fill(counted=False):
                    return None
            finally:
                self.server.mark_busy(self)
            self._cut = False
        head = parser.events.popleft()
        assert isinstance(head, Head)
        return head

    async def _fill(self, *, counted: bool = True) -> bool:
        """Read once and tell whether something came; if not, the peer has gone, or has been given up."""
        while True:
            try:
                data = self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                if self._cut:
                    if counted:
                        self._parser.refusal = RefusedError(408, SLOW)
                    return False
                await self._wait(anyio.wait_readable, counted=counted)
            except OSError:
                return False
            else:
                break
        if not data:
            return False
        await self._give_way()
        self._parser.feed(data)
        return True

    async def _wait(self, wait: Callable[[socket.socket], Awaitable[None]], *, counted: bool) -> None:
        """Wait for the socket, or to be woken, as `_cut` tells."""
        self._turns = 0
        if counted:
            self.server.mark_waiting(self)
        try:
            await wait(self._sock)
        except anyio.ClosedResourceError:
            pass
        finally:
            self.server.mark_moving(self)

    async def _give_way(self) -> None:
        """Let others run, now and then, where nothing has to be waited for."""
        self._turns += 1
        if self._turns > _MOST_TURNS:
            self._turns = 0
            await anyio.lowlevel.checkpoint()

    async def _try_to_send(self, data: bytes) -> None:
        with contextlib.suppress(PeerGoneError):
            await self.send(data)

    async def _part(self) -> None:
        """Read and drop what still comes, for a while: a socket closed with bytes unread resets what was sent last."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return
        limits = self.server.limits
        self._ticks, self._patience, self._cut = 0, limits.farewell, self.server.ending
        left = limits.farewell_bytes
        self.server.mark_idle(self)
        while left > 0:
            try:
                data = self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                if self._cut:
                    return
                await self._wait(anyio.wait_readable, counted=True)
                continue
            except OSError:
                return
            if not data:
                return
            left -= len(data)
            await self._give_way()
