"""The platform's enumerations. What it sends is open: what AWS adds tomorrow must not raise today."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class OpenStrEnum(StrEnum):
    """A string enumeration that takes any string.

    Known values are matched regardless of case (the platform sends `timeout`, its emulator `Timeout`); any other
    string becomes a member-like value that equals that string, is kept exactly as it came, and is not remembered.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        folded = value.casefold()
        for member in cls:
            if member.value.casefold() == folded:
                return member
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown

    @property
    def is_known(self) -> bool:
        """Whether this library has a name for the value."""
        return self._value_ in type(self)._value2member_map_


class EventType(StrEnum):
    """What an extension may ask to be told of."""

    INVOKE = "INVOKE"
    SHUTDOWN = "SHUTDOWN"


class ShutdownReason(OpenStrEnum):
    """Why the environment goes away; any other string of the platform is kept as it is."""

    SPINDOWN = "spindown"
    TIMEOUT = "timeout"
    FAILURE = "failure"
    EXTENSION_ERROR = "extension_error"
    """Never sent by the platform: given to shutdown hooks when the extension itself failed."""


class InitializationType(OpenStrEnum):
    """How the execution environment was initialised."""

    ON_DEMAND = "on-demand"
    PROVISIONED_CONCURRENCY = "provisioned-concurrency"
    SNAP_START = "snap-start"
    MANAGED_INSTANCES = "lambda-managed-instances"


class TelemetryType(StrEnum):
    """Categories of telemetry that can be subscribed to."""

    PLATFORM = "platform"
    FUNCTION = "function"
    EXTENSION = "extension"
    """Output of all extensions, this one included: never log per batch while subscribed to it."""


class SchemaVersion(StrEnum):
    """Versions of the Telemetry API's event schema."""

    V2022_07_01 = "2022-07-01"
    V2022_12_13 = "2022-12-13"
    V2025_01_29 = "2025-01-29"
    """The only one that Lambda Managed Instances take."""


class LogsSchemaVersion(StrEnum):
    """Versions of the deprecated Logs API's schema."""

    V2020_08_15 = "2020-08-15"
    V2021_03_18 = "2021-03-18"
