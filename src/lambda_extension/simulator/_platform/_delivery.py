"""Telemetry on its way to subscribers: buffering, one batch in flight, retries, drops."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final, final

import anyio
import anyio.abc
import httpx
from attrs import evolve, frozen

from lambda_extension.simulator._apis._logs import as_logs
from lambda_extension.simulator._apis._telemetry import Subscription
from lambda_extension.simulator._watching._clock import Clock
from lambda_extension.simulator._watching._record import Record

__all__ = ["DeliverySettings", "Event", "Subscriber", "Telemetry"]

_TOO_SLOW: Final = "Some logs were dropped because the downstream consumer is slower than the logs production rate"
_DROPPED: Final = "platform.logsDropped"
_HISTORY: Final = 10_000


@frozen(kw_only=True)
class DeliverySettings:
    """How batches are sent.

    Attributes:
        retries: Further attempts after a refused connection or a status of 400 or more; 0 is what the emulator does.
        backoff: Seconds before the first retry; doubles each time, up to one second.
    """

    retries: int = 3
    backoff: float = 0.05


@frozen(kw_only=True)
class Event:
    """One telemetry event; `line` is the text where the record came from a line of output."""

    time: str
    type: str
    record: Any
    line: str | None = None

    @property
    def category(self) -> str:
        """`platform`, `function` or `extension`."""
        return self.type.partition(".")[0]

    def encode(self, schema_version: str) -> bytes:
        """Return the event's JSON for that schema: older ones know only lines of text."""
        record = self.record
        if self.line is not None and schema_version < "2022-12-13":
            record = self.line
        event = {"time": self.time, "type": self.type, "record": record}
        return json.dumps(event, separators=(",", ":")).encode()


@final
class Subscriber:
    """One subscription: a bounded buffer, and a task that empties it batch by batch."""

    def __init__(
        self,
        name: str,
        subscription: Subscription,
        *,
        telemetry: Telemetry,
        settings: DeliverySettings,
    ) -> None:
        self.name = name
        self.subscription = subscription
        self.delivered = 0
        self.dropped_records = 0
        self._telemetry = telemetry
        self._settings = settings
        self._buffer: list[bytes] = []
        self._bytes = 0
        self._first = 0.0
        self._sealed: list[bytes] | None = None
        self._dropped = [0, 0]
        self._reason = _TOO_SLOW
        self._tellable = False
        self._flushing = False
        self._wake = anyio.Event()
        self._idle = anyio.Event()

    def add(self, event: Event, *, unbounded: bool = False) -> None:
        """Buffer an event if its type is wanted; never blocks, drops and counts when full."""
        if self.subscription.api == "telemetry":
            self._add(event, unbounded=unbounded)
            return
        for type_, record in as_logs(event.type, event.record, self.subscription.schema_version):
            self._add(evolve(event, type=type_, record=record), unbounded=unbounded)

    def _add(self, event: Event, *, unbounded: bool) -> None:
        if event.category not in self.subscription.types:
            return
        if event.type != _DROPPED:
            self._tellable = True
        encoded = event.encode(self.subscription.schema_version)
        if not unbounded and self._full():
            if self._sealed is not None:
                self._drop(1, len(encoded), _TOO_SLOW)
                return
            self._seal()
        if not self._buffer:
            self._first = anyio.current_time()
            self._wake.set()
        self._buffer.append(encoded)
        self._bytes += len(encoded)
        if self._full() or self._flushing:
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
            self._telemetry.emit(_DROPPED, lost)

    def _seal(self) -> None:
        self._sealed, self._buffer, self._bytes = self._buffer, [], 0

    async def flush(self, within: float) -> None:
        """Send what is buffered, without waiting for more, for so many seconds at most."""
        self._flushing = True
        self._wake.set()
        with anyio.move_on_after(within):
            while self._buffer or self._sealed is not None:
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
            send = _TCPSender(self.subscription.port) if self._tcp else None
            try:
                while True:
                    await self._due()
                    if self._sealed is None:
                        self._seal()
                    batch, self._sealed = self._sealed or [], []
                    await self._send(client, send, batch)
                    self._sealed = None
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
            if self._buffer and (self._full() or self._flushing):
                break
            wait = None
            if self._buffer:
                wait = self._first + self.subscription.timeout_ms / 1000 - anyio.current_time()
                if wait <= 0:
                    break
            with anyio.move_on_after(wait):
                await self._wake.wait()
        await self._telemetry.thawed.wait()

    async def _send(self, client: httpx.AsyncClient, tcp: _TCPSender | None, batch: list[bytes]) -> None:
        for body in self._telemetry.tamper(self, b"[" + b",".join(batch) + b"]"):
            problem = ""
            for attempt in range(self._settings.retries + 1):
                await self._telemetry.thawed.wait()
                if attempt:
                    await anyio.sleep(min(1.0, self._settings.backoff * 2 ** (attempt - 1)))
                problem = await self._attempt(client, tcp, body, batch)
                if not problem:
                    break
            if problem:
                self._drop(len(batch), sum(map(len, batch)), f"could not send events: {problem}")
                return
        self.delivered += len(batch)

    async def _attempt(self, client: httpx.AsyncClient, tcp: _TCPSender | None, body: bytes, batch: list[bytes]) -> str:
        started = anyio.current_time()
        status, problem = 0, ""
        try:
            if tcp is not None:
                await tcp.send(b"".join(line + b"\n" for line in batch))
            else:
                digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
                response = await client.request(
                    self.subscription.method,
                    f"http://127.0.0.1:{self.subscription.port}{self.subscription.path}",
                    content=body,
                    headers={"content-type": "application/json", "sequence-id": digest},
                )
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

    def __init__(self, port: int) -> None:
        self._port = port
        self._stream: anyio.abc.SocketStream | None = None

    async def send(self, data: bytes) -> None:
        if self._stream is None:
            self._stream = await anyio.connect_tcp("127.0.0.1", self._port)
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


