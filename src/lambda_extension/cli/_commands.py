"""The commands and their options; what they run is imported when they run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import click

from lambda_extension.cli._complaints import Commands, explained
from lambda_extension.cli._environments import set_up, setup_options
from lambda_extension.cli._faults import HELP
from lambda_extension.cli._options import (
    FILE,
    LAYER,
    EventsType,
    FaultType,
    HeaderType,
    NamesType,
    OutputType,
    environment_option,
)

# With a debugger, seconds: the most that Lambda gives an invocation, and a day.
_DEBUGGING_TIMEOUT = 900.0
_DEBUGGING_INIT_TIMEOUT = 24 * 3600.0

_STRICT = click.option("--strict", is_flag=True, help="Let what is only a warning fail, too.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else, to stdout.")


@click.group(cls=Commands, context_settings={"max_content_width": 120})
@click.version_option(package_name="lambda-extension")
def commands() -> None:
    """Run and examine AWS Lambda extensions on this machine: no AWS account, no Docker, no root."""


@commands.command()
@setup_options
@click.option("--invocations", type=click.IntRange(1), default=3, show_default=True)
@click.option("--interval", type=click.FloatRange(0), default=0.0, help="Seconds between two invocations.")
@click.option("--event", type=click.File("rb"), help="A JSON file: the payload of each invocation.")
@click.option("--trace-header", metavar="TEXT", type=HeaderType(), help="X-Amzn-Trace-Id of each invocation.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=FaultType(),
    metavar="FAULT",
    help=HELP,
)
@click.option("--timeline", type=OutputType(), metavar="FILE", help="Write a page that shows the run.")
@click.option("--trace", type=OutputType(), metavar="FILE", help="Write the run for Perfetto.")
@_STRICT
@_JSON
def simulate(
    *,
    invocations: int,
    interval: float,
    event: IO[bytes] | None,
    trace_header: str | None,
    telemetry_out: Path | None,
    timeline: Path | None,
    trace: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run each EXTENSION beside a function, and say what it cost.

    First comes what it prints, then what it cost and the rules that it broke.

    EXTENSION is an executable as Lambda would start it, or a .py file, which this Python runs unless it begins with #!.
    The exit code is 1 when an extension failed, and 3 when only the function did.
    """
    payload = _payload(event)
    if not any(options[name] for name in ("extensions", "layers", "function", "handler")):
        msg = "name an EXTENSION, a --layer, or a --function that has an internal one"
        raise click.UsageError(msg)
    from lambda_extension.cli._run import Plan
    from lambda_extension.cli._simulate import Output, simulate as simulate_

    output = Output(telemetry=telemetry_out, timeline=timeline, trace=trace, as_json=as_json)
    with set_up(**options) as setup:
        plan = Plan(
            setup=setup,
            invocations=invocations,
            interval=interval,
            payload=payload,
            trace_header=trace_header,
            strict=strict,
        )
        with explained():
            code = simulate_(plan, output)
    sys.exit(code)


