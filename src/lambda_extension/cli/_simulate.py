"""`lambda-extension simulate`: a run in this terminal."""

from __future__ import annotations

import functools
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import attrs
import click
from rich.progress import Progress

from lambda_extension.cli._outcome import Outcome
from lambda_extension.cli._report import figures_of, print_outcome
from lambda_extension.cli._run import Plan, run
from lambda_extension.cli._signals import Ended, on_signals
from lambda_extension.cli._tally import Tally
from lambda_extension.cli._terminal import Terminal
from lambda_extension.simulator import Entry, Timeline

# Shorter runs end before anybody has read the bar.
_LONG_RUN = 20


@attrs.frozen(kw_only=True)
class Output:
    """Where the outcome of a run goes."""

    telemetry: Path | None
    timeline: Path | None
    trace: Path | None
    as_json: bool

    def write(self, outcome: Outcome, spans: Timeline) -> None:
        """Write and print it."""
        if self.timeline is not None:
            names = ", ".join(outcome.setup.names)
            page = spans.html(names, figures=figures_of(outcome), findings=outcome.findings)
            self.timeline.write_text(page, encoding="utf-8")
        if self.trace is not None:
            self.trace.write_text(spans.trace(), encoding="utf-8")
        if self.as_json:
            click.echo(json.dumps(outcome.as_dict(), indent=2))
        else:
            print_outcome(outcome, Terminal())


def simulate(plan: Plan, output: Output) -> int:
    """Run, tell, and return the exit code; a signal ends everything at once."""
    spans = Timeline()
    return _tell(anyio.run(_until_signal, plan, output, spans), output, spans)


def _tell(came: Outcome | Ended, output: Output, spans: Timeline) -> int:
    if isinstance(came, Ended):
        return came.tell()
    output.write(came, spans)
    return int(came.exit)


async def _until_signal(plan: Plan, output: Output, spans: Timeline) -> Outcome | Ended:
    outcome, ended = None, Ended()
    async with anyio.create_task_group() as tasks:

        def end(number: int) -> None:
            ended.number = number
            tasks.cancel_scope.cancel()

        await tasks.start(on_signals, end)
        outcome = await _run(plan, output, spans)
        tasks.cancel_scope.cancel()
    return outcome or ended


async def _run(plan: Plan, output: Output, spans: Timeline) -> Outcome:
    with ExitStack() as stack:
        advance: Any = _nothing
        errors = Terminal(stderr=True)
        lines = Terminal(stderr=output.as_json)
        if plan.invocations >= _LONG_RUN and errors.console.is_terminal:
            bar = stack.enter_context(Progress(console=errors.console, transient=True))
            advance = functools.partial(bar.advance, bar.add_task("invocations", total=plan.invocations))
        telemetry = stack.enter_context(output.telemetry.open("w", encoding="utf-8")) if output.telemetry else None

        def watch(entry: Entry) -> None:
            if output.timeline or output.trace:
                spans.add(entry)
            if entry.kind == "output" and entry.who != "runtime":
                lines.said(entry.who, entry.detail["text"])

        return await run(plan, Tally(telemetry), watch, tell=errors.notice, advance=advance)


def _nothing() -> None:
    """Advance no bar."""
