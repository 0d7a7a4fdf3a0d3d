"""Telemetry on its way to subscribers: buffering, one batch in flight, retries, drops."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias, final

import anyio
import anyio.abc
import attrs
import httpx

from lambda_extension._api._httpx_body import WholeBody
from lambda_extension.simulator._apis._logs import as_logs
from lambda_extension.simulator._apis._telemetry import TYPES, Subscription
from lambda_extension.simulator._platform._telemetry_event import Event
from lambda_extension.simulator._watching._feedback import Feedback
from lambda_extension.simulator._watching._record import Record

_TOO_SLOW: Final = "Some logs were dropped because the downstream consumer is slower than the logs production rate"
_LOGS_SUBSCRIPTION: Final = "platform.logsSubscription"
DROPPED: Final = "platform.logsDropped"

# An event's JSON, and whether it is a line of the subscriber's own.
_Item: TypeAlias = tuple[bytes, bool]


@attrs.frozen(kw_only=True)
class DeliverySettings:
    """How batches are sent.

    Attributes:
        retries: Further attempts after a refused connection or a status of 400 or more; 0 is what the emulator does.
        backoff: Seconds before the first retry; doubles each time, up to one second.
    """

    retries: int = 3
    backoff: float = 0.05


class Outlet(Protocol):
    """What a subscriber needs of the environment's telemetry."""

    record: Record
    feedback: Feedback
    thawed: anyio.Event
    tamper: Callable[[Subscriber, bytes], tuple[bytes, ...]]

    def emit(self, type_: str, record: Any) -> None:
        """Create an event now and hand it to each subscriber."""


