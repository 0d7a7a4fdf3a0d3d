"""Whatever is lost, repeated, reordered or interleaved: one report per invocation, no wrong id, bounded memory."""

from __future__ import annotations

import random
from typing import Any

from events_for_records import MANAGED, ON_DEMAND, at, correlator, done, dropped, events, line, report, start
from hypothesis import given, strategies as st

from lambda_extension.records import Correlator, Holding, InvocationReport, JoinLines, LogRecord
from lambda_extension.telemetry import TelemetryEvent
from strategies import typed_events


def request_id(number: int) -> str:
    return f"aaaaaaaa-0000-4000-8000-{number:012}"


TEXTS = st.sampled_from(["plain", "awslambdaric", "json", "foreign"])


def written(kind: str, owner: str | None, ms: int) -> dict[str, Any]:
    """Give a line that says, for the test alone, whose it is."""
    truth = f"truth={owner}"
    if kind == "awslambdaric":
        return line(f"[INFO]\t{at(ms)}\t{owner or ''}\t{truth}", ms)
    if kind == "json" and owner is not None:
        return line({"timestamp": at(ms), "level": "INFO", "requestId": owner, "message": truth}, ms)
    if kind == "foreign":  # a user's own key of that name
        return line({"requestId": "bbbbbbbb-0000-4000-8000-000000000000", "message": truth}, ms)
    return line(truth, ms)


@st.composite
def one_after_the_other(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Give the events of invocations that run one at a time, in their order."""
    out = [written("plain", None, 0)]

    def lines(owner: str, most: int) -> None:
        for _ in range(draw(st.integers(0, most))):
            out.append(written(draw(TEXTS), owner, len(out)))

    for number in range(draw(st.integers(0, 6))):
        owner = request_id(number)
        out.append(start(owner, len(out), version="1"))
        lines(owner, 3)
        out.append(done(owner, len(out)))
        lines(owner, 2)
        out.append(report(owner, len(out)))
        lines(owner, 1)
    return out


def taken(subject: Correlator, stream: list[TelemetryEvent], cut: int) -> list[Any]:
    """Take events in two batches, and everything that is held."""
    return [*subject.take(stream[:cut]), *subject.release(), *subject.take(stream[cut:]), *subject.close()]


def check(records: list[Any]) -> None:
    """Check that nobody is reported twice, and that no line has an id that is not its own."""
    reported = [record.request_id for record in records if isinstance(record, InvocationReport)]
    assert len(reported) == len(set(reported))
    for record in records:
        if isinstance(record, LogRecord) and record.source == "function":
            truth = str(record.body).partition("truth=")[2].partition("\n")[0]
            assert record.request_id in {None, truth}


@given(one_after_the_other(), st.data())
def test_where_nothing_is_lost_every_line_and_report_has_its_id(
    stream: list[dict[str, Any]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(stream)))
    records = taken(correlator(), events(*stream), cut)
    check(records)
    for record in records:
        if isinstance(record, LogRecord) and record.source == "function":
            assert str(record.request_id) == str(record.body).partition("truth=")[2]
    started = [event["record"]["requestId"] for event in stream if event["type"] == "platform.start"]
    assert [record.request_id for record in records if isinstance(record, InvocationReport)] == started
    assert all(record.complete for record in records if isinstance(record, InvocationReport))


@given(one_after_the_other(), st.data())
def test_a_loss_that_the_platform_tells_of_gives_no_line_a_wrong_id(
    stream: list[dict[str, Any]], data: st.DataObject
) -> None:
    """The order is kept; what is lost is followed by the platform's word of it."""
    left: list[dict[str, Any]] = []
    position = 0
    while position < len(stream):
        lost = data.draw(st.sampled_from([0, 0, 0, 1, 2, 5]))
        if lost:
            left.append(dropped(lost))
            position += lost
        left.extend(stream[position : position + 2])
        position += 2
    join = data.draw(st.sampled_from([None, JoinLines()]))
    check(taken(correlator(join=join), events(*left), data.draw(st.integers(0, len(left)))))


@given(one_after_the_other(), st.data())
def test_repetition_gives_no_line_a_wrong_id(stream: list[dict[str, Any]], data: st.DataObject) -> None:
    """What is repeated comes again at some later place, as a batch does that the platform sends twice."""
    left = list(stream)
    for _ in range(data.draw(st.integers(0, 4))):
        first = data.draw(st.integers(0, len(stream) - 1))
        again = stream[first : first + 5]
        place = data.draw(st.integers(left.index(again[-1]) + 1, len(left)))
        left[place:place] = [event for event in again if event["type"] != "function"]
    check(taken(correlator(), events(*left), data.draw(st.integers(0, len(left)))))


@given(one_after_the_other(), st.randoms(use_true_random=False), st.data())
def test_where_several_run_at_once_any_order_and_any_loss_gives_no_line_a_wrong_id(
    stream: list[dict[str, Any]], chance: random.Random, data: st.DataObject
) -> None:
    left = [event for event in stream for _ in range(chance.choice([0, 1, 1, 1, 2]))]
    chance.shuffle(left)
    records = taken(correlator(MANAGED), events(*left), data.draw(st.integers(0, len(left))))
    check(records)
    ended = {event["record"]["requestId"] for event in left if event["type"].startswith("platform")}
    assert {record.request_id for record in records if isinstance(record, InvocationReport)} == ended


@given(one_after_the_other(), st.randoms(use_true_random=False), st.sampled_from([ON_DEMAND, MANAGED]))
def test_any_order_and_any_loss_gives_each_invocation_one_report_and_every_line_once(
    stream: list[dict[str, Any]], chance: random.Random, environment: Any
) -> None:
    left = [event for event in stream for _ in range(chance.choice([0, 1, 1, 2]))]
    chance.shuffle(left)
    records = taken(correlator(environment), events(*left), len(left) // 2)
    reported = [record.request_id for record in records if isinstance(record, InvocationReport)]
    assert len(reported) == len(set(reported))
    told = {event["record"]["requestId"] for event in left if event["type"].startswith("platform")}
    assert told <= set(reported)
    lines = sorted(event["time"] for event in left if event["type"] == "function")
    assert sorted(record.event.time for record in records if getattr(record, "source", "") == "function") == lines


@given(st.lists(typed_events(), max_size=30), st.sampled_from([ON_DEMAND, MANAGED]), st.booleans())
def test_no_event_raises_and_memory_is_bounded(stream: list[Any], environment: Any, join: bool) -> None:
    subject = correlator(
        environment, join=JoinLines() if join else None, holding=Holding(max_records=5, max_bytes=100), parse_json=True
    )
    records = []
    for event in stream:
        records += subject.take([event])
        held = subject.statistics()
        assert held.held <= 5
        assert held.held_bytes <= 100
        assert held.open <= 1000
    records += subject.close()
    assert subject.statistics().held == subject.statistics().open == 0
    assert sum(isinstance(record, LogRecord) for record in records) >= (0 if join else len(stream))
    for record in records:
        assert record.encode().startswith(b"{")
