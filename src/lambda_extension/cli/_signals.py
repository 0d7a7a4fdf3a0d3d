"""Ctrl-C and SIGTERM as calls of a function."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio
import anyio.abc
import attrs
import click


@attrs.define(eq=False)
class Ended:
    """The signal that ended a command, once one has."""

    number: int = 0

    def tell(self) -> int:
        """Say so, and return the exit code that shells give to it."""
        name = signal.Signals(self.number).name
        click.echo(f"ended by {name}: every process of the run was killed", err=True)
        return 128 + self.number


async def on_signals(
    call: Callable[[int], object], *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Call `call` with each SIGINT and SIGTERM until cancelled."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            call(number)
