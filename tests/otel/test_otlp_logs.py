"""Lines and platform events as OTLP log records: in the trace of their invocation, with nothing of the user's lost."""

from __future__ import annotations

import re
from typing import Any

import pytest
from converting import (
    HEADER,
    SPAN_ID,
    START,
    TRACE_ID,
    TRACING,
    Converted,
    done,
    line,
    report,
    start,
    value,
    values,
)

from lambda_extension.otel import _records
from lambda_extension.otel._values import Limits
from lambda_extension.records import at_least


def lines(made: Converted) -> list[Any]:
    return [log for log in made.logs if not log.event_name]


def test_a_line_of_text_belongs_to_the_span_of_its_invocation() -> None:
    made = Converted()
    made.take(start(1, tracing=TRACING), line(1.25, "hello"), done(1.5), report(2), line(2.5, "late"))
    hello, late = lines(made)
    assert (hello.trace_id, hello.span_id, hello.flags) == (TRACE_ID, SPAN_ID, 1)
    assert (late.trace_id, late.span_id) == (TRACE_ID, SPAN_ID)  # also after the report
    assert value(hello.body) == "hello"
    assert int(hello.time_unix_nano) == START + 1_250_000_000
    assert int(hello.observed_time_unix_nano) > START
    assert values(hello.attributes) == {"faas.invocation_id": "r1", "aws.lambda.log_source": "function"}
    (span,) = made.spans
    assert span.span_id == hello.span_id


def test_without_a_trace_header_lines_and_span_share_one_that_is_made() -> None:
    made = Converted()
    made.take(start(1), line(1.25, "hello"), done(1.5), report(2))
    (hello,), (span,) = lines(made), made.spans
    assert (hello.trace_id, hello.span_id) == (span.trace_id, span.span_id)


def test_lines_of_an_init_belong_to_no_trace() -> None:
    made = Converted()
    made.take(line(0.5, "starting"))
    (starting,) = lines(made)
    assert (starting.trace_id, starting.span_id, starting.flags) == ("", "", 0)


def test_a_json_line_has_level_message_time_and_its_own_keys() -> None:
    made = Converted()
    record = {
        "timestamp": "2026-03-01T10:00:01.111Z",
        "level": "ERROR",
        "message": "order 17 failed",
        "order": {"id": 17, "lines": [1, 2.5, None, True]},
        "type": "business",
    }
    made.take(start(1), line(1.25, record))
    (log,) = lines(made)
    assert (log.severity_number, log.severity_text) == (17, "ERROR")
    assert value(log.body) == "order 17 failed"
    assert int(log.time_unix_nano) == START + 1_111_000_000
    told = values(log.attributes)
    assert told["order"] == {"id": 17, "lines": [1, 2.5, None, True]}
    assert told["type"] == "business"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_time_that_otlp_cannot_carry_gives_way_to_the_platforms_and_stays(time: str) -> None:
    made = Converted()
    made.take(start(1), line(1.25, {"timestamp": time, "message": "when?"}))
    (log,) = lines(made)
    assert int(log.time_unix_nano) == START + 1_250_000_000
    assert values(log.attributes)["timestamp"] == time


def test_deep_nesting_becomes_text_and_numbers_beyond_64_bits_too() -> None:
    deep: Any = "bottom"
    for _ in range(60):
        deep = [deep]
    made = Converted()
    made.take(start(1), line(1.25, {"message": "m", "deep": deep, "large": 2**70, "negative": -(2**63)}))
    (log,) = lines(made)
    told = values(log.attributes)
    assert told["large"] == str(2**70)
    assert told["negative"] == -(2**63)
    inner = told["deep"]
    for _ in range(20):
        (inner,) = inner
    assert re.fullmatch(r"\[+\"bottom\"\]+", inner)


def test_a_w3c_context_of_the_line_itself_wins() -> None:
    own = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331", "message": "inside"}
    made = Converted()
    made.take(start(1, tracing=TRACING), line(1.25, own))
    (log,) = lines(made)
    assert (log.trace_id, log.span_id) == (own["trace_id"], own["span_id"])


