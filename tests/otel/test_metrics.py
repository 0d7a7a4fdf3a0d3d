"""Platform events as metrics, by the semantic conventions for functions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from lambda_extension.otel import MetricRecorder
from lambda_extension.telemetry import decode


def measured(*events: tuple[str, dict[str, Any]], runtime_done: bool = True) -> dict[str, Any]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    recorder = MetricRecorder(provider.get_meter("test"), runtime_done=runtime_done)
    made = [{"time": "2024-01-01T00:00:00Z", "type": kind, "record": record} for kind, record in events]
    recorder.record(decode(json.dumps(made).encode()))
    data = reader.get_metrics_data()
    provider.shutdown()
    if data is None or not data.resource_metrics:
        return {}
    found = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        (point,) = metric.data.data_points
        found[metric.name] = (metric.unit, getattr(point, "value", None) or point.sum)  # type: ignore[union-attr]
    return found


INIT = {"initializationType": "on-demand", "phase": "init"}


def done(status: str) -> tuple[str, dict[str, Any]]:
    return "platform.runtimeDone", {"requestId": "r", "status": status, "metrics": {"durationMs": 250.0}}


def report(status: str | None = None, **metrics: float) -> tuple[str, dict[str, Any]]:
    return "platform.report", {"requestId": "r", "status": status, "metrics": {"durationMs": 500.0, **metrics}}


def test_an_init_is_a_cold_start_with_a_duration() -> None:
    init_report = {**INIT, "status": "error", "metrics": {"durationMs": 100.0}}
    assert measured(("platform.initStart", INIT), ("platform.initReport", init_report)) == {
        "faas.coldstarts": ("{coldstart}", 1),
        "faas.init_duration": ("s", 0.1),
        "faas.errors": ("{error}", 1),
    }


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        ("success", {"faas.invocations": ("{invocation}", 1)}),
        ("error", {"faas.errors": ("{error}", 1)}),
        ("failure", {"faas.errors": ("{error}", 1)}),
        ("timeout", {"faas.timeouts": ("{timeout}", 1)}),
        ("something new", {}),
    ],
)
def test_invocations_count_by_how_they_end(status: str, counted: dict[str, Any]) -> None:
    assert measured(done(status)) == {**counted, "faas.invoke_duration": ("s", 0.25)}


def test_a_report_tells_of_memory_and_counts_no_invocation_again() -> None:
    assert measured(report("success", maxMemoryUsedMB=3)) == {"faas.mem_usage": ("By", 3 * 1024 * 1024)}


def test_without_runtime_done_the_report_counts() -> None:
    assert measured(done("error"), report("success"), runtime_done=False) == {
        "faas.invocations": ("{invocation}", 1),
        "faas.invoke_duration": ("s", 0.5),
    }


def test_the_rest_measures_nothing() -> None:
    bare = ("platform.runtimeDone", {"requestId": "r", "status": "new"})
    assert measured(("function", {"message": "x"}), bare) == {}
