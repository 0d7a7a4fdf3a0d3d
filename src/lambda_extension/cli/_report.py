"""Outcomes for people: a table, and one sentence for each broken rule."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lambda_extension.cli._run import Outcome, spread

__all__ = ["figures_of", "print_outcome"]


def figures_of(outcome: Outcome) -> list[tuple[str, str]]:
    """Give the figures of a run: labels and values."""
    tally, shutdown = outcome.tally, outcome.shutdown
    made = outcome.made
    return [
        *((f"init of {name}", f"{took:.0f} ms") for name, took in tally.init_ms.items()),
        ("invocations that succeeded", f"{made.statuses['success']} of {outcome.plan.invocations}"),
        ("invocation, min / median / p95 / max", _spread(made.durations_ms)),
        ("added after the response", _spread(made.overheads_ms)),
        ("events delivered", f"{tally.delivered}, and {tally.dropped} dropped"),
        ("shutdown", f"{shutdown.used_ms:.0f} of {shutdown.budget_ms:.0f} ms ({shutdown.reason})"),
        ("exit code", "none" if outcome.exit_code is None else str(outcome.exit_code)),
    ]


def _spread(values: Sequence[float]) -> str:
    found = spread(values)
    return "-" if found is None else " / ".join(f"{value:.1f}" for value in found.values()) + " ms"


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print the table, and below it what went wrong and how to mend it."""
    table = Table(title=escape(outcome.plan.name), title_justify="left", show_header=False)
    for label, value in figures_of(outcome):
        table.add_row(escape(label), escape(value))
    console.print(table)
    for finding in outcome.findings:
        console.print(f"[bold red]{escape(finding.who)}[/]: {escape(finding.message)} [green]{escape(finding.fix)}[/]")
    if outcome.gave_up:
        console.print(f"init failed: {outcome.made.count} of {outcome.plan.invocations} invocations were made")