def test_a_span_of_the_functions_own_in_the_invocations_trace_stays() -> None:
    made = Converted()
    made.take(
        start(1, tracing=TRACING), line(1.25, {"trace_id": TRACE_ID, "span_id": "b7ad6b7169203331", "message": "m"})
    )
    (log,) = lines(made)
    assert (log.trace_id, log.span_id) == (TRACE_ID, "b7ad6b7169203331")


def test_platform_events_are_named_and_structured() -> None:
    made = Converted()
    made.take(start(1), done(1.5, status="error", errorType="X"), report(2, status="error", errorType="X"))
    names = [log.event_name for log in made.logs]
    assert names == ["platform.start", "platform.runtimeDone", "platform.report"]
    assert value(made.logs[1].body or {}) == "END RequestId: r1"
    assert values(made.logs[1].attributes)["errorType"] == "X"
    assert made.logs[1].severity_number == 17


def test_transforms_change_and_leave_out_lines() -> None:
    made = Converted(transforms=[at_least("WARN")])
    made.take(start(1), line(1.25, {"level": "INFO", "message": "a"}), line(1.5, {"level": "WARN", "message": "b"}))
    assert [value(log.body) for log in lines(made)] == ["b"]


def test_lines_wait_on_managed_instances_in_order_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Converted("lambda-managed-instances")
    now = [1000.0]
    made.conversion._log_maker._clock = lambda: now[0]
    made.take(start(1), start(1.1, "r2"))
    made.take(line(1.2, {"requestId": "r1", "message": "one"}), line(1.3, {"requestId": "r2", "message": "two"}))
    assert lines(made) == []
    made.take(report(2, tracing={"value": HEADER}))
    assert [value(log.body) for log in lines(made)] == ["one"]
    now[0] += 31
    made.logs += made.conversion.release()
    assert [(value(log.body), log.trace_id) for log in lines(made)] == [("one", TRACE_ID), ("two", "")]
    monkeypatch.setattr(_records, "_MOST_WAITING", 2)
    made.take(*(line(3, {"requestId": "r2", "message": f"m{number}"}) for number in range(4)))
    assert [value(log.body) for log in lines(made)][2:] == ["m0", "m1"]
    made.finish()
    assert [value(log.body) for log in lines(made)][4:] == ["m2", "m3"]


def test_a_tenant_is_named_on_its_lines_and_span() -> None:
    made = Converted()
    made.take(start(1, tenantId="blue"), line(1.25, "hello"), done(1.5), report(2))
    (log,), (span,) = lines(made), made.spans
    assert values(log.attributes)["aws.lambda.tenant_id"] == values(span.attributes)["aws.lambda.tenant_id"] == "blue"


def test_what_waits_is_bounded_by_its_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_records, "_MOST_WAITING_BYTES", 350_000)
    made = Converted("lambda-managed-instances")
    made.take(start(1), *(line(2, {"requestId": "r1", "message": f"{number}" * 100_000}) for number in range(5)))
    # The newest three fit; what had to go has no trace, since that is not known.
    assert [(str(value(log.body))[0], log.trace_id) for log in lines(made)] == [("0", ""), ("1", "")]
    made.take(report(3, tracing={"value": HEADER}))
    assert [log.trace_id for log in lines(made)[2:]] == [TRACE_ID] * 3
    made.take(start(4, "r2"), *(line(5, {"requestId": "r2", "message": "m" * 100_000}) for _ in range(3)))
    assert len(lines(made)) == 5  # what was let go is not counted any more


def test_attributes_beyond_their_number_are_left_out_and_counted_the_last_of_the_line_s_own_first() -> None:
    made = Converted(log_limits=Limits(count=5, length=3))
    made.take(start(1), line(1.5, {"message": "m", "a": 1, "b": "long", "c": 3, "d": 4}))
    (log,) = lines(made)
    wanted = {"a": 1, "b": "lon", "faas.invocation_id": "r1", "aws.lambda.log_source": "fun"}
    assert values(log.attributes) == wanted
    assert log.dropped_attributes_count == 2
