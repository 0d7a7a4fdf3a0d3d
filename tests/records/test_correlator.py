"""Which invocation a record belongs to, and what it shares with the others of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from events_for_records import (
    MANAGED,
    TRACE,
    A,
    B,
    C,
    at,
    correlator,
    done,
    dropped,
    events,
    line,
    lines_of,
    report,
    reports_of,
    start,
)

from lambda_extension import Environment, Registration
from lambda_extension.records import Correlator, Holding, JoinLines, LogRecord
from lambda_extension.telemetry import FunctionLog, UnknownEvent

AWSLAMBDARIC = "[INFO]\t2026-03-01T10:00:00.250Z\t{}\thello"


def test_the_order_tells_which_invocation_a_line_belongs_to() -> None:
    records = correlator().take(
        events(
            line("init"),
            start(A),
            line("in a"),
            done(A),
            line("late in a"),
            report(A),
            line("later in a"),
            start(B),
            line("in b"),
            line("an extension", source="extension"),
        )
    )
    assert lines_of(records) == [
        ("init", None),
        ("in a", A),
        ("late in a", A),
        ("later in a", A),
        ("in b", B),
        ("an extension", B),
    ]
    assert [record.source for record in records if record.request_id == B] == ["platform", "function", "extension"]


def test_what_an_invocation_has_is_gathered_once_and_shared() -> None:
    registration = Registration(
        extension_id="x", extension_name="x", function_name="orders", function_version="", account_id=None
    )
    environment = Environment.from_mapping({"AWS_REGION": "eu-west-1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"})
    records = Correlator(environment, registration).take(
        events(
            start(
                A,
                version="7",
                functionArn="arn:aws:lambda:eu-west-1:1:function:orders",
                tenantId="t",
                tracing={"type": "X-Amzn-Trace-Id", "value": TRACE},
            ),
            line("one"),
            line("two"),
            start(B, tracing={"type": "X-Amzn-Trace-Id", "value": "Sampled=?;Root=broken", "spanId": "1"}),
            line("three"),
        )
    )
    one, two = (record for record in records if isinstance(record, LogRecord) and record.body in {"one", "two"})
    assert one.context is two.context
    assert one.context.fields == {
        "requestId": A,
        "functionName": "orders",
        "functionVersion": "7",
        "functionArn": "arn:aws:lambda:eu-west-1:1:function:orders",
        "memorySizeMb": 512,
        "region": "eu-west-1",
        "coldStart": True,
        "traceId": "67c2d4a0aabbccddeeff001122334455",
        "spanId": "0102030405060708",
        "traceFlags": 1,
        "tenantId": "t",
    }
    assert (one.trace_id, one.span_id, one.cold_start) == (one.context.trace_id, one.context.span_id, True)
    three = records[-1]
    assert isinstance(three, LogRecord)
    assert (three.cold_start, three.trace_id) == (False, None)


def test_a_trace_that_is_not_whole_is_taken_as_far_as_it_goes() -> None:
    tracing = {"type": "X-Amzn-Trace-Id", "value": "Root=1-67c2d4a0-aabbccddeeff001122334455;Sampled=?"}
    found = correlator().take(events(start(A, tracing=tracing)))[0].context
    assert (found.trace_id, found.span_id, found.trace_flags) == ("67c2d4a0aabbccddeeff001122334455", None, None)


@pytest.mark.parametrize("kind", ["provisioned-concurrency", "lambda-managed-instances"])
def test_where_nobody_waits_for_an_init_no_start_is_cold(kind: str) -> None:
    environment = Environment.from_mapping({"AWS_LAMBDA_INITIALIZATION_TYPE": kind})
    records = correlator(environment).take(events(start(A), done(A), report(A)))
    assert [record.cold_start for record in records] == [False, False, False, False]


def test_a_record_in_json_is_flat_and_leaves_out_what_is_unknown_and_the_raw_event() -> None:
    record = correlator().take(events(start(A), line({"level": "warn", "message": "m", "n": 1})))[-1]
    assert msgspec.json.decode(record.encode()) == {
        "timestamp": at(0),
        "source": "function",
        "type": "function",
        "severityNumber": 13,
        "severityText": "warn",
        "body": "m",
        "attributes": {"n": 1},
        "requestId": A,
        "functionName": "orders",
        "functionVersion": "12",
        "memorySizeMb": 512,
        "region": "eu-west-1",
        "coldStart": True,
    }
    assert isinstance(record, LogRecord)
    assert isinstance(record.event, FunctionLog)
    assert record.timestamp is not None
    assert record.time_unix_nano == int(record.timestamp.timestamp()) * 10**9
    assert record.level == "WARN"
    bare = Correlator(Environment()).take(events(line("x")))[0]
    assert msgspec.json.decode(bare.encode()) == {
        "timestamp": at(0),
        "source": "function",
        "type": "function",
        "body": "x",
    }


@pytest.mark.parametrize("before", [[], [start(A)]])
def test_what_json_has_no_form_for_is_encoded_all_the_same(before: list[Any]) -> None:
    record = correlator().take(events(*before, line("x")))[-1]
    strange = record.replace(body="a\ud800b", attributes={"n": 2**70, "o": pytest, "\udc00": [(1, "\ud800\udc00")]})
    told = msgspec.json.decode(strange.encode())
    assert told["body"] == "a\ufffdb"
    assert told["attributes"]["n"] == str(2**70)
    assert told["attributes"]["o"].startswith("<module 'pytest'")
    assert told["attributes"]["\ufffd"] == [[1, "\U00010000"]]
    assert told.get("requestId") == (A if before else None)
    assert told["functionName"] == "orders"


def test_lines_after_a_loss_are_held_until_the_invocation_is_known_to_have_run_on() -> None:
    """Nothing else ran between the start of an invocation and its end."""
    subject = correlator()
    assert lines_of(subject.take(events(start(A), dropped(), line("x")))) == []
    assert subject.statistics().held == 1
    assert subject.statistics().held_bytes == 1
    records = subject.take(events(done(A), line("y")))
    assert lines_of(records) == [("x", A), ("y", A)]
    assert isinstance(records[1], LogRecord)
    assert records[1].type == "platform.runtimeDone"


@pytest.mark.parametrize("following", [start(B), done(B), report(B), line(AWSLAMBDARIC.format(B))])
def test_lines_after_a_loss_belong_to_nobody_when_another_invocation_may_have_begun(following: dict[str, str]) -> None:
    subject = correlator()
    records = subject.take(events(start(A), done(A), report(A), dropped(), line("x"), following, line("y")))
    assert [each for each in lines_of(records) if each[0] in {"x", "y"}] == [("x", None), ("y", B)]


def test_a_repeated_end_proves_nothing_about_lines_after_a_loss() -> None:
    records = correlator().take(
        events(start(A), done(A), dropped(), line("of b, whose start was lost"), done(A), start(C))
    )
    assert lines_of(records) == [("of b, whose start was lost", None)]


def test_lines_after_a_loss_before_any_start_wait_for_nothing() -> None:
    assert lines_of(correlator().take(events(line("a"), dropped(), line("b")))) == [("a", None), ("b", None)]


@pytest.mark.parametrize("kind", ["platform.start", "platform.runtimeDone", "platform.report"])
def test_an_event_that_names_no_invocation_counts_as_a_loss(kind: str) -> None:
    """Whose start it was is unknown, so that the lines after it may be anybody's."""
    event = UnknownEvent(raw=b'{"type":"%b","record":3}' % kind.encode(), type=kind)
    records = correlator().take([*events(start(A)), event, *events(line("x"), start(B))])
    assert lines_of(records) == [("x", None)]
    assert isinstance(records[1], LogRecord)
    assert (records[1].type, records[1].time, records[1].body) == (kind, at(0), event.raw.decode())


