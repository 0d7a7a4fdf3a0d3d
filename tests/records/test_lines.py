"""Level, time and message of a line, as people log."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from events_for_records import A, correlator, events, line, start
from hypothesis import given, strategies as st

from lambda_extension.records import LogRecord
from lambda_extension.records._lines import Reading, read_line, read_object
from lambda_extension.records._severity import level_name, severity_of
from lambda_extension.records._times import is_usual_time, own_time, unix_nanoseconds
from strategies import json_values

TEN = "2026-03-01T10:00:00.750Z"


def read(record: Any, **options: Any) -> tuple[Any, ...]:
    """Give number, level, time, body and attributes."""
    found = correlator(**options).take(events(start(A, 5), line(record, 5)))[-1]
    assert isinstance(found, LogRecord)
    assert found.request_id == A
    return (found.severity_number, found.severity_text, found.time, found.body, found.attributes)


PLATFORM = "2026-03-01T10:00:00.005Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", (0, None, PLATFORM, "hello", {})),
        ("", (0, None, PLATFORM, "", {})),
        ("[not a level] x", (0, None, PLATFORM, "[not a level] x", {})),
        ("[x]\ta\tb\tc", (0, None, PLATFORM, "[x]\ta\tb\tc", {})),
        ("[INFO", (0, None, PLATFORM, "[INFO", {})),
        # awslambdaric
        (f"[INFO]\t{TEN}\t{A}\thello\tyou", (9, "INFO", TEN, "hello\tyou", {})),
        (f"[WARNING]\t{TEN}\t\tin init", (13, "WARNING", TEN, "in init", {})),
        (f"[ERROR]\tnot a time\t{A}\thello", (17, "ERROR", PLATFORM, f"not a time\t{A}\thello", {})),
        ("[DEBUG] hello", (5, "DEBUG", PLATFORM, "hello", {})),
        ("[info     ] hello", (9, "info", PLATFORM, "hello", {})),
        # Node
        (f"{TEN}\t{A}\tERROR\thello", (17, "ERROR", TEN, "hello", {})),
        (f"{TEN}\tundefined\tINFO\tin init", (9, "INFO", TEN, "in init", {})),
        (f"{TEN}\twho\tINFO\thello", (0, None, PLATFORM, f"{TEN}\twho\tINFO\thello", {})),
        (f"{TEN}\t{A}\tOTHER\thello", (0, None, PLATFORM, f"{TEN}\t{A}\tOTHER\thello", {})),
        # .NET
        (f"{TEN}\t{A}\ttrce\thello", (1, "trce", TEN, "hello", {})),
        (f"{TEN}\t{A}\tdbug\thello", (5, "dbug", TEN, "hello", {})),
        (f"{TEN}\t{A}\tfail\thello", (17, "fail", TEN, "hello", {})),
        (f"{TEN}\t\tinfo\tin init", (9, "info", TEN, "in init", {})),
        # Java: Log4j as AWS's documentation sets it up, and the runtime's own logger
        (f"2026-03-01 10:00:00 {A} INFO  Main - hello", (9, "INFO", "2026-03-01T10:00:00Z", "Main - hello", {})),
        ("2026-03-01 10:00:00  WARN  Main - in init", (13, "WARN", "2026-03-01T10:00:00Z", "Main - in init", {})),
        ("[INFO] hello", (9, "INFO", PLATFORM, "hello", {})),
        # Ruby
        (f"W, [2026-03-01T10:00:00.750000 #8]  WARN {A} -- : a\nb", (13, "WARN", f"{TEN[:-1]}000Z", "a\nb", {})),
        (
            "F, [2026-03-01T10:00:00.750000 #8] FATAL -- app: in init",
            (21, "FATAL", f"{TEN[:-1]}000Z", "in init", {"logger": "app"}),
        ),
        ("I, [noon #8]  INFO -- : hello", (0, None, PLATFORM, "I, [noon #8]  INFO -- : hello", {})),
        ("I, [17", (0, None, PLATFORM, "I, [17", {})),
        # Python's logging: its default, and what its documentation shows
        ("WARNING:root:hello: you", (13, "WARNING", PLATFORM, "hello: you", {"logger": "root"})),
        ("INFO:     Started server", (9, "INFO", PLATFORM, "Started server", {})),
        ("Error: no such thing", (17, "Error", PLATFORM, "Error: no such thing", {})),
        (
            "2026-03-01 10:00:00,123 - app.db - WARNING - hello",
            (13, "WARNING", "2026-03-01T10:00:00.123Z", "hello", {"logger": "app.db"}),
        ),
        ("2026-03-01 10:00:00,123 ERROR hello", (17, "ERROR", "2026-03-01T10:00:00.123Z", "hello", {})),
        ("2026-03-01 10:00:00 hello there", (0, None, PLATFORM, "2026-03-01 10:00:00 hello there", {})),
        ("2026-13-01 10:00:00 ERROR hello", (0, None, PLATFORM, "2026-13-01 10:00:00 ERROR hello", {})),
        ("17 orders", (0, None, PLATFORM, "17 orders", {})),
        ("ERROR hello", (17, "ERROR", PLATFORM, "ERROR hello", {})),
        ("ERRORS hello", (0, None, PLATFORM, "ERRORS hello", {})),
        ("Hello", (0, None, PLATFORM, "Hello", {})),
        # structlog's console, with colours and without
        (f"{TEN} [warning  ] hello   a=1", (13, "warning", TEN, "hello   a=1", {})),
        (
            f"\x1b[2m{TEN}\x1b[0m [\x1b[32m\x1b[1minfo     \x1b[0m] \x1b[1mhello\x1b[0m",
            (9, "info", TEN, "hello", {}),
        ),
        ("\x1b[1mhello\x1b[0m", (0, None, PLATFORM, "\x1b[1mhello\x1b[0m", {})),
        # zap's console
        (f"{TEN}\tINFO\tmain.go:17\thello", (9, "INFO", TEN, "main.go:17\thello", {})),
        # logrus and slog in text
        (
            f'time="{TEN}" level=warning msg="hello \\"you\\"" n=17 empty=',
            (13, "warning", TEN, 'hello "you"', {"n": "17", "empty": ""}),
        ),
        (f'time={TEN} level=INFO+2 msg="a\\qb"', (11, "INFO+2", TEN, "a\\qb", {})),
        ("level=info no pairs", (0, None, PLATFORM, "level=info no pairs", {})),
        ("level=info level=warn msg=x", (0, None, PLATFORM, "level=info level=warn msg=x", {})),
        ("a=1 b=2", (0, None, PLATFORM, "a=1 b=2", {})),
        ("level=info b=2", (0, None, PLATFORM, "level=info b=2", {})),
        # the platform's own
        (
            f"{TEN} {A} Task timed out after 3.00 seconds",
            (17, None, TEN, "Task timed out after 3.00 seconds", {}),
        ),
    ],
)
def test_a_line_of_text_is_read_as_it_was_written(text: str, expected: tuple[Any, ...]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        # Lambda's JSON format; the message may be anything
        ({"timestamp": TEN, "level": "INFO", "requestId": A, "message": "m"}, (9, "INFO", TEN, "m", {})),
        ({"timestamp": TEN, "level": "INFO", "message": {"a": 1}}, (9, "INFO", TEN, {"a": 1}, {})),
        # without a message the whole object is the body
        (
            {"level": "WARN", "n": 1, "timestamp": TEN},
            (13, "WARN", TEN, {"level": "WARN", "n": 1, "timestamp": TEN}, {}),
        ),
        # structlog
        ({"event": "hello", "level": "info", "n": 1}, (9, "info", PLATFORM, "hello", {"n": 1})),
        ({"event": {"a": 1}, "level": "info"}, (9, "info", PLATFORM, {"event": {"a": 1}, "level": "info"}, {})),
        ({"event": "e", "message": "m"}, (0, None, PLATFORM, "m", {"event": "e"})),
        # Powertools
        (
            {
                "level": "INFO",
                "location": "f:1",
                "message": "m",
                "timestamp": "2026-03-01 12:00:00,123+0200",
                "function_request_id": A,
                "cold_start": True,
            },
            (9, "INFO", "2026-03-01T10:00:00.123Z", "m", {"location": "f:1", "cold_start": True}),
        ),
        # pino, bunyan
        ({"level": 40, "time": 1772359200750, "pid": 1, "msg": "m"}, (13, "WARN", TEN, "m", {"pid": 1})),
        ({"level": 60, "time": TEN, "msg": "m", "v": 0}, (21, "FATAL", TEN, "m", {"v": 0})),
        ({"level": 35, "msg": "m"}, (0, None, PLATFORM, "m", {"level": 35})),
        ({"level": 4, "short_message": "m"}, (13, "WARN", PLATFORM, "m", {})),
        # zap
        (
            {"level": "dpanic", "ts": 1772359200.750123, "caller": "a.go:1", "msg": "m"},
            (21, "dpanic", "2026-03-01T10:00:00.750123Z", "m", {"caller": "a.go:1"}),
        ),
        # logrus, slog
        (
            {"level": "warning", "time": "2026-03-01T10:00:00+01:30", "msg": "m"},
            (13, "warning", "2026-03-01T08:30:00Z", "m", {}),
        ),
        (
            {"level": "DEBUG-2", "time": "2026-03-01T10:00:00.123456789Z", "msg": "m"},
            (3, "DEBUG-2", "2026-03-01T10:00:00.123456789Z", "m", {}),
        ),
        # serilog
        ({"@t": TEN, "@mt": "m {A}", "@l": "Warning", "A": 1}, (13, "Warning", TEN, "m {A}", {"A": 1})),
        ({"@t": TEN, "@m": "m 1", "@mt": "m {A}"}, (9, "Information", TEN, "m 1", {"@mt": "m {A}"})),
        # ECS, flat and nested
        (
            {"@timestamp": TEN, "log.level": "info", "message": "m", "ecs.version": "1"},
            (9, "info", TEN, "m", {"ecs.version": "1"}),
        ),
        (
            {"@timestamp": TEN, "log": {"level": "error", "logger": "l"}, "message": "m"},
            (17, "error", TEN, "m", {"log": {"logger": "l"}}),
        ),
        ({"log": {"level": "error"}, "message": "m"}, (17, "error", PLATFORM, "m", {})),
        ({"log": {"logger": "l"}, "message": "m"}, (0, None, PLATFORM, "m", {"log": {"logger": "l"}})),
        # what finds no place stays
        ({"type": "x", "timestamp": 17, "message": "m"}, (0, None, PLATFORM, "m", {"type": "x", "timestamp": 17})),
        (
            {"level": {"a": 1}, "time": "noon", "message": None, "msg": "m"},
            (0, None, PLATFORM, "m", {"level": {"a": 1}, "time": "noon", "message": None}),
        ),
        ({"level": "loud", "severity": "INFO", "message": "m"}, (0, "loud", PLATFORM, "m", {"severity": "INFO"})),
        ({"requestId": 7, "message": "m"}, (0, None, PLATFORM, "m", {"requestId": 7})),
    ],
)
def test_an_object_is_read_as_it_was_written(record: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert read(record) == expected


def test_the_trace_of_a_line_counts_more_than_the_invocations() -> None:
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    for keys in (("trace_id", "span_id"), ("trace.id", "span.id"), ("@tr", "@sp")):
        ids = dict(zip(keys, (trace, span), strict=True))
        record = correlator().take(events(start(A), line({"message": "m", **ids})))[-1]
        assert isinstance(record, LogRecord)
        assert (record.trace_id, record.span_id, record.request_id, record.attributes) == (trace, span, A, {})
    for wrong in ({"trace_id": trace}, {"trace_id": "0" * 32, "span_id": span}, {"trace_id": "x", "span_id": span}):
        record = correlator().take(events(start(A), line({"message": "m", **wrong})))[-1]
        assert isinstance(record, LogRecord)
        assert (record.trace_id, record.attributes) == (None, wrong)


@pytest.mark.parametrize(
    ("level", "number", "name"),
    [
        ("trace", 1, "TRACE"),
        ("Verbose", 1, "TRACE"),
        ("debug", 5, "DEBUG"),
        ("iNfO", 9, "INFO"),
        (" notice ", 10, "INFO"),
        ("Warning", 13, "WARN"),
        ("err", 17, "ERROR"),
        ("SEVERE", 17, "ERROR"),
        ("critical", 21, "FATAL"),
        ("WARN3", 15, "WARN"),
        ("ERROR+2", 19, "ERROR"),
        ("INFO-4", 5, "DEBUG"),
        ("DEBUG-400", 1, "TRACE"),
        ("FATAL+400", 24, "FATAL"),
        ("INFO+x", 0, None),
        ("INFO+", 0, None),
        ("LOUD+1", 0, None),
        (10, 1, "TRACE"),
        (60, 21, "FATAL"),
        (0, 22, "FATAL"),
        (7, 5, "DEBUG"),
        (8, 0, None),
        (-1, 0, None),
        (True, 0, None),
        (1.0, 0, None),
        (None, 0, None),
    ],
)
def test_levels_have_opentelemetrys_numbers(level: Any, number: int, name: str | None) -> None:
    assert (severity_of(level), level_name(severity_of(level))) == (number, name)


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (1772359200, "2026-03-01T10:00:00.000Z"),
        (1772359200.5, "2026-03-01T10:00:00.500Z"),
        (1772359200750, TEN),
        (1772359200750.25, "2026-03-01T10:00:00.750250Z"),
        (1772359200750123, "2026-03-01T10:00:00.750123Z"),
        (1772359200750123456, "2026-03-01T10:00:00.750123456Z"),
        ("1772359200750", TEN),
        ("1772359200", "2026-03-01T10:00:00.000Z"),
        ("2026/03/01 10:00:00", "2026-03-01T10:00:00Z"),
        ("2026-03-01 10:00:00,750", TEN),
        ("2026-03-01T10:00:00.7Z", "2026-03-01T10:00:00.7Z"),
        ("2026-03-01T10:00:00-0100", "2026-03-01T11:00:00Z"),
        ("2026-03-01 10:00:00 UTC", "2026-03-01T10:00:00Z"),
        ("2026-02-30T10:00:00Z", None),
        ("2026-02-30T10:00:00.750Z", None),
        ("2026-W09-1T10:00:00.750Z", None),
        ("2026-03-01T10:00:00.75zZ", None),
        ("2026-03-01t10:00:00.750Z", None),
        ("2026-03-01 10:00:00.750Z", TEN),
        ("2026-03-01T10:00:00.7500", "2026-03-01T10:00:00.7500Z"),
        ("0999-01-01T00:00:00.000Z", None),
        ("2026/03/01T10:00:00.750Z", TEN),
        ("2026-03-01T10:00:00+99:99", None),
        ("0001-01-01T00:00:00+10:00", None),
        ("0999-01-01T00:00:00Z", None),
        ("17", None),
        (17, None),
        (-1.0, None),
        (1e30, None),
        (float("inf"), None),
        (float("nan"), None),
        (True, None),
        (None, None),
        ("", None),
    ],
)
def test_times_have_one_form(value: Any, time: str | None) -> None:
    assert own_time(value) == time


def test_times_are_counted_to_the_nanosecond() -> None:
    assert unix_nanoseconds("2026-03-01T10:00:00.750123456Z") == 1772359200750123456
    assert unix_nanoseconds("2026-03-01T10:00:00Z") == 1772359200000000000
    assert unix_nanoseconds("1969-12-31T23:59:59.5Z") == -500000000
    assert unix_nanoseconds("2026-03-01T10:00:00.75+01:00") == 1772355600750000000
    assert unix_nanoseconds("noon") is None
    assert unix_nanoseconds("2026-13-01T10:00:00Z") is None


USUAL = re.compile(r"[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
# What times are written with, in the places where it stands and in others.
TIMES = st.one_of(
    st.text("0123456789-:.,TWZz+ \u0663", min_size=24, max_size=24),
    st.datetimes().map(lambda moment: f"{moment.isoformat(timespec='milliseconds')}Z"),
    st.sampled_from(
        [
            "2026-W09-7T10:00:00.750Z",
            "20260301T10:00:00.75000Z",
            "2026-03-01T100000.75000Z",
            "20260301T100000.7500000Z",
            "2026-03-01T10:00:00,750Z",
            "2026-03-01 10:00:00.750Z",
            "2026-03-01Z10:00:00.750T",
            "2026-03-01T10:00:00.750z",
            "2026-02-30T10:00:00.750Z",
            "0999-03-01T10:00:00.750Z",
            "2026-03-01T10:00:0\u0663.750Z",
        ]
    ),
)


@given(TIMES, st.integers(0, 23), st.sampled_from("0123456789-:.,TWZz+ "))
def test_no_other_form_of_a_time_passes_as_the_usual_one(text: str, index: int, instead: str) -> None:
    for each in (text, text[:index] + instead + text[index + 1 :]):
        usual = USUAL.fullmatch(each) is not None
        if usual:
            try:
                datetime.fromisoformat(each)
            except ValueError:
                usual = False
        assert is_usual_time(each) == usual


HEADS = st.sampled_from(["", "[INFO]\t", "2026-03-01 10:00:00 ", "level=info msg=", "ERROR:"])


@given(HEADS, st.text())
def test_no_text_is_beyond_reading(head: str, tail: str) -> None:
    found = read_line(head + tail)
    assert found is None or isinstance(Reading(*found).body, str)


KEYS = st.sampled_from(["message", "msg", "level", "time", "log", "requestId", "trace_id", "span_id", "x"])


@given(st.dictionaries(KEYS, json_values))
def test_no_object_loses_anything_that_has_no_place_of_its_own(record: dict[str, Any]) -> None:
    found = Reading(*read_object(dict(record)))
    gone = record.keys() - found.attributes.keys() if found.body is not record and found.body != record else set()
    for key in gone:
        value = record[key]
        if key in {"message", "msg"}:
            assert found.body == value
        elif key == "level":
            assert found.level == value or found.number == severity_of(value) > 0
        elif key == "time":
            assert found.time == own_time(value) is not None
        elif key == "log":
            assert value == {"level": found.level}
        else:
            assert found.trace == (record["trace_id"], record["span_id"])
