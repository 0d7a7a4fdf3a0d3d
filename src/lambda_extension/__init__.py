"""AWS Lambda extensions with structured concurrency, on trio or asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._exceptions import (
    APIError,
    ConnectError,
    ContainerError,
    DecodeError,
    LambdaExtensionError,
    NotInLambdaError,
    ProtocolError,
    RegistrationError,
    SubscriptionError,
    TelemetryNotSupportedError,
)
from lambda_extension._lazy import importer

if TYPE_CHECKING:
    from lambda_extension._client import ExtensionClient
    from lambda_extension._enums import (
        EventType,
        InitializationType,
        LogsSchemaVersion,
        SchemaVersion,
        ShutdownReason,
        TelemetryType,
    )
    from lambda_extension._environment import Environment
    from lambda_extension._models import (
        Buffering,
        Destination,
        InvokeEvent,
        LogsSubscription,
        Registration,
        ShutdownEvent,
        TelemetrySubscription,
        Tracing,
    )
    from lambda_extension._open import open_extension, open_telemetry
    from lambda_extension._runner import Extension, run
    from lambda_extension._session import ExtensionSession, Invocation, InvocationOutcome, Shutdown
    from lambda_extension._telemetry_runner import TelemetryProcessor, run_telemetry
else:
    __getattr__ = importer(
        __name__,
        {
            "_client": ("ExtensionClient",),
            "_enums": (
                "EventType",
                "InitializationType",
                "LogsSchemaVersion",
                "SchemaVersion",
                "ShutdownReason",
                "TelemetryType",
            ),
            "_environment": ("Environment",),
            "_models": (
                "Buffering",
                "Destination",
                "InvokeEvent",
                "LogsSubscription",
                "Registration",
                "ShutdownEvent",
                "TelemetrySubscription",
                "Tracing",
            ),
            "_open": ("open_extension", "open_telemetry"),
            "_runner": ("Extension", "run"),
            "_session": ("ExtensionSession", "Invocation", "InvocationOutcome", "Shutdown"),
            "_telemetry_runner": ("TelemetryProcessor", "run_telemetry"),
            "telemetry": (),
        },
    )

__all__ = [
    "APIError",
    "Buffering",
    "ConnectError",
    "ContainerError",
    "DecodeError",
    "Destination",
    "Environment",
    "EventType",
    "Extension",
    "ExtensionClient",
    "ExtensionSession",
    "InitializationType",
    "Invocation",
    "InvocationOutcome",
    "InvokeEvent",
    "LambdaExtensionError",
    "LogsSchemaVersion",
    "LogsSubscription",
    "NotInLambdaError",
    "ProtocolError",
    "Registration",
    "RegistrationError",
    "SchemaVersion",
    "Shutdown",
    "ShutdownEvent",
    "ShutdownReason",
    "SubscriptionError",
    "TelemetryNotSupportedError",
    "TelemetryProcessor",
    "TelemetrySubscription",
    "TelemetryType",
    "Tracing",
    "open_extension",
    "open_telemetry",
    "run",
    "run_telemetry",
]

for _name in set(__all__) & set(globals()):
    globals()[_name].__module__ = __name__  # as _lazy does with what is imported later


def __dir__() -> list[str]:
    return __all__
