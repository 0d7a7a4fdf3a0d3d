"""Transforms: what goes on, what is left out and how it is counted, what a failure costs."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from events_for_records import A, B, C, correlator, done, dropped, events, line, lines_of, report, start

from lambda_extension.records import (
    InvocationReport,
    LogRecord,
    Pipeline,
    add,
    at_least,
    named,
    only,
    redact,
    sample,
    truncate,
    without,
)


def records(*raw: dict[str, Any]) -> list[Any]:
    return correlator().take(events(*raw))


def one(body: Any, **attributes: Any) -> LogRecord:
    (found,) = records(line("x"))
    assert isinstance(found, LogRecord)
    return found.replace(body=body, attributes=attributes)


MIXED = (
    start(A),
    line({"level": "DEBUG", "message": "d"}),
    line({"level": "INFO", "message": "i", "team": "x"}),
    line("unknown"),
    line("own", source="extension"),
    done(A),
    report(A),
)


def kinds(found: list[Any]) -> list[str]:
    return [each.body if each.type in {"function", "extension"} else each.type for each in found]


EVERYTHING = ["platform.start", "d", "i", "unknown", "own", "platform.runtimeDone", "platform.report", "report"]


@pytest.mark.parametrize(
    ("transform", "left"),
    [
        (
            at_least("INFO"),
            ["platform.start", "i", "unknown", "own", "platform.runtimeDone", "platform.report", "report"],
        ),
        (at_least("error"), ["unknown", "own", "report"]),
        (only(source="function"), ["d", "i", "unknown"]),
        (only(source="report"), ["report"]),
        (only(type="platform.*"), ["platform.start", "platform.runtimeDone", "platform.report"]),
        (only(type="platform.start"), ["platform.start"]),
        (only(team="x"), ["i"]),
        (only(team=...), ["i"]),
        (only(team="y"), []),
        (without(source="platform"), ["d", "i", "unknown", "own", "report"]),
        (without(source="function", team="x"), [each for each in EVERYTHING if each != "i"]),
        (without(type="platform.*"), ["d", "i", "unknown", "own", "report"]),
    ],
)
def test_records_are_selected_and_what_is_left_out_is_counted(transform: Any, left: list[str]) -> None:
    pipeline = Pipeline([transform])
    found = pipeline.apply(records(*MIXED))
    assert kinds(found) == left
    assert sum(pipeline.filtered.values()) == len(EVERYTHING) - len(left)
    assert pipeline.failed == {}


def test_what_is_left_out_is_counted_by_name() -> None:
    pipeline = Pipeline([without(source="platform"), only(source="function"), at_least("INFO"), lambda record: None])
    assert pipeline.apply(records(*MIXED)) == []
    assert pipeline.filtered == {
        "without(source=platform)": 3,
        "only(source=function)": 2,
        "at_least(INFO)": 1,
        "<lambda>": 2,
    }


def test_a_transform_gives_a_record_several_or_none() -> None:
    def twice(record: Any) -> Any:
        return (each for each in (record, record.replace(body="copy")))

    assert bodies(Pipeline([twice]).apply([one("a")])) == ["a", "copy"]
    assert Pipeline([lambda record: []]).apply([one("a")]) == []
    assert Pipeline().apply([one("a")]) == [one("a")]


def test_attributes_are_added_and_a_records_own_stay() -> None:
    found = Pipeline([add(team="x", n=1)]).apply([one("a", n=2), *records(*MIXED)[-1:]])
    assert [each.attributes for each in found] == [{"team": "x", "n": 2}, {"team": "x", "n": 1}]


@pytest.mark.parametrize(
    ("body", "cut", "size"),
    [
        ("aa", "aa", None),
        ("a" * 10, "a" * 10, None),
        ("a" * 11, "a" * 7 + "…", 11),
        ("ä" * 5, "ä" * 5, None),
        ("ä" * 6, "äää…", 12),
        ("😀" * 3, "😀…", 12),
        ("\ud800" * 11, "?" * 7 + "…", 11),
        ({"a": 1}, {"a": 1}, None),
        ({"a": "123456789"}, '{"a":"1…', 17),
        (None, None, None),
    ],
)
def test_bodies_are_cut_at_a_number_of_bytes(body: Any, cut: Any, size: int | None) -> None:
    (found,) = Pipeline([truncate(10)]).apply([one(body)])
    assert isinstance(found, LogRecord)
    assert found.body == cut
    assert found.attributes == ({} if size is None else {"truncated_bytes": size})


def test_a_report_has_no_body_to_be_cut() -> None:
    (found,) = Pipeline([truncate(3)]).apply(records(*MIXED)[-1:])
    assert isinstance(found, InvocationReport)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: at_least("loud"), ValueError),
        (only, ValueError),
        (lambda: only(source="functions"), ValueError),
        (lambda: truncate(2), ValueError),
        (lambda: sample(1.5), ValueError),
        (lambda: named(3), TypeError),  # type: ignore[arg-type]  # what is refused
        (lambda: Pipeline(["x"]), TypeError),  # type: ignore[list-item]  # what is refused
        (lambda: named(lambda record: record, on_failure="raise"), ValueError),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_work_is_refused_at_once(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        wrong()


async def coroutine(record: Any) -> Any:
    raise NotImplementedError


def test_a_coroutine_function_is_no_transform() -> None:
    with pytest.raises(TypeError, match="plain function"):
        Pipeline([coroutine])  # type: ignore[list-item]  # what is refused


def broken(record: Any) -> Any:
    if record.body == "bad":
        yield record
        raise LookupError(record.body)
    yield record


def test_a_transform_that_raises_costs_its_record_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = Pipeline([broken, add(after=1)])
    with caplog.at_level(logging.ERROR, "lambda_extension.records"):
        found = pipeline.apply([one("a"), one("bad"), one("bad"), one("b")])
    assert bodies(found) == ["a", "bad", "bad", "b"]
    assert all(each.attributes == {"after": 1} for each in found)
    assert (pipeline.failed, pipeline.filtered) == ({"broken": 2}, {})
    (told,) = caplog.records
    assert told.getMessage() == "the transform broken failed; it is not told again"
    assert told.exc_info is not None


def test_a_record_is_left_out_where_a_failing_transform_says_so() -> None:
    pipeline = Pipeline([named(broken, name="strict", on_failure="drop")])
    assert bodies(pipeline.apply([one("bad"), one("b")])) == ["b"]
    assert (pipeline.failed, pipeline.filtered) == ({"strict": 1}, {})


@pytest.mark.parametrize("result", [True, "text", ["text"], {"body": 1}])
def test_what_is_no_record_counts_as_a_failure(result: Any) -> None:
    pipeline = Pipeline([named(lambda record: result, name="odd")])
    assert pipeline.apply([one("a")]) == [one("a")]
    assert pipeline.failed == {"odd": 1}


def test_a_record_whose_redaction_fails_is_left_out() -> None:
    pipeline = Pipeline([redact()])
    assert pipeline.apply([one(object())]) == []
    assert sum(pipeline.failed.values()) == 1


def test_a_transform_can_be_named_again() -> None:
    first = named(lambda record: None, name="first")
    assert named(first) is first
    assert named(first, name="second").name == "second"

    class Dropping:
        def __call__(self, record: Any) -> None:
            return None

    assert named(Dropping()).name == "Dropping"


def of(request_id: str, *bodies: Any, status: str = "success", told: str = "success") -> list[dict[str, Any]]:
    return [start(request_id), *map(line, bodies), done(request_id, status=status), report(request_id, status=told)]


def bodies(found: list[Any]) -> list[str]:
    return [each.body for each in found if isinstance(each, LogRecord) and each.source == "function"]


def test_a_sample_keeps_whole_invocations_and_every_one_that_failed() -> None:
    ids = [f"aaaaaaaa-0000-4000-8000-{n:012}" for n in range(400)]
    pipeline = Pipeline([only(source="function"), sample(0.25)])
    stream = records(
        dropped(),
        line("init"),
        *(
            each
            for n, i in enumerate(ids)
            for each in of(i, f"{n}a", f"{n}b", told="error" if n % 40 == 0 else "success")
        ),
    )
    found = []
    for index in range(0, len(stream), 7):
        found += pipeline.apply(stream[index : index + 7])
    kept = bodies(found)
    assert kept[0] == "init"
    whole = {body[:-1] for body in kept[1:]}
    assert sorted(kept[1:]) == sorted(f"{n}{half}" for n in whole for half in "ab")
    assert {str(n) for n in range(0, 400, 40)} <= whole
    assert 60 <= len(whole) <= 150
    assert pipeline.filtered["sample(0.25)"] == 800 - len(kept[1:])
    assert pipeline.held == 0
    again = Pipeline([only(source="function"), sample(0.25)]).apply(stream)
    assert sorted(bodies(again)) == sorted(kept), "the choice does not depend on how records come"


def test_a_failure_lets_an_invocation_go_at_its_end_and_before_its_report() -> None:
    pipeline = Pipeline([sample(0), only(source="function")])
    assert pipeline.apply(records(start(A), line("a"))) == []
    assert pipeline.held == 2
    subject = correlator()
    subject.take(events(start(A)))
    found = pipeline.apply(subject.take(events(done(A, status="timeout"), line("late"))))
    assert bodies(found) == ["a", "late"]
    assert pipeline.held == 0


def test_pipelines_that_are_given_the_same_sample_have_nothing_in_common() -> None:
    transforms: list[Any] = [only(source="function"), sample(0)]
    pipelines = [Pipeline(transforms), Pipeline(transforms)]
    records = correlator().take(events(start(A), line("x"), done(A, status="error"), report(A, status="error")))
    for pipeline in pipelines:  # by turns: both keep the line back at once
        assert pipeline.apply(records[:2]) == []
    for pipeline in pipelines:
        assert lines_of(pipeline.apply(records[2:])) == [("x", A)]
        assert pipeline.held == 0


def test_a_sample_is_not_to_be_named() -> None:
    with pytest.raises(TypeError, match=r"sample\(0.5\) stands in a list of transforms as it is"):
        named(sample(0.5), name="half")


def test_a_late_line_shares_the_fate_of_its_invocation() -> None:
    pipeline = Pipeline([only(source="function"), sample(0)])
    found = pipeline.apply(records(*of(A, "a"), line("late a"), *of(B, "b", status="error"), line("late b")))
    assert bodies(found) == ["b", "late b"]
    assert pipeline.filtered == {"only(source=function)": 8, "sample(0)": 2}


def test_what_is_kept_back_is_bounded_and_goes_on_whole_beyond() -> None:
    pipeline = Pipeline([only(source="function"), sample(0, max_records=3)])
    found = pipeline.apply(records(start(A), line("1"), line("2"), start(B), line("3"), line("4"), start(C)))
    assert bodies(found) == ["1", "2"]
    assert pipeline.held == 2
    assert bodies(pipeline.flush()) == ["3", "4"]
    assert pipeline.held == 0
    small = Pipeline([only(source="function"), sample(0, max_bytes=1000)])
    found = small.apply(records(start(A), line("x" * 700), line("y"), line({"a": 1}), line(None)))
    assert [len(str(body)) for body in bodies(found)] == [700, 1, 8, 4]
    assert small.filtered == {"only(source=function)": 1}


def test_an_end_that_nobody_knows_keeps_its_invocation() -> None:
    pipeline = Pipeline([only(source="function"), sample(0)])
    subject = correlator()
    assert pipeline.apply(subject.take(events(start(A), line("a")))) == []
    assert bodies(pipeline.apply(subject.close())) == ["a"]


def test_a_sample_can_choose_by_something_else() -> None:
    pipeline = Pipeline([sample(0.5, by=lambda record: record.attributes.get("customer"))])
    lines = [line({"message": f"{n}", "customer": f"{n % 20}"}) for n in range(200)]
    found = pipeline.apply(records(start(A), *lines, line("nobody's")))
    kept = {each.attributes.get("customer") for each in found if each.type == "function"}
    assert None in kept
    assert 4 < len(kept) < 18
    assert len(bodies(found)) == 10 * (len(kept) - 1) + 1


def test_decisions_are_remembered_for_a_thousand_invocations() -> None:
    pipeline = Pipeline([only(source="function"), sample(0)])
    ids = [f"aaaaaaaa-0000-4000-8000-{n:012}" for n in range(1001)]
    for each in ids:
        pipeline.apply(records(*of(each)))
    first, last = records(start(ids[0]), line("x"))[1], records(start(ids[-1]), line("x"))[1]
    assert pipeline.apply([first, last]) == []
    assert pipeline.held == 1


def test_a_sample_of_everything_keeps_everything() -> None:
    assert kinds(Pipeline([sample(1)]).apply(records(*MIXED))) == EVERYTHING
