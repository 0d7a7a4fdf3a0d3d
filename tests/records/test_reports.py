"""One report per invocation, with everything that the platform tells."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from events_for_records import A, B, C, at, correlator, done, dropped, events, line, report, reports_of, start

from lambda_extension import Environment
from lambda_extension.records import InvocationReport


def only_report(*raw: dict[str, Any], environment: Environment | None = None) -> InvocationReport:
    subject = correlator() if environment is None else correlator(environment)
    (found,) = reports_of([*subject.take(events(*raw)), *subject.close()])
    return found


def test_a_report_has_everything_that_the_platform_tells() -> None:
    spans = [
        {"name": name, "start": at(0), "durationMs": n} for n, name in enumerate(["responseLatency", "runtimeOverhead"])
    ]
    found = only_report(
        start(A, 0, version="3"),
        dropped(2, 30),
        dropped(1, 5),
        done(A, 200, metrics={"durationMs": 199.5, "producedBytes": 17}, spans=spans),
        report(
            A,
            260,
            metrics={
                "durationMs": 255.1,
                "billedDurationMs": 256,
                "memorySizeMB": 1024,
                "maxMemoryUsedMB": 91,
                "initDurationMs": 518.42,
                "restoreDurationMs": 3.5,
                "billedRestoreDurationMs": 4.0,
            },
            spans=[
                {"name": "responseDuration", "start": at(0), "durationMs": 2.0},
                {"name": "extensionOverhead", "start": at(0), "durationMs": 51.7},
            ],
        ),
    )
    assert msgspec.json.decode(found.encode()) == {
        "source": "report",
        "type": "report",
        "timestamp": at(260),
        "status": "success",
        "outcome": "success",
        "started": at(0),
        "durationMs": 255.1,
        "billedDurationMs": 256,
        "runtimeDurationMs": 199.5,
        "initDurationMs": 518.42,
        "restoreDurationMs": 3.5,
        "billedRestoreDurationMs": 4.0,
        "maxMemoryUsedMb": 91,
        "responseLatencyMs": 0.0,
        "responseDurationMs": 2.0,
        "runtimeOverheadMs": 1.0,
        "extensionOverheadMs": 51.7,
        "producedBytes": 17,
        "droppedRecords": 3,
        "droppedBytes": 35,
        "requestId": A,
        "functionName": "orders",
        "functionVersion": "3",
        "memorySizeMb": 1024,
        "region": "eu-west-1",
        "coldStart": True,
    }
    assert (found.memory_size_mb, found.cold_start, found.source, found.type) == (1024, True, "report", "report")
    assert (found.failed, found.timed_out, found.out_of_memory, found.late, found.complete) == (False,) * 4 + (True,)
    assert found.time_unix_nano is not None


@pytest.mark.parametrize(
    ("status", "error_type", "used", "outcome"),
    [
        ("success", None, 512, "success"),
        ("error", "Function.Error", 512, "error"),
        ("error", "Runtime.OutOfMemory", 100, "out_of_memory"),
        ("error", "Runtime.ExitError", 512, "out_of_memory"),
        ("error", "Runtime.ExitError", 511, "error"),
        ("error", "Runtime.ExitError", None, "error"),
        ("timeout", None, 512, "timeout"),
        ("error", "Sandbox.Timedout", 1, "timeout"),
        ("failure", "Sandbox.Failure", 1, "failure"),
        ("novelty", None, 1, "error"),
    ],
)
def test_timeouts_and_lack_of_memory_are_told_apart(
    status: str, error_type: str | None, used: int | None, outcome: str
) -> None:
    metrics = {"durationMs": 1.0, "memorySizeMB": 512, "maxMemoryUsedMB": used}
    found = only_report(
        start(A), done(A, status="success"), report(A, status=status, errorType=error_type, metrics=metrics)
    )
    assert (found.outcome, found.status, found.error_type) == (outcome, status, error_type)
    assert found.timed_out == (outcome == "timeout")
    assert found.out_of_memory == (outcome == "out_of_memory")
    assert found.failed == (outcome != "success")


def test_a_failure_that_only_the_runtimes_end_tells_of_is_not_hidden_by_the_report() -> None:
    found = only_report(start(A), done(A, status="error", errorType="X"), report(A, status="success"))
    assert (found.status, found.outcome, found.error_type) == ("error", "error", "X")


@pytest.mark.parametrize(
    ("raw", "known"),
    [
        ([start(A)], ("unknown", None, False)),
        ([done(A)], ("success", None, False)),
        ([report(A)], ("success", 1.5, True)),
        ([line("[INFO]\t2026-03-01T10:00:00.250Z\t" + A + "\tx")], ("unknown", None, False)),
        ([report(A), done(A), start(A)], ("success", 1.5, True)),
        ([start(A), start(A), done(A), done(A), report(A), report(A), done(A), start(A)], ("success", 1.5, True)),
    ],
)
def test_an_invocation_is_reported_once_whatever_is_missing_repeated_or_out_of_order(
    raw: list[dict[str, Any]], known: tuple[str, float | None, bool]
) -> None:
    found = only_report(*raw)
    assert (found.request_id, found.outcome, found.duration_ms, found.complete) == (A, *known)


def test_a_report_waits_for_what_comes_before_it_until_the_next_invocation_begins() -> None:
    subject = correlator()
    assert reports_of(subject.take(events(start(A), report(A)))) == []
    (found,) = reports_of(subject.take(events(start(B))))
    assert (found.request_id, found.complete, found.late) == (A, True, True)


def test_a_report_that_comes_after_the_next_start_is_late() -> None:
    subject = correlator()
    assert reports_of(subject.take(events(start(A), done(A), start(B)))) == []
    (found,) = reports_of(subject.take(events(report(A))))
    assert (found.request_id, found.complete, found.late) == (A, True, True)


def test_an_invocation_without_an_end_is_reported_when_the_second_after_it_begins() -> None:
    subject = correlator()
    (found,) = reports_of(subject.take(events(start(A), start(B), start(C))))
    assert (found.request_id, found.complete, found.outcome, found.late) == (A, False, "unknown", True)
    assert reports_of(subject.take(events(report(A)))) == []
    assert subject.statistics().repeated == 1


def test_ids_of_a_thousand_closed_invocations_are_remembered() -> None:
    subject = correlator()
    ids = [f"aaaaaaaa-0000-4000-8000-{n:012}" for n in range(1001)]
    for n, each in enumerate(ids):
        subject.take(events(start(each, 3 * n), done(each, 3 * n + 1), report(each, 3 * n + 2)))
    assert reports_of(subject.take(events(report(ids[1]), report(ids[500]), report(ids[1000])))) == []
    assert reports_of([*subject.take(events(report(ids[0]))), *subject.close()]) != []


def phase(kind: str, **record: Any) -> dict[str, Any]:
    return {"time": at(0), "type": kind, "record": {"initializationType": "on-demand", "phase": "init", **record}}


def test_the_init_before_a_cold_start_is_part_of_its_report_even_if_the_report_does_not_say_so() -> None:
    init = phase("platform.initReport", metrics={"durationMs": 400.0})
    subject = correlator()
    first, second = reports_of(subject.take(events(init, start(A), done(A), report(A), start(B), done(B), report(B))))
    assert (first.init_duration_ms, second.init_duration_ms) == (400.0, None)


def test_the_init_of_a_snapshot_is_not_the_cold_starts() -> None:
    init = phase("platform.initReport", metrics={"durationMs": 400.0})
    restore = phase("platform.restoreReport", status="success", metrics={"durationMs": 30.0})
    found = only_report(init, restore, start(A), done(A), report(A))
    assert (found.init_duration_ms, found.restore_duration_ms, found.cold_start) == (None, 30.0, True)


def test_a_report_that_tells_of_an_init_is_a_cold_start() -> None:
    """Also where the environment was thrown away and made anew within the invocation."""
    metrics = {"durationMs": 1.0, "initDurationMs": 2.0}
    subject = correlator()
    records = subject.take(events(start(A), done(A), report(A), start(B), done(B), report(B, metrics=metrics)))
    assert [each.cold_start for each in reports_of(records)] == [True, True]


def test_a_report_can_be_changed_into_another() -> None:
    found = only_report(start(A), done(A), report(A))
    other = found.with_attributes({"team": "x"})
    assert msgspec.json.decode(other.encode())["attributes"] == {"team": "x"}
    assert found.attributes == {}
