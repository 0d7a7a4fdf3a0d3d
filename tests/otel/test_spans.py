"""Phases as spans: their times, their place in a trace, their status, and what happens when events are missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from lambda_extension.otel import SpanConverter
from lambda_extension.telemetry import decode

SECOND = 1_000_000_000
START = 1_704_067_200 * SECOND  # 2024-01-01T00:00:00Z
HEADER = "Root=1-67c2d4a0-aabbccddeeff001122334455;Parent=0102030405060708;Sampled=1"


def event(second: float, kind: str, **record: Any) -> dict[str, Any]:
    return {"time": f"2024-01-01T00:00:{second:06.3f}Z", "type": f"platform.{kind}", "record": record}


def start(second: float, request_id: str = "r1", **record: Any) -> dict[str, Any]:
    return event(second, "start", requestId=request_id, **record)


def done(second: float, request_id: str = "r1", **record: Any) -> dict[str, Any]:
    return event(second, "runtimeDone", requestId=request_id, **{"status": "success", **record})


def report(second: float, request_id: str = "r1", **record: Any) -> dict[str, Any]:
    return event(second, "report", requestId=request_id, **{"metrics": {"durationMs": 500.0}, **record})


def init(second: float, kind: str = "on-demand") -> list[dict[str, Any]]:
    return [
        event(
            second,
            "initStart",
            initializationType=kind,
            phase="init",
            runtimeVersion="python:3.11",
            runtimeVersionArn="arn:r",
        ),
        event(second + 1, "initRuntimeDone", initializationType=kind, status="success"),
        event(second + 2, "initReport", initializationType=kind, phase="init", metrics={"durationMs": 2000.0}),
    ]


@pytest.fixture
def converter() -> SpanConverter:
    return SpanConverter(Resource({"faas.name": "orders"}))


def convert(converter: SpanConverter, *events: dict[str, Any]) -> list[ReadableSpan]:
    return converter.convert(decode(json.dumps(events).encode()))


def seconds(span: ReadableSpan) -> tuple[float, float]:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.start_time - START) / SECOND, (span.end_time - START) / SECOND


def context(span: ReadableSpan) -> SpanContext:
    found: SpanContext | None = span.context
    assert found is not None
    return found


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_an_invocation_is_one_span_from_start_to_report_with_its_parts_as_children(converter: SpanConverter) -> None:
    spans = [
        {"name": "responseLatency", "start": "2024-01-01T00:00:01.100Z", "durationMs": 200.5},
        {"name": "odd", "start": "yesterday", "durationMs": 1.0},
    ]
    assert (
        convert(
            converter,
            start(1, functionArn="arn:f"),
            done(1.5, metrics={"durationMs": 500.0, "producedBytes": 9}, spans=spans),
        )
        == []
    )
    metrics = {"durationMs": 500.0, "billedDurationMs": 501, "memorySizeMB": 128, "maxMemoryUsedMB": 64}
    invoke, latency = convert(converter, report(1.75, status="success", metrics=metrics))
    assert (invoke.name, invoke.kind, seconds(invoke)) == ("orders/invoke", SpanKind.SERVER, (1.0, 1.75))
    assert attributes(invoke) == {
        "faas.coldstart": False,
        "faas.invocation_id": "r1",
        "aws.lambda.invoked_arn": "arn:f",
        "aws.lambda.produced_bytes": 9,
        "aws.lambda.billed_duration_ms": 501,
        "aws.lambda.memory_size_mb": 128,
        "aws.lambda.max_memory_used_mb": 64,
    }
    assert (latency.name, latency.kind, seconds(latency)) == ("orders/responseLatency", SpanKind.SERVER, (1.1, 1.3005))
    assert latency.parent == invoke.context
    assert context(latency).trace_id == context(invoke).trace_id
    assert invoke.status.status_code is latency.status.status_code is StatusCode.OK
    assert invoke.resource.attributes["faas.name"] == "orders"


def test_trace_and_parent_are_those_of_the_header_and_the_span_is_the_platforms(converter: SpanConverter) -> None:
    tracing = {"type": "X-Amzn-Trace-Id", "value": HEADER, "spanId": "54565fb41ac79632"}
    (span,) = convert(converter, start(1, tracing=tracing), report(2))
    assert format(context(span).trace_id, "032x") == "67c2d4a0aabbccddeeff001122334455"
    assert format(context(span).span_id, "016x") == "54565fb41ac79632"
    assert context(span).trace_flags == 1
    assert span.parent is not None
    assert format(span.parent.span_id, "016x") == "0102030405060708"
    assert span.parent.is_remote


@pytest.mark.parametrize(
    ("tracing", "flags"),
    [
        (None, 1),
        ({}, 1),
        ({"value": ""}, 1),
        ({"value": "Parent=0102030405060708"}, 1),
        ({"value": "Root=1-67c2d4a0-aabbccddeeff001122334455;Sampled=0", "spanId": "short"}, 0),
        ({"value": "Root=1-67c2d4a0-aabbccddeeff001122334455"}, 0),
        ({"value": HEADER.replace("0102030405060708", "0" * 16), "spanId": "0" * 16}, 1),
        ({"value": "Root=1-00000000-000000000000000000000000;Parent=0102030405060708"}, 1),
    ],
)
def test_what_the_header_does_not_say_is_random(
    converter: SpanConverter, tracing: dict[str, str] | None, flags: int
) -> None:
    (span,) = convert(converter, start(1, tracing=tracing), report(2))
    assert context(span).is_valid
    assert context(span).trace_flags == flags
    assert span.parent is None


def test_an_init_has_a_trace_of_its_own_and_the_first_invocation_is_linked_to_it(converter: SpanConverter) -> None:
    first, second, third = convert(converter, *init(1), start(4, "a"), report(5, "a"), start(6, "b"), report(7, "b"))
    assert (first.name, seconds(first)) == ("orders/init", (1.0, 3.0))
    assert attributes(first) == {
        "aws.lambda.initialization_type": "on-demand",
        "aws.lambda.runtime_version": "python:3.11",
        "aws.lambda.runtime_version_arn": "arn:r",
    }
    assert [link.context for link in second.links] == [first.context]
    assert context(second).trace_id != context(first).trace_id
    assert [attributes(span)["faas.coldstart"] for span in (second, third)] == [True, False]
    assert third.links == ()


@pytest.mark.parametrize("kind", ["provisioned-concurrency", "lambda-managed-instances"])
def test_nobody_waited_for_an_init_beforehand(converter: SpanConverter, kind: str) -> None:
    _, invoke = convert(converter, *init(1, kind), start(4), report(5))
    assert attributes(invoke)["faas.coldstart"] is False


def test_a_restore_is_a_span(converter: SpanConverter) -> None:
    restore, invoke = convert(
        converter,
        event(1, "restoreStart", runtimeVersion="java:21"),
        event(2, "restoreRuntimeDone", status="success"),
        event(3, "restoreReport", status="success", metrics={"durationMs": 2000.0}),
        start(4),
        report(5, metrics={"durationMs": 1.0, "restoreDurationMs": 2000.0}),
    )
    assert (restore.name, seconds(restore)) == ("orders/restore", (1.0, 3.0))
    assert attributes(restore) == {"aws.lambda.runtime_version": "java:21"}
    assert [link.context for link in invoke.links] == [restore.context]
    assert attributes(invoke)["aws.lambda.restore_duration_ms"] == 2000.0
    assert attributes(invoke)["faas.coldstart"] is True


@pytest.mark.parametrize(
    ("record", "kind"),
    [({"status": "error", "errorType": "Runtime.Crash"}, "Runtime.Crash"), ({"status": "timeout"}, "timeout")],
)
def test_a_failure_has_its_kind(converter: SpanConverter, record: dict[str, str], kind: str) -> None:
    (span,) = convert(converter, start(1), report(2, **record))
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == kind
    assert attributes(span)["error.type"] == kind


def test_a_missed_start_is_reckoned_from_the_duration(converter: SpanConverter) -> None:
    (first,) = convert(converter, report(2))
    assert seconds(first) == (1.5, 2.0)
    assert first.status.status_code is StatusCode.UNSET
    (second,) = convert(converter, done(3), report(3.5))
    assert seconds(second) == (3.0, 3.5)


def test_what_never_ends_is_given_at_the_end(converter: SpanConverter) -> None:
    assert convert(converter, start(1, "a"), start(1, "b"), done(2, "a", status="error")) == []
    known = converter.context("a")
    first, second = converter.finish()
    assert first.context == known
    assert (seconds(first), first.status.status_code) == ((1.0, 2.0), StatusCode.ERROR)
    assert (seconds(second), second.status.status_code) == ((1.0, 1.0), StatusCode.UNSET)
    assert converter.context("a") is None
    assert converter.finish() == []


def test_an_init_that_begins_anew_ends_the_one_before(converter: SpanConverter) -> None:
    begun = event(1, "initStart", initializationType="on-demand", phase="init")
    again = event(3, "initStart", initializationType="on-demand", phase="invoke")
    (span,) = convert(converter, begun, again)
    assert seconds(span) == (1.0, 1.0)


def test_invocations_that_run_at_once_are_kept_apart(converter: SpanConverter) -> None:
    spans = convert(converter, start(1, "a"), start(2, "b"), report(3, "a"), report(4, "b"))
    assert [seconds(span) for span in spans] == [(1.0, 3.0), (2.0, 4.0)]


def test_memory_is_bounded(converter: SpanConverter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_extension.otel._spans._MOST_OPEN", 2)
    (span,) = convert(converter, start(1, "a"), start(2, "b"), done(3, "b"), start(3, "c"))
    assert attributes(span)["faas.invocation_id"] == "a"


def test_what_is_no_phase_or_has_no_time_is_passed_over() -> None:
    converter = SpanConverter(Resource({}))
    other = {"time": "2024-01-01T00:00:00Z", "type": "function", "record": "hello"}
    timeless = {**start(1), "time": "soon"}
    assert (
        convert(converter, other, timeless, event(1, "logsDropped", reason="x", droppedRecords=1, droppedBytes=1)) == []
    )
    (span,) = convert(converter, start(1), report(2))
    assert span.name == "function/invoke"
