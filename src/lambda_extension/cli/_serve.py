"""`lambda-extension serve`: one environment that stays up, invoked over HTTP."""

from __future__ import annotations

import functools
import json
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import attrs
import click

from lambda_extension.cli._attached import AttachedExtension
from lambda_extension.cli._gateway import PATH, Gateway
from lambda_extension.cli._outcome import Outcome
from lambda_extension.cli._report import print_outcome
from lambda_extension.cli._setup import Setup, tell_unresolved
from lambda_extension.cli._signals import Ended, on_signals
from lambda_extension.cli._tally import Made, Tally
from lambda_extension.cli._terminal import Terminal
from lambda_extension.serving._serve import serve_app
from lambda_extension.serving._socket import listen_on
from lambda_extension.simulator import Clock, Entry, InvocationResult, ShutdownReport, Simulator
from lambda_extension.simulator._apis._local import LocalOnly

_HOST = "127.0.0.1"
# Answers that are on their way when everything else has ended.
_LAST_ANSWERS = 0.5


@attrs.frozen(kw_only=True)
class Service:
    """What to serve, and how it is shown.

    Attributes:
        attached: In place of the extensions that somebody else starts; they are among those of `setup`.
        waited_for: Everybody whom somebody else starts.
        follow: Print each event of telemetry.
    """

    setup: Setup
    port: int
    attached: Sequence[AttachedExtension]
    waited_for: Sequence[str]
    follow: bool
    strict: bool
    as_json: bool
    telemetry: Path | None

    def show(self, entry: Entry, terminal: Terminal) -> None:
        """Show an entry, if it is one that is shown."""
        match entry.kind:
            case "output":
                terminal.said("function" if entry.who == "runtime" else entry.who, entry.detail["text"])
            case "finding":
                detail = entry.detail
                terminal.paragraph((f"{entry.who}: {detail['level']}: {detail['message']} {detail['fix']}", ""))
            case "event" if self.follow:
                terminal.said(f"{Clock.format(entry.time)} {entry.what}", json.dumps(entry.detail["record"]))


def serve(service: Service) -> int:
    """Serve until a signal, shut down, tell, and return the exit code; a second signal kills."""
    return _tell(anyio.run(_serve, service), service)


def _tell(came: Outcome | Ended, service: Service) -> int:
    if isinstance(came, Ended):
        return came.tell()
    if service.as_json:
        click.echo(json.dumps(came.as_dict(), indent=2))
    else:
        print_outcome(came, Terminal())
    return int(came.exit)


async def _serve(service: Service) -> Outcome | Ended:
    """Serve until the first signal; the second one, or one before init has ended, kills."""
    asked, ended, terminal = anyio.Event(), Ended(), Terminal(stderr=service.as_json)
    tally, made = Tally(), Made()
    outcome = None
    with ExitStack() as stack:
        sock = stack.enter_context(_listen(service.port, "--port"))
        _listen(service.setup.api_port, "--api-port").close()  # taken again at once; only so that it can be named
        if service.telemetry is not None:
            tally.telemetry_out = stack.enter_context(service.telemetry.open("w", encoding="utf-8"))
        async with anyio.create_task_group() as everything:

            def end(number: int) -> None:
                ended.number = number
                if asked.is_set() or not tally.inits:
                    everything.cancel_scope.cancel()
                asked.set()

            await everything.start(on_signals, end)
            async with service.setup.simulator(functools.partial(_watch, service, tally, terminal)) as simulator:
                shutdown = await _invocations(
                    simulator, made, sock, asked, functools.partial(_announce, service, terminal)
                )
            outcome = Outcome(
                setup=service.setup,
                planned=None,
                made=made,
                shutdown=shutdown,
                tally=tally,
                strict=service.strict,
                findings=simulator.record.findings,
            )
            everything.cancel_scope.cancel()
    return outcome or ended


def _watch(service: Service, tally: Tally, terminal: Terminal, entry: Entry) -> None:
    tally.add(entry)
    for extension in service.attached:
        extension.see(entry)
    if (entry.kind, entry.what) == ("phase", "init-start") and tally.inits:
        for name in service.waited_for:
            terminal.paragraph((f"waiting for {name} again:", "bold"), ("the environment was reset", ""))
    service.show(entry, terminal)


async def _invocations(
    simulator: Simulator,
    made: Made,
    sock: socket.socket,
    asked: anyio.Event,
    announce: Callable[[Simulator, int], object],
) -> ShutdownReport:
    """Take invocations until asked to end; those under way are answered, and then the environment shuts down."""

    async def invoke(payload: bytes, **options: Any) -> InvocationResult:
        result = await simulator.invoke(payload, **options)
        made.add(result)
        return result

    answered = anyio.Event()
    shutdown: list[ShutdownReport] = []
    async with anyio.create_task_group() as tasks:
        gateway = Gateway(invoke, tasks)
        server = functools.partial(serve_app, shutdown_trigger=answered.wait, graceful_timeout=_LAST_ANSWERS)
        port = sock.getsockname()[1]
        await tasks.start(server, LocalOnly(gateway), sock)
        announce(simulator, port)
        await asked.wait()
        gateway.close()
        click.echo("shutting down, after what is under way", err=True)
        shutdown.append(await simulator.shutdown())
        answered.set()
    return shutdown[0]


def _announce(service: Service, terminal: Terminal, simulator: Simulator, port: int) -> None:
    tell_unresolved(simulator, terminal.notice)
    terminal.paragraph(("function:", "bold"), (f"POST http://{_HOST}:{port}{PATH}", ""))
    variables = simulator.settings.extension_environment(simulator.api)
    for name in service.waited_for:
        own = [f"{key}={text}" for key, text in variables.items() if key.startswith("AWS_LAMBDA_")]
        terminal.paragraph((f"waiting for {name}:", "bold"), ("start it with " + " ".join(own), ""))
    terminal.paragraph(("Ctrl-C shuts down; once more, it kills", "dim"))


def _listen(port: int, option: str) -> socket.socket:
    try:
        return listen_on(_HOST, port)
    except OSError as error:
        msg = f"port {port} cannot be had ({error.strerror}): choose another one by {option}"
        raise OSError(msg) from None
