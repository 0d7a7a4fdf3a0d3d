"""AWS Lambda extensions with structured concurrency, on trio or asyncio."""

from __future__ import annotations

from lambda_extension._client import ExtensionClient
from lambda_extension._environment import Environment
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
from lambda_extension._models import (
    Buffering,
    Destination,
    EventType,
    InitializationType,
    InvokeEvent,
    LogsSchemaVersion,
    LogsSubscription,
    Registration,
    SchemaVersion,
    ShutdownEvent,
    ShutdownReason,
    TelemetrySubscription,
    TelemetryType,
    Tracing,
)
from lambda_extension._runner import Extension, run
from lambda_extension._session import (
    ExtensionSession,
    Invocation,
    InvocationOutcome,
    Shutdown,
    open_extension,
    open_telemetry,
)
from lambda_extension._telemetry_runner import TelemetryProcessor, run_telemetry

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

for _name in __all__:
    # Tracebacks and documentation name what users import, not the private module that it lives in.
    globals()[_name].__module__ = __name__
