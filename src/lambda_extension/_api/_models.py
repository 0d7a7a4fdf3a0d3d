"""Types of the Extensions API: registration, events, subscriptions, with the limits that the platform sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from lambda_extension._api._enums import (
    EventType,
    LogsSchemaVersion,
    SchemaVersion,
    ShutdownReason,
    TelemetryType,
)
from lambda_extension._validators import whole


@attrs.frozen(kw_only=True)
class Tracing:
    """The trace header of an invocation.

    Attributes:
        type: Kind of header, `X-Amzn-Trace-Id`.
        value: The header as it came, such as `Root=1-…;Parent=…;Sampled=1`; may be empty.
    """

    type: str = "X-Amzn-Trace-Id"
    value: str = ""


@attrs.frozen(kw_only=True)
class Registration:
    """What the platform told this extension when it registered.

    Attributes:
        extension_id: Identifier for all later calls.
        extension_name: The name that was registered.
        function_name: Name of the function.
        function_version: Version of the function.
        handler: Handler of the function; may be empty.
        account_id: AWS account; None unless asked for and known.
        events: The events that will be sent, after any fall-back.
    """

    extension_id: str
    extension_name: str
    function_name: str
    function_version: str
    handler: str = ""
    account_id: str | None = None
    events: tuple[EventType, ...] = ()


@attrs.frozen(kw_only=True)
class InvokeEvent:
    """An invocation has begun.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html

    Attributes:
        deadline_ms: When the function times out, in epoch milliseconds.
        request_id: AWS request id of the invocation.
        invoked_function_arn: The ARN that was invoked, with its version or alias if one was named.
        tracing: Trace header; None when the platform sent none.
    """

    deadline_ms: int
    request_id: str
    invoked_function_arn: str = ""
    tracing: Tracing | None = None


@attrs.frozen(kw_only=True)
class ShutdownEvent:
    """The environment goes away.

    Attributes:
        deadline_ms: When the process is killed, in epoch milliseconds.
        shutdown_reason: Why; an open enumeration.
    """

    deadline_ms: int
    shutdown_reason: ShutdownReason


@attrs.frozen(kw_only=True)
class Buffering:
    """How the platform gathers events into a batch; it sends at whichever limit is reached first.

    The limits are the same for every schema version that AWS documents. A batch may exceed `max_bytes`.

    Attributes:
        max_items: Events in a batch, 1,000 to 10,000.
        max_bytes: Bytes in a batch, 262,144 to 1,048,576.
        timeout_ms: Milliseconds from a batch's first event to its sending, 25 to 30,000.

    Raises:
        TypeError: A value is no whole number.
        ValueError: A value is outside its limits.
    """

    max_items: int = attrs.field(default=10_000, validator=whole(1_000, 10_000))
    max_bytes: int = attrs.field(default=262_144, validator=whole(262_144, 1_048_576))
    timeout_ms: int = attrs.field(default=1_000, validator=whole(25, 30_000))

    def to_wire(self) -> dict[str, int]:
        """Give the JSON object that the platform takes."""
        return {
            "maxItems": self.max_items,
            "maxBytes": self.max_bytes,
            "timeoutMs": self.timeout_ms,
        }


@attrs.frozen(kw_only=True)
class Destination:
    """Where the platform sends telemetry: a listener inside the environment.

    Attributes:
        port: TCP port of the listener; 9001 is the platform's own.
        protocol: `HTTP` for a request a batch, `TCP` for newline-delimited JSON on one connection.
        path: Path of the URI, with its slash (HTTP only).
        host: `sandbox.localdomain`, or `sandbox`; the platform refuses others.

    Raises:
        ValueError: The port, protocol or path cannot be one.
    """

    port: int = attrs.field(validator=whole(1, 65_535))
    protocol: Literal["HTTP", "TCP"] = attrs.field(default="HTTP", validator=attrs.validators.in_(["HTTP", "TCP"]))
    path: str = attrs.field(default="/", validator=attrs.validators.matches_re(r"/\S*"))
    host: str = "sandbox.localdomain"

    def to_wire(self) -> dict[str, Any]:
        """Give the JSON object that the platform takes."""
        if self.protocol == "TCP":
            return {"protocol": "TCP", "port": self.port}
        return {"protocol": "HTTP", "URI": f"http://{self.host}:{self.port}{self.path}"}


def _types(values: Iterable[TelemetryType | str]) -> tuple[TelemetryType, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        msg = f"types must be a collection of telemetry types, not {values!r}"
        raise TypeError(msg)
    return tuple(dict.fromkeys(TelemetryType(value) for value in values))


def _not_empty(instance: object, attribute: attrs.Attribute[Any], value: tuple[TelemetryType, ...]) -> None:
    if not value:
        msg = f"{type(instance).__name__}.{attribute.name} must name at least one telemetry type"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class TelemetrySubscription:
    """What to ask of the Telemetry API.

    https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api-reference.html

    Attributes:
        types: Categories; by default platform and function.
        buffering: How events are gathered. The default sends after 25 ms, the least that AWS allows: whoever waits
            for `platform.runtimeDone` within an invocation is billed for this wait.
        schema_version: Version of the event schema; None chooses `2025-01-29` on Managed Instances, else `2022-12-13`.

    Raises:
        TypeError: A value is of another type.
        ValueError: A type or version that the API does not have, or no type at all.
    """

    types: tuple[TelemetryType, ...] = attrs.field(
        default=(TelemetryType.PLATFORM, TelemetryType.FUNCTION),
        converter=_types,
        validator=_not_empty,
    )
    buffering: Buffering = attrs.field(
        factory=lambda: Buffering(timeout_ms=25), validator=attrs.validators.instance_of(Buffering)
    )
    schema_version: SchemaVersion | None = attrs.field(default=None, converter=attrs.converters.optional(SchemaVersion))

    @property
    def sees_ends(self) -> bool:
        """Whether `platform.runtimeDone`, the end of an invocation, is among what this asks for."""
        return TelemetryType.PLATFORM in self.types

    def to_wire(self, destination: Destination, *, managed_instance: bool) -> dict[str, Any]:
        """Give the JSON object that the platform takes."""
        default = SchemaVersion.V2025_01_29 if managed_instance else SchemaVersion.V2022_12_13
        return {
            "schemaVersion": str(self.schema_version or default),
            "types": [str(kind) for kind in self.types],
            "destination": destination.to_wire(),
            "buffering": self.buffering.to_wire(),
        }


@attrs.frozen(kw_only=True)
class LogsSubscription:
    """What to ask of the Logs API, which AWS has deprecated in favour of the Telemetry API.

    Attributes:
        types: Categories; by default platform and function.
        buffering: How events are gathered; by default the platform sends 100 ms after a batch's first event, the least
            that AWS's description of this API allows, since an extension that flushes before the freeze waits for it.
        schema_version: Version of the event schema.

    Raises:
        TypeError: A value is of another type.
        ValueError: A type or version that the API does not have, or no type at all.
    """

    types: tuple[TelemetryType, ...] = attrs.field(
        default=(TelemetryType.PLATFORM, TelemetryType.FUNCTION),
        converter=_types,
        validator=_not_empty,
    )
    buffering: Buffering = attrs.field(
        factory=lambda: Buffering(timeout_ms=100), validator=attrs.validators.instance_of(Buffering)
    )
    schema_version: LogsSchemaVersion = attrs.field(default=LogsSchemaVersion.V2021_03_18, converter=LogsSchemaVersion)

    @property
    def sees_ends(self) -> bool:
        """Whether `platform.runtimeDone`, the end of an invocation, is among what this asks for."""
        return TelemetryType.PLATFORM in self.types and self.schema_version is not LogsSchemaVersion.V2020_08_15

    def to_wire(self, destination: Destination) -> dict[str, Any]:
        """Give the JSON object that the platform takes."""
        return {
            "schemaVersion": str(self.schema_version),
            "types": [str(kind) for kind in self.types],
            "destination": destination.to_wire(),
            "buffering": self.buffering.to_wire(),
        }


def _tracing(body: Any) -> Tracing | None:
    """Make of it what can be made: a trace header of another shape is no reason to lose an invocation."""
    if isinstance(body, str):
        return Tracing(value=body)
    if not isinstance(body, Mapping):
        return None
    return Tracing(type=str(body.get("type") or "X-Amzn-Trace-Id"), value=str(body.get("value") or ""))


def event_from_wire(body: Mapping[str, Any]) -> InvokeEvent | ShutdownEvent | None:
    """Make an event of a decoded `/next` body; None when its type is neither INVOKE nor SHUTDOWN.

    Raises:
        ValueError: A required field is missing.
    """
    try:
        kind = body["eventType"]
        if kind == EventType.INVOKE:
            return InvokeEvent(
                deadline_ms=int(body["deadlineMs"]),
                request_id=str(body["requestId"]),
                invoked_function_arn=str(body.get("invokedFunctionArn") or ""),
                tracing=_tracing(body.get("tracing")),
            )
        if kind == EventType.SHUTDOWN:
            return ShutdownEvent(
                deadline_ms=int(body["deadlineMs"]),
                shutdown_reason=ShutdownReason(str(body.get("shutdownReason") or "unknown")),
            )
    except (KeyError, TypeError, ValueError, OverflowError) as error:  # the last is of an infinite number
        msg = f"the event does not have the expected shape ({type(error).__name__}: {error}): {body!r}"
        raise ValueError(msg) from error
    return None
