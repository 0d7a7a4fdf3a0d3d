"""The events of the Logs API, as frozen structs: three kinds of its own, the rest shared with the Telemetry API.

Field meanings: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-logs-api.html.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from lambda_extension.telemetry import (
    ExtensionLog,
    FunctionLog,
    PlatformExtension,
    PlatformLogsDropped,
    PlatformReport,
    PlatformRuntimeDone,
    PlatformStart,
    UnknownEvent,
)
from lambda_extension.telemetry._decoding import EventDecoder
from lambda_extension.telemetry._events import _Event
from lambda_extension.telemetry._records import _Record


class PlatformEndRecord(_Record, frozen=True):
    """An invocation has ended, that of the extensions included."""

    request_id: str


class LogsSubscriptionRecord(_Record, frozen=True):
    """An extension has subscribed to logs."""

    name: str
    state: str = ""
    types: tuple[str, ...] = ()


class PlatformEnd(_Event, frozen=True, tag="platform.end"):
    """`platform.end`."""

    type: ClassVar[str] = "platform.end"
    record: PlatformEndRecord


class PlatformFault(_Event, frozen=True, tag="platform.fault"):
    """`platform.fault`: the function or its runtime has failed, in the platform's words."""

    type: ClassVar[str] = "platform.fault"
    record: str


class PlatformLogsSubscription(_Event, frozen=True, tag="platform.logsSubscription"):
    """`platform.logsSubscription`."""

    type: ClassVar[str] = "platform.logsSubscription"
    record: LogsSubscriptionRecord


KnownLogsEvent: TypeAlias = (
    PlatformStart
    | PlatformEnd
    | PlatformReport
    | PlatformRuntimeDone
    | PlatformFault
    | PlatformExtension
    | PlatformLogsSubscription
    | PlatformLogsDropped
    | FunctionLog
    | ExtensionLog
)
LogsEvent: TypeAlias = KnownLogsEvent | UnknownEvent

_DECODER: EventDecoder[KnownLogsEvent] = EventDecoder(KnownLogsEvent)


def decode(body: bytes | bytearray | memoryview) -> list[LogsEvent]:
    """Decode the body of a Logs API request: a JSON array of events.

    Never loses an event: one that is unknown, or does not have the documented shape, is an `UnknownEvent` in its place.

    Raises:
        DecodeError: The body is not a JSON array.
    """
    return _DECODER.decode(body)
