"""The telemetry receiver as a part of a session: its socket, its server, its stream, and their end."""

from __future__ import annotations

import logging
import socket
from typing import Self, final

import anyio
import anyio.abc

from lambda_extension._api._models import Destination
from lambda_extension.serving._serve import serve_app
from lambda_extension.serving._socket import listen_on
from lambda_extension.telemetry import Batch, ReceiverSettings, TelemetryStream
from lambda_extension.telemetry._app import TelemetryReceiver

logger = logging.getLogger("lambda_extension")

_NAME = "sandbox.localdomain"
_LOOPBACK = "127.0.0.1"
_RESOLVE_TIMEOUT = 0.5
# The share of the time left at SHUTDOWN that is spent on waiting for the platform's last telemetry.
_SHARE = 0.5
# How long requests in flight may take once the receiver ends.
_GRACE = 0.1


@final
class Listener:
    """Owns the receiver's socket, server and stream.

    Attributes:
        stream: What the user reads.
        available: Whether the platform delivers at all.
        before_read: Called before the stream waits for a batch.
        failure: What the stream ends with, instead of a plain end.
    """

    def __init__(self, sock: socket.socket, settings: ReceiverSettings, *, quiet: float) -> None:
        self._address, port = sock.getsockname()[:2]
        self.destination = Destination(port=port)
        self.available = True
        self.failure: Exception | None = None
        self.before_read = _nothing
        self._sock = sock
        self._quiet = quiet
        self._server = settings.server
        self._send, self._receive = anyio.create_memory_object_stream[Batch](settings.max_buffered_batches)
        self._receiver = TelemetryReceiver(self._send, max_body_bytes=settings.max_body_bytes, decode=settings.decode)
        self._stop = anyio.Event()
        self._stopped = anyio.Event()
        self.stream = TelemetryStream(
            self._receive,
            self._receiver.counters,
            before_read=lambda: self.before_read(),  # noqa: PLW0108 - it is set later
            failure=lambda: self.failure,
        )

    @classmethod
    async def bind(cls, settings: ReceiverSettings, *, quiet: float) -> Self:
        """Listen where Lambda delivers to: the address of `sandbox.localdomain`, or loopback where it is unknown.

        Args:
            settings: The receiver's settings; a host there is taken as it is.
            quiet: Seconds without a batch after which, at SHUTDOWN, nothing more is expected.

        Raises:
            OSError: The address cannot be bound.
        """
        if settings.host is not None:
            return cls(listen_on(settings.host, settings.port), settings, quiet=quiet)
        host = await _sandbox_address()
        try:
            sock = listen_on(host, settings.port)
        except OSError:
            if host == _LOOPBACK:
                raise
            logger.warning("%s resolves to %s, which cannot be bound: listening on %s", _NAME, host, _LOOPBACK)
            sock = listen_on(_LOOPBACK, settings.port)
        return cls(sock, settings, quiet=quiet)

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Run the server until `stop`. Requests queue in the socket from the first, before hypercorn is imported."""
        try:
            await serve_app(
                self._receiver,
                self._sock,
                server=self._server,
                shutdown_trigger=self._stop.wait,
                graceful_timeout=2 * _GRACE,
                task_status=task_status,
            )
        finally:
            self._sock.close()
            self._stopped.set()

    def give_up(self) -> None:
        """Note that the platform will deliver nothing: no server is needed."""
        self.available = False
        self._sock.close()
        self._stopped.set()

    async def finish(self, deadline: float) -> None:
        """Catch what the platform still sends at SHUTDOWN, then stop, so that the stream ends once drained.

        Waits for the report of every invocation that has begun, or for a quiet time, or for half of what is left.
        """
        if self.available:
            now = anyio.current_time()
            with anyio.CancelScope(deadline=now + (deadline - now) * _SHARE):
                await self._wait_last_batch()
        await self.stop(None)

    async def _wait_last_batch(self) -> None:
        reports_due = bool(self._receiver.open_requests)
        while not reports_due or self._receiver.open_requests:
            with anyio.move_on_after(self._quiet) as silence:
                await self._receiver.wait_batch()
            if silence.cancelled_caught:
                return

    async def stop(self, failure: Exception | None) -> None:
        """Take no more requests, wait for the server's end, and close the sending end. Safe to call again."""
        self.failure = self.failure or failure
        self._stop.set()
        try:
            with anyio.move_on_after(_GRACE):
                await self._stopped.wait()
            self._receiver.abort()
            await self._stopped.wait()
        finally:
            self._send.close()

    def close(self) -> None:
        """Close both ends of the stream, and the socket if the server never took it."""
        self._send.close()
        self._receive.close()
        self._sock.close()


async def _sandbox_address() -> str:
    with anyio.move_on_after(_RESOLVE_TIMEOUT):
        try:
            found = await anyio.getaddrinfo(_NAME, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
        except OSError:
            return _LOOPBACK
        return str(found[0][4][0])
    return _LOOPBACK


def _nothing() -> None:
    """Do nothing before a read."""
