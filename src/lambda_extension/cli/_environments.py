"""The options that say what an environment is made of, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lambda_extension.cli._complaints import explained
from lambda_extension.cli._options import FILE, LAYER, FunctionType, OutputType, environment_of, environment_option

if TYPE_CHECKING:
    from lambda_extension.cli._setup import Setup
    from lambda_extension.simulator import ExtensionSpec

Command = TypeVar("Command", bound=Callable[..., Any])

_SETUP = [
    click.argument("extensions", nargs=-1, type=FILE, metavar="[EXTENSION]..."),
    click.option("--layer", "layers", multiple=True, type=LAYER, metavar="DIR|ZIP", help="A layer, laid under /opt."),
    click.option(
        "--function",
        type=FunctionType(),
        metavar="MODULE:FUNCTION|BOOTSTRAP",
        help="A Python handler, run by awslambdaric, or an executable that is the runtime; else a stand-in.",
    ),
    click.option("--handler", metavar="NAME", help="What a bootstrap is told; without one, a Python handler to run."),
    environment_option(
        "--env", "variables", "A variable of function and extensions; without a value, as it is set here."
    ),
    click.option(
        "--env-file", "env_files", multiple=True, type=FILE, metavar="FILE", help="Variables, NAME=VALUE a line."
    ),
    click.option(
        "--mode",
        type=click.Choice(["on-demand", "provisioned-concurrency", "snap-start", "managed-instances"]),
        default="on-demand",
        show_default=True,
    ),
    click.option("--concurrency", type=click.IntRange(1), default=1, show_default=True, help="With managed-instances."),
    click.option("--memory", type=click.IntRange(128, 10_240), default=128, show_default=True, help="In MB."),
    click.option(
        "--log-format", type=click.Choice(["Text", "JSON"]), help="Of the function's log; default: the mode's."
    ),
    click.option("--freeze", is_flag=True, help="Stop the processes between invocations, as Lambda does."),
    click.option("--timeout", type=click.FloatRange(0.1), help="Of the function, seconds.  [default: 3]"),
    click.option("--init-timeout", type=click.FloatRange(0.1), help="Of init, seconds.  [default: the mode's]"),
    click.option("--telemetry-out", type=OutputType(), metavar="FILE", help="Write every telemetry event, one a line."),
]


def setup_options(command: Command) -> Command:
    """Give a command the options that `set_up` takes."""
    for option in reversed(_SETUP):
        command = option(command)
    return command


@contextmanager
def set_up(
    *,
    extensions: tuple[Path, ...],
    layers: tuple[Path, ...],
    function: Any,
    handler: str | None,
    variables: tuple[tuple[str, str], ...],
    env_files: tuple[Path, ...],
    timeout: float | None,
    attached: Sequence[ExtensionSpec] = (),
    **options: Any,
) -> Iterator[Setup]:
    """Check the options of an environment, lay its layers out, and say what may be missing."""
    if options["concurrency"] > 1 and options["mode"] != "managed-instances":
        msg = "one environment runs one invocation at a time, except with --mode managed-instances"
        raise click.UsageError(msg)
    if function is None and handler is not None:
        function, handler = handler, None
        if ":" not in function:
            msg = f"{function!r} is not of the form module:function, and there is no --function that it is told to"
            raise click.BadParameter(msg, param_hint="--handler")
    environment = environment_of(variables, env_files)
    from lambda_extension.cli._layers import laid_out, specs_of
    from lambda_extension.cli._setup import Setup, command_of, search_path
    from lambda_extension.simulator import ExtensionSpec

    with ExitStack() as stack:
        with explained():
            root = stack.enter_context(laid_out(layers))
        own = [ExtensionSpec(command_of(path.absolute()), name=path.name) for path in extensions]
        setup = Setup(
            extensions=[*own, *specs_of(root, search_path()), *attached],
            function=function,
            handler=handler,
            environment=environment,
            opt=root if layers else None,
            timeout=timeout or 3.0,
            **options,
        )
        _check(setup)
        yield setup


def _check(setup: Setup) -> None:
    """Find out before anything runs whether it can, and say what may be missing."""
    from lambda_extension.cli._setup import unpassed
    from lambda_extension.cli._terminal import Terminal

    try:
        setup.simulator(lambda _: None)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except ModuleNotFoundError as error:
        if error.name != "awslambdaric":
            raise
        raise click.ClickException(str(error)) from None
    terminal = Terminal(stderr=True)
    for file, name in unpassed(setup.files, setup.environment):
        terminal.notice(f"{file} names {name}, which is set here but not passed on: --env {name} passes it")
