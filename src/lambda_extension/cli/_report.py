"""Outcomes for people: a table, and sentences for what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from lambda_extension.cli._outcome import Outcome
from lambda_extension.cli._tally import spread
from lambda_extension.cli._terminal import Part, Terminal

_STYLES: Final = {"error": "bold red", "warning": "bold yellow", "note": "bold"}
# Lines of output that are shown of a failed invocation, and of a stack trace.
_MOST_LINES = 10


def figures_of(outcome: Outcome) -> list[tuple[str, str]]:
    """Give the figures of a run: labels and values."""
    tally, shutdown = outcome.tally, outcome.shutdown
    made = outcome.made
    return [
        *((f"init of {name}", f"{took:.0f} ms") for name, took in tally.init_ms.items()),
        ("invocations", _statuses(outcome)),
        ("invocation, min / median / p95 / max", _spread(made.durations_ms)),
        ("added after the response", _spread(made.overheads_ms)),
        *_events(outcome),
        ("shutdown", f"{shutdown.used_ms:.0f} of {shutdown.budget_ms:.0f} ms ({shutdown.reason})"),
        *((f"exit code of {name}", _end_of(name, outcome)) for name in outcome.setup.names),
    ]


def _end_of(name: str, outcome: Outcome) -> str:
    code = outcome.exit_codes.get(name)
    if code is None:
        return "none: it was not started"
    return f"{code} (killed by the platform)" if name in outcome.tally.killed else str(code)


def _statuses(outcome: Outcome) -> str:
    statuses = outcome.made.statuses
    planned = outcome.made.count if outcome.planned is None else outcome.planned
    others = [f"{count} {status}" for status, count in sorted(statuses.items()) if status != "success"]
    return ", ".join([f"{statuses['success']} of {planned} succeeded", *others])


def _events(outcome: Outcome) -> Iterator[tuple[str, str]]:
    tally = outcome.tally
    if not tally.delivered and not tally.refused:
        yield "events delivered", "none: nobody subscribed"
    for name in sorted(tally.delivered.keys() | tally.refused.keys()):
        refused = f", and {tally.refused[name]} not taken" if tally.refused[name] else ""
        yield f"events delivered to {name}", f"{tally.delivered[name]}{refused}"
    if tally.dropped:
        yield "events dropped by the platform", str(tally.dropped)


def _spread(values: Sequence[float]) -> str:
    found = spread(values)
    return "-" if found is None else " / ".join(f"{value:.1f}" for value in found.values()) + " ms"


def print_outcome(outcome: Outcome, terminal: Terminal) -> None:
    """Print the table, and below it what went wrong and how to mend it."""
    terminal.figures(", ".join(outcome.setup.names) or "the function alone", figures_of(outcome))
    for failure in outcome.made.failed():
        _print_failure(failure, terminal)
    for call, times in outcome.tally.refusals.items():
        what = f"{call.call} was refused with {call.status} {call.error_type}{_times(times)} {call.message}"
        terminal.paragraph((f"{call.who}:", "bold yellow"), (what, ""))
    for error, times in outcome.tally.errors.items():
        what = f"it reported {error.call} {error.error_type}{_times(times)} {error.message}"
        terminal.paragraph((f"{error.who}:", "bold yellow"), (what, ""))
    for finding in outcome.findings:
        style = _STYLES[finding.level]
        who = f"{finding.who}: {finding.level}:"
        terminal.paragraph((who, style), (finding.message, ""), (finding.fix, "green"))
        if finding.output is not None:
            terminal.paragraph((f"its last line was: {finding.output}", "dim"), indent=4)
    if outcome.gave_up:
        given_up = f"init failed: {outcome.made.count} of {outcome.planned} invocations were made"
        terminal.paragraph((given_up, "bold red"))


def _print_failure(failure: dict[str, Any], terminal: Terminal) -> None:
    error = failure["error"] or {}
    said: list[Part] = [(f"an invocation ended with {failure['status']}", "bold yellow")]
    said.append((f"({failure['error_type']})", ""))
    if "errorMessage" in error:
        said.append((f"{error.get('errorType', 'error')}: {error['errorMessage']}", ""))
    terminal.paragraph(*said)
    for line in (error.get("stackTrace") or [])[-_MOST_LINES:]:
        _print_lines("|", line, terminal)
    for line in failure["output"][-_MOST_LINES:]:
        _print_lines("function:", line, terminal)


def _print_lines(lead: str, text: object, terminal: Terminal) -> None:
    # Python's runtime ends the lines of one event with a carriage return.
    for line in str(text).splitlines():
        terminal.paragraph((f"{lead} {line}", "dim"), indent=4)


def _times(times: int) -> str:
    return f", {times} times" if times > 1 else ""
