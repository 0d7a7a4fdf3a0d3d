"""The policies: pure decisions over a scripted clock."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_extension.delivery import (
    Action,
    Adaptive,
    Continuous,
    Decision,
    EndOfInvocation,
    Every,
    FlushPolicy,
    OnSize,
)


def test_end_of_invocation_waits_for_its_share_and_ticks_during_long_invocations() -> None:
    schedule = EndOfInvocation(share=0.5, limit=1.5, interval=10).begin(100.0)
    assert schedule.invocation_started(100.0, 104.0) == Decision(action=Action.FLUSH_AT_END, wait=2.0, limit=1.5)
    assert schedule.invocation_started(105.0, 104.0).wait == 0
    assert not schedule.buffered(100.0, items=10**6, size=10**9)
    assert schedule.next_tick(101.0) == 110.0
    assert schedule.next_tick(111.0) == 111.0
    schedule.flush_started(111.0)
    assert schedule.next_tick(112.0) == 121.0


def test_every_flushes_at_the_first_wake_after_its_period() -> None:
    schedule = Every(20.0, limit=1.0).begin(100.0)
    assert schedule.invocation_started(119.0, 200.0).action is Action.LET_GO
    assert not schedule.buffered(119.0, items=1, size=1)
    # Frozen for an hour.
    assert schedule.invocation_started(3700.0, 3800.0) == Decision(action=Action.FLUSH_NOW, limit=1.0)
    assert schedule.buffered(3700.0, items=1, size=1)
    schedule.flush_started(3700.0)
    assert schedule.invocation_started(3701.0, 3800.0).action is Action.LET_GO
    assert schedule.next_tick(3701.0) == 3720.0


def test_a_clock_that_was_set_back_makes_a_flush_due() -> None:
    schedule = Every(20.0).begin(100.0)
    assert schedule.invocation_started(50.0, 60.0).action is Action.FLUSH_NOW


def test_on_size_flushes_by_items_bytes_or_age() -> None:
    schedule = OnSize(max_items=10, max_bytes=100, max_age=60.0).begin(0.0)
    assert schedule.invocation_started(1.0, 2.0).action is Action.LET_GO
    assert schedule.next_tick(1.0) is None
    assert not schedule.buffered(1.0, items=9, size=99)
    assert schedule.buffered(1.0, items=10, size=0)
    assert schedule.buffered(1.0, items=0, size=100)
    assert schedule.next_tick(2.0) == 61.0
    assert schedule.invocation_started(60.0, 70.0).action is Action.LET_GO
    assert schedule.invocation_started(61.0, 70.0) == Decision(action=Action.FLUSH_NOW)
    assert schedule.buffered(61.0, items=1, size=1)
    schedule.flush_started(61.0)
    assert not schedule.buffered(62.0, items=1, size=1)


def test_on_size_without_an_age_waits_for_ever() -> None:
    schedule = OnSize(max_age=None).begin(0.0)
    assert not schedule.buffered(0.0, items=1, size=1)
    assert schedule.next_tick(0.0) is None
    assert schedule.invocation_started(1e9, 1e9).action is Action.LET_GO


def test_continuous_flushes_whatever_comes_and_holds_nothing() -> None:
    schedule = Continuous().begin(0.0)
    assert schedule.invocation_started(0.0, 1.0) == Decision(action=Action.FLUSH_NOW, limit=0)
    assert schedule.buffered(0.0, items=1, size=1)
    assert not schedule.buffered(0.0, items=0, size=0)
    assert schedule.next_tick(0.0) is None
    schedule.flush_started(0.0)


def test_adaptive_goes_periodic_when_invocations_are_frequent_and_back_after_one_gap() -> None:
    schedule = Adaptive(period=20.0, window=3).begin(0.0)
    assert schedule.invocation_started(0.0, 3.0).action is Action.FLUSH_AT_END
    assert schedule.invocation_started(20.0, 23.0).action is Action.FLUSH_AT_END
    assert not schedule.buffered(20.0, items=1, size=1)
    schedule.flush_started(20.0)
    assert schedule.invocation_started(21.0, 23.0).action is Action.LET_GO
    assert schedule.invocation_started(39.0, 41.0).action is Action.LET_GO
    assert schedule.invocation_started(40.0, 43.0).action is Action.FLUSH_NOW
    assert schedule.buffered(40.0, items=1, size=1)
    schedule.flush_started(40.0)
    assert schedule.next_tick(41.0) == 60.0
    assert schedule.invocation_started(61.0, 64.0).action is Action.FLUSH_AT_END
    assert schedule.invocation_started(62.0, 64.0).action is Action.FLUSH_AT_END
    assert schedule.invocation_started(63.0, 64.0).action is Action.FLUSH_NOW


@pytest.mark.parametrize("policy", [EndOfInvocation(), Every(), OnSize(), Continuous(), Adaptive()])
def test_a_policy_is_settings_that_any_number_of_runs_share(policy: FlushPolicy) -> None:
    first, second = policy.begin(0.0), policy.begin(0.0)
    for now in range(40):
        first.invocation_started(now, now + 1)
        first.buffered(now, items=1, size=1)
        first.flush_started(now)
    fresh = policy.begin(0.0)
    assert [second.invocation_started(now, now + 1) for now in (0, 30, 31)] == [
        fresh.invocation_started(now, now + 1) for now in (0, 30, 31)
    ]
    with pytest.raises(AttributeError):
        policy.limit = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("policy", "wrong"),
    [
        (EndOfInvocation, {"share": 0}),
        (EndOfInvocation, {"share": 1.1}),
        (EndOfInvocation, {"limit": 0}),
        (Every, {"seconds": 0}),
        (OnSize, {"max_items": 0}),
        (OnSize, {"max_age": -1}),
        (Adaptive, {"window": 1}),
    ],
)
def test_settings_that_make_no_sense_are_refused(policy: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        policy(**wrong)
