"""What is wrong, said in lines for people and by the exit code."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click


class Commands(click.Group):
    """The group, which says what is wrong in lines that end between words, and never by a traceback."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command that the arguments name."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().main(*arguments, **{**options, "standalone_mode": False})
        except click.ClickException as error:
            _complain(error)
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(128 + signal.SIGINT)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the system refuses, and what is no layer, into a message."""
    from lambda_extension.cli._layers import LayerError

    try:
        yield
    except (OSError, LayerError, BaseExceptionGroup) as error:
        problem: BaseException = error
        while isinstance(problem, BaseExceptionGroup) and len(problem.exceptions) == 1:
            problem = problem.exceptions[0]
        if isinstance(problem, LayerError):
            raise click.BadParameter(str(problem)) from None
        if isinstance(problem, BrokenPipeError):  # a reader that left is click's to deal with
            raise problem from None
        if isinstance(problem, OSError):
            raise click.ClickException(str(problem)) from None
        raise


def _complain(error: click.ClickException) -> None:
    from lambda_extension.cli._terminal import Terminal  # rich, which needs a while

    terminal = Terminal(stderr=True)
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        terminal.paragraph((f"{context.get_usage()} ({context.command_path} --help says more)", "dim"))
    first, *others = error.format_message().splitlines()
    terminal.paragraph(("error:", "bold red"), (first, ""))
    for line in others:
        terminal.paragraph((line, ""))
