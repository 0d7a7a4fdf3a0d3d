"""The platform's own events as log records: a line that CloudWatch shows, or would show, and how grave it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lambda_extension.records._severity import ERROR, INFO, WARN
from lambda_extension.telemetry import (
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
    Status,
    TelemetryEvent,
    UnknownEvent,
)


def severity_number(event: TelemetryEvent) -> int:
    """Tell how grave it is: an end that is not a success is an error, lost lines are worth a warning."""
    if isinstance(event, PlatformLogsDropped):
        return WARN
    status = getattr(event.record, "status", None)
    fault = getattr(event.record, "error_type", None)
    return INFO if status in {None, Status.SUCCESS} and fault is None else ERROR


def attributes_of(event: TelemetryEvent) -> dict[str, Any]:
    """Give the fields of its record, by their names on the wire; not the request id, which has a place of its own."""
    record = event.record if isinstance(event, UnknownEvent) else msgspec.to_builtins(event.record)
    return {key: value for key, value in record.items() if key != "requestId"} if isinstance(record, dict) else {}


def platform_line(event: TelemetryEvent) -> str:
    """Give a platform's event as one line."""
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
            return _line("INIT_REPORT", {**told, "Duration": _ms(_of(record.metrics, "duration_ms"))})
        case PlatformRestoreReport(record=record):
            return _line(
                "RESTORE_REPORT", {"Status": record.status, "Duration": _ms(_of(record.metrics, "duration_ms"))}
            )
        case PlatformTelemetrySubscription(record=record):
            return _line("TELEMETRY", {"Name": record.name, "State": record.state, "Types": _list(record.types)})
        case PlatformExtension(record=record):
            return _line("EXTENSION", {"Name": record.name, "State": record.state, "Events": _list(record.events)})
        case PlatformLogsDropped(record=record):
            lost = {"DroppedRecords": _unit(record.dropped_records), "DroppedBytes": _unit(record.dropped_bytes)}
            return _line("LOGS_DROPPED", {**lost, "Reason": record.reason})
        case UnknownEvent(raw=raw):
            return raw.decode("utf-8", "replace")
        case _:  # pragma: no cover - a type that telemetry has learnt and this module has not
            return str(event.type)


def _line(word: str, parts: Mapping[str, str | None]) -> str:
    return " ".join([word, *(f"{name}: {value}" for name, value in parts.items() if value is not None)])


def _list(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else ", ".join(names)


def _runtime(record: InitStartRecord | RestoreStartRecord) -> dict[str, str | None]:
    return {"Runtime Version": record.runtime_version, "Runtime Version ARN": record.runtime_version_arn}


def _of(metrics: object, name: str) -> Any:
    """Give one of the metrics; None when it, or all of them, are absent."""
    return getattr(metrics, name, None)


def _report(record: ReportRecord) -> str:
    metrics = record.metrics
    parts = {
        "RequestId": record.request_id,
        "Duration": _ms(_of(metrics, "duration_ms")),
        "Billed Duration": _unit(_of(metrics, "billed_duration_ms"), " ms"),
        "Memory Size": _unit(_of(metrics, "memory_size_mb"), " MB"),
        "Max Memory Used": _unit(_of(metrics, "max_memory_used_mb"), " MB"),
        "Init Duration": _ms(_of(metrics, "init_duration_ms")),
        "Status": None if record.status == Status.SUCCESS else record.status,
    }
    return _line("REPORT", parts)


def _ms(milliseconds: float | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds:.2f} ms"


def _unit(number: int | None, unit: str = "") -> str | None:
    return None if number is None else f"{number}{unit}"