def test_an_event_that_did_not_fit_still_names_its_invocation() -> None:
    raw = b'{"type":"platform.start","record":{"requestId":"%b","x":[]}}' % A.encode()
    records = correlator().take([UnknownEvent(raw=raw, type="platform.start"), *events(line("x"))])
    assert lines_of(records) == [("x", A)]
    assert records[0].attributes == {"x": []}


def test_a_line_of_the_runtime_is_as_good_as_the_start_that_was_lost() -> None:
    records = correlator().take(
        events(start(A), done(A), report(A), line(AWSLAMBDARIC.format(B)), line("more"), done(B), report(B))
    )
    assert lines_of(records) == [("hello", B), ("more", B)]
    assert [each.request_id for each in reports_of(records)] == [A, B]


def test_a_line_that_names_an_earlier_invocation_belongs_to_it() -> None:
    records = correlator().take(events(start(A), done(A), report(A), start(B), line(AWSLAMBDARIC.format(A)), line("b")))
    assert lines_of(records) == [("hello", A), ("b", B)]


def test_an_id_of_the_users_own_is_never_taken_for_an_invocation() -> None:
    """API Gateway's request id stands under the same key, and looks the same."""
    records = correlator().take(
        events(start(A), line({"requestId": B, "message": "x"}), line({"requestId": "mine", "message": "y"}))
    )
    assert lines_of(records) == [("x", A), ("y", A)]
    assert [record.attributes for record in records[1:]] == [{"requestId": B}, {"requestId": "mine"}]


