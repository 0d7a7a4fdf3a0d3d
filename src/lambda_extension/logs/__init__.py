"""The Logs API, which AWS has deprecated: its events, their decoding, and a runner. New code uses the Telemetry API.

Events that both APIs have are those of `lambda_extension.telemetry`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._lazy import import_on_use

if TYPE_CHECKING or not import_on_use(__name__):
    from lambda_extension.logs._events import (
        KnownLogsEvent as KnownLogsEvent,
        LogsEvent as LogsEvent,
        LogsSubscriptionRecord as LogsSubscriptionRecord,
        PlatformEnd as PlatformEnd,
        PlatformEndRecord as PlatformEndRecord,
        PlatformFault as PlatformFault,
        PlatformLogsSubscription as PlatformLogsSubscription,
        decode as decode,
    )
    from lambda_extension.logs._runner import run_logs as run_logs
    from lambda_extension.telemetry import (
        ExtensionLog as ExtensionLog,
        FunctionLog as FunctionLog,
        PlatformExtension as PlatformExtension,
        PlatformLogsDropped as PlatformLogsDropped,
        PlatformReport as PlatformReport,
        PlatformRuntimeDone as PlatformRuntimeDone,
        PlatformStart as PlatformStart,
        UnknownEvent as UnknownEvent,
    )
