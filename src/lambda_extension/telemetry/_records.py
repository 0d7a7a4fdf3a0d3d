"""What the platform's events say in their `record`, as frozen structs; see `_events` on what is lenient here."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec

from lambda_extension._api._enums import InitializationType, OpenStrEnum

# Times in the wild: no fraction or one of up to nine digits, a colon for its dot, `Z` or an offset.
_TIME = r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,:](\d{1,9}))?\s*(?:[Zz]|([+-])(\d\d):?(\d\d))?"


def parse_time(text: str) -> datetime | None:
    """Read one of the platform's times, leniently.

    Returns:
        An aware datetime (UTC unless it names an offset), or None when the text is no time.
    """
    found = re.fullmatch(_TIME, text.strip(), re.ASCII)  # compiled by the first call
    if found is None:
        return None
    *fields, fraction, sign, hours, minutes = found.groups()
    zone: timezone = UTC
    try:
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(-offset if sign == "-" else offset)
        year, month, day, hour, minute, second = (int(field) for field in fields)
        microsecond = int((fraction or "0").ljust(6, "0")[:6])
        return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=zone)
    except ValueError:
        return None


class Status(OpenStrEnum):
    """How a phase ended; an open enumeration."""

    SUCCESS = "success"
    FAILURE = "failure"
    """The platform failed."""
    ERROR = "error"
    """The function or an extension failed."""
    TIMEOUT = "timeout"


class InitPhase(OpenStrEnum):
    """When an init ran; an open enumeration."""

    INIT = "init"
    INVOKE = "invoke"
    """Repeated within the first invocation, after it had failed or timed out."""
    SNAP_START = "snap-start"


class _Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """What all records share on the wire: camel case, absent when None."""


class TraceContext(_Record, frozen=True):
    """The trace of a phase; `value` is an X-Ray header such as `Root=1-…;Parent=…;Sampled=1`."""

    type: str | None = None
    value: str | None = None
    span_id: str | None = None


class Span(_Record, frozen=True):
    """A named part of a phase, such as `responseLatency`."""

    name: str
    start: str = ""
    duration_ms: float | None = None

    @property
    def started_at(self) -> datetime | None:
        """`start` as a datetime, or None when it is no time."""
        return parse_time(self.start)


class InitReportMetrics(_Record, frozen=True):
    """Metrics of an init."""

    duration_ms: float | None = None


class RestoreReportMetrics(_Record, frozen=True):
    """Metrics of a SnapStart restore."""

    duration_ms: float | None = None


class RuntimeDoneMetrics(_Record, frozen=True):
    """Metrics of the runtime's part of an invocation."""

    duration_ms: float | None = None
    produced_bytes: int | None = None


class ReportMetrics(_Record, frozen=True):
    """Metrics of an invocation; on Managed Instances only `duration_ms` is sent."""

    duration_ms: float | None = None
    billed_duration_ms: int | None = None
    memory_size_mb: int | None = msgspec.field(default=None, name="memorySizeMB")
    max_memory_used_mb: int | None = msgspec.field(default=None, name="maxMemoryUsedMB")
    init_duration_ms: float | None = None
    restore_duration_ms: float | None = None
    billed_restore_duration_ms: float | None = None


class InitStartRecord(_Record, frozen=True):
    """An init has begun. `instance_max_memory` is in bytes on Managed Instances; elsewhere its unit is not stated."""

    initialization_type: InitializationType | None = None
    phase: InitPhase | None = None
    function_name: str | None = None
    function_version: str | None = None
    function_arn: str | None = None
    instance_id: str | None = None
    instance_max_memory: int | str | None = None
    runtime_version: str | None = None
    runtime_version_arn: str | None = None
    tracing: TraceContext | None = None


class InitRuntimeDoneRecord(_Record, frozen=True):
    """The runtime has finished its init."""

    initialization_type: InitializationType | None = None
    status: Status | None = None
    phase: InitPhase | None = None
    error_type: str | None = None
    spans: tuple[Span, ...] | None = None
    tracing: TraceContext | None = None


class InitReportRecord(_Record, frozen=True):
    """An init is over."""

    initialization_type: InitializationType | None = None
    phase: InitPhase | None = None
    metrics: InitReportMetrics = InitReportMetrics()
    status: Status | None = None
    error_type: str | None = None
    spans: tuple[Span, ...] | None = None
    tracing: TraceContext | None = None


class StartRecord(_Record, frozen=True):
    """An invocation has begun."""

    request_id: str
    version: str | None = None
    function_arn: str | None = None
    tenant_id: str | None = None
    tracing: TraceContext | None = None


class RuntimeDoneRecord(_Record, frozen=True):
    """The runtime has finished an invocation; extensions may still be at work. Never sent on Managed Instances."""

    request_id: str
    status: Status | None = None
    error_type: str | None = None
    metrics: RuntimeDoneMetrics | None = None
    spans: tuple[Span, ...] | None = None
    tenant_id: str | None = None
    tracing: TraceContext | None = None


class ReportRecord(_Record, frozen=True):
    """An invocation is over, extensions included."""

    request_id: str
    metrics: ReportMetrics = ReportMetrics()
    status: Status | None = None
    error_type: str | None = None
    spans: tuple[Span, ...] | None = None
    tenant_id: str | None = None
    tracing: TraceContext | None = None


class RestoreStartRecord(_Record, frozen=True):
    """A SnapStart restore has begun."""

    function_name: str | None = None
    function_version: str | None = None
    instance_id: str | None = None
    instance_max_memory: int | str | None = None
    runtime_version: str | None = None
    runtime_version_arn: str | None = None
    tracing: TraceContext | None = None


class RestoreRuntimeDoneRecord(_Record, frozen=True):
    """The runtime has finished its restore hooks."""

    status: Status | None = None
    error_type: str | None = None
    spans: tuple[Span, ...] | None = None
    tracing: TraceContext | None = None


class RestoreReportRecord(_Record, frozen=True):
    """A SnapStart restore is over."""

    status: Status | None = None
    error_type: str | None = None
    metrics: RestoreReportMetrics | None = None
    spans: tuple[Span, ...] | None = None
    tracing: TraceContext | None = None


class ExtensionRecord(_Record, frozen=True):
    """The state of an extension, normally `Ready`, and the events that it registered for."""

    name: str
    state: str = ""
    events: tuple[str, ...] | None = None
    error_type: str | None = None


class TelemetrySubscriptionRecord(_Record, frozen=True):
    """An extension has subscribed to telemetry."""

    name: str
    state: str = ""
    types: tuple[str, ...] = ()


class LogsDroppedRecord(_Record, frozen=True):
    """The platform has dropped events, since a subscriber took them too slowly or not at all."""

    reason: str = ""
    dropped_records: int = 0
    dropped_bytes: int = 0
