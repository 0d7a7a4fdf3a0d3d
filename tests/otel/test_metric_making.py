"""What invocations, inits and restores amount to: each counted once, at the time of events, by the conventions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from converting import SECOND, START, Converted, done, init, report, restore, start, values, wire

from lambda_extension.otel._model import OTLPMetric

MIB = 1024 * 1024


def total(metric: OTLPMetric) -> float:
    assert metric.sum is not None
    (point,) = metric.sum.data_points
    return float(point.as_int if point.as_int is not None else point.as_double or 0)


def sum_of(metric: OTLPMetric) -> tuple[int, float]:
    assert metric.histogram is not None
    (point,) = metric.histogram.data_points
    return int(point.count), point.sum


def test_a_successful_cold_start() -> None:
    made = Converted()
    made.take(*init(0), start(3), done(3.5, metrics={"durationMs": 500.0, "producedBytes": 9}))
    parts = [{"name": "extensionOverhead", "start": "2026-03-01T10:00:03.500Z", "durationMs": 250.0}]
    metrics = {"billedDurationMs": 750, "memorySizeMB": 512, "maxMemoryUsedMB": 64, "durationMs": 750.0}
    made.take(report(4, metrics=metrics, spans=parts))
    found = made.metrics()
    assert {name: total(metric) for name, metric in found.items() if metric.sum is not None} == {
        "faas.coldstarts": 1,
        "faas.invocations": 1,
        "aws.lambda.gb_seconds": 0.375,
    }
    assert {name: sum_of(metric) for name, metric in found.items() if metric.histogram is not None} == {
        "faas.invoke_duration": (1, 0.5),
        "faas.init_duration": (1, 2.0),
        "faas.mem_usage": (1, 64 * MIB),
        "aws.lambda.billed_duration": (1, 0.75),
        "aws.lambda.extension_overhead": (1, 0.25),
        "aws.lambda.memory_size": (1, 512 * MIB),
        "aws.lambda.produced_bytes": (1, 9),
    }
    assert found["faas.init_duration"].unit == "s"
    assert found["faas.mem_usage"].unit == "By"


@pytest.mark.parametrize(
    ("record", "used", "name", "kind"),
    [
        ({"status": "timeout"}, 64, "faas.timeouts", None),
        ({"status": "error", "errorType": "Runtime.ExitError"}, 64, "faas.errors", "Runtime.ExitError"),
        ({"status": "failure"}, 64, "faas.errors", "failure"),
        ({"status": "error", "errorType": "Runtime.OutOfMemory"}, 128, "faas.errors", "Runtime.OutOfMemory"),
    ],
)
def test_a_failure_is_counted_by_its_kind(record: dict[str, Any], used: int, name: str, kind: str | None) -> None:
    made = Converted()
    made.take(start(1), done(1.5, **record), report(2, metrics={"maxMemoryUsedMB": used}, **record))
    found = made.metrics()
    assert "faas.invocations" not in found
    assert total(found[name]) == 1
    assert ("aws.lambda.out_of_memory" in found) == (kind == "Runtime.OutOfMemory")
    total_ = found[name].sum
    assert total_ is not None
    assert values(total_.data_points[0].attributes) == ({"error.type": kind} if kind else {})


def test_on_managed_instances_the_report_alone_tells() -> None:
    made = Converted("lambda-managed-instances")
    made.take(start(1), report(2, metrics={"durationMs": 40.0}), report(2, metrics={"durationMs": 40.0}))
    found = made.metrics()
    assert total(found["faas.invocations"]) == 1
    assert sum_of(found["faas.invoke_duration"]) == (1, 0.04)
    assert "faas.coldstarts" not in found


@pytest.mark.parametrize(
    ("kind", "cold"),
    [
        ("on-demand", True),
        ("provisioned-concurrency", False),
        ("lambda-managed-instances", False),
    ],
)
def test_a_cold_start_is_what_the_spans_attribute_says(kind: str, cold: bool) -> None:
    made = Converted(kind)
    made.take(*init(0, kind), *init(2.5, kind), start(5), done(5.5), report(6))
    made.finish()
    assert ("faas.coldstarts" in made.metrics()) is cold
    spans = [span for span in made.spans if span.name == "orders"]
    assert [values(span.attributes)["faas.coldstart"] for span in spans] == [cold]


@pytest.mark.parametrize("kind", ["on-demand", "snap-start"])
def test_cold_starts_are_told_apart_by_how_the_environment_is_initialised(kind: str) -> None:
    made = Converted(kind)
    made.take(*init(0, kind), *(restore(3) if kind == "snap-start" else []), start(5), done(5.5), report(6))
    counted = made.metrics()["faas.coldstarts"].sum
    assert counted is not None
    assert [values(point.attributes) for point in counted.data_points] == [{"aws.lambda.initialization_type": kind}]


def test_restores_dropped_logs_and_failed_inits() -> None:
    made = Converted("snap-start")
    made.take(*init(0, "snap-start", status="error", errorType="X"), *restore(10, status="timeout"))
    made.take(wire(11, "platform.logsDropped", {"reason": "slow", "droppedRecords": 5, "droppedBytes": 70}))
    found = made.metrics()
    assert total(found["faas.errors"]) == total(found["faas.timeouts"]) == 1
    assert sum_of(found["aws.lambda.restore_duration"]) == (1, 0.5)
    assert total(found["aws.lambda.logs_dropped"]) == 5


def test_delta_gives_what_is_new_and_nothing_where_nothing_is() -> None:
    made = Converted()
    made.take(start(1), done(1.5), report(2))
    first = made.metrics()
    assert made.metrics() == {}
    made.take(start(3, "r2"), done(3.5, "r2"), report(4, "r2"))
    second = made.metrics()
    for found in (first, second):
        assert found["faas.invocations"].sum is not None
        assert found["faas.invocations"].sum.aggregation_temporality == 1
        assert total(found["faas.invocations"]) == 1
    assert first["faas.invocations"].sum is not None
    assert second["faas.invocations"].sum is not None
    (before,), (after,) = first["faas.invocations"].sum.data_points, second["faas.invocations"].sum.data_points
    assert int(before.time_unix_nano) == START + 2 * SECOND == int(after.start_time_unix_nano)
    assert int(after.time_unix_nano) == START + 4 * SECOND


def test_cumulative_counts_from_the_beginning_and_repeats_nothing() -> None:
    made = Converted(temporality="cumulative")
    made.take(start(1), done(1.5), report(2))
    assert total(made.metrics()["faas.invocations"]) == 1
    assert made.metrics() == {}
    made.take(start(3, "r2"), done(3.5, "r2", status="timeout"), report(4, "r2", status="timeout"))
    found = made.metrics()
    assert "faas.invocations" not in found  # which has not changed
    assert found["faas.invoke_duration"].histogram is not None if "faas.invoke_duration" in found else True
    made.take(start(5, "r3"), done(5.5, "r3"), report(6, "r3"))
    assert total(made.metrics()["faas.invocations"]) == 2


def test_values_fall_into_the_conventions_buckets() -> None:
    made = Converted()
    for second, milliseconds in ((1, 5.0), (3, 5.1), (5, 20_000.0)):
        runtime = {"durationMs": milliseconds}
        made.take(
            start(second, f"r{second}"),
            done(second + 0.5, f"r{second}", metrics=runtime),
            report(second + 1, f"r{second}"),
        )
    histogram = made.metrics()["faas.invoke_duration"].histogram
    assert histogram is not None
    (point,) = histogram.data_points
    assert point.explicit_bounds[:2] == [0.005, 0.01]
    assert [int(count) for count in point.bucket_counts] == [1, 1, *[0] * 12, 1]
    assert (point.min, point.max) == (0.005, 20.0)


def test_a_hook_renames_and_leaves_out_metrics() -> None:
    def hook(metric: OTLPMetric) -> OTLPMetric | None:
        if metric.name == "faas.coldstarts":
            return None
        return msgspec.structs.replace(metric, name=f"shop.{metric.name}")

    made = Converted(metric_hook=hook)
    made.take(start(1), done(1.5), report(2))
    assert all(name.startswith("shop.") for name in made.metrics())
    assert made.conversion.refused == {"metrics": 1}
