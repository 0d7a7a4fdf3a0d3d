"""The sums of `_budget.py` come out, on every path."""

from __future__ import annotations

import anyio
import pytest

from lambda_extension import _budget
from lambda_extension._budget import closing_until, error_phases, report_until, shutdown_phases


def near(expected: float) -> object:
    # The clock goes on between two looks at it.
    return pytest.approx(expected, abs=0.2)


def test_the_margin_is_the_sum_of_what_it_is_for() -> None:
    parts = _budget.REQUESTS_END + _budget.LIFESPAN_END + _budget.INTERPRETER_END
    assert parts == pytest.approx(_budget.SHUTDOWN_MARGIN)
    assert _budget.INTERPRETER_END > 0


async def test_the_phases_of_a_shutdown_follow_each_other_up_to_the_margin() -> None:
    now = anyio.current_time()
    phases = shutdown_phases(now + _budget.SHUTDOWN_BUDGET)
    assert [each - now for each in phases] == [near(0.85), near(1.02), near(1.275), near(1.7), near(1.7)]
    assert list(phases) == sorted(phases)


@pytest.mark.parametrize("left", [None, 2.0, 3600.0])
async def test_after_an_error_the_hook_comes_first_and_the_report_has_time(left: float | None) -> None:
    now = anyio.current_time()
    phases = error_phases(None if left is None else now + left)
    assert (phases.hook - now, phases.report - now) == (near(1.19), near(1.7))
    assert phases.report - phases.hook >= _budget.REPORT_LIMIT


async def test_whatever_is_over_already_each_end_is_bounded() -> None:
    now = anyio.current_time()
    for phases in (shutdown_phases(now - 10), error_phases(now - 10)):
        assert max(phases) - now == near(0)
    assert report_until(now - 10) - now == near(0)
    assert report_until(None) - now == near(_budget.REPORT_LIMIT)
    # Cut off at its deadline, an extension still has the margin to say why, but for the interpreter's end.
    assert report_until(now + _budget.SHUTDOWN_MARGIN) - now == near(0.2)
    assert closing_until() - now == near(0.2)
