"""`Delivery`: a telemetry processor that gathers, sends, tries again, and stores what cannot leave."""

from __future__ import annotations

import bisect
import functools
import importlib
import importlib.util
import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, final

import anyio
import anyio.lowlevel
import anyio.to_thread
import attrs

from lambda_extension._api._enums import ShutdownReason
from lambda_extension._api._models import Registration
from lambda_extension.delivery._accounts import Accounts, DeliveryStatistics
from lambda_extension.delivery._breaker import Breaker, CircuitBreaker
from lambda_extension.delivery._buffer import Batching, Buffer, Chunk
from lambda_extension.delivery._encoders import Encoder, JSONArray, compress
from lambda_extension.delivery._retry import Retry, retry_after, retrying
from lambda_extension.delivery._sinks import Payload, Sink, SinkError
from lambda_extension.delivery._spill import CorruptRecordError, Record, Spill, SpillStore

T = TypeVar("T")

logger = logging.getLogger("lambda_extension.delivery")

# What is shorter is compressed on the spot: a thread would cost more.
_WORTH_A_THREAD = 64 * 1024
# How much before the end of a shutdown sending stops, so that the rest can be written to files.
_SPILL_TIME = 0.3
# How long a shutdown without a deadline may send.
_LONGEST_SHUTDOWN = 2.0
# How long noting an acknowledgement on disk may hold up a cancellation.
_NOTING = 0.5


