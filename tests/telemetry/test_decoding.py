"""Decoding: every documented shape, and everything that is not."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, strategies as st

from fake_lambda import TIME, log, report, runtime_done, start
from lambda_extension import DecodeError
from lambda_extension.telemetry import (
    ExtensionLog,
    FunctionLog,
    InitPhase,
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
    parse_time,
)
from strategies import json_values, near_events, typed_events


def one(event: Any) -> TelemetryEvent:
    (decoded,) = decode(json.dumps([event]).encode())
    return decoded


def platform(kind: str, record: Any) -> TelemetryEvent:
    return one({"time": TIME, "type": f"platform.{kind}", "record": record})


def test_init_start_has_its_documented_fields() -> None:
    event = platform(
        "initStart",
        {
            "initializationType": "on-demand",
            "phase": "init",
            "functionName": "orders",
            "functionVersion": "12",
            "instanceId": "i-7f3a",
            "instanceMaxMemory": 536870912,
            "runtimeVersion": "python:3.13.v10",
            "runtimeVersionArn": "arn",
            "somethingNew": [1],
        },
    )
    assert isinstance(event, PlatformInitStart)
    assert event.type == "platform.initStart"
    assert event.timestamp == datetime(2026, 3, 1, 10, tzinfo=UTC)
    record = event.record
    assert (record.initialization_type, record.phase) == ("on-demand", InitPhase.INIT)
    assert (record.function_name, record.function_version) == ("orders", "12")
    assert (record.instance_id, record.instance_max_memory) == ("i-7f3a", 536870912)
    assert (record.runtime_version, record.runtime_version_arn, record.tracing) == ("python:3.13.v10", "arn", None)


@pytest.mark.parametrize(
    ("kind", "record", "expected"),
    [
        ("initRuntimeDone", {"initializationType": "on-demand", "status": "success"}, PlatformInitRuntimeDone),
        (
            "initReport",
            {"initializationType": "snap-start", "phase": "snap-start", "metrics": {"durationMs": 518.42}},
            PlatformInitReport,
        ),
        ("restoreStart", {}, PlatformRestoreStart),
        ("restoreStart", {"instanceMaxMemory": "256"}, PlatformRestoreStart),
        ("restoreRuntimeDone", {"status": "success"}, PlatformRestoreRuntimeDone),
        (
            "restoreReport",
            {"status": "timeout", "errorType": "Runtime.Unknown", "metrics": {"durationMs": 10000}},
            PlatformRestoreReport,
        ),
        ("extension", {"name": "x", "state": "Ready", "events": None}, PlatformExtension),
        ("extension", {"name": "x", "state": "Ready", "events": ["INVOKE"]}, PlatformExtension),
        ("telemetrySubscription", {"name": "x", "state": "Subscribed", "types": []}, PlatformTelemetrySubscription),
        ("logsDropped", {"reason": "slow", "droppedRecords": 1, "droppedBytes": 2.0}, PlatformLogsDropped),
    ],
)
def test_each_type_becomes_its_class(kind: str, record: Any, expected: type) -> None:
    assert type(platform(kind, record)) is expected


def test_the_life_of_an_invocation() -> None:
    first, done, last = decode(json.dumps([start("r"), runtime_done("r"), report("r")]).encode())
    assert isinstance(first, PlatformStart)
    assert isinstance(done, PlatformRuntimeDone)
    assert isinstance(last, PlatformReport)
    assert first.record.request_id == done.record.request_id == last.record.request_id == "r"
    assert done.record.status is Status.SUCCESS
    assert last.record.metrics.billed_duration_ms == 2


def test_a_full_report_keeps_units_and_spans() -> None:
    event = platform(
        "report",
        {
            "requestId": "r",
            "status": "error",
            "errorType": "Runtime.ExitError",
            "metrics": {
                "durationMs": 255.1,
                "billedDurationMs": 256.0,
                "memorySizeMB": 512,
                "maxMemoryUsedMB": 91,
                "initDurationMs": 518.42,
                "restoreDurationMs": 1,
                "billedRestoreDurationMs": 2,
            },
            "spans": [{"name": "extensionOverhead", "start": "2026-03-01T10:00:00:905Z", "durationMs": 51.7}],
            "tracing": {"spanId": "53995c3f42cd8ad8", "type": "X-Amzn-Trace-Id", "value": "Root=1"},
        },
    )
    assert isinstance(event, PlatformReport)
    metrics = event.record.metrics
    assert (metrics.billed_duration_ms, metrics.memory_size_mb, metrics.max_memory_used_mb) == (256, 512, 91)
    assert (metrics.init_duration_ms, metrics.restore_duration_ms, metrics.billed_restore_duration_ms) == (518.42, 1, 2)
    assert event.record.spans is not None
    assert event.record.spans[0].started_at == datetime(2026, 3, 1, 10, 0, 0, 905_000, tzinfo=UTC)
    assert event.record.tracing is not None
    assert event.record.tracing.span_id == "53995c3f42cd8ad8"


def test_unknown_values_of_enumerations_are_kept() -> None:
    event = platform("runtimeDone", {"requestId": "r", "status": "exploded"})
    assert isinstance(event, PlatformRuntimeDone)
    assert event.record.status == "exploded"
    assert not event.record.status.is_known


def test_text_and_object_lines() -> None:
    text = one(log("order 17 accepted"))
    assert isinstance(text, FunctionLog)
    assert (text.record, text.message, text.level, text.request_id) == ("order 17 accepted",) * 2 + (None, None)
    fields = {"timestamp": "t", "level": "INFO", "requestId": "r", "message": {"any": 1}}
    structured = one({"time": TIME, "type": "extension", "record": fields})
    assert isinstance(structured, ExtensionLog)
    assert structured.record == fields
    assert (structured.message, structured.level, structured.request_id) == ({"any": 1}, "INFO", "r")


@pytest.mark.parametrize(
    "misfit",
    [
        {"time": TIME, "type": "platform.dance", "record": {}},
        {"time": TIME, "type": "platform.start", "record": "text"},
        {"time": TIME, "type": "platform.start", "record": {}},
        {"time": TIME, "type": "function"},
        {"time": TIME, "type": "platform.runtimeDone", "record": {"requestId": None, "status": "success"}},
        {"time": TIME, "type": "platform.extension", "record": {"state": "Ready"}},
        {"time": 3, "type": 4, "record": 5},
        [],
        "text",
        None,
    ],
)
def test_a_misfit_is_kept_raw_and_costs_no_neighbour(misfit: Any) -> None:
    body = json.dumps([log("a"), misfit, report("r")]).encode()
    before, unknown, after = decode(body)
    assert isinstance(before, FunctionLog)
    assert isinstance(after, PlatformReport)
    assert isinstance(unknown, UnknownEvent)
    assert json.loads(unknown.raw) == misfit
    assert unknown.reason
    expected = misfit if isinstance(misfit, dict) else {}
    assert unknown.record == expected.get("record")
    assert unknown.type == (expected.get("type") if isinstance(expected.get("type"), str) else None)
    assert (unknown.timestamp is not None) == (expected.get("time") == TIME)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[1,", b"\x00", b"[1] tail"])
def test_what_is_no_array_is_refused_with_the_reason(body: bytes) -> None:
    with pytest.raises(DecodeError, match=f"not a JSON array of events: .* {len(body)} bytes") as caught:
        decode(body)
    assert isinstance(caught.value, ValueError)


def test_an_empty_array_is_an_empty_batch() -> None:
    assert decode(bytearray(b"[]")) == decode(memoryview(b" [ ] ")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00.5Z", datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T10:00:00.123456789Z", datetime(2026, 3, 1, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-03-01T12:01:23:521Z", datetime(2026, 3, 1, 12, 1, 23, 521_000, tzinfo=UTC)),
        ("2026-03-01 10:00:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00+01:30", datetime(2026, 3, 1, 10, tzinfo=timezone(timedelta(minutes=90)))),
        ("2026-03-01T10:00:00-0800", datetime(2026, 3, 1, 10, tzinfo=timezone(timedelta(hours=-8)))),
        ("2026-03-01T10:00:00+99:00", None),
        ("2026-02-30T10:00:00Z", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_times_are_read_leniently(text: str, expected: datetime | None) -> None:
    assert parse_time(text) == expected


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_a_decode_error(body: bytes) -> None:
    with suppress(DecodeError):
        decode(body)


@given(st.lists(near_events | json_values, max_size=5))
def test_arbitrary_events_never_lose_a_neighbour(events: list[Any]) -> None:
    body = json.dumps([log("first"), *events, log("last")]).encode()
    decoded = decode(body)
    assert len(decoded) == len(events) + 2
    assert (decoded[0], decoded[-1]) == (one(log("first")), one(log("last")))
    for event, original in zip(decoded[1:-1], events, strict=True):
        if isinstance(event, UnknownEvent):
            assert json.loads(event.raw) == original


@given(st.lists(typed_events(), max_size=4))
def test_what_was_encoded_is_decoded_to_the_same(events: list[TelemetryEvent]) -> None:
    assert decode(encode(events)) == events


@given(st.lists(near_events | json_values, max_size=4))
def test_encoding_what_was_decoded_changes_nothing(events: list[Any]) -> None:
    decoded = decode(json.dumps(events).encode())
    assert decode(encode(decoded)) == decoded