def test_an_id_that_anybody_may_have_written_into_a_line_counts_only_if_it_is_an_invocations() -> None:
    """Log4j's pattern for Lambda is everybody's pattern for an id of their own."""
    own, other = (f"2026-03-01 10:00:00 {each} INFO Main - x" for each in (A, B))
    records = correlator().take(events(start(A), line(own), line(other), line("y")))
    assert lines_of(records) == [("Main - x", A), ("Main - x", A), ("y", A)]
    assert [record.attributes for record in records[1:]] == [{}, {"AWSRequestId": B}, {}]


def test_a_line_of_rubys_runtime_names_its_invocation() -> None:
    ruby = f"I, [2026-03-01T10:00:00.750000 #8]  INFO {A} -- : hello"
    managed = correlator(MANAGED)
    assert managed.take(events(line(ruby))) == []
    assert lines_of(managed.take(events(start(A)))) == [("hello", A)]


def test_a_retried_invocation_runs_again_under_its_old_id() -> None:
    subject = correlator()
    records = subject.take(
        events(
            start(A, 0),
            done(A, 1),
            report(A, 2),
            start(B, 3),
            done(B, 4),
            report(B, 5),
            start(A, 6),
            line("again", 7),
            done(A, 8),
            report(A, 9),
            line("late", 10),
        )
    )
    assert lines_of(records) == [("again", A), ("late", A)]
    assert [each.request_id for each in reports_of(records)] == [A, B]
    assert subject.statistics().repeated == 3


def test_a_start_that_comes_twice_changes_nothing() -> None:
    records = correlator().take(events(start(A, 0), done(A, 1), report(A, 2), start(B, 3), start(A, 0), line("b", 4)))
    assert lines_of(records) == [("b", B)]


def test_where_several_run_at_once_only_the_id_in_a_line_counts() -> None:
    def told(request_id: str, message: str) -> dict[str, object]:
        return line({"timestamp": at(0), "level": "INFO", "requestId": request_id, "message": message})

    subject = correlator(MANAGED)
    records = subject.take(
        events(start(A), told(A, "a"), line("whose?"), start(B), told(B, "b"), told(A, "a2"), report(A), line("?"))
    )
    assert lines_of(records) == [("a", A), ("whose?", None), ("b", B), ("a2", A), ("?", None)]
    assert lines_of(subject.take(events(told(C, "early")))) == []
    records = subject.take(events(start(C, tracing={"type": "X-Amzn-Trace-Id", "value": TRACE})))
    assert lines_of(records) == [("early", C)]
    assert records[1].context.trace_id == "67c2d4a0aabbccddeeff001122334455"
    assert records[1].attributes == {}


def test_where_several_run_at_once_no_report_is_late_for_another_has_begun() -> None:
    found = correlator(MANAGED).take(events(start(A), start(B), report(A), report(B)))
    assert [(each.request_id, each.late) for each in reports_of(found)] == [(A, False), (B, False)]


def test_the_platform_may_say_only_later_that_several_run_at_once() -> None:
    init = {
        "time": at(0),
        "type": "platform.initStart",
        "record": {"initializationType": "lambda-managed-instances", "phase": "init"},
    }
    records = correlator(Environment()).take(events(init, init, start(A), line("x")))
    assert lines_of(records) == [("x", None)]


def test_an_end_lets_go_what_waited_for_its_invocation() -> None:
    records = correlator(MANAGED).take(events(line({"requestId": A, "message": "x"}), report(A)))
    assert lines_of(records) == [("x", A)]
    assert [record.type for record in records] == ["function", "platform.report", "report"]


def test_what_is_held_too_long_goes_on_without_an_invocation_unless_the_runtime_named_it() -> None:
    now = 0.0
    subject = correlator(MANAGED, holding=Holding(max_age=10), clock=lambda: now)
    subject.take(
        events(
            line({"requestId": A, "message": "the user's"}),
            line({"timestamp": at(0), "level": "INFO", "requestId": B, "message": "the runtime's"}),
        )
    )
    now = 9.0
    assert subject.release() == []
    now = 10.0
    records = subject.release()
    assert lines_of(records) == [("the user's", None), ("the runtime's", B)]
    assert [record.attributes for record in records] == [{"requestId": A}, {}]


