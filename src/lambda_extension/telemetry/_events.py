"""The events of the Telemetry API, all three schema versions, as frozen structs.

Field meanings: https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html. A field that is absent,
null, or of a shape that is not its own, is None, or empty where its type has no None; so an event is of its class by
its type and its identity (the request id, a name, a line's record) alone. Unknown fields are ignored, unknown values of
enumerations are kept, fractions of whole numbers are rounded. What has no identity is an `UnknownEvent`, as it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar, TypeAlias

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


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", gc=False):
    """What all events share: when the platform made them; empty where it did not say."""

    type: ClassVar[str]
    time: str = ""

    @property
    def timestamp(self) -> datetime | None:
        """`time` as an aware datetime, or None when it is no time."""
        return parse_time(self.time)


class PlatformInitStart(_Event, frozen=True, tag="platform.initStart"):
    """`platform.initStart`."""

    type: ClassVar[str] = "platform.initStart"
    record: InitStartRecord


class PlatformInitRuntimeDone(_Event, frozen=True, tag="platform.initRuntimeDone"):
    """`platform.initRuntimeDone`."""

    type: ClassVar[str] = "platform.initRuntimeDone"
    record: InitRuntimeDoneRecord


class PlatformInitReport(_Event, frozen=True, tag="platform.initReport"):
    """`platform.initReport`."""

    type: ClassVar[str] = "platform.initReport"
    record: InitReportRecord


class PlatformStart(_Event, frozen=True, tag="platform.start"):
    """`platform.start`."""

    type: ClassVar[str] = "platform.start"
    record: StartRecord


class PlatformRuntimeDone(_Event, frozen=True, tag="platform.runtimeDone"):
    """`platform.runtimeDone`."""

    type: ClassVar[str] = "platform.runtimeDone"
    record: RuntimeDoneRecord


class PlatformReport(_Event, frozen=True, tag="platform.report"):
    """`platform.report`."""

    type: ClassVar[str] = "platform.report"
    record: ReportRecord


class PlatformRestoreStart(_Event, frozen=True, tag="platform.restoreStart"):
    """`platform.restoreStart`."""

    type: ClassVar[str] = "platform.restoreStart"
    record: RestoreStartRecord


class PlatformRestoreRuntimeDone(_Event, frozen=True, tag="platform.restoreRuntimeDone"):
    """`platform.restoreRuntimeDone`."""

    type: ClassVar[str] = "platform.restoreRuntimeDone"
    record: RestoreRuntimeDoneRecord


class PlatformRestoreReport(_Event, frozen=True, tag="platform.restoreReport"):
    """`platform.restoreReport`."""

    type: ClassVar[str] = "platform.restoreReport"
    record: RestoreReportRecord


class PlatformExtension(_Event, frozen=True, tag="platform.extension"):
    """`platform.extension`."""

    type: ClassVar[str] = "platform.extension"
    record: ExtensionRecord


class PlatformTelemetrySubscription(_Event, frozen=True, tag="platform.telemetrySubscription"):
    """`platform.telemetrySubscription`."""

    type: ClassVar[str] = "platform.telemetrySubscription"
    record: TelemetrySubscriptionRecord


class PlatformLogsDropped(_Event, frozen=True, tag="platform.logsDropped"):
    """`platform.logsDropped`."""

    type: ClassVar[str] = "platform.logsDropped"
    record: LogsDroppedRecord


class _Log(_Event, frozen=True):
    """A line of output: text, or the JSON value that the line was."""

    # Typed as a union, the common string costs no look at anything else; a JSON value of any shape is kept verbatim.
    record: Any

    def _field(self, name: str) -> Any:
        return self.record.get(name) if isinstance(self.record, Mapping) else None

    @property
    def message(self) -> Any:
        """The line, or the `message` of a JSON record, which may be any JSON value."""
        return self._field("message") if isinstance(self.record, Mapping) else self.record

    @property
    def level(self) -> str | None:
        """The `level` of a JSON record; None for text."""
        level = self._field("level")
        return None if level is None else str(level)

    @property
    def request_id(self) -> str | None:
        """The `requestId` of a JSON record; None for text."""
        request_id = self._field("requestId")
        return None if request_id is None else str(request_id)


class FunctionLog(_Log, frozen=True, tag="function"):
    """A line that the function wrote: a `str`, or a JSON object (schema 2022-12-13 on, with JSON logging)."""

    type: ClassVar[str] = "function"


class ExtensionLog(_Log, frozen=True, tag="extension"):
    """A line that an extension wrote, this one included: a `str`, or a JSON object as in `FunctionLog`."""

    type: ClassVar[str] = "extension"


class UnknownEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a type, or of a shape, that this library does not know, or that is no JSON.

    Attributes:
        raw: The event, as it came: its JSON, or what was to be that.
        type: Its type, if it has one.
        time: Its time, if it has one.
        reason: Why it did not fit.
    """

    raw: bytes
    type: str | None = None
    time: str | None = None
    reason: str = ""

    @property
    def timestamp(self) -> datetime | None:
        """`time` as an aware datetime, or None when it is no time."""
        return None if self.time is None else parse_time(self.time)

    @property
    def record(self) -> Any:
        """The decoded `record`, or None when the event has none or cannot be decoded."""
        try:
            event = msgspec.json.decode(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return event.get("record") if isinstance(event, dict) else None

    @property
    def json(self) -> bytes:
        """The event as JSON that every reader takes: as it came, or its type, its time and `raw` as text."""
        try:
            self.raw.decode()
            msgspec.json.decode(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            known = {"time": self.time, "type": self.type, "raw": self.raw.decode("utf-8", "replace")}
            return msgspec.json.encode({name: value for name, value in known.items() if value is not None})
        return self.raw


KnownEvent: TypeAlias = (
    PlatformInitStart
    | PlatformInitRuntimeDone
    | PlatformInitReport
    | PlatformStart
    | PlatformRuntimeDone
    | PlatformReport
    | PlatformRestoreStart
    | PlatformRestoreRuntimeDone
    | PlatformRestoreReport
    | PlatformExtension
    | PlatformTelemetrySubscription
    | PlatformLogsDropped
    | FunctionLog
    | ExtensionLog
)
TelemetryEvent: TypeAlias = KnownEvent | UnknownEvent