@final
class Telemetry:
    """All events of one environment, and who gets them."""

    def __init__(self, record: Record, clock: Clock) -> None:
        self.record = record
        self.thawed = anyio.Event()
        self.thawed.set()
        self.open = True
        self.subscribers: dict[str, Subscriber] = {}
        self.tamper: Callable[[Subscriber, bytes], tuple[bytes, ...]] = lambda _, body: (body,)
        self._clock = clock
        self._history: deque[Event] = deque(maxlen=_HISTORY)

    def emit(self, type_: str, record: Any, *, line: str | None = None, who: str = "platform") -> None:
        """Create an event now and hand it to each subscriber; never blocks."""
        event = Event(time=Clock.format(self._clock.time()), type=type_, record=record, line=line)
        self.record.add("event", who, type_, record=record)
        if self.open:
            self._history.append(event)
        for subscriber in self.subscribers.values():
            subscriber.add(event, unbounded=type_ == _DROPPED)

    def subscribe(self, name: str, subscription: Subscription, settings: DeliverySettings) -> Subscriber:
        """Add a subscriber; what happened so far is replayed to it first."""
        subscriber = Subscriber(name, subscription, telemetry=self, settings=settings)
        for event in self._history:
            subscriber.add(event, unbounded=True)
        self.subscribers[name] = subscriber
        kind = "telemetry" if subscription.api == "telemetry" else "logs"
        self.emit(
            f"platform.{kind}Subscription",
            {"name": name, "state": "Subscribed", "types": list(subscription.types)},
        )
        return subscriber

    def close(self) -> None:
        """Take no more subscriptions; the history has served."""
        self.open = False
        self._history.clear()

    def freeze(self) -> None:
        """Withhold delivery until `thaw`."""
        self.thawed = anyio.Event()

    def thaw(self) -> None:
        """Resume delivery."""
        self.thawed.set()
