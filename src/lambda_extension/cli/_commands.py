"""The commands and their options."""

from __future__ import annotations

import functools
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import anyio
import attrs
import click
from rich.console import Console
from rich.progress import Progress

from lambda_extension.cli._doctor import Check, examine
from lambda_extension.cli._faults import HELP, parse_fault
from lambda_extension.cli._report import figures_of, print_outcome
from lambda_extension.cli._run import Outcome, Plan, Tally, run
from lambda_extension.simulator import Entry, Fault, Timeline

__all__ = ["commands"]

# Shorter runs end before anybody has read the bar.
_LONG_RUN = 20

EXTENSION = click.argument("extension", type=click.Path(exists=True, dir_okay=False, path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else, to stdout.")


class _FaultType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    name = "fault"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fault:
        try:
            return parse_fault(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group()
@click.version_option(package_name="lambda-extension")
def commands() -> None:
    """Run and examine AWS Lambda extensions on this machine: no AWS account, no Docker, no root."""


@commands.command()
@EXTENSION
@click.option("--handler", metavar="MODULE:FUNCTION", help="A Python handler, run by awslambdaric; else a stand-in.")
@click.option("--invocations", type=click.IntRange(1), default=3, show_default=True)
@click.option("--concurrency", type=click.IntRange(1), default=1, show_default=True, help="With managed-instances.")
@click.option(
    "--mode",
    type=click.Choice(["on-demand", "snap-start", "managed-instances"]),
    default="on-demand",
    show_default=True,
)
@click.option("--event", type=click.File("rb"), help="A JSON file: the payload of each invocation.")
@click.option("--freeze", is_flag=True, help="Stop the processes between invocations, as Lambda does.")
@click.option("--timeout", type=click.FloatRange(0.1), default=3.0, show_default=True, help="Of the function, seconds.")
@click.option("--fault", "faults", multiple=True, type=_FaultType(), help=HELP)
@click.option("--telemetry-out", type=click.File("w"), help="Write every telemetry event there, one per line.")
@click.option("--timeline", type=click.Path(dir_okay=False, path_type=Path), help="Write a page that shows the run.")
@click.option("--trace", type=click.Path(dir_okay=False, path_type=Path), help="Write the run for Perfetto.")
@JSON
def simulate(
    *,
    extension: Path,
    event: IO[bytes] | None,
    telemetry_out: IO[str] | None,
    timeline: Path | None,
    trace: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Run EXTENSION beside a function, print what it prints, then what it cost and the rules that it broke.

    EXTENSION is an executable as Lambda would start it, or a .py file, which this Python runs. The exit code is 1 when
    the extension failed.
    """
    if options["concurrency"] > 1 and options["mode"] != "managed-instances":
        msg = "one environment runs one invocation at a time, except with --mode managed-instances"
        raise click.UsageError(msg)
    if options["handler"] is not None and ":" not in options["handler"]:
        msg = f"{options['handler']!r} is not of the form module:function"
        raise click.BadParameter(msg, param_hint="--handler")
    plan = Plan(extension=extension.absolute(), payload=_payload(event), **options)
    output = _Output(telemetry=telemetry_out, timeline=timeline, trace=trace, as_json=as_json)
    try:
        failed = anyio.run(_simulate, plan, output)
    except ModuleNotFoundError as error:
        if error.name != "awslambdaric":
            raise
        raise click.ClickException(str(error)) from None
    sys.exit(failed)


@attrs.frozen(kw_only=True)
class _Output:
    """Where the outcome of a run goes."""

    telemetry: IO[str] | None
    timeline: Path | None
    trace: Path | None
    as_json: bool

    def write(self, outcome: Outcome, spans: Timeline) -> None:
        if self.timeline is not None:
            page = spans.html(outcome.plan.name, figures=figures_of(outcome), findings=outcome.findings)
            self.timeline.write_text(page, encoding="utf-8")
        if self.trace is not None:
            self.trace.write_text(spans.trace(), encoding="utf-8")
        if self.as_json:
            click.echo(json.dumps(outcome.as_dict(), indent=2))
        else:
            print_outcome(outcome, Console())


async def _simulate(plan: Plan, output: _Output) -> int:
    """Run, tell, and return the exit code."""
    spans, errors = Timeline(), Console(stderr=True)
    with ExitStack() as stack:
        advance: Any = _nothing
        if plan.invocations >= _LONG_RUN and errors.is_terminal:
            bar = stack.enter_context(Progress(console=errors, transient=True))
            advance = functools.partial(bar.advance, bar.add_task("invocations", total=plan.invocations))

        def watch(entry: Entry) -> None:
            if output.timeline or output.trace:
                spans.add(entry)
            if entry.kind == "output" and entry.who != "runtime":
                click.echo(f"[{entry.who}] {entry.detail['text']}", err=output.as_json)

        outcome = await run(plan, Tally(output.telemetry), watch, advance=advance)
    output.write(outcome, spans)
    return 0 if outcome.ok else 1


def _payload(event: IO[bytes] | None) -> Any:
    if event is None:
        return {}
    try:
        return json.load(event)
    except ValueError as error:
        msg = f"{event.name} is not JSON: {error}"
        raise click.BadParameter(msg, param_hint="--event") from None


def _nothing() -> None:
    """Advance no bar."""


@commands.command()
@EXTENSION
@JSON
def doctor(*, extension: Path, as_json: bool) -> None:
    """Check EXTENSION for what goes wrong in real deployments; the exit code is 1 when a check fails."""
    sys.exit(anyio.run(_examine, extension.absolute(), as_json))


async def _examine(extension: Path, as_json: bool) -> int:
    checks: list[Check] = []
    console = Console()
    colours = {"pass": "green", "fail": "bold red", "warn": "yellow", "skip": "dim"}
    async for check in examine(extension):
        checks.append(check)
        if not as_json:
            console.print(f"[{colours[check.verdict]}]{check.verdict}[/]  {check.name}: ", end="")
            console.print(check.reason, markup=False, highlight=False)
    ok = all(check.verdict != "fail" for check in checks)
    if as_json:
        click.echo(json.dumps({"ok": ok, "checks": [attrs.asdict(check) for check in checks]}, indent=2))
    return 0 if ok else 1
