"""Ctrl-C and SIGTERM as something that a task group can wait for."""

from __future__ import annotations

import signal

import anyio
import anyio.abc
import attrs

__all__ = ["Ended", "ending_signal"]


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


async def ending_signal(
    scope: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[Ended] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Wait for SIGINT or SIGTERM, then cancel `scope`."""
    ended = Ended()
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started(ended)
        async for number in signals:
            ended.number = number
            scope.cancel()
            return
