"""Telemetry as OpenTelemetry spans, log records and metrics (extra: otel)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._lazy import import_on_use

if TYPE_CHECKING or not import_on_use(__name__):
    from lambda_extension.otel._logs import LogConverter as LogConverter
    from lambda_extension.otel._metrics import MetricRecorder as MetricRecorder
    from lambda_extension.otel._processor import (
        OpenTelemetryProcessor as OpenTelemetryProcessor,
        OpenTelemetryStatistics as OpenTelemetryStatistics,
    )
    from lambda_extension.otel._resource import lambda_resource as lambda_resource
    from lambda_extension.otel._spans import SpanConverter as SpanConverter
