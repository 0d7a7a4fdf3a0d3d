"""`Delivery`: a telemetry processor that gathers, sends, tries again, and stores what cannot leave."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import re
import sys
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, final

import anyio
import anyio.lowlevel

from lambda_extension._api._enums import ShutdownReason
from lambda_extension._api._models import Registration
from lambda_extension._budget import DELIVERY_END, NOTING_LIMIT, SHUTDOWN_BUDGET, shielded, wall_clock
from lambda_extension._validators import check_type
from lambda_extension.delivery._accounts import Accounts, Complaints, logger
from lambda_extension.delivery._backlog import Backlog
from lambda_extension.delivery._batches import Batching
from lambda_extension.delivery._breaker import Breaker, CircuitBreaker
from lambda_extension.delivery._encoders import Encoder, JSONArray, compress
from lambda_extension.delivery._intake import Intake
from lambda_extension.delivery._retry import Retry
from lambda_extension.delivery._sending import Sender, Sending, limits_of
from lambda_extension.delivery._sinks import Sink
from lambda_extension.delivery._spill import Spill

if TYPE_CHECKING:
    from lambda_extension.delivery._statistics import DeliveryStatistics
    from lambda_extension.records import LineSettings, Sample, Transform

# Which delivery has which spill directory; those of default directories by name.
_directories: weakref.WeakValueDictionary[str, Delivery] = weakref.WeakValueDictionary()


@final
class Delivery:
    """Delivers telemetry to a sink: for `run_telemetry`, or by hand with `init`, `process`, `flush`, `shutdown`.

    Batches leave in the order of their events, one at a time, each acknowledged before it is forgotten. What does not
    leave stays in memory; beyond `max_buffered_bytes`, and at a shutdown, it goes to the spill store, from which it
    leaves first once the sink takes payloads again. A sink that keeps failing is left alone: `flush` then returns at
    once, and one payload per cool-down is tried in the background. No method raises because of the sink, and none
    waits for it but `flush` and `shutdown`.

    Several stand side by side, `run_telemetry([Delivery(...), Delivery(...)])`: each has a name, transforms, limits,
    and a spill directory of its own.

    Args:
        sink: Where to.
        name: For the log and the spill directory; of several deliveries, at most one needs none.
        transforms: What the records made of the events go through, see `lambda_extension.records`; with an empty list
            they are sent as they are. None sends the platform's events, unless the encoder wants records.
        lines: How lines are made into records, where they are: JSON in text, messages of several lines.
        encoder: The format; by default the sink's own `encoder`, or else a JSON array.
        batching: How events are gathered, within the `limits` that the sink and the encoder may have.
        retry: How often a payload is sent again within one flush.
        breaker: When a failing sink is left alone.
        spill: Where to store what cannot leave; None keeps nothing beyond memory.
        max_buffered_bytes: Encoded bytes that may wait in memory. Exceeded by one batch of the platform at most.
        send_timeout: Seconds that one send may take, or opening the sink.

    Attributes:
        durable: Whether what was taken in, and is not held back, is on disk when `process` returns; the platform is
            answered after that.

    Raises:
        TypeError: An argument is of another type.
        ModuleNotFoundError: tenacity, or zstandard where it is asked for, is not installed.
        ValueError: Another delivery has the same spill directory, or the name is not made of letters, digits, dots,
            hyphens and underscores.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        name: str | None = None,
        transforms: Iterable[Transform | Sample] | None = None,
        lines: LineSettings | None = None,
        encoder: Encoder | None = None,
        batching: Batching | None = None,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
        spill: Spill | None = Spill(),  # noqa: B008 - frozen
        max_buffered_bytes: int = 8 * 1024 * 1024,
        send_timeout: float = 10.0,
    ) -> None:
        _check_sink(sink, name)
        check_type("batching", batching, Batching | None, "a Batching or None")
        check_type("retry", retry, Retry | None, "a Retry or None")
        check_type("breaker", breaker, Breaker | None, "a Breaker or None")
        check_type("spill", spill, Spill | None, "a Spill or None")
        check_type("max_buffered_bytes", max_buffered_bytes, int, "a number of bytes")
        check_type("send_timeout", send_timeout, int | float, "a number of seconds")
        self.name = name
        self._label = "delivery" if name is None else f"delivery {name}"
        own: Encoder | None = getattr(sink, "encoder", None)
        encoder = encoder or own or JSONArray()
        _find_tenacity()
        compress(b"", encoder.compression)
        limits = limits_of(sink, encoder)
        self._spill = spill
        self.durable: bool = spill is not None and spill.durable
        self._max_buffered_bytes = max_buffered_bytes
        self._wall_clock = wall_clock.get()
        self._accounts = accounts = Accounts()
        complaints = Complaints(self._label)
        batching = (batching or Batching()).within(limits)
        self._backlog = Backlog(batching, encoder.content_type, accounts, complaints)
        self._intake = Intake(
            encoder,
            transforms,
            limits.event_bytes,
            lines,
            backlog=self._backlog,
            accounts=accounts,
            complaints=complaints,
        )
        sending = Sending(
            sink=sink,
            encoder=encoder,
            retry=retry or Retry(),
            max_bytes=limits.bytes,
            timeout=send_timeout,
            wall_clock=self._wall_clock,
        )
        self._breaker = CircuitBreaker(breaker or Breaker(), self._wall_clock)
        self._sender = Sender(sending, self._backlog, self._breaker, accounts, complaints)
        self._in_background = False
        self._work_wanted = anyio.Event()
        # The last thing, since whoever holds a directory has to be whole.
        self._directory = None if spill is None else _claim(self, spill, name)

    def statistics(self) -> DeliveryStatistics:
        """Count what has become of every event so far; as text, it is the line that `shutdown` logs."""
        return self._accounts.statistics(buffered=self._backlog.items)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of what is in memory and in the spill store, as it was encoded."""
        return self._backlog.waiting_bytes

    async def init(self, registration: Registration) -> None:
        """Open the spill store, with what an earlier process left in it. The sink is opened later, beside the function.

        Blocks on the file system, in a worker thread. A store that cannot be opened costs a warning, nothing else.
        """
        self._intake.begin(registration)
        if self._spill is not None:
            suffix = "" if self.name is None else f"-{self.name}"
            await self._backlog.open_store(self._spill, registration.extension_name + suffix)

    async def process(self, events: Iterable[Any]) -> None:
        """Take in events. Blocks only while memory is full and batches are written to the spill store.

        With `Spill(durable=True)` they are on disk when it returns, but for records that are held back. A cancelled
        call has taken all of the events.
        """
        self._intake.take(events, self._wall_clock())
        if self.durable:
            await self._backlog.write_all(latest=True)
        await self._backlog.make_room(self._max_buffered_bytes)
        # Not earlier: what the sink imports would stand in the way of what comes first.
        self._work_wanted.set()
        await anyio.lowlevel.checkpoint()

    async def flush(self) -> None:
        """Send everything that has been taken in before this call, or as much as the sink takes.

        Returns early when the sink fails, and at once while it is left alone. A cancelled call loses nothing: the
        payload under way is sent again later, with the same id.
        """
        self._intake.release(self._wall_clock())
        if not self._breaker.is_open:
            await self._sender.flush()
        elif self._breaker.is_due:
            if self._in_background:
                self._work_wanted.set()
            else:
                await self._sender.probe()
        await anyio.lowlevel.checkpoint()

    async def background(self) -> None:
        """Open the sink once there is something to send, and try it when it has been left alone; never returns."""
        self._in_background = True
        try:
            while True:
                await self._work_wanted.wait()
                self._work_wanted = anyio.Event()
                if not self._breaker.is_open:
                    await self._sender.open()
                elif self._breaker.is_due:
                    await self._sender.probe()
        finally:
            self._in_background = False

    def record_overhead(self, seconds: float) -> None:
        """Count an invocation that was held for so long beyond its function's end."""
        self._accounts.count_hold(seconds)

    def count_left_out(self, filtered: Mapping[str, int], failed: int = 0) -> None:
        """Count events that whoever makes them has left out on their way here, so that the account is whole.

        Args:
            filtered: How many were left out because they were meant to be, by what did it.
            failed: How many were left out because what should have changed them failed.
        """
        self._intake.count_left_out(filtered, failed)

    async def store_what_is_left(self) -> None:
        """Write to the spill store what is in memory alone, before the last flush; it stays in memory, to be sent.

        `run_telemetry` calls it at a shutdown once nothing more comes: whatever the sink does then, and however little
        of a processor there is, nothing is lost when the process is killed. Blocks on the file system.
        """
        self._intake.release(self._wall_clock())
        await self._backlog.write_all(on_the_spot=True)

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:  # noqa: ARG002
        """Store what is left, send it, even to a sink that was left alone, and close the sink; log one line of figures.

        The line is logged whatever was cut off, to `lambda_extension.delivery`, at INFO, or at WARNING when something
        was lost or stored; where logging has not been set up, it goes to standard error.
        """
        try:
            self._intake.close(self._wall_clock())
            # First, since it takes milliseconds and nothing can be lost any more; not even when the time is over.
            with shielded(anyio.current_time() + NOTING_LIMIT):
                await self._backlog.write_all(on_the_spot=True)
            deadline = min(anyio.current_effective_deadline(), anyio.current_time() + SHUTDOWN_BUDGET)
            with anyio.CancelScope(deadline=deadline - DELIVERY_END):
                await (self._sender.probe() if self._breaker.is_open else self._sender.flush())
            self._backlog.leave_to_disk()
            with anyio.CancelScope(deadline=deadline - DELIVERY_END / 2):
                await self._sender.close()
            await anyio.lowlevel.checkpoint()
        finally:
            self._backlog.leave_to_disk()
            self._backlog.close()
            if self._directory is not None:
                _directories.pop(self._directory, None)
            self._log_figures(reason)

    def _log_figures(self, reason: ShutdownReason) -> None:
        figures = self.statistics()
        attention = figures.buffered or figures.dropped or figures.spilled
        level = logging.WARNING if attention else logging.INFO
        logger.log(level, "%s until %s: %s", self._label, reason, figures)
        if level < logging.WARNING and not logger.hasHandlers():
            # Logging's own last resort shows warnings alone, and this is the one line that everybody should see.
            sys.stderr.write(f"{self._label} until {reason}: {figures}\n")


def _find_tenacity() -> None:
    """Find out now, and not at the first payload, that a package is missing."""
    if importlib.util.find_spec("tenacity") is None:
        msg = "delivery needs tenacity: pip install 'lambda-extension[delivery]'"
        raise ModuleNotFoundError(msg, name="tenacity")


def _check_sink(sink: object, name: object) -> None:
    if isinstance(sink, type) or not callable(getattr(sink, "send", None)):
        msg = f"sink must be an object with a method send, such as HTTPSink('https://host/path'), not {sink!r}"
        raise TypeError(msg)
    check_type("name", name, str | None, "a string or None")
    if isinstance(name, str) and not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        msg = f"a delivery's name is made of letters, digits, dots, hyphens and underscores, not {name!r}"
        raise ValueError(msg)


def _claim(delivery: Delivery, spill: Spill, name: str | None) -> str:
    key = f"the default directory for {name}" if spill.directory is None else os.path.realpath(spill.directory)
    if key in _directories:
        gc.collect()  # it may be one that nobody has any more
    if key in _directories:
        msg = f"two deliveries would spill to {key}: give each a name, or a Spill with a directory, of its own"
        raise ValueError(msg)
    _directories[key] = delivery
    return key
