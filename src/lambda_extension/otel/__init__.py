"""Telemetry as OpenTelemetry spans, log records and metrics, by OTLP; and the function's own OTLP taken in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_extension._lazy import import_on_use

if TYPE_CHECKING or not import_on_use(__name__):
    from lambda_extension.otel._encoders import Protocol as Protocol, Signal as Signal
    from lambda_extension.otel._metrics import Temporality as Temporality
    from lambda_extension.otel._model import (
        Histogram as Histogram,
        HistogramPoint as HistogramPoint,
        NumberPoint as NumberPoint,
        OTLPMetric as OTLPMetric,
        OTLPSpan as OTLPSpan,
        SpanLink as SpanLink,
        SpanStatus as SpanStatus,
        Sum as Sum,
    )
    from lambda_extension.otel._phases import Sampled as Sampled, SpanEnd as SpanEnd
    from lambda_extension.otel._processor import OpenTelemetryProcessor as OpenTelemetryProcessor
