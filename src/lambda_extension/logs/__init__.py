"""The Logs API, which AWS has deprecated: its events, their decoding, and a runner. New code uses the Telemetry API.

Events that both APIs have are those of `lambda_extension.telemetry`.
"""

from __future__ import annotations

from lambda_extension.logs._events import (
    KnownLogsEvent,
    LogsEvent,
    LogsSubscriptionRecord,
    PlatformEnd,
    PlatformEndRecord,
    PlatformFault,
    PlatformLogsSubscription,
    decode,
)
from lambda_extension.logs._runner import run_logs
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

__all__ = [
    "ExtensionLog",
    "FunctionLog",
    "KnownLogsEvent",
    "LogsEvent",
    "LogsSubscriptionRecord",
    "PlatformEnd",
    "PlatformEndRecord",
    "PlatformExtension",
    "PlatformFault",
    "PlatformLogsDropped",
    "PlatformLogsSubscription",
    "PlatformReport",
    "PlatformRuntimeDone",
    "PlatformStart",
    "UnknownEvent",
    "decode",
    "run_logs",
]
