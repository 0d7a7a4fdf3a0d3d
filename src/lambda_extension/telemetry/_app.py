"""The ASGI app that Lambda posts to: answers 200 only once a batch is in the stream."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import final

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from lambda_extension._exceptions import DecodeError
from lambda_extension.serving._asgi import Receive, Scope, Send
from lambda_extension.serving._faults import Faults
from lambda_extension.telemetry._decoding import decode
from lambda_extension.telemetry._events import (
    PlatformLogsDropped,
    PlatformReport,
    PlatformStart,
    TelemetryEvent,
    UnknownEvent,
)
from lambda_extension.telemetry._stream import Batch, Counters

logger = logging.getLogger("lambda_extension.telemetry")

_OF_INTEREST = frozenset({PlatformLogsDropped, PlatformStart, PlatformReport, UnknownEvent})
# Invocations whose report is awaited; on Managed Instances many at once, never this many.
_MOST_OPEN = 10_000


@final
class TelemetryReceiver:
    """Takes in batches over HTTP and sends them into a bounded stream.

    Attributes:
        counters: What has happened so far.
        open_requests: Request ids that have a `platform.start` and no `platform.report` yet.
        answers_when_taken: Whether a batch is answered only once its `taken` has been set.
    """

    def __init__(
        self,
        stream: MemoryObjectSendStream[Batch],
        *,
        max_body_bytes: int,
        decode: Callable[[bytes], list[TelemetryEvent]] = decode,
    ) -> None:
        self.counters = Counters()
        self.open_requests: dict[str, None] = {}
        self.answers_when_taken = False
        self._stream = stream
        self._max_body_bytes = max_body_bytes
        self._decode = decode
        # The platform sends a batch again when its answer got lost; the copy, on another connection, must not be looked
        # at before it is known whether the first is in the stream.
        self._one_at_a_time = anyio.Lock(fast_acquire=True)
        self._last: tuple[str, int, int] | None = None
        self._refused: bytes | None = None
        self._dropping = False
        # A body that is refused comes again, or thousands like it: each kind is said once, then counted.
        self._faults = Faults(logger)
        self._arrived = anyio.Event()
        self._requests: set[anyio.CancelScope] = set()

    async def wait_batch(self) -> None:
        """Wait until another batch has arrived."""
        await self._arrived.wait()

    def abort(self) -> None:
        """End all requests in flight now: they are answered 503, so that nothing counts as acknowledged."""
        # Each ends in its own task, later: nothing leaves the set while it is gone through.
        for scope in self._requests:
            scope.cancel()

    def sum_up(self) -> None:
        """Log what has been refused since that was last said."""
        self._faults.sum_up()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, as an ASGI application."""
        status, text = 0, b""
        # A scope of its own: `abort` must not reach the answer, by which the platform learns that nothing was taken.
        with anyio.CancelScope() as request:
            self._requests.add(request)
            try:
                status, text = await self._handle(scope, receive)
            finally:
                self._requests.discard(request)
        if request.cancelled_caught:
            self.counters.rejected_batches += 1
            status, text = 503, b"the extension is shutting down"
        if status:
            await _answer(send, status, text)

    async def _handle(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        body, cut_off = await self._read(receive)
        if scope["method"] not in ("POST", "PUT"):
            return 405, b"telemetry is taken by POST or PUT"
        if body is None:
            return 0, b""
        if len(body) > self._max_body_bytes:
            self._refuse(_count_events(body) + cut_off, f"that is longer than {self._max_body_bytes} bytes")
            return 413, b"the body is longer than %d bytes" % self._max_body_bytes
        sequence_id = next((value for name, value in scope["headers"] if name == b"sequence-id"), None)
        try:
            events = self._decode(body)
        except DecodeError as error:
            return self._refuse_once(body, error)
        batch = Batch(
            events=events,
            sequence_id=None if sequence_id is None else sequence_id.decode("latin-1"),
            size=len(body),
            taken=anyio.Event() if self.answers_when_taken else None,
        )
        # Of the body only this is kept: it may be a megabyte, and the stream may have no room for a long time.
        identity = None if batch.sequence_id is None else (batch.sequence_id, batch.size, hash(body))
        del body
        return await self._deliver(batch, identity)

    async def _read(self, receive: Receive) -> tuple[bytes | None, int]:
        """Read a body to its end, keeping no more than the cap and a byte; None when the peer has gone.

        Returns:
            The body, and how many events began in what was not kept.
        """
        chunks: list[bytes] = []
        size = cut_off = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None, 0
            chunk = message.get("body", b"")
            room = self._max_body_bytes + 1 - size
            if len(chunk) > room:
                cut_off += _count_events(chunk[room:])
                chunk = chunk[:room]
            if chunk:
                size += len(chunk)
                chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks), cut_off

    def _refuse(self, events: int, why: str) -> None:
        self.counters.refused_bodies += 1
        self.counters.refused_events += max(events, 1)
        self._faults.note(f"refused a telemetry body {why}")

    def _refuse_once(self, body: bytes, error: DecodeError) -> tuple[int, bytes]:
        import hashlib  # which nobody needs who is sent what AWS documents

        digest = hashlib.sha256(body).digest()
        if digest == self._refused:
            # Lambda repeats what was refused: once said, it must not stand in the way of all that follows.
            return 200, b""
        self._refused = digest
        self._refuse(_count_events(body), "that is not a JSON array of events")
        return 400, str(error).encode("utf-8", "replace")

    async def _deliver(self, batch: Batch, identity: tuple[str, int, int] | None) -> tuple[int, bytes]:
        # Compared in turn: a batch may come again while it still waits for room, since the platform gave up waiting.
        async with self._one_at_a_time:
            if identity is not None and self._last == identity:
                self.counters.repeated_batches += 1
                return 200, b""
            try:
                await self._send(batch)
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                self.counters.rejected_batches += 1
                return 503, b"the extension takes no more telemetry"
            # Not before: what was not put into the stream, since it closed or at an abort, must be taken the next time.
            self._last = identity
            self.count(batch)
            # Last, so that who wakes sees the counts; the new event first, so that who waits again waits for another.
            arrived, self._arrived = self._arrived, anyio.Event()
            arrived.set()
            if batch.taken is not None:
                await batch.taken.wait()
        return 200, b""

    async def _send(self, batch: Batch) -> None:
        try:
            # Without a turn of the event loop, which `send` takes even where there is room.
            self._stream.send_nowait(batch)
        except anyio.WouldBlock:
            await self._stream.send(batch)

    def count(self, batch: Batch) -> None:
        """Count a batch that has been taken in, and follow which invocations are under way."""
        counters = self.counters
        counters.received_batches += 1
        counters.received_events += len(batch.events)
        counters.received_bytes += batch.size
        dropped = 0
        for event in [event for event in batch.events if type(event) in _OF_INTEREST]:
            dropped += self._note(event)
        if dropped and not self._dropping:
            logger.warning("Lambda dropped %d telemetry events: they are taken too slowly", dropped)
        self._dropping = bool(dropped)

    def _note(self, event: TelemetryEvent) -> int:
        if isinstance(event, PlatformLogsDropped):
            self.counters.dropped_events += event.record.dropped_records
            self.counters.dropped_bytes += event.record.dropped_bytes
            return event.record.dropped_records
        if isinstance(event, PlatformStart):
            if len(self.open_requests) >= _MOST_OPEN:
                del self.open_requests[next(iter(self.open_requests))]
            self.open_requests[event.record.request_id] = None
        elif isinstance(event, PlatformReport):
            self.open_requests.pop(event.record.request_id, None)
        else:
            self.counters.unknown_events += 1
        return 0


def _count_events(text: bytes) -> int:
    from lambda_extension.telemetry._splitting import count_events  # for a body that is refused, as hashlib above

    return count_events(text)


async def _answer(send: Send, status: int, text: bytes) -> None:
    headers = [(b"content-length", str(len(text)).encode())]
    if text:
        headers.append((b"content-type", b"text/plain; charset=utf-8"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
