"""How batches leave: one at a time, in order, tried again as the sink wants it, and not at all while it is down."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import NamedTuple, final

import anyio
import anyio.lowlevel
import attrs

from lambda_extension._threads import in_daemon_thread
from lambda_extension.delivery._accounts import Accounts, Complaints
from lambda_extension.delivery._backlog import WORTH_A_THREAD, Backlog, halves
from lambda_extension.delivery._batches import Batch
from lambda_extension.delivery._breaker import CircuitBreaker
from lambda_extension.delivery._encoders import Encoder, compress
from lambda_extension.delivery._retry import Retry, retry_after, retrying
from lambda_extension.delivery._sinks import Limits, Payload, Sink, SinkError
from lambda_extension.delivery._spill import CorruptRecordError


class Sending(NamedTuple):
    """How to send.

    Attributes:
        sink: Where to.
        encoder: The format.
        retry: How often a payload is sent again within one flush.
        max_bytes: Bytes of a body before compression; None does not limit.
        timeout: Seconds that one send, or opening the sink, may take.
        wall_clock: Gives epoch seconds.
    """

    sink: Sink
    encoder: Encoder
    retry: Retry
    max_bytes: int | None
    timeout: float
    wall_clock: Callable[[], float]


@final
class Sender:
    """Sends what is in a backlog.

    Args:
        settings: How.
        backlog: What is to be sent.
        breaker: Says whether the sink is to be left alone.
        accounts: Counts what happens.
        complaints: Says what is wrong with the sink.
    """

    def __init__(
        self,
        settings: Sending,
        backlog: Backlog,
        breaker: CircuitBreaker,
        accounts: Accounts,
        complaints: Complaints,
    ) -> None:
        self._settings = settings
        self._backlog = backlog
        self._breaker = breaker
        self._accounts = accounts
        self._complaints = complaints
        self._opened = False
        self._opening = anyio.Lock()
        self._sending = anyio.Lock()

    async def flush(self) -> None:
        """Send everything that is in the backlog now, or as much as the sink takes."""
        self._backlog.seal()
        last = self._backlog.last
        if not self._backlog:
            return
        started, cut = anyio.current_time(), True
        try:
            async with self._sending:
                if await self.open():
                    while not self._breaker.is_open:
                        batch = await self._backlog.lease(last)
                        if batch is None or not await self._send(batch, self._settings.retry):
                            break
            cut = False
        finally:
            self._accounts.count_flush(anyio.current_time() - started, cut=cut)

    async def probe(self) -> None:
        """Send one batch to a sink that was left alone, and if it is taken, all."""
        async with self._sending:
            if not self._breaker.is_open:
                return
            self._backlog.seal()
            batch = await self._backlog.lease(math.inf) if await self.open() else None
            if batch is not None:
                # Two, since a stale connection is not the sink's fault.
                await self._send(batch, attrs.evolve(self._settings.retry, attempts=2), probe=True)
        if not self._breaker.is_open:
            await self.flush()

    async def open(self) -> bool:
        """Open the sink, unless that has been done; False when it cannot be, which counts as a send that failed."""
        ended = False
        try:
            async with self._opening:
                if not self._opened:
                    await self._open_sink()
                    self._opened = True
            ended = True
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, the function lives on
            ended = True
            self._accounts.failures += 1
            self._breaker.failed()
            self._complaints.say("sink", "the sink cannot be opened (%s); what is for it is kept", self._reason(error))
        finally:
            if not ended:
                self._breaker.failed()  # to whoever waits, being cut off is as bad
        return self._opened

    async def _open_sink(self) -> None:
        with anyio.fail_after(self._settings.timeout):
            # Imported here, beside the function's work, and not before register.
            await in_daemon_thread(importlib.import_module, "tenacity")
            open_sink = getattr(self._settings.sink, "open", None)
            if open_sink is not None:
                await open_sink()

    async def close(self) -> None:
        """Close the sink, if it has an `aclose`; whatever that raises is said and forgotten."""
        close_sink = getattr(self._settings.sink, "aclose", None)
        if close_sink is not None:
            try:
                await close_sink()
            except Exception:  # noqa: BLE001 - as above
                self._complaints.say("close", "the sink cannot be closed")

    async def _send(self, batch: Batch, retry: Retry, *, probe: bool = False) -> bool:
        """Send one leased batch; False when it was not taken, so that the next would not be either."""
        shipment = _Shipment(batch)
        try:
            try:
                await self._attempts(shipment, retry, probe=probe)
            except CorruptRecordError:
                self._complaints.say("corrupt", "a batch in the spill store cannot be read, and is dropped")
                await self._backlog.drop("corrupt", shipment.batch)
                return True
            except Exception as error:  # noqa: BLE001 - whatever a sink raises, the batch is accounted for
                return await self._failed(shipment.batch, error, probe=probe)
            self._breaker.succeeded()
            self._complaints.over("sink")
        finally:
            self._backlog.release(shipment.batch)
            if shipment.batch.pieces is None:
                shipment.batch.payload = None  # on disk, since there was no room in memory
        return True

    async def _attempts(self, shipment: _Shipment, retry: Retry, *, probe: bool) -> None:
        def count_retry() -> None:
            self._accounts.retries += 1

        async def attempt() -> None:
            payload = await self._payload(shipment.batch)
            try:
                await self._attempt(payload, probe=probe)
            except SinkError as error:
                if not error.is_partial or not await self._settle(shipment, payload, error):
                    raise
            else:
                await self._backlog.delivered(shipment.batch, len(payload.body))

        give_up = (lambda: False) if probe else (lambda: self._breaker.is_open)
        await retrying(retry, give_up=give_up, before_retry=count_retry)(attempt)

    async def _attempt(self, payload: Payload, *, probe: bool) -> None:
        began = self._settings.wall_clock()
        ended = False
        try:
            try:
                with anyio.fail_after(self._settings.timeout):
                    await self._settings.sink.send(payload)
            except Exception as error:
                ended = True
                if self._settings.wall_clock() - began > 2 * self._settings.timeout:
                    msg = "frozen while a payload was under way"
                    raise ConnectionResetError(msg) from error
                self._accounts.failures += 1
                if not probe and not _is_about_payload(error):
                    self._breaker.failed()
                raise
            ended = True
        finally:
            if not ended:
                # Cut off at a limit: to whoever waits, that is as bad as a failure.
                self._breaker.failed()

    async def _settle(self, shipment: _Shipment, payload: Payload, error: SinkError) -> bool:
        """Account for the part of a payload that is settled; the rest is what is sent next. False if there is one."""
        places = range(payload.items)
        rejected = {place for place in error.rejected if place in places}
        refused = sorted({place for place in error.refused if place in places} - rejected)
        if len(refused) == payload.items:
            return False
        parts = await self._backlog.split(
            shipment.batch,
            [[payload.pieces[place] for place in refused]] if refused else [],
            delivered=payload.items - len(refused) - len(rejected),
            rejected=len(rejected),
        )
        if rejected:
            said = "the sink rejected %d events, which are dropped (%s)"
            self._complaints.say("rejected", said, len(rejected), self._reason(error))
        if parts:
            (shipment.batch,) = parts
        return not parts

    async def _failed(self, batch: Batch, error: Exception, *, probe: bool) -> bool:
        if isinstance(error, SinkError) and error.too_large and batch.items > 1:
            for part in await self._backlog.split(batch, halves(await self._backlog.load(batch))):
                self._backlog.release(part)
            return True
        if _is_about_payload(error):
            too_large = isinstance(error, SinkError) and error.too_large
            said = "the sink rejected %d events, which are dropped (%s)"
            self._complaints.say("rejected", said, batch.items, self._reason(error))
            self._breaker.succeeded()
            await self._backlog.drop("too_large" if too_large else "rejected", batch)
            return True
        if probe:
            self._breaker.failed()
        asked = retry_after(error)
        if asked is not None:
            self._breaker.hold_off(asked)
        self._complaints.say("sink", "the sink does not take payloads (%s); they are kept", self._reason(error))
        return False

    def _reason(self, error: Exception) -> str:
        """Say what happened, in words of ours: any other error's text may hold what nobody should read in a log."""
        place = getattr(self._settings.sink, "place", None)
        if isinstance(error, SinkError) or place is None:
            return str(error) if isinstance(error, SinkError) else type(error).__name__
        return f"{type(error).__name__}, {place}"

    async def _payload(self, batch: Batch) -> Payload:
        """Encode a leased batch, once.

        Raises:
            SinkError: It is longer than the sink takes.
            CorruptRecordError: It is on disk, and cannot be read.
        """
        if batch.payload is None:
            pieces = await self._backlog.load(batch)
            encoder, max_bytes = self._settings.encoder, self._settings.max_bytes
            if batch.size < WORTH_A_THREAD and sum(map(len, pieces)) < WORTH_A_THREAD:
                body = _body(encoder, pieces, max_bytes)
            else:
                # Nobody waits for that thread when the time is over: the events themselves are still here.
                body = await in_daemon_thread(_body, encoder, pieces, max_bytes)
            batch.payload = Payload(
                id=batch.id,
                body=body,
                items=batch.items,
                content_type=encoder.content_type,
                content_encoding=encoder.compression,
                pieces=tuple(pieces),
            )
        return batch.payload


@final
class _Shipment:
    """What is being sent: a leased batch, or what is left of it once a part was taken."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


def _body(encoder: Encoder, pieces: list[bytes], max_bytes: int | None) -> bytes:
    body = encoder.join(pieces)
    if max_bytes is not None and len(body) > max_bytes:
        msg = f"a payload of {len(body)} bytes is longer than the {max_bytes} that one may have"
        raise SinkError(msg, too_large=True)
    return compress(body, encoder.compression)


def _is_about_payload(error: Exception) -> bool:
    return isinstance(error, SinkError) and (error.too_large or not error.keep)


def limits_of(sink: Sink, encoder: Encoder) -> Limits:
    """Give the limits of a backend: those of the sink and of the format, whichever are stricter."""
    both = [limits for limits in (getattr(sink, "limits", None), getattr(encoder, "limits", None)) if limits]
    return Limits(
        items=_least(*(limits.items for limits in both)),
        bytes=_least(*(limits.bytes for limits in both)),
        event_bytes=_least(*(limits.event_bytes for limits in both)),
    )


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