@final
class Subscriber:
    """One subscription: a bounded buffer, and a task that empties it batch by batch.

    Attributes:
        name: The extension that subscribed.
        subscription: What it asked for.
        address: Where its listener is reached.
        delivered: Events that arrived.
        dropped_records: Events that did not, and never will.
        problem: Why delivering failed, last time; empty if it did not. An answer that refused stays, since at the end
            of an extension its listener goes away, which says nothing.
    """

    def __init__(
        self,
        name: str,
        subscription: Subscription,
        *,
        telemetry: Outlet,
        settings: DeliverySettings,
        address: str,
        host_clock: bool,
    ) -> None:
        self.name = name
        self.subscription = subscription
        self.address = address
        self.delivered = 0
        self.dropped_records = 0
        self.problem = ""
        self._telemetry = telemetry
        self._settings = settings
        self._host_clock = host_clock
        self._buffer: list[_Item] = []
        self._bytes = 0
        self._first = 0.0
        self._sealed: list[_Item] | None = None
        self._dropped = [0, 0]
        self._reason = _TOO_SLOW
        self._tellable = False
        # How many events were taken in, how many of these are gone, and up to which one to send without waiting.
        self._taken = self._gone = self._flush_to = 0
        self._wake = anyio.Event()
        self._idle = anyio.Event()

    def add(self, event: Event, *, unbounded: bool = False) -> None:
        """Buffer an event if its type is wanted; never blocks, drops and counts when full."""
        if self.subscription.api == "telemetry" or event.raw is not None:
            if event.type != _LOGS_SUBSCRIPTION:
                self._add(event, unbounded=unbounded)
            return
        for type_, record in as_logs(event.type, event.record, self.subscription.schema_version):
            self._add(attrs.evolve(event, type=type_, record=record), unbounded=unbounded)

    def _add(self, event: Event, *, unbounded: bool) -> None:
        if event.category in TYPES and event.category not in self.subscription.types:
            return
        if event.type != DROPPED:
            self._tellable = True
        encoded = event.encode(self.subscription.schema_version, host=self._host_clock)
        if not unbounded and self._full():
            if self._sealed is not None:
                self._drop(1, len(encoded), _TOO_SLOW)
                return
            self._seal()
        if not self._buffer:
            self._first = anyio.current_time()
            self._wake.set()
        self._buffer.append((encoded, event.who == self.name))
        self._bytes += len(encoded)
        self._taken += 1
        if self._full():
            self._wake.set()

    def _full(self) -> bool:
        limits = self.subscription
        return len(self._buffer) >= limits.max_items or self._bytes >= limits.max_bytes

    def _drop(self, records: int, size: int, reason: str) -> None:
        self._dropped[0] += records
        self._dropped[1] += size
        self._reason = reason
        self.dropped_records += records

    def _tell_drops(self) -> None:
        """Report what was dropped, as an event to all; of a lost report alone there is no report, for ever."""
        if self._dropped[0] and self._tellable:
            (records, size), self._dropped, self._tellable = self._dropped, [0, 0], False
            lost = {"reason": self._reason, "droppedRecords": records, "droppedBytes": size}
            self._telemetry.emit(DROPPED, lost)

    def _seal(self) -> None:
        self._sealed, self._buffer, self._bytes = self._buffer, [], 0

    @property
    def undelivered(self) -> int:
        """Events that wait or were dropped."""
        return self._taken - self._gone + self.dropped_records

    async def flush(self, within: float) -> None:
        """Send what is buffered now, without waiting for more, for so many seconds at most.

        What comes later is buffered as ever: an extension that writes on each delivery would else be fed line by line.
        """
        self._flush_to = self._taken
        self._wake.set()
        with anyio.move_on_after(within):
            while self._gone < self._flush_to:
                self._idle = anyio.Event()
                await self._idle.wait()

    async def run(self) -> None:
        """Send batches until cancelled."""
        limits = httpx.Limits(max_connections=1, keepalive_expiry=None)
        async with httpx.AsyncClient(
            trust_env=False,
            timeout=None,  # noqa: S113 - bounded by the environment
            limits=limits,
            verify=False,  # noqa: S501 - no TLS here
        ) as client:
            send = _TCPSender(self.address, self.subscription.port) if self._tcp else None
            try:
                while True:
                    await self._due()
                    if self._sealed is None:
                        self._seal()
                    batch, self._sealed = self._sealed or [], []
                    await self._send(client, send, batch)
                    self._sealed = None
                    self._gone += len(batch)
                    self._tell_drops()
                    self._idle.set()
            finally:
                if send is not None:
                    await send.close()

    @property
    def _tcp(self) -> bool:
        return self.subscription.protocol == "TCP"

    async def _due(self) -> None:
        while self._sealed is None:
            self._wake = anyio.Event()
            if self._buffer and (self._full() or self._gone < self._flush_to):
                break
            wait = None
            if self._buffer:
                wait = self._first + self.subscription.timeout_ms / 1000 - anyio.current_time()
                if wait <= 0:
                    break
            with anyio.move_on_after(wait):
                await self._wake.wait()
        await self._telemetry.thawed.wait()

    async def _send(self, client: httpx.AsyncClient, tcp: _TCPSender | None, batch: list[_Item]) -> None:
        lines = [line for line, _ in batch]
        own_only = all(own for _, own in batch)
        for body in self._telemetry.tamper(self, b"[" + b",".join(lines) + b"]"):
            problem = ""
            for attempt in range(self._settings.retries + 1):
                await self._telemetry.thawed.wait()
                if attempt:
                    await anyio.sleep(min(1.0, self._settings.backoff * 2 ** (attempt - 1)))
                self._telemetry.feedback.delivers(self.name, own_only=own_only)
                problem = await self._attempt(client, tcp, body, lines)
                if not (problem and self.problem.startswith("status ")):
                    self.problem = problem
                if not problem:
                    break
            if problem:
                self._telemetry.feedback.stimulated(self.name)  # nothing has reached it
                self._drop(len(lines), sum(map(len, lines)), f"could not send events: {problem}")
                return
        self.delivered += len(lines)

    async def _attempt(self, client: httpx.AsyncClient, tcp: _TCPSender | None, body: bytes, batch: list[bytes]) -> str:
        started = anyio.current_time()
        status, problem = 0, ""
        try:
            if tcp is not None:
                await tcp.send(b"".join(line + b"\n" for line in batch))
            else:
                digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
                host = f"{self.address}:{self.subscription.port}"
                request = httpx.Request(
                    self.subscription.method,
                    f"http://{host}{self.subscription.path}",
                    headers={
                        "host": host,
                        "content-length": str(len(body)),
                        "content-type": "application/json",
                        "sequence-id": digest,
                    },
                    stream=WholeBody(body),
                )
                response = await client.send(request)
                status = response.status_code
                problem = f"status {status}" if status >= 400 else ""
        except (httpx.HTTPError, OSError, anyio.BrokenResourceError) as error:
            problem = f"{type(error).__name__}: {error}"
        took = (anyio.current_time() - started) * 1000
        self._telemetry.record.add(
            "delivery",
            self.name,
            "refused" if problem else "delivered",
            items=len(batch),
            bytes=len(body),
            status=status,
            took_ms=round(took, 3),
            problem=problem,
        )
        return problem


@final
class _TCPSender:
    """One connection, opened at the first batch and again after it broke."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port
        self._stream: anyio.abc.SocketStream | None = None

    async def send(self, data: bytes) -> None:
        if self._stream is None:
            self._stream = await anyio.connect_tcp(self._address, self._port)
        try:
            await self._stream.send(data)
        except BaseException:  # cut off half-way, the connection is of no more use
            await self.close()
            raise

    async def close(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(stream)
