"""Log records of this library as OTLP's, each in the trace of its invocation."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, final

from lambda_extension._budget import TRACE_LIMIT
from lambda_extension.otel._identity import Identities, Identity
from lambda_extension.otel._model import OTLPLogRecord
from lambda_extension.otel._values import KeyValue, Limits, any_value, attributes, nanoseconds, text
from lambda_extension.records import LogRecord
from lambda_extension.records._times import unix_nanoseconds

# What waits for the trace of its invocation, which on Managed Instances comes with the report: records, their bytes.
_MOST_WAITING: Final = 2_000
_MOST_WAITING_BYTES: Final = 8 * 1024 * 1024
# What every record has besides what its line has.
_OURS: Final = ("faas.invocation_id", "aws.lambda.log_source", "aws.lambda.tenant_id")


@final
class LogMaker:
    """Makes OTLP's log records, and has those wait whose trace is not known yet.

    Args:
        identities: What invocations are in their traces.
        waits: Whether an invocation's trace may come after its lines: on Managed Instances.
        limits: How much of attributes is kept.
        clock: Epoch seconds; what is made has been observed then.
    """

    def __init__(
        self,
        identities: Identities,
        *,
        waits: bool,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._identities = identities
        self._waits = waits
        self._limits = limits or Limits()
        self._clock = clock
        self._waiting: deque[tuple[float, LogRecord, int]] = deque()
        self._waiting_bytes = 0
        # What the records of one invocation have in common, encoded once.
        self._ours_of: tuple[str | None, str, str | None] | None = None
        self._ours: list[KeyValue] = []

    def make(self, records: Iterable[LogRecord]) -> list[OTLPLogRecord]:
        """Give what is ready of these records, and of what has waited."""
        now = self._clock()
        ready = list(self._ready(now))
        for record in records:
            request_id = record.request_id
            if self._waits and request_id is not None and self._identities.known(request_id) is None:
                size = len(record.encode())
                self._waiting.append((now, record, size))
                self._waiting_bytes += size
            else:
                ready.append(record)
        while len(self._waiting) > _MOST_WAITING or self._waiting_bytes > _MOST_WAITING_BYTES:
            _, record, size = self._waiting.popleft()
            self._waiting_bytes -= size
            ready.append(record)
        return [self._made(record, now) for record in ready]

    def finish(self) -> list[OTLPLogRecord]:
        """Give all that has waited."""
        now = self._clock()
        made = [self._made(record, now) for _, record, _ in self._waiting]
        self._waiting.clear()
        self._waiting_bytes = 0
        return made

    def _ready(self, now: float) -> Iterator[LogRecord]:
        """Let go of what has waited for long enough, or no longer needs to; the order stays."""
        waiting, self._waiting = self._waiting, deque()
        for since, record, size in waiting:
            known = self._identities.known(record.request_id or "")
            # A clock that was set back counts as if the time were over.
            if known is not None or not 0 <= now - since < TRACE_LIMIT:
                self._waiting_bytes -= size
                yield record
            else:
                self._waiting.append((since, record, size))

    def _made(self, record: LogRecord, now: float) -> OTLPLogRecord:
        moment = nanoseconds(record.time_unix_nano)
        values = dict(record.attributes)
        if not moment:
            # A time of its own that OTLP cannot carry: the platform's then, and nothing of the line is lost.
            values.setdefault("timestamp", record.time)
            moment = nanoseconds(unix_nanoseconds((record.event.time if record.event is not None else None) or ""))
        dropped = self._leave_out(values)
        ours = self._attributes_of(record)
        trace_id, span_id, flags = self._trace(record)
        return OTLPLogRecord(
            time_unix_nano=str(moment),
            observed_time_unix_nano=str(int(now * 1e9)),
            severity_number=record.severity_number,
            severity_text=text(record.severity_text or ""),
            body=None if record.body is None else any_value(record.body),
            attributes=[*attributes(values, self._limits.length), *ours] if values else ours,
            dropped_attributes_count=dropped,
            flags=flags,
            trace_id=trace_id,
            span_id=span_id,
            event_name=text(record.type) if record.source == "platform" else "",
        )

    def _attributes_of(self, record: LogRecord) -> list[KeyValue]:
        """Give what a record has besides what its line has."""
        ours = (record.context.request_id, record.source, record.context.tenant_id)
        if ours != self._ours_of:
            self._ours_of = ours
            self._ours = attributes(dict(zip(_OURS, ours, strict=True)), self._limits.length)
        return self._ours

    def _leave_out(self, values: dict[str, Any]) -> int:
        """Leave out the last of a line's own attributes that are too many; give how many those were."""
        for name in _OURS if values else ():
            values.pop(name, None)
        if self._limits.count is None:
            return 0
        names = list(values)[max(self._limits.count - len(_OURS), 0) :]
        for name in names:
            del values[name]
        return len(names)

    def _trace(self, record: LogRecord) -> tuple[str, str, int]:
        """Give trace, span and flags: those that the line itself names, else those of its invocation."""
        context = record.context
        identity = None
        if record.request_id is not None:
            # Where nothing is to be waited for, an invocation without a trace has one made, which its span has too.
            known = self._identities.known
            identity = known(record.request_id) if self._waits else self._identities.settle(record.request_id)
        if context.trace_id and not _is_of(context.trace_id, context.span_id or "", identity):
            return context.trace_id, context.span_id or "", context.trace_flags or 0
        if identity is None:
            return "", "", 0
        return identity.trace_id, identity.span_id, int(identity.sampled)


def _is_of(trace_id: str, span_id: str, identity: Identity | None) -> bool:
    """Tell whether a trace context is the invocation's, whose header names the span above it."""
    if identity is None or trace_id.lower() != identity.trace_id:
        return False
    return not span_id or span_id.lower() in {identity.span_id, identity.parent_id}