@final
class Delivery:
    """Delivers telemetry to a sink: for `run_telemetry`, or by hand with `init`, `process`, `flush`, `shutdown`.

    Batches leave in the order of their events, one at a time, each acknowledged before it is forgotten. What does not
    leave stays in memory; beyond `max_buffered_bytes`, and at a shutdown, it goes to the spill store, from which it
    leaves first once the sink takes payloads again. A sink that keeps failing is left alone: `flush` then returns at
    once, and one payload per cool-down is tried in the background. No method raises because of the sink.

    Args:
        sink: Where to.
        encoder: The format; by default the sink's own `encoder`, or else a JSON array.
        batching: How events are gathered.
        retry: How often a payload is sent again within one flush.
        breaker: When a failing sink is left alone.
        spill: Where to store what cannot leave; None keeps nothing beyond memory.
        max_buffered_bytes: Encoded bytes that may wait in memory. Exceeded by one batch of the platform at most.
        send_timeout: Seconds that one send may take.
        wall_clock: Gives epoch seconds; only a test has reason to pass another.

    Raises:
        ModuleNotFoundError: tenacity, or zstandard where it is asked for, is not installed.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        encoder: Encoder | None = None,
        batching: Batching | None = None,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
        spill: Spill | None = Spill(),  # noqa: B008 - frozen
        max_buffered_bytes: int = 8 * 1024 * 1024,
        send_timeout: float = 10.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._sink = sink
        self._encoder: Encoder = encoder or getattr(sink, "encoder", None) or JSONArray()
        self._retry = retry or Retry()
        self._breaker = CircuitBreaker(breaker or Breaker(), wall_clock)
        self._spill = spill
        self._max_buffered_bytes = max_buffered_bytes
        self._send_timeout = send_timeout
        self._wall_clock = wall_clock
        self._buffer = Buffer(batching or Batching())
        self._store: SpillStore | None = None
        self._spilled: list[Record] = []
        self._accounts = Accounts()
        self._complained: set[str] = set()
        self._in_background = False
        self._probe_wanted = anyio.Event()
        self._sending = anyio.Lock()
        self._storing = anyio.Lock()
        self._one_thread = anyio.CapacityLimiter(1)
        # A missing package should be found out now, not at the first payload.
        if importlib.util.find_spec("tenacity") is None:
            msg = "delivery needs tenacity: pip install 'lambda-extension[delivery]'"
            raise ModuleNotFoundError(msg, name="tenacity")
        compress(b"", self._encoder.compression)

    def statistics(self) -> DeliveryStatistics:
        """Count what has become of every event so far; as text, it is the line that `shutdown` logs."""
        return self._accounts.snapshot(buffered=self._buffer.items)

    async def init(self, registration: Registration) -> None:
        """Open the sink, and the spill store with what an earlier process left in it.

        Blocks on the file system, in a worker thread. A store that cannot be opened costs a warning, nothing else.
        """
        # tenacity is imported here, while the runtime boots, and not before register.
        await self._in_thread(importlib.import_module, "tenacity")
        if self._spill is not None:
            await self._open_store(self._spill, registration.extension_name)
        open_sink = getattr(self._sink, "open", None)
        if open_sink is not None:
            await open_sink()

    async def process(self, events: Iterable[Any]) -> None:
        """Take in events. Blocks only while memory is full and batches are written to the spill store.

        A cancelled call has taken all of the events.
        """
        now = self._wall_clock()
        for event in events:
            self._take(event, now)
        while self._buffer.size > self._max_buffered_bytes and await self._spill_oldest():
            pass
        await anyio.lowlevel.checkpoint()

    async def flush(self) -> None:
        """Send everything that has been taken in before this call, or as much as the sink takes.

        Returns early when the sink fails, and at once while it is left alone. A cancelled call loses nothing: the
        payload under way is sent again later, with the same id.
        """
        if not self._breaker.is_open:
            await self._flush()
        elif self._in_background:
            if self._breaker.is_due:
                self._probe_wanted.set()
        elif self._breaker.is_due:
            await self._probe()
        await anyio.lowlevel.checkpoint()

    async def background(self) -> None:
        """Try a sink that was left alone, whenever `flush` finds the cool-down over; never returns."""
        self._in_background = True
        try:
            while True:
                await self._probe_wanted.wait()
                self._probe_wanted = anyio.Event()
                await self._probe()
        finally:
            self._in_background = False

    def record_overhead(self, seconds: float) -> None:
        """Count an invocation that was held for so long beyond its function's end."""
        self._accounts.held(seconds)

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:  # noqa: ARG002
        """Send what is left, even to a sink that was left alone; store the rest; log one line of figures.

        Sending ends 0.3 seconds before the deadline of the surrounding scope, and after 2 seconds at most.
        """
        now = anyio.current_time()
        deadline = min(anyio.current_effective_deadline() - _SPILL_TIME, now + _LONGEST_SHUTDOWN)
        with anyio.CancelScope(deadline=deadline):
            await (self._probe() if self._breaker.is_open else self._flush())
        while self._store is not None and await self._spill_oldest():
            pass
        figures = self.statistics()
        lost = figures.buffered + figures.dropped
        logger.log(
            logging.WARNING if lost or figures.spilled else logging.INFO, "delivery until %s: %s", reason, figures
        )
        await anyio.lowlevel.checkpoint()

    # Taking in

    def _take(self, event: Any, now: float) -> None:
        try:
            piece = self._encoder.encode_event(event)
        except Exception:  # noqa: BLE001 - one event must not cost the others
            self._complain("unencodable", "an event cannot be encoded, and is dropped")
            self._drop("unencodable", 1)
        else:
            if piece:
                self._buffer.add(piece, now)
            else:
                self._drop("left_out", 1)
        self._accounts.received += 1

    def _drop(self, reason: str, items: int) -> None:
        self._accounts.drops[reason] += items

    def _complain(self, about: str, message: str, *args: object) -> None:
        """Log once per kind of trouble, with the error at hand: an outage must not fill the log."""
        if about not in self._complained:
            self._complained.add(about)
            logger.warning(message, *args, exc_info=True)  # noqa: LOG014 - called by handlers

    # The spill store

    async def _open_store(self, spill: Spill, name: str) -> None:
        directory = Path(spill.directory or Path(tempfile.gettempdir()) / f"lambda-extension-{name}")
        store = SpillStore(directory, max_bytes=spill.max_bytes, segment_bytes=spill.segment_bytes)
        try:
            found = await self._in_thread(store.open)
        except OSError:
            self._complain("store", "the spill store %s cannot be used", directory)
            return
        self._store = store
        self._spilled = sorted(found, key=_sequence)
        if found:
            self._buffer.sequence = max(self._buffer.sequence, self._spilled[-1].sequence)
        items = sum(record.items for record in found)
        accounts = self._accounts
        accounts.recovered += items
        accounts.received += items
        accounts.spilled += items
        accounts.torn_records += store.torn
        if found or store.torn:
            logger.info("found %d events of an earlier process, and %d torn records", items, store.torn)

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        return await anyio.to_thread.run_sync(functools.partial(function, *args), limiter=self._one_thread)

    async def _spill_oldest(self) -> bool:
        """Move the oldest batch that is not being sent out of memory; False when there is none."""
        async with self._storing:
            chunk = self._buffer.oldest()
            if chunk is None:
                return False
            if self._store is None:
                self._drop_chunk("memory", chunk)
                return True
            chunk.leased = True
            try:
                payload = await self._encode(chunk)
                outcome = await self._in_thread(self._store.append, payload, chunk.sequence)
            finally:
                chunk.leased = False
            for record in outcome.deleted:
                self._forget("spill_full", record)
            if outcome.record is not None:
                self._buffer.remove(chunk)
                bisect.insort(self._spilled, outcome.record, key=_sequence)
                self._accounts.spilled += chunk.items
                self._accounts.spilled_in_all += chunk.items
            elif outcome.failure is None:
                self._drop_chunk("spill_full", chunk)
            else:
                self._drop_chunk("spill_failed", chunk)
                logger.warning("the spill store cannot be written to: %s", outcome.failure)
            return True

    def _drop_chunk(self, reason: str, chunk: Chunk) -> None:
        self._buffer.remove(chunk)
        self._drop(reason, chunk.items)

    def _forget(self, reason: str, record: Record) -> None:
        """Take a record out of the accounts, unless that has happened already."""
        if record in self._spilled:
            self._spilled.remove(record)
            self._accounts.spilled -= record.items
            self._drop(reason, record.items)

    # Sending

    async def _flush(self) -> None:
        self._buffer.seal()
        last = self._buffer.sequence
        if not self._spilled and not self._buffer.items:
            return
        started, cut = anyio.current_time(), True
        try:
            async with self._sending:
                while not self._breaker.is_open:
                    batch = await self._next(last)
                    if batch is None or not await self._send(batch, self._retry):
                        break
            cut = False
        finally:
            self._accounts.flushed(anyio.current_time() - started, cut=cut)

    async def _probe(self) -> None:
        """Send one batch to a sink that was left alone, and if it is taken, all."""
        async with self._sending:
            if not self._breaker.is_open:
                return
            self._buffer.seal()
            batch = await self._next(math.inf)
            if batch is not None:
                # Two, since a stale connection is not the sink's fault.
                await self._send(batch, attrs.evolve(self._retry, attempts=2), probe=True)
        if not self._breaker.is_open:
            await self._flush()

    async def _next(self, last: float) -> Chunk | Record | None:
        """Give the oldest batch, wherever it is, once nobody moves it; None when there is none up to `last`."""
        async with self._storing:
            batches = [batch for batch in (self._buffer.oldest(), *self._spilled[:1]) if batch is not None]
            batch = min(batches, key=_sequence, default=None)
            if batch is None or batch.sequence > last:
                return None
            batch.leased = True
            return batch

    async def _send(self, batch: Chunk | Record, retry: Retry, *, probe: bool = False) -> bool:
        """Send one leased batch; False when it was not taken, so that the next would not be either."""
        try:
            try:
                payload = await self._payload(batch)
            except CorruptRecordError:
                assert isinstance(batch, Record)
                self._complain("corrupt", "a batch in the spill store cannot be read, and is dropped")
                self._forget("corrupt", batch)
                await self._note_done(batch)
                return True
            try:
                await self._attempts(payload, retry, probe=probe)
            except Exception as error:  # noqa: BLE001 - whatever a sink raises, the batch is accounted for
                return await self._failed(batch, error, probe=probe)
            self._breaker.succeeded()
            self._complained.discard("sink")
            self._delivered(batch, payload)
        finally:
            batch.leased = False
        if isinstance(batch, Record):
            await self._note_done(batch)
        return True

    async def _attempts(self, payload: Payload, retry: Retry, *, probe: bool) -> None:
        async def attempt() -> None:
            began = self._wall_clock()
            ended = False
            try:
                try:
                    with anyio.fail_after(self._send_timeout):
                        await self._sink.send(payload)
                except Exception as error:
                    ended = True
                    if self._wall_clock() - began > 2 * self._send_timeout:
                        msg = "frozen while a payload was under way"
                        raise ConnectionResetError(msg) from error
                    self._count_failure(error, probe=probe)
                    raise
                ended = True
            finally:
                if not ended:
                    # Cut off at a limit: to whoever waits, that is as bad as a failure.
                    self._breaker.failed()

        def count_retry() -> None:
            self._accounts.retries += 1

        give_up = (lambda: False) if probe else (lambda: self._breaker.is_open)
        await retrying(retry, give_up=give_up, before_retry=count_retry)(attempt)

    def _count_failure(self, error: Exception, *, probe: bool) -> None:
        self._accounts.failures += 1
        if not probe and not _is_about_payload(error):
            self._breaker.failed()

    async def _failed(self, batch: Chunk | Record, error: Exception, *, probe: bool) -> bool:
        if _is_about_payload(error):
            self._complain("rejected", "the sink rejected %d events, which are dropped", batch.items)
            self._breaker.succeeded()
            if isinstance(batch, Chunk):
                self._drop_chunk("rejected", batch)
            else:
                self._forget("rejected", batch)
                await self._note_done(batch)
            return True
        if probe:
            self._breaker.failed()
        asked = retry_after(error)
        if asked is not None:
            self._breaker.hold_off(asked)
        self._complain("sink", "the sink does not take payloads; they are kept")
        return False

    def _delivered(self, batch: Chunk | Record, payload: Payload) -> None:
        accounts = self._accounts
        if isinstance(batch, Chunk):
            self._buffer.remove(batch)
        else:
            self._spilled.remove(batch)
            accounts.spilled -= batch.items
        accounts.delivered += batch.items
        accounts.batches += 1
        accounts.bytes += len(payload.body)

    async def _note_done(self, record: Record) -> None:
        """Take a batch off the disk; not to be cancelled, lest a later process send it a second time."""
        assert self._store is not None
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + _NOTING):
            try:
                await self._in_thread(self._store.remove, record)
            except OSError:
                self._complain("remove", "a batch that was delivered cannot be taken off the spill store")

    # Encoding

    async def _payload(self, batch: Chunk | Record) -> Payload:
        if isinstance(batch, Chunk):
            return await self._encode(batch)
        assert self._store is not None
        return await self._in_thread(self._store.load, batch)

    async def _encode(self, chunk: Chunk) -> Payload:
        encoder = self._encoder
        body = encoder.join(chunk.pieces)
        if encoder.compression is not None:
            if len(body) < _WORTH_A_THREAD:
                body = compress(body, encoder.compression)
            else:
                body = await anyio.to_thread.run_sync(compress, body, encoder.compression)
        return Payload(
            id=chunk.id,
            body=body,
            items=chunk.items,
            content_type=encoder.content_type,
            content_encoding=encoder.compression,
        )


def _sequence(batch: Chunk | Record) -> int:
    return batch.sequence


def _is_about_payload(error: Exception) -> bool:
    return isinstance(error, SinkError) and not error.keep
