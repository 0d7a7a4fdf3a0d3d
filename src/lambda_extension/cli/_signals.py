"""Ctrl-C and SIGTERM as calls of a function."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio
import anyio.abc
import attrs

__all__ = ["Ended", "on_signals"]


@attrs.define(eq=False)
class Ended:
    """The signal that ended a command, once one has."""

    number: int = 0

    @property
    def name(self) -> str:
        """Its name."""
        return signal.Signals(self.number).name

    @property
    def code(self) -> int:
        """The exit code that shells give to it."""
        return 128 + self.number


async def on_signals(
    call: Callable[[int], object], *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Call `call` with each SIGINT and SIGTERM until cancelled."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            call(number)
