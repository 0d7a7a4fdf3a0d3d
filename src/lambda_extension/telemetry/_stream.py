"""The receiving end: whole batches cross the task boundary, events are iterated within a batch without scheduling."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Self, final

import anyio
import anyio.lowlevel
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream

from lambda_extension._validators import text_or_none, whole
from lambda_extension.serving._asgi import ServerName
from lambda_extension.telemetry._events import TelemetryEvent

if TYPE_CHECKING:
    from lambda_extension._session._session import ExtensionSession
    from lambda_extension.telemetry._statistics import Statistics


@attrs.frozen(kw_only=True)
class ReceiverSettings:
    """How telemetry is received.

    Attributes:
        host: Address to listen on; None takes the one that `sandbox.localdomain` resolves to, or loopback where that
            name is unknown.
        port: Port to listen on; 0 lets the kernel choose.
        max_buffered_batches: Batches that wait for the consumer. When they are that many, requests go unanswered
            until one is taken: Lambda then keeps one batch in flight, buffers, and in the end drops and reports.
        max_body_bytes: Longest request body; a longer one is answered 413. AWS says to allow for twice `max_bytes`.
        server: Who serves it: `hypercorn`, or `direct`, which is faster and smaller and needs the extra `direct`.
    """

    host: str | None = attrs.field(default=None, validator=text_or_none)
    port: int = attrs.field(default=0, validator=whole(0, 65_535))
    max_buffered_batches: int = attrs.field(default=7, validator=whole(1))
    max_body_bytes: int = attrs.field(default=8 * 1024 * 1024, validator=whole(1))
    server: ServerName = attrs.field(default="hypercorn", validator=attrs.validators.in_(("hypercorn", "direct")))


@attrs.frozen(kw_only=True)
class Batch:
    """The events of one request of the platform.

    Attributes:
        events: The events, in the platform's order.
        sequence_id: The request's `Sequence-Id` header, as it came; None when there was none.
        size: Bytes of the body that they came in.
        taken: Set by who has taken the events in, where the platform is answered only then; else None.
    """

    events: list[TelemetryEvent]
    sequence_id: str | None = None
    size: int = 0
    taken: anyio.Event | None = attrs.field(default=None, eq=False, repr=False)

    def __iter__(self) -> Iterator[TelemetryEvent]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)


_NO_BATCH = Batch(events=[])


@final
class Counters:
    """What the receiver counts. `Statistics` says what each is; that is made once somebody asks, which few do."""

    def __init__(self) -> None:
        self.received_batches: int = 0
        self.received_events: int = 0
        self.received_bytes: int = 0
        self.unknown_events: int = 0
        self.repeated_batches: int = 0
        self.refused_bodies: int = 0
        self.refused_events: int = 0
        self.rejected_batches: int = 0
        self.dropped_events: int = 0
        self.dropped_bytes: int = 0


@final
class TelemetryStream:
    """Telemetry as an async iterator of events; `batches()` gives whole batches.

    It ends once the environment shuts down and what was received has been taken. One task reads it at a time, by event
    or by batch, and may change between the two: nothing is skipped.
    """

    def __init__(
        self,
        receive: MemoryObjectReceiveStream[Batch],
        counters: Counters,
        *,
        before_read: Callable[[], None],
        failure: Callable[[], Exception | None],
        session: ExtensionSession | None = None,
    ) -> None:
        self._receive = receive
        self._counters = counters
        self._before_read = before_read
        self._failure = failure
        self._session = session
        self._batch = _NO_BATCH
        self._rest: Iterator[TelemetryEvent] = iter(())
        self._received = 0
        self._guard = anyio.ResourceGuard("reading telemetry")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TelemetryEvent:
        """Give the next event: at once from the current batch, else a checkpoint that waits for the next batch.

        A cancelled call takes nothing.

        Raises:
            anyio.BusyResourceError: Another task is reading.
            LambdaExtensionError: The session failed, for example since the platform did.
        """
        # The hot path: what is left of the batch is in the iterator alone, so that an event costs no bookkeeping.
        for event in self._rest:
            return event
        while True:
            # Let go of the events before the next are decoded: memory, and the processor's caches, are used again.
            self._batch = _NO_BATCH
            self._batch = await self._next_batch()
            self._received += len(self._batch.events)
            self._rest = iter(self._batch.events)
            for event in self._rest:
                return event

    @property
    def session(self) -> ExtensionSession:
        """The session that this is the telemetry of: its registration, its environment, why it shuts down.

        Raises:
            RuntimeError: The stream does not belong to one.
        """
        if self._session is None:  # pragma: no cover - only sessions make streams
            msg = "this stream was not opened by a session"
            raise RuntimeError(msg)
        return self._session

    @property
    def has_event(self) -> bool:
        """Whether the current batch has an event left, so that the next read will not wait."""
        return self._left > 0

    @property
    def _left(self) -> int:
        return operator.length_hint(self._rest)

    def batches(self) -> AsyncIterator[Batch]:
        """Iterate by batch; what is left of a batch that was read by event comes first. Errors as by event."""
        return _Batches(self._take_batch)

    def statistics(self) -> Statistics:
        """Count what has been received, delivered, refused and dropped so far."""
        from lambda_extension.telemetry._statistics import Statistics  # which few ask for

        delivered = self._received - self._left
        return Statistics(**vars(self._counters), delivered_events=delivered, buffered_events=self.buffered)

    @property
    def buffered(self) -> int:
        """Events taken in that wait for the consumer now."""
        return self._counters.received_events - self._received + self._left

    @property
    def rejected(self) -> int:
        """Batches answered 503, unacknowledged, since the stream had closed."""
        return self._counters.rejected_batches

    async def _take_batch(self) -> Batch:
        """Take the rest of the current batch, or the next one."""
        if self._left:
            await anyio.lowlevel.checkpoint()
        left = self._left
        if not left:
            self._batch = _NO_BATCH
            batch = await self._next_batch()
            self._received += len(batch.events)
            return batch
        batch, taken = self._batch, len(self._batch.events) - left
        self._rest = iter(())
        return attrs.evolve(batch, events=batch.events[taken:]) if taken else batch

    async def _next_batch(self) -> Batch:
        self._before_read()
        with self._guard:
            try:
                return await self._receive.receive()
            except anyio.EndOfStream:
                failure = self._failure()
                if failure is not None:
                    raise failure from None
                raise StopAsyncIteration from None


@final
class _Batches(AsyncIterator[Batch]):
    """The stream seen by batch. A class: an abandoned async generator would be finalised at some later time."""

    def __init__(self, take: Callable[[], Awaitable[Batch]]) -> None:
        self._take = take

    async def __anext__(self) -> Batch:
        return await self._take()