@commands.command()
@setup_options
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Where to invoke.")
@click.option("--api-port", type=click.IntRange(0, 65535), default=9001, show_default=True, help="Of Lambda's APIs.")
@click.option(
    "--attach",
    multiple=True,
    metavar="NAME",
    help="Wait for an extension of that name, or for `runtime`, that somebody else starts: a debugger, say.",
)
@click.option("--follow", is_flag=True, help="Print each event of telemetry as it happens.")
@_STRICT
@_JSON
def serve(
    *,
    port: int,
    attach: tuple[str, ...],
    follow: bool,
    strict: bool,
    telemetry_out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Run each EXTENSION beside a function that is invoked over HTTP.

    It is invoked as AWS's emulator is, until Ctrl-C.

    curl, an AWS SDK with an endpoint URL, or a test suite in any language may invoke it. Attached participants have as
    much time as they need, and 15 minutes for an invocation, unless --init-timeout and --timeout say otherwise.
    """
    from lambda_extension.cli._attached import ATTACHED_RUNTIME, AttachedExtension
    from lambda_extension.cli._serve import Service, serve as serve_
    from lambda_extension.simulator import ExtensionSpec

    attached = {name: AttachedExtension(name) for name in attach if name != "runtime"}
    if attach:
        options["timeout"] = options["timeout"] or _DEBUGGING_TIMEOUT
        options["init_timeout"] = options["init_timeout"] or _DEBUGGING_INIT_TIMEOUT
    if "runtime" in attach:
        if options["function"] or options["handler"]:
            msg = "--attach runtime leaves the function to somebody else: there is no --function or --handler then"
            raise click.UsageError(msg)
        options["function"] = ATTACHED_RUNTIME
    specs = [ExtensionSpec(extension, name=name) for name, extension in attached.items()]
    with set_up(attached=specs, faults=(), **options) as setup, explained():
        service = Service(
            setup=setup,
            port=port,
            attached=list(attached.values()),
            waited_for=attach,
            follow=follow,
            strict=strict,
            as_json=as_json,
            telemetry=telemetry_out,
        )
        code = serve_(service)
    sys.exit(code)


def _payload(event: IO[bytes] | None) -> Any:
    if event is None:
        return {}
    try:
        return json.load(event)
    except ValueError as error:
        msg = f"{event.name} is not JSON: {error}"
        raise click.BadParameter(msg, param_hint="--event") from None


@commands.command()
@click.argument("extension", type=LAYER)
@environment_option("--env", "variables", "A variable that it has when it is run; without a value, as it is set here.")
@_STRICT
@_JSON
def doctor(*, extension: Path, variables: Sequence[tuple[str, str]], strict: bool, as_json: bool) -> None:
    """Check EXTENSION for what goes wrong in real deployments.

    EXTENSION is the file that Lambda starts, or a layer: its folder or zip file. The exit code is 1 when a check fails.
    """
    from lambda_extension.cli._diagnose import diagnose

    with explained():
        code = diagnose(extension.absolute(), dict(variables), as_json=as_json, strict=strict)
    sys.exit(code)


@commands.command()
@click.argument("scripts", metavar="[SCRIPT]...", type=FILE, nargs=-1)
@click.option(
    "--ship",
    "destinations",
    multiple=True,
    type=NamesType(),
    metavar="DESTINATION",
    help="Put the ready-made extension in, which ships telemetry there: otlp, loki, s3 and others.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The zip file or folder; by default NAME.zip.")
@click.option("--name", help="The extension's name, and that of its file; by default that of the script, less .py.")
@click.option("--python", default="3.13", show_default=True, help="The Python of the function's runtime on Lambda.")
@click.option("--arch", type=click.Choice(["x86_64", "arm64"]), default="x86_64", show_default=True)
@click.option("--requirements", "-r", type=FILE, multiple=True, help="What to install besides, in pip's form.")
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Install this project, or what it needs.",
)
@environment_option("--env", "variables", "A variable that the extension has where the function does not set it.")
@environment_option(
    "--trial-env",
    "trial_variables",
    "A variable for the trial on this machine alone, such as a secret; without a value, as it is set here.",
)
@click.option(
    "--events",
    type=EventsType(),
    metavar="EVENTS",
    help="What it registers for, such as INVOKE,SHUTDOWN; by default it is tried.",
)
@click.option(
    "--early/--no-early", default=True, help="Without: it registers by itself, after work that the function waits for."
)
@click.option(
    "--format", "shape", type=click.Choice(["layer", "directory", "container"]), default="layer", show_default=True
)
@click.option("--lean", is_flag=True, help="Without hypercorn: for receivers with server='direct'.")
@click.option("--sources/--no-sources", default=True, help="Without: bytecode alone, and tracebacks without lines.")
@click.option("--interpreter", type=LAYER, metavar="DIR|ARCHIVE", help="A CPython to take along.")
@click.option("--lock", type=OutputType(), help="Write there what is in it, by version.")
def package(
    *,
    scripts: Sequence[Path],
    destinations: Sequence[tuple[str, ...]],
    output: Path | None,
    shape: str,
    lock: Path | None,
    **options: Any,
) -> None:
    """Make a layer of each SCRIPT, or say why none would start.

    What it needs is what --requirements or --project say, and what the script itself declares (PEP 723). With --ship
    no SCRIPT is needed: the ready-made extension is configured by variables alone.
    """
    if not scripts and not destinations:
        msg = "name a SCRIPT, or a destination by --ship"
        raise click.UsageError(msg)
    from lambda_extension.cli._package import package

    names = list(dict.fromkeys(name for names in destinations for name in names))
    with explained():
        package(scripts, names, output, shape, lock, **options)


@commands.command()
@click.argument("name")
@click.option(
    "--template",
    type=click.Choice(["stream", "per-invocation", "delivery", "otlp", "cache", "internal"]),
    default="stream",
    show_default=True,
)
def init(*, name: str, template: str) -> None:
    r"""Make a project to start from in the folder NAME.

    It has an extension, its tests, and what deploys it.

    \b
    stream          prints what the telemetry says
    per-invocation  ships each invocation's telemetry before the freeze
    delivery        delivers log lines to a URL, redacted
    otlp            exports OpenTelemetry
    cache           answers the function's requests
    internal        lives in the function's own process
    """
    from lambda_extension.cli._init import init

    init(name, template)


@commands.command()
def ship() -> None:
    """Run the ready-made extension, which Lambda starts, not you.

    It reads LAMBDA_EXTENSION_* variables.
    """
    from lambda_extension.ship._main import main

    main()
