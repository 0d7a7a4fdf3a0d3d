"""Events as log records: bodies, severities, attributes, and the invocation that each belongs to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk.resources import Resource

from lambda_extension.otel import LogConverter, SpanConverter
from lambda_extension.telemetry import TelemetryEvent, decode

RESOURCE = Resource({"faas.name": "orders"})
AT = "2024-01-01T00:00:01.5Z"


def events(*made: dict[str, Any]) -> list[TelemetryEvent]:
    return decode(json.dumps([{"time": AT, **event} for event in made]).encode())


def records(converter: LogConverter, *made: dict[str, Any]) -> list[LogRecord]:
    return [found.log_record for found in converter.convert(events(*made))]


def one(event: dict[str, Any]) -> LogRecord:
    (record,) = records(LogConverter(RESOURCE), event)
    return record


def test_a_line_of_text_is_the_body() -> None:
    (found,) = LogConverter(RESOURCE).convert(events({"type": "function", "record": "hello\n"}))
    record = found.log_record
    assert (record.body, record.severity_number, record.severity_text) == ("hello\n", record.severity_number, None)
    assert record.severity_number is not None
    assert record.severity_number.value == 0
    assert record.timestamp == 1_704_067_201_500_000_000
    assert record.attributes == {"type": "function"}
    assert found.resource is RESOURCE


def test_a_json_record_with_a_message_has_the_rest_as_attributes() -> None:
    line = {
        "timestamp": "2024-01-01T00:00:02Z",
        "level": "warn",
        "requestId": "r1",
        "message": "low",
        "type": "app.log",
        "stock": {"left": [1, None]},
    }
    record = one({"type": "extension", "record": line})
    assert record.body == "low"
    assert record.timestamp == 1_704_067_202_000_000_000
    assert record.severity_text == "warn"
    assert record.severity_number is not None
    assert record.severity_number.value == 13
    assert record.attributes == {"type": "extension", "stock": {"left": [1, None]}, "faas.invocation_id": "r1"}


@pytest.mark.parametrize("line", [{"stock": 3}, {"message": {"deep": 1}, "timestamp": 12}, [1, 2], None])
def test_a_json_record_without_a_message_is_the_body_whole(line: Any) -> None:
    record = one({"type": "function", "record": line})
    assert record.body == line
    assert record.timestamp == 1_704_067_201_500_000_000


@pytest.mark.parametrize(
    ("level", "number"),
    [
        ("TRACE", 1),
        ("debug3", 7),
        ("Info", 9),
        ("WARNING", 13),
        ("error", 17),
        ("CRITICAL", 21),
        ("FATAL4", 24),
        ("?", 0),
    ],
)
def test_levels_are_severities(level: str, number: int) -> None:
    record = one({"type": "function", "record": {"level": level, "message": "x"}})
    assert record.severity_number is not None
    assert record.severity_number.value == number


@pytest.mark.parametrize(
    ("kind", "record", "body"),
    [
        ("start", {"requestId": "r", "version": "7"}, "START RequestId: r Version: 7"),
        ("start", {"requestId": "r"}, "START RequestId: r"),
        ("runtimeDone", {"requestId": "r", "status": "success"}, "END RequestId: r"),
        (
            "report",
            {
                "requestId": "r",
                "status": "success",
                "metrics": {
                    "durationMs": 1.234,
                    "billedDurationMs": 2,
                    "memorySizeMB": 128,
                    "maxMemoryUsedMB": 64,
                    "initDurationMs": 99.9,
                },
            },
            (
                "REPORT RequestId: r Duration: 1.23 ms Billed Duration: 2 ms Memory Size: 128 MB Max Memory Used: 64 MB"
                " Init Duration: 99.90 ms"
            ),
        ),
        (
            "report",
            {"requestId": "r", "status": "timeout", "metrics": {"durationMs": 1}},
            "REPORT RequestId: r Duration: 1.00 ms Status: timeout",
        ),
        (
            "initStart",
            {"initializationType": "on-demand", "phase": "init", "runtimeVersion": "v", "runtimeVersionArn": "a"},
            "INIT_START Runtime Version: v Runtime Version ARN: a",
        ),
        ("initRuntimeDone", {"initializationType": "x", "status": "error"}, "INIT_RUNTIME_DONE Status: error"),
        (
            "initReport",
            {"initializationType": "on-demand", "phase": "init", "metrics": {"durationMs": 5}},
            "INIT_REPORT Initialization Type: on-demand Phase: init Duration: 5.00 ms",
        ),
        ("restoreStart", {"runtimeVersion": "v"}, "RESTORE_START Runtime Version: v"),
        ("restoreRuntimeDone", {"status": "success"}, "RESTORE_RUNTIME_DONE Status: success"),
        ("restoreReport", {"status": "success"}, "RESTORE_REPORT Status: success"),
        (
            "restoreReport",
            {"status": "success", "metrics": {"durationMs": 3}},
            "RESTORE_REPORT Status: success Duration: 3.00 ms",
        ),
        (
            "telemetrySubscription",
            {"name": "x.py", "state": "Subscribed", "types": ["platform", "function"]},
            "TELEMETRY: x.py Subscribed Types: platform, function",
        ),
        (
            "extension",
            {"name": "x.py", "state": "Ready", "events": ["INVOKE"]},
            "EXTENSION Name: x.py State: Ready Events: INVOKE",
        ),
        (
            "logsDropped",
            {"reason": "slow", "droppedRecords": 3, "droppedBytes": 99},
            "LOGS_DROPPED DroppedRecords: 3 DroppedBytes: 99 Reason: slow",
        ),
    ],
)
def test_platform_events_are_lines(kind: str, record: dict[str, Any], body: str) -> None:
    found = one({"type": f"platform.{kind}", "record": record})
    assert found.body == body
    assert found.attributes is not None
    assert found.attributes["type"] == f"platform.{kind}"


def test_an_unknown_event_is_kept_as_it_came() -> None:
    made = {"time": AT, "type": "platform.new", "record": {"requestId": "r9"}}
    found = one(made)
    assert json.loads(str(found.body)) == made
    assert found.attributes == {"type": "platform.new"}
    (found,) = (each.log_record for each in LogConverter(RESOURCE).convert(decode(b"[7]")))
    assert (found.body, found.timestamp, found.attributes) == ("7", None, {"type": "unknown"})


START = {"type": "platform.start", "record": {"requestId": "r1"}}
DONE = {"type": "platform.runtimeDone", "record": {"requestId": "r1", "status": "success"}}
LINE = {"type": "function", "record": "hello"}


def test_a_record_belongs_to_the_invocation_that_runs_and_to_its_span() -> None:
    spans = SpanConverter(RESOURCE)
    converter = LogConverter(RESOURCE, context=spans.context)
    spans.convert(events(START))
    context = spans.context("r1")
    assert context is not None
    before, start, line, done, after = records(converter, LINE, START, LINE, DONE, LINE)
    assert [found.attributes["faas.invocation_id"] for found in (start, line, done) if found.attributes] == ["r1"] * 3
    assert (line.trace_id, line.span_id) == (context.trace_id, context.span_id)
    for found in (before, after):
        assert found.attributes == {"type": "function"}
        assert not found.span_id


def test_where_several_run_at_once_only_the_record_itself_says_whose_it_is() -> None:
    converter = LogConverter(RESOURCE, several=True)
    own = {"type": "function", "record": {"message": "x", "requestId": "r1"}}
    _, line, named = records(converter, START, LINE, own)
    assert line.attributes == {"type": "function"}
    assert named.attributes == {"type": "function", "faas.invocation_id": "r1"}