def test_what_is_held_is_bounded_in_number_and_in_bytes() -> None:
    few = correlator(holding=Holding(max_records=2))
    few.take(events(start(A), dropped()))
    assert lines_of(few.take(events(line("1"), line("2"), line("3")))) == [("1", None)]
    assert lines_of(few.close()) == [("2", None), ("3", None)]
    small = correlator(holding=Holding(max_bytes=10))
    small.take(events(start(A), dropped()))
    assert lines_of(small.take(events(line("12345"), line({"a": 1}), line("1" * 11)))) == [
        ("12345", None),
        ({"a": 1}, None),
        ("1" * 11, None),
    ]
    assert small.statistics().held_bytes == 0


def test_open_invocations_are_bounded() -> None:
    subject = correlator(MANAGED)
    ids = [f"aaaaaaaa-0000-4000-8000-{n:012}" for n in range(1500)]
    reports = reports_of(subject.take(events(*(start(each, n) for n, each in enumerate(ids)))))
    assert subject.statistics().open == 1000
    assert [each.request_id for each in reports] == ids[:500]
    assert not any(each.complete for each in reports)


def test_a_message_of_several_lines_is_joined_where_asked_for() -> None:
    traceback = [
        "[ERROR]\t2026-03-01T10:00:00.250Z\t" + A + "\tit failed",
        "Traceback (most recent call last):",
        '  File "a.py", line 1, in handler',
        "KeyError: 'x'",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        '  File "a.py", line 2, in handler',
        "ValueError: y",
    ]
    other = ["next", "java.lang.X: y", "\tat a.b.C", "Caused by: z", "\t... 3 more", "last"]
    subject = correlator(join=JoinLines())
    records = subject.take(events(start(A), *(line(each) for each in [*traceback, *other]), line({"a": 1}), done(A)))
    bodies = ["\n".join(["it failed", *traceback[1:]]), "next", "\n".join(other[1:5]), "last", {"a": 1}]
    assert lines_of(records) == [(body, A) for body in bodies]
    assert [record.severity_number for record in records if isinstance(record, LogRecord)][1:3] == [17, 0]


def test_joining_is_bounded_in_lines_bytes_and_time() -> None:
    def joined(limits: JoinLines, *lines: dict[str, object]) -> list[object]:
        return [body for body, _ in lines_of(correlator(join=limits).take(events(*lines, start(A))))]

    assert joined(JoinLines(max_lines=2), line("a"), line(" b"), line(" c")) == ["a\n b", " c"]
    assert joined(JoinLines(max_bytes=3), line("a"), line(" b"), line(" c")) == ["a\n b", " c"]
    assert joined(JoinLines(max_gap=0.1), line("a", 0), line(" b", 100), line(" c", 201)) == ["a\n b", " c"]
    assert joined(JoinLines(), line("a", 1), line(" b", 0)) == ["a", " b"]
    assert joined(JoinLines(), line("a"), line(" b", source="extension"), line(" c")) == ["a\n c", " b"]
    assert joined(JoinLines(), {**line("a"), "time": "?"}, {**line(" b"), "time": "?"}) == ["a", " b"]


def test_a_message_that_may_go_on_waits_for_a_while_only() -> None:
    now = 0.0
    subject = correlator(join=JoinLines(max_age=1), clock=lambda: now)
    assert subject.take(events(line("a"))) == []
    assert subject.release() == []
    now = 1.0
    assert lines_of(subject.release()) == [("a", None)]
    assert subject.take(events(line("b"))) == []
    assert lines_of(subject.close()) == [("b", None)]


def test_json_in_text_is_read_where_asked_for() -> None:
    text = '{"level":"error","msg":"m","n":1}'
    plain = correlator().take(events(line(text)))[0]
    assert isinstance(plain, LogRecord)
    assert (plain.body, plain.severity_number) == (text, 0)
    subject = correlator(parse_json=True)
    read, broken, array = subject.take(events(line(text), line("{not json"), line("[1]")))
    assert isinstance(read, LogRecord)
    assert (read.body, read.severity_number, read.attributes) == ("m", 17, {"n": 1})
    assert lines_of([broken, array]) == [("{not json", None), ("[1]", None)]


@pytest.mark.parametrize("value", [3, None, ["a"], True])
def test_a_record_that_is_neither_text_nor_an_object_is_the_body(value: object) -> None:
    assert lines_of(correlator().take(events(line(value)))) == [(value, None)]
