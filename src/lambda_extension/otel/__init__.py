"""Telemetry as OpenTelemetry spans, log records and metrics (extra: otel)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._lazy import importer

if TYPE_CHECKING:
    from lambda_extension.otel._logs import LogConverter
    from lambda_extension.otel._metrics import MetricRecorder
    from lambda_extension.otel._processor import OpenTelemetryProcessor, OpenTelemetryStatistics
    from lambda_extension.otel._resource import lambda_resource
    from lambda_extension.otel._spans import SpanConverter
else:
    __getattr__ = importer(
        __name__,
        {
            "_logs": ("LogConverter",),
            "_metrics": ("MetricRecorder",),
            "_processor": ("OpenTelemetryProcessor", "OpenTelemetryStatistics"),
            "_resource": ("lambda_resource",),
            "_spans": ("SpanConverter",),
        },
    )

__all__ = [
    "LogConverter",
    "MetricRecorder",
    "OpenTelemetryProcessor",
    "OpenTelemetryStatistics",
    "SpanConverter",
    "lambda_resource",
]


def __dir__() -> list[str]:
    return __all__
