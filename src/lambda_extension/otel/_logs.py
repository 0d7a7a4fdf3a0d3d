"""Events to log records: what the function and extensions wrote, and the platform's own events as lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

from lambda_extension.otel._resource import SCOPE
from lambda_extension.otel._spans import to_nanoseconds
from lambda_extension.telemetry import (
    ExtensionLog,
    FunctionLog,
    InitStartRecord,
    PlatformExtension,
    PlatformInitReport,
    PlatformInitRuntimeDone,
    PlatformInitStart,
    PlatformLogsDropped,
    PlatformReport,
    PlatformRestoreReport,
    PlatformRestoreRuntimeDone,
    PlatformRestoreStart,
    PlatformRuntimeDone,
    PlatformStart,
    PlatformTelemetrySubscription,
    ReportRecord,
    RestoreStartRecord,
    TelemetryEvent,
    UnknownEvent,
    parse_time,
)

_LEVELS = {
    "ALL": 1,
    "TRACE": 1,
    "DEBUG": 5,
    "INFO": 9,
    "WARN": 13,
    "WARNING": 13,
    "ERROR": 17,
    "FATAL": 21,
    "CRITICAL": 21,
}
_LEVELS |= {
    f"{name}{n}": _LEVELS[name] + n - 1
    for name in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
    for n in (2, 3, 4)
}
# Keys of a JSON record that have a place of their own in a log record.
_PLACED = frozenset({"level", "message", "requestId", "timestamp", "type"})


def _nobody(_: str) -> None:
    """Know no invocation."""


@final
class LogConverter:
    """Turns events into log records, without I/O: one record for each event.

    A line of text is the body. Of a JSON object the body is its `message` if that is a string, and its other keys are
    attributes; without such a message the whole object is the body. A log record belongs to the invocation that its
    `requestId` names, or to the one that is running; where several run at once (Managed Instances) only the former.

    Args:
        resource: What the records are about.
        context: Gives the span context of an invocation that is not over: `SpanConverter.context`.
        several: Whether several invocations run at once.
    """

    def __init__(
        self,
        resource: Resource,
        *,
        context: Callable[[str], SpanContext | None] = _nobody,
        several: bool = False,
    ) -> None:
        self._resource = resource
        self._context = context
        self._several = several
        self._current: str | None = None

    def convert(self, events: Iterable[TelemetryEvent]) -> list[ReadableLogRecord]:
        """Take in events and give their log records."""
        return [self._convert(event) for event in events]

    def _convert(self, event: TelemetryEvent) -> ReadableLogRecord:
        moment, level = event.timestamp, None
        attributes: dict[str, Any] = {"type": event.type or "unknown"}
        request_id: str | None = None
        body = _body(event)
        if isinstance(event, FunctionLog | ExtensionLog):
            request_id, level = event.request_id, event.level
            if isinstance(event.record, Mapping):
                moment = _own_time(event.record) or moment
                if isinstance(event.message, str):
                    body = event.message
                    attributes |= {key: _portable(value) for key, value in event.record.items() if key not in _PLACED}
        else:
            request_id = getattr(event.record, "request_id", None)
        if isinstance(event, PlatformStart) and not self._several:
            self._current = event.record.request_id
        request_id = request_id or self._current
        if isinstance(event, PlatformRuntimeDone):
            self._current = None
        if request_id is not None:
            attributes["faas.invocation_id"] = request_id
        span = None if request_id is None else self._context(request_id)
        number = SeverityNumber(_LEVELS.get((level or "").upper(), 0))
        record = LogRecord(
            timestamp=None if moment is None else to_nanoseconds(moment),
            observed_timestamp=time.time_ns(),
            context=None if span is None else set_span_in_context(NonRecordingSpan(span)),
            severity_number=number,
            severity_text=level,
            body=body,
            attributes=attributes,
        )
        return ReadableLogRecord(record, self._resource, SCOPE)


def _own_time(record: Mapping[str, Any]) -> Any:
    stamp = record.get("timestamp")
    return parse_time(stamp) if isinstance(stamp, str) else None


def _body(event: TelemetryEvent) -> Any:
    """Give the record of a log, and a platform event as the line that CloudWatch shows, or would show."""
    match event:
        case PlatformStart(record=record):
            return _line("START", {"RequestId": record.request_id, "Version": record.version})
        case PlatformRuntimeDone(record=record):
            return _line("END", {"RequestId": record.request_id})
        case PlatformReport(record=record):
            return _report(record)
        case PlatformInitStart(record=record):
            return _line("INIT_START", _runtime(record))
        case PlatformRestoreStart(record=record):
            return _line("RESTORE_START", _runtime(record))
        case PlatformInitRuntimeDone(record=record):
            return _line("INIT_RUNTIME_DONE", {"Status": record.status})
        case PlatformRestoreRuntimeDone(record=record):
            return _line("RESTORE_RUNTIME_DONE", {"Status": record.status})
        case PlatformInitReport(record=record):
            told = {"Initialization Type": record.initialization_type, "Phase": record.phase, "Status": record.status}
            return _line("INIT_REPORT", {**told, "Duration": _ms(record.metrics.duration_ms)})
        case PlatformRestoreReport(record=record):
            duration = None if record.metrics is None else record.metrics.duration_ms
            return _line("RESTORE_REPORT", {"Status": record.status, "Duration": _ms(duration)})
        case PlatformTelemetrySubscription(record=record):
            return f"TELEMETRY: {record.name} Subscribed Types: {', '.join(record.types)}"
        case PlatformExtension(record=record):
            events = ", ".join(record.events or ())
            return _line("EXTENSION", {"Name": record.name, "State": record.state, "Events": events})
        case PlatformLogsDropped(record=record):
            lost = {"DroppedRecords": str(record.dropped_records), "DroppedBytes": str(record.dropped_bytes)}
            return _line("LOGS_DROPPED", {**lost, "Reason": record.reason})
        case UnknownEvent(raw=raw):
            return raw.decode("utf-8", "replace")
        case _:
            return _portable(event.record)


def _portable(value: Any) -> Any:
    """Make a JSON value one that OTLP can carry: a number beyond 64 bits, which would spoil a whole batch, is text."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    return [_portable(item) for item in value] if isinstance(value, list) else value


def _line(word: str, parts: Mapping[str, str | None]) -> str:
    return " ".join([word, *(f"{name}: {value}" for name, value in parts.items() if value is not None)])


def _runtime(record: InitStartRecord | RestoreStartRecord) -> dict[str, str | None]:
    return {"Runtime Version": record.runtime_version, "Runtime Version ARN": record.runtime_version_arn}


def _report(record: ReportRecord) -> str:
    metrics = record.metrics
    parts = {
        "RequestId": record.request_id,
        "Duration": _ms(metrics.duration_ms),
        "Billed Duration": _unit(metrics.billed_duration_ms, "ms"),
        "Memory Size": _unit(metrics.memory_size_mb, "MB"),
        "Max Memory Used": _unit(metrics.max_memory_used_mb, "MB"),
        "Init Duration": _ms(metrics.init_duration_ms),
        "Status": None if record.status == "success" else record.status,
    }
    return _line("REPORT", parts)


def _ms(milliseconds: float | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds:.2f} ms"


def _unit(number: int | None, unit: str) -> str | None:
    return None if number is None else f"{number} {unit}"
