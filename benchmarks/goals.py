"""The goals of the benchmarks, as ratios within one run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import attrs

from benchmarks.contestants import OURS

Results = Mapping[str, Mapping[str, float]]


@attrs.frozen(kw_only=True)
class Verdict:
    """One goal and what was measured; `met` is None where a contestant did not run."""

    goal: str
    measured: str
    met: bool | None


@attrs.frozen
class _Goal:
    text: str
    figure: Callable[[Results], float]
    limit: float
    at_least: bool
    unit: str = "x"


def _ratio(figure: str, ours: str, theirs: str) -> Callable[[Results], float]:
    return lambda results: results[ours][figure] / results[theirs][figure]


def _worst_growth(results: Results) -> float:
    return max(
        figures["growth_1000000_cpu_us_per_event"] / figures["growth_100000_cpu_us_per_event"]
        for name, figures in results.items()
        if name in OURS and "growth_1000000_cpu_us_per_event" in figures
    )


def _goal(text: str, figure: str, ours: str, theirs: str, *, most: float = 0.0, least: float = 0.0) -> _Goal:
    return _Goal(text, _ratio(figure, ours, theirs), least or most, bool(least))


def _per_go(figure: str, ours: str) -> Callable[[Results], float]:
    """Return the ratio to the Go module, or where that could not be built to our stand-in on net/http."""
    return lambda results: (
        results[ours][figure] / results["go-module" if "go-module" in results else "go-stdlib"][figure]
    )


# The direct server, unless said.
_GOALS = (
    _goal("start to register, with early: at most 0.5 x the floor", "register_ms", "early", "floor", most=0.5),
    _goal("start to first next: at most 2.0 x the floor", "next_ms", "asyncio-direct", "floor", most=2.0),
    _goal("the same, below the AWS sample's shape", "next_ms", "asyncio-direct", "aws-sample", most=1.0),
    _goal("processor time of a life: at most 2.0 x the floor", "life_cpu_ms", "asyncio-direct", "floor", most=2.0),
    _goal("peak memory of that life: at most 1.3 x the floor", "life_peak_mib", "asyncio-direct", "floor", most=1.3),
    _goal(
        "start to the first acknowledged batch: within 3 x the floor's time",
        "life_start_to_ack_ms",
        "asyncio-direct",
        "floor",
        most=3.0,
    ),
    _goal(
        "recommended set-up, first next: at most 1.15 x the bare stream's",
        "next_ms",
        "delivery",
        "asyncio-direct",
        most=1.15,
    ),
    _goal(
        "recommended set-up, peak memory: at most 1.35 x the bare stream's",
        "life_peak_mib",
        "delivery",
        "asyncio-direct",
        most=1.35,
    ),
    _Goal(
        "20-event batches, asyncio: at least 1.0 x the Go module",
        _per_go("text_20_events_per_s", "asyncio-direct"),
        1.0,
        True,
    ),
    _Goal("the same, uvloop: at least 1.3 x", _per_go("text_20_events_per_s", "uvloop-direct"), 1.3, True),
    _Goal(
        "20-event ack p50: at most 1.0 x the Go module's", _per_go("text_20_ack_p50_us", "asyncio-direct"), 1.0, False
    ),
    _Goal(
        "4,000-event batches: at least 5 x the Go module",
        _per_go("text_4000_events_per_s", "asyncio-direct"),
        5.0,
        True,
    ),
    _goal("the same, 1.5 x the Rust crate", "mixed_4000_events_per_s", "asyncio-direct", "rust-crate", least=1.5),
    _goal("the same, 1.5 x the floor", "mixed_4000_events_per_s", "asyncio-direct", "floor", least=1.5),
    _goal("the same, trio within 10 %", "mixed_4000_events_per_s", "trio-direct", "asyncio-direct", least=0.9),
    _goal("added per invocation, idle: at most 1.5 x the floor", "invoke_idle_p50_us", "asyncio", "floor", most=1.5),
    _Goal(
        "flood with a stalled consumer: at most idle + 20 MiB",
        lambda results: results["asyncio-direct"]["flood_over_idle_mib"],
        20.0,
        False,
        " MiB",
    ),
    _Goal("CPU per event at 10^6 within 10 % of that at 10^5", _worst_growth, 1.1, False),
)


def judge(results: Results) -> list[Verdict]:
    """Return every goal with its figure, as far as it was measured."""
    verdicts = []
    for goal in _GOALS:
        try:
            value = goal.figure(results)
        except (KeyError, ValueError):
            value = math.nan
        met = None if math.isnan(value) else (value >= goal.limit if goal.at_least else value <= goal.limit)
        verdicts.append(
            Verdict(
                goal=goal.text,
                measured="not measured" if met is None else f"{value:.2f}{goal.unit}",
                met=met,
            )
        )
    return verdicts


def growth_holds(results: Results) -> bool:
    """Return whether CPU per event stays within 10 % from 10^5 to 10^6 events, on every backend."""
    try:
        return _worst_growth(results) <= 1.1
    except ValueError:
        return True
