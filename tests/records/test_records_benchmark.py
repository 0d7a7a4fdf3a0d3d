"""What the benchmark of records compares does the same."""

from __future__ import annotations

import json
import sys

import pytest
from benchmarks.records import (
    LINES,
    body_of,
    by_hand,
    compressed,
    json_line,
    main,
    measure,
    plain,
    records,
    text_line,
    transforms,
)

from lambda_extension.telemetry import decode

SAME = ("timestamp", "source", "type", "requestId", "functionName", "severityText", "body", "attributes")


def told(body: bytes) -> list[dict[str, object]]:
    lines = map(json.loads, body.splitlines())
    return [{key: line.get(key) for key in SAME} for line in lines if line["source"] == "function"]


@pytest.mark.parametrize("line", [text_line, json_line])
def test_json_and_dicts_come_to_the_same(line: object) -> None:
    body = body_of(line)  # type: ignore[arg-type]  # one of the two
    ours, by_json = told(transforms(body)), told(by_hand(body))
    for each in by_json:  # ISO 8601 allows both
        each["timestamp"] = str(each["timestamp"]).replace("+00:00", "Z")
    assert ours == by_json
    assert len(ours) > 800
    assert len(compressed(body)) < len(transforms(body))
    assert plain(body).count(b"\n") == records(body).count(b"\n") == 1001


def test_a_line_of_text_costs_few_calls() -> None:
    """The goal is one of time, which no test can hold on a busy machine; what took most of it were calls."""
    body = body_of(text_line)
    records(body)  # which imports
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        records(body)
    finally:
        sys.setprofile(before)
    # To read a line, in one of the forms that there are, to look at its time, and to encode its record.
    assert 3000 < calls < 4 * LINES + 200


def test_no_time_comes_twice() -> None:
    bodies = [body_of(text_line, minute) for minute in range(3)]
    times = [event.time for body in bodies for event in decode(body)[1:]]
    assert len(set(times)) == len(times) == 3000


def test_a_table_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.records.measure", lambda: measure(rounds=1))
    main()
    assert capsys.readouterr().out.count("goal: 3.0") == 2
