"""Telemetry as the platform sends it, and a conversion to put it through."""

from __future__ import annotations

import json
from typing import Any

from lambda_extension import Environment, InitializationType
from lambda_extension.otel._conversion import Conversion
from lambda_extension.otel._identity import Identities
from lambda_extension.otel._metrics import MetricMaker
from lambda_extension.otel._model import OTLPLogRecord, OTLPMetric, OTLPSpan
from lambda_extension.otel._phases import SpanMaker
from lambda_extension.records import Correlator, Pipeline
from lambda_extension.telemetry import TelemetryEvent, decode

SECOND = 1_000_000_000
START = 1_772_359_200 * SECOND  # 2026-03-01T10:00:00Z
TRACE_ID = "67c2d4a0aabbccddeeff001122334455"
PARENT_ID = "0102030405060708"
SPAN_ID = "54565fb41ac79632"
HEADER = f"Root=1-{TRACE_ID[:8]}-{TRACE_ID[8:]};Parent={PARENT_ID};Sampled=1"
TRACING = {"type": "X-Amzn-Trace-Id", "value": HEADER, "spanId": SPAN_ID}


def wire(second: float, kind: str, record: Any) -> dict[str, Any]:
    return {"time": f"2026-03-01T10:00:{second:06.3f}Z", "type": kind, "record": record}


def start(second: float, request_id: str = "r1", **record: Any) -> dict[str, Any]:
    return wire(second, "platform.start", {"requestId": request_id, "version": "7", **record})


def line(second: float, text: Any) -> dict[str, Any]:
    return wire(second, "function", text)


def done(second: float, request_id: str = "r1", **record: Any) -> dict[str, Any]:
    return wire(second, "platform.runtimeDone", {"requestId": request_id, "status": "success", **record})


def report(second: float, request_id: str = "r1", **record: Any) -> dict[str, Any]:
    metrics = {"durationMs": 500.0, **record.pop("metrics", {})}
    return wire(second, "platform.report", {"requestId": request_id, "status": "success", "metrics": metrics, **record})


def init(second: float, kind: str = "on-demand", **record: Any) -> list[dict[str, Any]]:
    about = {"initializationType": kind, "phase": "init"}
    return [
        wire(second, "platform.initStart", {**about, "runtimeVersion": "python:3.13.v1"}),
        wire(second + 1, "platform.initRuntimeDone", {**about, "status": "success", **record}),
        wire(second + 2, "platform.initReport", {**about, "metrics": {"durationMs": 2000.0}, **record}),
    ]


def restore(second: float, **record: Any) -> list[dict[str, Any]]:
    return [
        wire(second, "platform.restoreStart", {"runtimeVersion": "java:21.v1"}),
        wire(second + 0.25, "platform.restoreRuntimeDone", {"status": "success", **record}),
        wire(second + 0.5, "platform.restoreReport", {"status": "success", "metrics": {"durationMs": 500.0}, **record}),
    ]


def events(*raw: dict[str, Any]) -> list[TelemetryEvent]:
    return decode(json.dumps(raw).encode())


class Converted:
    """A conversion of all three signals, and what has come of it."""

    def __init__(
        self,
        kind: str = "on-demand",
        *,
        signals: Any = ("traces", "logs", "metrics"),
        temporality: Any = "delta",
        transforms: Any = (),
        clock: Any = None,
        **spans: Any,
    ) -> None:
        environment = Environment(
            function_name="orders", memory_size_mb=128, initialization_type=InitializationType(kind)
        )
        hooks = {
            name: spans.pop(name) for name in ("span_hook", "metric_hook", "on_restore", "log_limits") if name in spans
        }
        self.identities = Identities(sampled_alone=environment.is_managed_instance)
        self.conversion = Conversion(
            signals,
            Correlator(environment),
            SpanMaker("orders", self.identities, **spans),
            MetricMaker(temporality, kind),
            self.identities,
            environment,
            pipeline=Pipeline(transforms),
            **hooks,
        )
        self.spans: list[OTLPSpan] = []
        self.logs: list[OTLPLogRecord] = []

    def take(self, *raw: dict[str, Any]) -> list[OTLPSpan]:
        spans, logs = self.conversion.take(events(*raw))
        self.spans += spans
        self.logs += logs
        return spans

    def finish(self) -> list[OTLPSpan]:
        spans, logs = self.conversion.finish()
        self.spans += spans
        self.logs += logs
        return spans

    def metrics(self) -> dict[str, OTLPMetric]:
        return {metric.name: metric for metric in self.conversion.collect()}


def values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Read attributes back."""
    return {item["key"]: value(item["value"]) for item in attributes}


def value(item: dict[str, Any]) -> Any:
    for kind, content in item.items():
        if kind == "intValue":
            return int(content)
        if kind == "kvlistValue":
            return values(content["values"])
        if kind == "arrayValue":
            return [value(each) for each in content["values"]]
        return content
    return None


def seconds(span: OTLPSpan) -> tuple[float, float]:
    return (int(span.start_time_unix_nano) - START) / SECOND, (int(span.end_time_unix_nano) - START) / SECOND
