"""The telemetry receiver as a part of a session: its socket, its server, its stream, and their end."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any, Self, TypeAlias, final

import anyio
import anyio.abc
from anyio.streams.memory import MemoryObjectReceiveStream

from lambda_extension._api._models import Destination
from lambda_extension._budget import REQUESTS_END, RESOLVE_LIMIT
from lambda_extension._threads import look_up
from lambda_extension.serving._asgi import ServerName
from lambda_extension.serving._serve import check_server, serve_app
from lambda_extension.serving._socket import listen_on
from lambda_extension.telemetry import Batch, ReceiverSettings
from lambda_extension.telemetry._app import TelemetryReceiver
from lambda_extension.telemetry._stream import Counters

logger = logging.getLogger("lambda_extension")

Decode: TypeAlias = Callable[[bytes], list[Any]]

_NAME = "sandbox.localdomain"
_LOOPBACK = "127.0.0.1"


@final
class Listener:
    """Owns the receiver's socket, its server, and both ends of the stream that batches travel in.

    Attributes:
        destination: Where the platform is to send telemetry.
        batches: What has been received; whoever has the listener makes a `TelemetryStream` of it.
        counters: What has happened so far.
        available: Whether the platform delivers at all.
        ready: Set once requests are answered, or never will be.
    """

    def __init__(self, sock: socket.socket, settings: ReceiverSettings, *, decode: Decode, quiet: float) -> None:
        port = sock.getsockname()[1]
        self.destination: Destination = Destination(port=port)
        self.available: bool = True
        self.ready: anyio.Event = anyio.Event()
        self._sock = sock
        self._quiet = quiet
        self._server: ServerName = settings.server
        self.batches: MemoryObjectReceiveStream[Batch]
        self._send, self.batches = anyio.create_memory_object_stream[Batch](settings.max_buffered_batches)
        self._receiver = TelemetryReceiver(self._send, max_body_bytes=settings.max_body_bytes, decode=decode)
        self.counters: Counters = self._receiver.counters
        self._stop = anyio.Event()
        self._stopped = anyio.Event()

    @classmethod
    async def bind(cls, settings: ReceiverSettings, *, decode: Decode, quiet: float) -> Self:
        """Listen where Lambda delivers to: the address of `sandbox.localdomain`, or loopback where it is unknown.

        Args:
            settings: The receiver's settings; a host there is taken as it is.
            decode: Turns a body into events; may raise `DecodeError`.
            quiet: Seconds without a batch after which, at SHUTDOWN, nothing more is expected.

        Raises:
            OSError: The address cannot be bound; the message names it.
            ImportError: The server is not installed.
        """
        check_server(settings.server)
        if settings.host is not None:
            return cls(listen_on(settings.host, settings.port), settings, decode=decode, quiet=quiet)
        host = await _sandbox_address()
        try:
            sock = listen_on(host, settings.port)
        except OSError:
            if host == _LOOPBACK:
                raise
            logger.warning("%s resolves to %s, which cannot be bound: listening on %s", _NAME, host, _LOOPBACK)
            sock = listen_on(_LOOPBACK, settings.port)
        return cls(sock, settings, decode=decode, quiet=quiet)

    async def serve(self) -> None:
        """Run the server until `stop`. Requests queue in the socket from the first, before the server is imported.

        Raises:
            Exception: The server cannot be imported, or does not start. `ready` is set all the same.
        """
        try:
            await serve_app(
                self._receiver,
                self._sock,
                server=self._server,
                shutdown_trigger=self._stop.wait,
                graceful_timeout=2 * REQUESTS_END,
                task_status=_Started(self.ready),
            )
        finally:
            self._sock.close()
            self._stopped.set()
            self.ready.set()

    def answer_when_taken(self) -> None:
        """Answer each batch only once its `taken` has been set, and not when it is in the stream."""
        self._receiver.answers_when_taken = True

    def give_up(self) -> None:
        """Note that the platform will deliver nothing: no server is needed."""
        self.available = False
        self._sock.close()
        self._stopped.set()
        self.ready.set()

    async def finish(self, until: float) -> None:
        """Catch what the platform still sends at SHUTDOWN, then stop, so that the stream ends once drained.

        Args:
            until: When to wait no longer for the report of every invocation that has begun, or for a quiet time.
        """
        if self.available:
            with anyio.CancelScope(deadline=until):
                await self._wait_last_batch()
        await self.stop()

    async def _wait_last_batch(self) -> None:
        # Without a request under way there is no report to wait for, and silence is all that can tell of the end. With
        # one, its report may come with the next batch, or never: silence ends the wait in either case.
        reports_due = bool(self._receiver.open_requests)
        while not reports_due or self._receiver.open_requests:
            with anyio.move_on_after(self._quiet) as silence:
                await self._receiver.wait_batch()
            if silence.cancelled_caught:
                return

    async def stop(self) -> None:
        """Take no more requests, wait for the server's end, and close the sending end. Safe to call again."""
        self._stop.set()
        try:
            with anyio.move_on_after(REQUESTS_END):
                await self._stopped.wait()
            # Those that are left wait for room in the stream, and whoever should make it may wait for us.
            self._receiver.abort()
            await self._stopped.wait()
        finally:
            # Last: a request that is answered meanwhile has been put into the stream, and the reader gets it first.
            self._send.close()

    def close(self) -> None:
        """Close both ends of the stream, and the socket if the server never took it."""
        self._send.close()
        self.batches.close()
        self._sock.close()
        self._receiver.sum_up()


async def _sandbox_address() -> str:
    with anyio.move_on_after(RESOLVE_LIMIT):
        try:
            return (await look_up(_NAME, 0, family=socket.AF_INET))[0]
        except OSError:
            return _LOOPBACK
    return _LOOPBACK


@final
class _Started(anyio.abc.TaskStatus[None]):
    """Sets an event once the server has started."""

    def __init__(self, event: anyio.Event) -> None:
        self._event = event

    def started(self, value: None = None) -> None:  # noqa: ARG002 - as anyio has it
        """Note that it has."""
        self._event.set()
