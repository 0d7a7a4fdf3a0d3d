"""What a session needs before it asks for the first event: registration and subscription, with the platform's limits.

What comes later, or seldom, stands in modules of its own (`_events`, `_logs`): making a class takes attrs a third of a
millisecond, and a function's cold start waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs

from lambda_extension._api._enums import EventType, SchemaVersion, TelemetryType
from lambda_extension._validators import whole


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


def telemetry_types(values: Iterable[TelemetryType | str]) -> tuple[TelemetryType, ...]:
    """Make them of their names, each once.

    Raises:
        TypeError: It is no collection.
        ValueError: The API has no such type.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        msg = f"types must be a collection of telemetry types, not {values!r}"
        raise TypeError(msg)
    return tuple(dict.fromkeys(TelemetryType(value) for value in values))


def not_empty(instance: object, attribute: attrs.Attribute[Any], value: tuple[TelemetryType, ...]) -> None:
    """Refuse, as a validator of attrs, to subscribe to nothing."""
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
        converter=telemetry_types,
        validator=not_empty,
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
