"""The goals of the benchmarks, as ratios within one run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import attrs

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
        if name in {"asyncio", "uvloop", "trio"} and "growth_1000000_cpu_us_per_event" in figures
    )


_GOALS = (
    _Goal(
        "4,000-event batches, asyncio: at least 4 x the Go module",
        _ratio("text_4000_events_per_s", "asyncio", "go-module"),
        4.0,
        True,
    ),
    _Goal(
        "the same against our Go stand-in (net/http)",
        _ratio("text_4000_events_per_s", "asyncio", "go-stdlib"),
        4.0,
        True,
    ),
    _Goal(
        "the same, at least 1.5 x the Rust crate",
        _ratio("mixed_4000_events_per_s", "asyncio", "rust-crate"),
        1.5,
        True,
    ),
    _Goal(
        "the same, at least 1.2 x the stdlib floor",
        _ratio("mixed_4000_events_per_s", "asyncio", "floor"),
        1.2,
        True,
    ),
    _Goal(
        "the same, trio within 15 % of asyncio",
        _ratio("mixed_4000_events_per_s", "trio", "asyncio"),
        0.85,
        True,
    ),
    _Goal(
        "20-event batches, asyncio: at least 0.8 x the Go module",
        _ratio("text_20_events_per_s", "asyncio", "go-module"),
        0.8,
        True,
    ),
    _Goal(
        "the same against our Go stand-in",
        _ratio("text_20_events_per_s", "asyncio", "go-stdlib"),
        0.8,
        True,
    ),
    _Goal(
        "20-event ack p50: at most 1.5 x the Go module's",
        _ratio("text_20_ack_p50_us", "asyncio", "go-module"),
        1.5,
        False,
    ),
    _Goal(
        "the same against our Go stand-in",
        _ratio("text_20_ack_p50_us", "asyncio", "go-stdlib"),
        1.5,
        False,
    ),
    _Goal(
        "start to register: at most 2.0 x the floor",
        _ratio("register_ms", "asyncio", "floor"),
        2.0,
        False,
    ),
    _Goal(
        "start to first next: at most 2.5 x the floor",
        _ratio("next_ms", "asyncio", "floor"),
        2.5,
        False,
    ),
    _Goal(
        "start to register: below the AWS sample's shape",
        _ratio("register_ms", "asyncio", "aws-sample"),
        1.0,
        False,
    ),
    _Goal(
        "start to first next: below the AWS sample's shape",
        _ratio("next_ms", "asyncio", "aws-sample"),
        1.0,
        False,
    ),
    _Goal("idle memory: at most 1.4 x the floor", _ratio("idle_mib", "asyncio", "floor"), 1.4, False),
    _Goal(
        "flood with a stalled consumer: at most idle + 24 MiB",
        lambda r: r["asyncio"]["flood_over_idle_mib"],
        24.0,
        False,
        " MiB",
    ),
    _Goal(
        "added per invocation, idle: at most 1.0 ms over the floor",
        lambda r: (r["asyncio"]["invoke_idle_p50_us"] - r["floor"]["invoke_idle_p50_us"]) / 1e3,
        1.0,
        False,
        " ms",
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
