"""Phases as spans: their times, their place in a trace, their status, each once whatever comes, and what is missing."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import msgspec
import pytest
from converting import (
    HEADER,
    PARENT_ID,
    SPAN_ID,
    TRACE_ID,
    TRACING,
    Converted,
    done,
    events,
    init,
    line,
    report,
    restore,
    seconds,
    start,
    values,
    wire,
)

from lambda_extension.otel._model import OTLPMetric
from lambda_extension.otel._values import Limits
from lambda_extension.telemetry import PlatformReport, PlatformRuntimeDone

PARTS = [
    {"name": "responseLatency", "start": "2026-03-01T10:00:01.100Z", "durationMs": 200.5},
    {"name": "odd", "start": "yesterday", "durationMs": 1.0},
]
OVERHEAD = [{"name": "extensionOverhead", "start": "2026-03-01T10:00:01.500Z", "durationMs": 250.0}]


def test_an_invocation_is_one_span_from_start_to_report_with_its_parts_as_children() -> None:
    made = Converted()
    runtime = {"durationMs": 500.0, "producedBytes": 9}
    assert made.take(start(1, functionArn="arn:f"), done(1.5, metrics=runtime, spans=PARTS)) == []
    metrics = {"billedDurationMs": 501, "memorySizeMB": 128, "maxMemoryUsedMB": 64}
    invoke, latency, overhead = made.take(report(1.75, metrics=metrics, spans=OVERHEAD))
    assert (invoke.name, invoke.kind, seconds(invoke)) == ("orders", 2, (1.0, 1.75))
    assert values(invoke.attributes) == {
        "faas.coldstart": True,
        "faas.invocation_id": "r1",
        "aws.lambda.invoked_arn": "arn:f",
        "aws.lambda.produced_bytes": 9,
        "aws.lambda.billed_duration_ms": 501,
        "aws.lambda.max_memory_used_mb": 64,
    }
    assert invoke.status is None
    assert (latency.name, latency.kind, seconds(latency)) == ("orders/responseLatency", 1, (1.1, 1.3005))
    assert (overhead.name, seconds(overhead)) == ("orders/extensionOverhead", (1.5, 1.75))
    for part in (latency, overhead):
        assert (part.trace_id, part.parent_span_id) == (invoke.trace_id, invoke.span_id)
        assert part.status is None


def test_trace_and_parent_are_those_of_the_header_and_the_span_is_the_platforms() -> None:
    made = Converted()
    (span,) = made.take(start(1, tracing=TRACING), done(1.5), report(2))
    assert (span.trace_id, span.span_id, span.parent_span_id) == (TRACE_ID, SPAN_ID, PARENT_ID)
    assert span.flags == 0x301  # sampled, and a parent that is known to be remote


def test_without_a_header_ids_are_made_that_x_ray_would_take() -> None:
    made = Converted()
    (span,) = made.take(start(1), done(1.5), report(2))
    assert len(span.trace_id) == 32
    assert len(span.span_id) == 16
    assert span.parent_span_id == ""
    assert abs(int(span.trace_id[:8], 16) - time.time()) < 60
    assert span.flags == 0x101


@pytest.mark.parametrize(
    "header",
    ["", "Root=1-nonsense", "Root=1-00000000-000000000000000000000000;Parent=0102030405060708", "Sampled=1", ";;="],
)
def test_a_header_that_names_no_trace_counts_as_none(header: str) -> None:
    (span,) = Converted().take(start(1, tracing={"value": header, "spanId": "0" * 16}), done(1.5), report(2))
    assert span.parent_span_id == ""
    assert int(span.trace_id, 16)
    assert int(span.span_id, 16)


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"status": "timeout"}, "timeout"),
        ({"status": "error", "errorType": "Runtime.ExitError"}, "Runtime.ExitError"),
        ({"status": "failure"}, "failure"),
    ],
)
def test_a_failure_is_an_error_of_its_type_and_extensions_are_not_to_blame(record: dict[str, Any], kind: str) -> None:
    made = Converted()
    invoke, latency, overhead = made.take(
        start(1), done(1.5, spans=PARTS, **record), report(2, spans=OVERHEAD, **record)
    )
    assert invoke.status is not None
    assert latency.status is not None
    assert invoke.status.code == latency.status.code == 2
    assert values(invoke.attributes)["error.type"] == values(latency.attributes)["error.type"] == kind
    assert overhead.status is None
    assert "error.type" not in values(overhead.attributes)


@pytest.mark.parametrize("first", ["start", "done", "report"])
def test_what_was_missed_costs_no_span(first: str) -> None:
    made = Converted()
    tail = {"start": [start(1), report(2)], "done": [done(1.5), report(2)], "report": [report(2)]}[first]
    made.take(*tail)
    made.finish()
    (span,) = made.spans
    assert seconds(span) == ((1.0, 2.0) if first == "start" else (1.5, 2.0))


def test_an_invocation_that_never_ended_has_a_span_up_to_the_last_that_was_heard_of_it() -> None:
    made = Converted()
    made.take(start(1), done(1.5, status="error", errorType="Oops"))
    (span,) = made.finish()
    assert seconds(span) == (1.0, 1.5)
    assert values(span.attributes)["error.type"] == "Oops"


def test_an_init_is_a_trace_of_its_own_to_which_the_first_invocation_is_linked() -> None:
    made = Converted()
    (span,) = made.take(*init(0))
    assert (span.name, span.kind, seconds(span)) == ("orders/init", 2, (0.0, 2.0))
    assert values(span.attributes) == {
        "aws.lambda.initialization_type": "on-demand",
        "aws.lambda.runtime_version": "python:3.13.v1",
    }
    (first,) = made.take(start(3), done(3.5), report(4))
    (second,) = made.take(start(5, "r2"), done(5.5, "r2"), report(6, "r2"))
    (link,) = first.links
    assert (link.trace_id, link.span_id) == (span.trace_id, span.span_id)
    assert first.trace_id != span.trace_id
    assert second.links == []
    assert [values(each.attributes)["faas.coldstart"] for each in (first, second)] == [True, False]


def test_a_failed_init_and_its_repetition_are_two_spans() -> None:
    made = Converted()
    about = {"initializationType": "on-demand", "phase": "init"}
    made.take(wire(0, "platform.initStart", about))
    (failed,) = made.take(wire(5, "platform.initStart", {**about, "phase": "invoke"}))
    (again,) = made.take(
        wire(
            7, "platform.initReport", {**about, "status": "error", "errorType": "X", "metrics": {"durationMs": 2000.0}}
        )
    )
    assert seconds(failed) == (0.0, 0.0)
    assert seconds(again) == (5.0, 7.0)
    assert values(again.attributes)["error.type"] == "X"


def test_a_restore_is_a_span_and_makes_the_first_invocation_after_it_cold() -> None:
    restored: list[bool] = []
    made = Converted("snap-start", on_restore=lambda: restored.append(True))
    made.take(*init(0, "snap-start"))
    (span,) = made.take(*restore(10))
    assert (span.name, seconds(span)) == ("orders/restore", (10.0, 10.5))
    (invoke,) = made.take(start(11), done(11.5), report(12))
    assert values(invoke.attributes)["faas.coldstart"] is True
    assert invoke.links[0].span_id == span.span_id
    assert restored == [True]


def test_what_is_not_sampled_has_no_span_unless_it_is_asked_for() -> None:
    unsampled = {**TRACING, "value": HEADER.replace("Sampled=1", "Sampled=0")}
    assert Converted().take(start(1, tracing=unsampled), done(1.5), report(2)) == []
    (span,) = Converted(sampled="always").take(start(1, tracing=unsampled), done(1.5), report(2))
    assert span.flags & 1 == 0


def test_a_span_may_end_with_the_runtime_so_that_it_is_whole_before_the_freeze() -> None:
    made = Converted(end="runtime_done", phase_names=True)
    runtime = {"durationMs": 500.0, "producedBytes": 9}
    invoke, latency = made.take(start(1), done(1.5, status="error", errorType="X", metrics=runtime, spans=PARTS))
    assert (invoke.name, seconds(invoke)) == ("orders/invoke", (1.0, 1.5))
    assert values(invoke.attributes)["error.type"] == values(latency.attributes)["error.type"] == "X"
    assert made.take(report(2, spans=OVERHEAD)) == []
    assert made.finish() == []
    (late,) = made.take(done(3, "r2", metrics=runtime))
    assert seconds(late) == (2.5, 3.0)


@pytest.mark.parametrize(
    ("status", "failed"), [("success", False), ("timeout", True), (None, False), ("failure", True)]
)
def test_how_it_ended_is_known_at_the_runtimes_end(status: str | None, failed: bool) -> None:
    made = Converted(end="runtime_done")
    record = wire(1.5, "platform.runtimeDone", {"requestId": "r1", "status": status} if status else {"requestId": "r1"})
    spans = made.take(start(1), record)
    spans += made.finish()
    assert [span.status is not None for span in spans] == [failed]


def test_on_managed_instances_the_trace_that_comes_with_the_report_is_that_of_span_and_lines() -> None:
    made = Converted("lambda-managed-instances")
    made.take(start(1), start(1.1, "r2"), line(1.2, {"requestId": "r1", "message": "hello"}))
    assert [log.event_name for log in made.logs] == []
    made.take(report(2, tracing={"type": "X-Amzn-Trace-Id", "value": HEADER}))
    (span,) = made.spans
    assert (span.trace_id, span.parent_span_id) == (TRACE_ID, PARENT_ID)
    ready = [log for log in made.logs if log.trace_id == TRACE_ID]
    assert {log.span_id for log in ready} == {span.span_id}
    assert [log.body for log in ready if not log.event_name] == [{"stringValue": "hello"}]


def test_on_managed_instances_an_invocation_of_whose_trace_nothing_is_told_is_not_sampled_where_others_are() -> None:
    """There the platform tells of a trace only where it is sampled."""
    told = {"tracing": {"type": "X-Amzn-Trace-Id", "value": HEADER}}
    for sampled, wanted in (("respect", ["before", "traced"]), ("always", ["before", "traced", "unsampled"])):
        made = Converted("lambda-managed-instances", sampled=sampled)
        made.take(report(1, "before"), report(2, "traced", **told), report(3, "unsampled"))
        assert [values(span.attributes)["faas.invocation_id"] for span in made.spans] == wanted
        assert [span.flags & 1 for span in made.spans] == [1, 1, 0][: len(wanted)]


def test_the_arn_of_an_invocation_is_that_which_lambda_called_it_by() -> None:
    made = Converted()
    made.conversion.invoked("r1", "arn:aws:lambda:eu-west-1:111122223333:function:orders:live")
    (span,) = made.take(start(1), done(1.5), report(2))
    assert values(span.attributes)["aws.lambda.invoked_arn"].endswith(":orders:live")


def test_attributes_of_a_span_beyond_their_number_are_left_out_and_counted() -> None:
    made = Converted(limits=Limits(count=1))
    (span,) = made.take(start(1), done(1.5), report(2, metrics={"billedDurationMs": 5}))
    assert values(span.attributes) == {"faas.invocation_id": "r1"}
    assert span.dropped_attributes_count == 2
    assert len(Converted(limits=Limits(count=9)).take(start(1), done(1.5), report(2))) == 1


def test_a_hook_changes_and_leaves_out_spans_and_one_that_fails_lets_nothing_through() -> None:
    def hook(span: Any) -> Any:
        if span.name == "orders/init":
            return None
        return msgspec.structs.replace(span, name="renamed")

    made = Converted(span_hook=hook)
    made.take(*init(0), start(3), done(3.5), report(4))
    assert [span.name for span in made.spans] == ["renamed"]
    assert made.conversion.refused == {"traces": 1}

    def failing(_: Any) -> Any:
        raise ValueError

    made = Converted(span_hook=failing)
    made.take(*init(0), start(3), done(3.5), report(4))
    assert made.spans == []
    assert made.conversion.failed == {"traces": 2}
    assert made.conversion.left_out("traces") == ({}, 2)
    assert made.conversion.left_out("traces") == ({}, 0)


SEQUENCE = [
    *init(0),
    start(3, "r1", tracing=TRACING),
    done(3.5, "r1"),
    report(4, "r1"),
    start(5, "r2"),
    done(5.5, "r2"),
    report(6, "r2"),
    start(7, "r3"),
    done(7.5, "r3"),
    report(8, "r3"),
]


# Of each way of disturbing them; `nox -s backends` has 10,000 of each.
ROUNDS = int(os.environ.get("OTEL_SEQUENCES", "400")) // 4


def disturbed(sequence: list[Any], how: str, random_: random.Random) -> list[Any]:
    """Give a sequence of which something was lost, repeated or came out of order."""
    if how == "subset":
        return [each for each in sequence if random_.random() < 0.7]
    if how == "repeat":
        return [each for each in sequence for _ in range(random_.choice([1, 1, 2, 3]))]
    changed = list(sequence)
    if how == "shuffle":
        random_.shuffle(changed)
    for _ in range(3 if how == "swap" else 0):
        place = random_.randrange(len(changed) - 1)
        changed[place : place + 2] = changed[place + 1], changed[place]
    return changed


@pytest.mark.parametrize("how", ["subset", "repeat", "swap", "shuffle"])
@pytest.mark.parametrize("end", ["report", "runtime_done"])
@pytest.mark.parametrize("kind", ["on-demand", "lambda-managed-instances"])
def test_whatever_is_lost_repeated_or_out_of_order_an_invocation_has_one_span(how: str, kind: str, end: str) -> None:
    whole = events(*SEQUENCE)
    for seed in range(ROUNDS):
        sequence = disturbed(whole, how, random.Random(seed))
        made = Converted(kind, signals=("traces", "metrics"), end=end, sampled="always")
        spans = [span for event in sequence for span in made.conversion.take([event])[0]]
        spans += made.conversion.finish()[0]
        told = {record.request_id for record in (event.record for event in sequence) if hasattr(record, "request_id")}
        ids = [values(span.attributes).get("faas.invocation_id") for span in spans]
        assert sorted(filter(None, ids)) == sorted(told), f"seed {seed}"
        assert len({(span.trace_id, span.span_id) for span in spans}) == len(spans), f"seed {seed}"
        counted = made.metrics()
        numbers = [made_of(counted[name]) for name in ("faas.invocations", "faas.errors") if name in counted]
        known = {
            event.record.request_id for event in sequence if isinstance(event, PlatformRuntimeDone | PlatformReport)
        }
        # Out of all order, an end may come when two newer ones have begun: its outcome then is that nobody knows.
        assert sum(numbers) == len(known) or (how == "shuffle" and sum(numbers) < len(known)), f"seed {seed}"


def made_of(metric: OTLPMetric) -> int:
    """Give what a counter has come to."""
    assert metric.sum is not None
    return sum(int(point.as_int or 0) for point in metric.sum.data_points)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_extension.otel._phases._MOST_TOLD", 2)
    made = Converted()
    made.take(*(start(1, f"r{number}") for number in range(10)))
    made.finish()
    assert len(made.spans) == 10
