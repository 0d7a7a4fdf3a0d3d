"""`LogRecord` and what it shares with every other record of its invocation."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any, Literal, Self, TypeAlias

import msgspec

from lambda_extension.records._severity import level_name
from lambda_extension.records._times import unix_nanoseconds
from lambda_extension.telemetry import TelemetryEvent, parse_time

Source: TypeAlias = Literal["function", "extension", "platform", "report"]
"""What a record comes from."""

_encode = msgspec.json.Encoder().encode
_ID_NAME = b'{"requestId":'


class Context(msgspec.Struct, frozen=True, kw_only=True, dict=True, rename="camel", omit_defaults=True):
    """What is the same for every record of an invocation, or of what is no invocation's; gathered once for each.

    Attributes:
        request_id: The invocation; None during init, and where it cannot be known.
        function_name: Name of the function.
        function_version: Its version, such as `$LATEST`.
        function_arn: The ARN that was invoked, where the platform tells.
        memory_size_mb: Configured memory in MB.
        region: AWS region.
        cold_start: Whether this is the environment's first invocation, made while somebody waited for its init.
        trace_id: 32 hex digits, of the X-Ray header or of the line itself.
        span_id: 16 hex digits: the invocation's own, or else its parent's.
        trace_flags: 1 when the trace is sampled, 0 when it is not.
        tenant_id: The tenant, of a multi-tenant function.
    """

    request_id: str | None = None
    function_name: str | None = None
    function_version: str | None = None
    function_arn: str | None = None
    memory_size_mb: int | None = None
    region: str | None = None
    cold_start: bool | None = None
    trace_id: str | None = None
    span_id: str | None = None
    trace_flags: int | None = None
    tenant_id: str | None = None

    @cached_property
    def json(self) -> bytes:
        """The context as a JSON object, encoded once."""
        return encode_json(self)

    @cached_property
    def tail(self) -> bytes:
        """What ends a JSON object that has the context's fields after its own."""
        return b"}" if self.json == b"{}" else b"," + self.json[1:]

    @cached_property
    def from_id(self) -> msgspec.Raw | msgspec.UnsetType:
        """The request id and, by their names, the fields behind it; unset when there is no request id.

        As the value of the last field of an object, which is named `requestId`, it makes the object a flat one with all
        of the context's fields: encoding that takes one pass, where adding the tail takes three copies.
        """
        return msgspec.UNSET if self.request_id is None else msgspec.Raw(self.json[len(_ID_NAME) : -1])

    @cached_property
    def fields(self) -> dict[str, Any]:
        """What is known, by its JSON name. Shared: not to be changed."""
        fields: dict[str, Any] = msgspec.json.decode(self.json)
        return fields


class _Line(msgspec.Struct, rename="camel", omit_defaults=True, gc=False):
    """The part of a log record's JSON that is its own."""

    timestamp: str
    source: str
    type: str
    severity_number: int = 0
    severity_text: str | None = None
    body: Any = None
    attributes: Any = None
    request_id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # `Context.from_id`


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """A line or an event of the platform, in OpenTelemetry's shape. Not to be changed: `replace` gives another.

    Attributes:
        time: RFC 3339: the line's own time if it has one, else the platform's.
        source: `function`, `extension` or `platform`.
        type: The event's type, such as `function` or `platform.start`.
        severity_number: 1 to 24; 0 when unknown.
        severity_text: The level as it was written; None when there was none.
        body: Text, or any JSON value.
        attributes: What else the line has, by its key.
        context: The invocation and the function.
        event: The event as it came, the first of several lines; None once its content has been redacted.
    """

    time: str
    source: Source
    type: str
    severity_number: int
    severity_text: str | None
    body: Any
    attributes: dict[str, Any]
    context: Context
    event: TelemetryEvent | None = None

    @property
    def timestamp(self) -> datetime | None:
        """`time` as an aware datetime, or None when it is no time."""
        return parse_time(self.time)

    @property
    def time_unix_nano(self) -> int | None:
        """`time` in nanoseconds since the epoch, or None when it is no time."""
        return unix_nanoseconds(self.time)

    @property
    def level(self) -> str | None:
        """TRACE, DEBUG, INFO, WARN, ERROR or FATAL; None when unknown."""
        return level_name(self.severity_number)

    @property
    def request_id(self) -> str | None:
        """The invocation; None during init, and where it cannot be known."""
        return self.context.request_id

    @property
    def trace_id(self) -> str | None:
        """32 hex digits, or None."""
        return self.context.trace_id

    @property
    def span_id(self) -> str | None:
        """16 hex digits, or None."""
        return self.context.span_id

    @property
    def cold_start(self) -> bool | None:
        """Whether the invocation is a cold start; None where it cannot be known."""
        return self.context.cold_start

    def replace(self, **changes: Any) -> Self:
        """Return the same record but for these fields."""
        return msgspec.structs.replace(self, **changes)

    def with_attributes(self, attributes: dict[str, Any]) -> LogRecord:
        """Return the same record with these attributes and no others."""
        return LogRecord(  # faster than `replace`, and what most transforms do
            self.time,
            self.source,
            self.type,
            self.severity_number,
            self.severity_text,
            self.body,
            attributes,
            self.context,
            self.event,
        )

    def encode(self) -> bytes:
        """Return the record as one flat JSON object; the raw event and what is unknown are left out."""
        from_id = self.context.from_id
        own = _Line(
            self.time,
            self.source,
            self.type,
            self.severity_number,
            self.severity_text,
            self.body,
            self.attributes or None,
            from_id,
        )
        if from_id is not msgspec.UNSET:
            try:
                return _encode(own)
            except (UnicodeEncodeError, TypeError, OverflowError):
                own.request_id = msgspec.UNSET
        return spliced(own, self.context)


def spliced(own: Any, context: Context) -> bytes:
    """Encode a struct and the context, encoded long before, as one flat object."""
    try:
        return _encode(own)[:-1] + context.tail
    except (UnicodeEncodeError, TypeError, OverflowError):
        return encode_json(own)[:-1] + context.tail


def encode_json(value: Any) -> bytes:
    """Encode any value as JSON; what JSON has no form for becomes text, so that no value costs its record."""
    try:
        return msgspec.json.encode(value, enc_hook=str)
    except (UnicodeEncodeError, TypeError, OverflowError):
        return msgspec.json.encode(portable(msgspec.to_builtins(value, enc_hook=str, str_keys=True)))


def portable(value: Any) -> Any:
    """Make a value one that any JSON encoder takes: a lone surrogate is replaced, a number beyond 64 bits is text."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, dict):
        return {portable(key): portable(item) for key, item in value.items()}
    return [portable(item) for item in value] if isinstance(value, list | tuple) else value
