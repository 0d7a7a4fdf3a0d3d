"""Arrays with anything at all in one record: its neighbours stand, and nothing is lost."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from fake_lambda import TIME, log, report, runtime_done
from lambda_extension import logs, telemetry
from lambda_extension.telemetry import PlatformRuntimeDone, UnknownEvent, decode
from lambda_extension.telemetry._splitting import Effort, NotAnArrayError, members, split

NEIGHBOURS = [log('say "hi" }],{ \\'), report("r"), runtime_done("r")]
FIRST, SECOND, THIRD = (json.dumps(event).encode() for event in NEIGHBOURS)
NESTED = b'{"time":"t","type":"function","record":{"all":[1,{"time":"u"}]}}'
MEGABYTES = 1_000_000

pieces_of_json = st.lists(
    st.sampled_from(
        [
            *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\x00", b"\xff", b"NaN", b"\\ud83d", b"1"),
            *(b'{"time":', b',{"time":"t"', b'"a":', b"null", SECOND, NESTED),
        ]
    ),
    max_size=12,
).map(b"".join)


def refuse_constant(name: str) -> Any:
    raise ValueError(name)


@pytest.mark.parametrize("decode", [telemetry.decode, logs.decode], ids=["telemetry", "logs"])
@given(junk=st.binary(max_size=40) | pieces_of_json)
@example(junk=b'"')
@example(junk=b'"\\')
@example(junk=b"[1,{")
@example(junk=b'[1,{"time":"t","a":[')
@example(junk=b'{"items":[{"a":NaN},{"time":"t"}]')
@example(junk=b'"x"}]')
@example(junk=b'"x"},')
@example(junk=b"}")
@example(junk=b"[{},")
def test_neighbours_of_arbitrary_bytes_stand_and_the_culprit_is_kept(
    decode: Callable[[bytes], list[Any]], junk: bytes
) -> None:
    culprit = b'{"time":"%s","type":"function","record":%s}' % (TIME.encode(), junk)
    for body in (
        b"[%s,%s,%s,%s]" % (FIRST, culprit, SECOND, THIRD),
        b"[%s, %s,\n%s , %s ]" % (FIRST, culprit, SECOND, THIRD),
        b"[%s,%s,%s,%s]" % (FIRST, NESTED, culprit, THIRD),
    ):
        decoded = decode(body)
        before, after = (2, 1) if NESTED in body[: len(FIRST) + len(NESTED) + 2] else (1, 2)
        expected = decode(b"[%s,%s,%s,%s]" % (FIRST, NESTED, SECOND, THIRD))
        assert decoded[:before] == expected[:before]
        assert decoded[-after:] == expected[-after:]
        assert len(decoded) > before + after
        json.loads(telemetry.encode(decoded).decode(), parse_constant=refuse_constant)


@given(st.lists(pieces_of_json, max_size=5).map(b",".join) | st.binary(max_size=60))
def test_no_byte_is_lost(inner: bytes) -> None:
    pieces = list(split(b" [" + inner + b"]\n", Effort()))
    assert re.sub(rb"[, \t\r\n]", b"", b"".join(pieces)) == re.sub(rb"[, \t\r\n]", b"", inner)
    assert all(piece == piece.strip() or piece[-1:] in b"\x0b\x0c" or piece[:1] in b"\x0b\x0c" for piece in pieces)


@given(st.lists(st.sampled_from([FIRST, SECOND, NESTED, b"1", b"[]", b'"x"', b"{}", b"[[1], [], {}]"]), max_size=6))
def test_an_array_that_is_one_is_split_as_json_has_it(elements: list[bytes]) -> None:
    assert list(split(b"[" + b" , ".join(elements) + b"]", Effort())) == elements


def test_events_that_are_whole_inside_one_that_breaks_are_taken_whole() -> None:
    whole = b'{"time":"u","record":[1,{"time":"v"},{"time":"w"}]}'
    assert list(split(b'[{"type":"x","record":[1,%s 2]' % whole, Effort())) == [b'{"type":"x","record":[1', whole, b"2"]


@given(st.dictionaries(st.text("abc", max_size=3), st.sampled_from([b"1", b'"a"', b"[1,2]", b'{"b":[]}'])))
def test_members_are_found_by_name(wanted: dict[str, bytes]) -> None:
    raw = b" {" + b", ".join(b'"%s" : %s ' % (name.encode(), value) for name, value in wanted.items()) + b"}"
    assert members(raw, Effort()) == wanted
    unreadable = {**wanted, "last": b"NaN"}
    raw = b" {" + b", ".join(b'"%s" : %s ' % (name.encode(), value) for name, value in unreadable.items()) + b"}"
    assert members(raw, Effort()) == unreadable


@pytest.mark.parametrize("body", [b"", b"[", b"]", b"{}", b"[1", b"1]", b"[] x"])
def test_what_does_not_begin_and_end_as_an_array_is_none(body: bytes) -> None:
    with pytest.raises(NotAnArrayError):
        list(split(body, Effort()))


@pytest.mark.timeout(60)  # each takes seconds at most; what is not linear would take hours
@pytest.mark.parametrize(
    "unit",
    [
        *(
            b'"',
            b"\\",
            b'\\"',
            b'"\\',
            b"[",
            b"{",
            b"]",
            b"}",
            b"[]",
            b"[],",
            b",",
            b"1,",
            b" ",
            b", ",
            b'{"a":',
            b'[{"a":',
        ),
        *(b'{"time":', b',{"time":', b'{"time":[1,', b'{"time":]},', b'{"time":"},', b'{"time":"\x01"},'),
        b"[1," + SECOND + b",",
    ],
    ids=lambda unit: str(unit[:14]),
)
def test_megabytes_of_anything_take_time_in_proportion(unit: bytes) -> None:
    junk = unit * (MEGABYTES // len(unit))
    enough = Effort(100 * MEGABYTES)
    *_, last = split(b"[" + FIRST + b',{"time":"t","type":"function","record":' + junk + b"}," + THIRD + b"]", enough)
    assert last == THIRD
    members(b'{"a":' + junk, enough)
    for _ in split(b"[" + junk + b"]", enough):
        pass


STEPS = 5_000
HOSTILE = [
    *(
        b'{"a":',
        b'[{"a":',
        b'{"time":',
        b',{"time":',
        b'{"time":[1,',
        b'{"time":"},',
        b'{"time":"\x01"},',
    ),
    b"[1," + SECOND + b",",
    b'{"time":"t","type":"function","record":NaN},',
    b'{"time":"t","type":"platform.report","record":{"requestId":1,"status":NaN}},',
    b'{"time":"t","type":"platform.report","record":{"requestId":"r","status":"s","spans":['
    + b"1," * 30_000
    + b"1]}},",
]


@pytest.fixture
def little_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_extension.telemetry._misfits.Effort", lambda: Effort(STEPS))


def calls_of(function: Callable[[], Any]) -> int:
    """Count what is called, in Python and in C: how much is done, whatever the machine does besides."""
    calls = 0

    def count(frame: object, event: str, _: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize(
    ("unit", "inside"),
    [*((unit, True) for unit in HOSTILE), *((unit, False) for unit in [*HOSTILE, b"[],", b"1,"])],
    ids=lambda given: str(given)[:54],
)
@pytest.mark.usefixtures("little_effort")
def test_a_hostile_body_is_worth_a_bounded_effort_and_is_kept_whole(unit: bytes, inside: bool) -> None:
    junk = unit * (-(-200_000 // len(unit)))
    body = b"[" + FIRST + b',{"time":"t","type":"function","record":' + junk + b"}]" if inside else b"[" + junk + b"]"
    calls = calls_of(lambda: telemetry.decode(body))
    assert calls < 6 * STEPS
    events = telemetry.decode(body)
    last = events[-1]
    assert isinstance(last, telemetry.UnknownEvent)
    assert last.reason == "too much in one body is odd" or last.raw.startswith(b'{"a":')
    # From where the effort was over, not a byte is missing.
    assert last.raw.strip(b" ,") == body[1:-1].strip(b" ,")[-len(last.raw.strip(b" ,")) :]
    assert len(last.raw) > len(body) / 2
    json.loads(telemetry.encode(events))


@pytest.mark.parametrize(
    "odd",
    [
        b'{"time":"t","type":"function","record":NaN}',
        b'{"time":"t","type":"platform.report","record":{"requestId":1,"status":NaN,"metrics":{"durationMs":"1"}}}',
        b'{"time":"t","type":"platform.future","record":{}}',
    ],
)
def test_a_batch_as_long_as_lambda_sends_one_is_taken_event_by_event_though_each_is_odd(odd: bytes) -> None:
    events = telemetry.decode(b"[" + b",".join([odd] * 10_000) + b"]")
    assert len(events) == 10_000
    assert {getattr(event, "reason", "") for event in events} != {"too much in one body is odd"}
    assert events[-1] == events[0]


@pytest.mark.parametrize("junk", ['[],[],"x"', '"a" "b"', "1 2", '{"a": 1} [', '"a", 5'])
def test_what_follows_a_line_is_not_lost(junk: str) -> None:
    raw = f'{{"time": "t", "type": "function", "record": {junk}}}'.encode()
    good = b'{"time": "t", "type": "function", "record": "good"}'
    odd, neighbour = decode(b"[" + raw + b"," + good + b"]")
    assert isinstance(odd, UnknownEvent)
    assert odd.raw == raw
    assert neighbour.record == "good"


def test_a_comma_too_much_costs_nothing() -> None:
    """Examples in AWS's documentation have them."""
    (done,) = decode(
        b'[{"time": "2026-03-01T10:00:00.000Z", "type": "platform.runtimeDone", '
        b'"record": {"requestId": "r", "status": "success", "metrics": {"durationMs": 5,},},}]'
    )
    assert isinstance(done, PlatformRuntimeDone)
    assert done.record.status == "success"
    assert done.record.metrics is not None
    assert done.record.metrics.duration_ms == 5
