"""The subscription to the deprecated Logs API, for who asks for it."""

from __future__ import annotations

from typing import Any

import attrs

from lambda_extension._api._enums import LogsSchemaVersion, TelemetryType
from lambda_extension._api._models import Buffering, Destination, not_empty, telemetry_types


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
        converter=telemetry_types,
        validator=not_empty,
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
