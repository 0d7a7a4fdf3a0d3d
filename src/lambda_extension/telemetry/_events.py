"""The events of the Telemetry API, all three schema versions, as frozen structs.

Field meanings: https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html. A field that is absent,
null, or of a shape that is not its own, is None, or empty where its type has no None; so an event is of its class by
its type and its identity (the request id, a name, a line's record) alone. Unknown fields are ignored, unknown values of
enumerations are kept, fractions of whole numbers are rounded. What has no identity is an `UnknownEvent`, as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

import msgspec

from lambda_extension.telemetry._records import (
    ExtensionRecord,
    InitReportRecord,
    InitRuntimeDoneRecord,
    InitStartRecord,
    LogsDroppedRecord,
    ReportRecord,
    RestoreReportRecord,
    RestoreRuntimeDoneRecord,
    RestoreStartRecord,
    RuntimeDoneRecord,
    StartRecord,
    TelemetrySubscriptionRecord,
    parse_time,
)


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
"""Every event that a stream may give."""
