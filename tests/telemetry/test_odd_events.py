"""Events with odd or missing parts: of their class by their type and identity alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fake_lambda import TIME, log
from lambda_extension.telemetry import (
    FunctionLog,
    PlatformExtension,
    PlatformInitReport,
    PlatformInitRuntimeDone,
    PlatformInitStart,
    PlatformLogsDropped,
    PlatformReport,
    PlatformRestoreReport,
    PlatformRestoreRuntimeDone,
    PlatformRestoreStart,
    PlatformRuntimeDone,
    PlatformStart,
    PlatformTelemetrySubscription,
    Status,
    TelemetryEvent,
    UnknownEvent,
    decode,
    encode,
)


def one(raw: bytes) -> TelemetryEvent:
    before, decoded, after = decode(b"[%s,%s,%s]" % (GOOD, raw, GOOD))
    assert before == after == FunctionLog(time=TIME, record="a")
    return decoded


GOOD = json.dumps(log("a")).encode()


def platform(kind: str, record: Any) -> TelemetryEvent:
    return one(json.dumps({"time": TIME, "type": f"platform.{kind}", "record": record}).encode())


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"status": None},
        {"status": {"value": "success"}},
        {"metrics": {}},
        {"metrics": "none"},
        {"metrics": []},
        {"metrics": {"durationMs": "nan", "producedBytes": 1.5}},
        {"metrics": {"durationMs": 3, "producedBytes": 2.0}},
        {"spans": [{"name": "responseLatency"}]},
        {"spans": [{"name": "responseLatency", "start": 3, "durationMs": None}, 7, {"start": "x"}]},
        {"spans": {"name": "x"}},
        {"tracing": "Root=1"},
        {"errorType": ["x"], "tenantId": {}},
    ],
)
def test_a_runtime_done_is_one_by_its_request_id_alone(more: dict[str, Any]) -> None:
    event = platform("runtimeDone", {"requestId": "r", **more})
    assert isinstance(event, PlatformRuntimeDone)
    assert event.record.request_id == "r"
    assert decode(encode([event])) == [event]


def test_what_fits_is_kept_beside_what_does_not() -> None:
    spans = [{"name": "a", "durationMs": "x"}, {"name": "b", "start": TIME, "durationMs": 2}, {"durationMs": 1}]
    event = platform(
        "runtimeDone",
        {"requestId": "r", "status": "error", "metrics": {"durationMs": 1.5, "producedBytes": 7.6}, "spans": spans},
    )
    assert isinstance(event, PlatformRuntimeDone)
    assert event.record.status is Status.ERROR
    assert event.record.metrics is not None
    assert (event.record.metrics.duration_ms, event.record.metrics.produced_bytes) == (1.5, 8)
    assert event.record.spans is not None
    assert [(span.name, span.start, span.duration_ms) for span in event.record.spans] == [
        ("a", "", None),
        ("b", TIME, 2),
    ]


def test_a_report_with_fractions_is_still_a_report() -> None:
    metrics = {"durationMs": 3, "billedDurationMs": 255.5001, "memorySizeMB": "512", "maxMemoryUsedMB": True}
    event = platform("report", {"requestId": "r", "metrics": metrics})
    assert isinstance(event, PlatformReport)
    assert event.record.metrics.duration_ms == 3
    assert event.record.metrics.billed_duration_ms == 256
    assert event.record.metrics.memory_size_mb == 512
    assert event.record.metrics.max_memory_used_mb is None


@pytest.mark.parametrize(
    ("kind", "record", "expected"),
    [
        ("initStart", {}, PlatformInitStart),
        ("initStart", {"initializationType": 3, "phase": [], "instanceMaxMemory": {}}, PlatformInitStart),
        ("initRuntimeDone", {"phase": None}, PlatformInitRuntimeDone),
        ("initReport", {"metrics": {"durationMs": []}}, PlatformInitReport),
        ("initReport", {}, PlatformInitReport),
        ("start", {"requestId": "r", "version": {}}, PlatformStart),
        ("report", {"requestId": "r"}, PlatformReport),
        ("report", {"requestId": "r", "metrics": None}, PlatformReport),
        ("restoreStart", {"instanceMaxMemory": 1.5}, PlatformRestoreStart),
        ("restoreRuntimeDone", {}, PlatformRestoreRuntimeDone),
        ("restoreReport", {"metrics": {}}, PlatformRestoreReport),
        ("extension", {"name": "x", "events": "INVOKE"}, PlatformExtension),
        ("telemetrySubscription", {"name": "x", "types": None}, PlatformTelemetrySubscription),
        ("logsDropped", {"droppedRecords": 1.4, "droppedBytes": None}, PlatformLogsDropped),
    ],
)
def test_every_known_type_takes_what_is_odd_or_missing(kind: str, record: Any, expected: type) -> None:
    event = platform(kind, record)
    assert type(event) is expected
    assert decode(encode([event])) == [event]


def test_numbers_where_text_was_are_its_digits() -> None:
    event = platform("start", {"requestId": 12.50, "version": 3, "tracing": []})
    assert isinstance(event, PlatformStart)
    assert (event.record.request_id, event.record.version) == ("12.5", "3")


def test_a_line_without_its_time_is_a_line() -> None:
    event = one(b'{"type":"function","record":{"message":"x"}}')
    assert isinstance(event, FunctionLog)
    assert (event.time, event.timestamp, event.message) == ("", None, "x")
    assert one(b'{"time":3,"type":"function","record":"x"}') == FunctionLog(time="3", record="x")


# From 3.12 on, 1,100 levels are read.
DEEP = b"[" * 200_000 + b"]" * 200_000


@pytest.mark.parametrize(
    "odd",
    [b'"\\ud83d"', b'"\x01"', b'"\xff"', b"NaN", b"1e400", b"9" * 5000, DEEP, b"{]", b'"', b"", b'"a" "b"', b"\\"],
    ids=lambda odd: str(odd[:12]),
)
def test_what_json_cannot_hold_costs_a_runtime_done_that_part_alone(odd: bytes) -> None:
    event = one(
        b'{"time":"%s","type":"platform.runtimeDone","record":{"requestId":"r","status":"error","spans":%s}}'
        % (TIME.encode(), odd)
    )
    assert isinstance(event, PlatformRuntimeDone)
    assert (event.time, event.record.request_id, event.record.status) == (TIME, "r", Status.ERROR)
    assert not event.record.spans


def test_text_that_json_cannot_hold_is_replaced_where_a_struct_has_text() -> None:
    event = one(b'{"type":"platform.start","record":{"requestId":"r","version":"a\\ud83d\x01\xff\\ud83d\\ude00"}}')
    assert isinstance(event, PlatformStart)
    assert event.record.version == "a\ufffd\x01\ufffd\U0001f600"


@pytest.mark.parametrize(
    "record",
    [b'"cut \\ud83d"', b'"line\nbreak"', b'"\xff"', b'{"a":NaN}', b"1e400", DEEP, b'{"a":[}', b'"', b"\\"],
    ids=lambda record: str(record[:12]),
)
def test_a_line_that_json_cannot_hold_is_kept_as_it_came_and_leaves_as_json(record: bytes) -> None:
    raw = b'{"time":"%s","type":"function","record":%s}' % (TIME.encode(), record)
    event = one(raw)
    assert isinstance(event, UnknownEvent)
    assert (event.raw, event.type, event.time, event.record) == (raw, "function", TIME, None)
    assert event.reason
    assert json.loads(event.json) == {"time": TIME, "type": "function", "raw": raw.decode("utf-8", "replace")}
    assert json.loads(encode([event])) == [json.loads(event.json)]


def test_a_record_too_deep_to_be_written_costs_its_neighbours_nothing() -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    good = FunctionLog(time=TIME, record="a")
    unknown = UnknownEvent(raw=b"{}")
    told = {"type": "function", "raw": "nested too deeply to be written"}
    written = encode([good, FunctionLog(time=TIME, record=deep), unknown])
    assert json.loads(written) == [{"type": "function", "time": TIME, "record": "a"}, told, {}]


def test_text_that_no_reader_takes_is_left_out() -> None:
    event = one(b'{"type":"platform.start","record":{"requestId":"r","version":"\\q"}}')
    assert isinstance(event, PlatformStart)
    assert event.record.version is None
    unknown = one(b'{"type":"\\q","time":"t"}')
    assert isinstance(unknown, UnknownEvent)
    assert (unknown.type, unknown.time) == (None, "t")


def test_what_is_no_event_at_all_leaves_as_json_too() -> None:
    for raw in (
        b"NaN",
        b'{"time":NaN,"type":"\\ud83d"',
        b"{a:1}",
        b'{"type" 1}',
        b"{1:2}",
        b'{"type":"platform.start"',
    ):
        event = one(raw)
        assert isinstance(event, UnknownEvent)
        assert json.loads(event.json)["raw"] == raw.decode()
    assert one(b'{"new":1}').json == b'{"new":1}'  # type: ignore[union-attr]  # it is an UnknownEvent
