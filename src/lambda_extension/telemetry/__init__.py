"""The events of the Telemetry API, the stream that delivers them, and their decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._lazy import import_on_use

if TYPE_CHECKING or not import_on_use(__name__):
    from lambda_extension.telemetry._decoding import decode as decode, encode as encode
    from lambda_extension.telemetry._events import (
        ExtensionLog as ExtensionLog,
        FunctionLog as FunctionLog,
        KnownEvent as KnownEvent,
        PlatformExtension as PlatformExtension,
        PlatformInitReport as PlatformInitReport,
        PlatformInitRuntimeDone as PlatformInitRuntimeDone,
        PlatformInitStart as PlatformInitStart,
        PlatformLogsDropped as PlatformLogsDropped,
        PlatformReport as PlatformReport,
        PlatformRestoreReport as PlatformRestoreReport,
        PlatformRestoreRuntimeDone as PlatformRestoreRuntimeDone,
        PlatformRestoreStart as PlatformRestoreStart,
        PlatformRuntimeDone as PlatformRuntimeDone,
        PlatformStart as PlatformStart,
        PlatformTelemetrySubscription as PlatformTelemetrySubscription,
        TelemetryEvent as TelemetryEvent,
        UnknownEvent as UnknownEvent,
    )
    from lambda_extension.telemetry._records import (
        ExtensionRecord as ExtensionRecord,
        InitPhase as InitPhase,
        InitReportMetrics as InitReportMetrics,
        InitReportRecord as InitReportRecord,
        InitRuntimeDoneRecord as InitRuntimeDoneRecord,
        InitStartRecord as InitStartRecord,
        LogsDroppedRecord as LogsDroppedRecord,
        ReportMetrics as ReportMetrics,
        ReportRecord as ReportRecord,
        RestoreReportMetrics as RestoreReportMetrics,
        RestoreReportRecord as RestoreReportRecord,
        RestoreRuntimeDoneRecord as RestoreRuntimeDoneRecord,
        RestoreStartRecord as RestoreStartRecord,
        RuntimeDoneMetrics as RuntimeDoneMetrics,
        RuntimeDoneRecord as RuntimeDoneRecord,
        Span as Span,
        StartRecord as StartRecord,
        Status as Status,
        TelemetrySubscriptionRecord as TelemetrySubscriptionRecord,
        TraceContext as TraceContext,
        parse_time as parse_time,
    )
    from lambda_extension.telemetry._statistics import Statistics as Statistics
    from lambda_extension.telemetry._stream import (
        Batch as Batch,
        ReceiverSettings as ReceiverSettings,
        TelemetryStream as TelemetryStream,
    )
