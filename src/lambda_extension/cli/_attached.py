"""Participants that somebody else starts, a debugger say: the simulation only waits for them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final, final

import anyio

from lambda_extension.simulator import Entry

__all__ = ["ATTACHED_RUNTIME", "AttachedExtension"]

# In place of a runtime: a process that does nothing until it is ended. Whoever asks for invocations is the runtime.
ATTACHED_RUNTIME: Final = (sys.executable, "-I", "-S", "-c", "import signal; signal.pause()")
# Before the end of the shutdown's budget; later would be late.
_MARGIN: Final = 0.1


@final
class AttachedExtension:
    """In place of an extension: takes part until the one that was attached has had its time to shut down.

    Its end cannot be seen, since it is nobody's child here, so that it is given the whole budget.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._budget = 0.0
        self._told = anyio.Event()

    def see(self, entry: Entry) -> None:
        """Take in an entry of the record."""
        match (entry.kind, entry.what):
            case ("phase", "shutdown-start"):
                self._budget = entry.detail["budget_ms"] / 1000
            case ("state", "Running") if entry.who == self._name and entry.detail["event"] == "SHUTDOWN":
                self._told.set()

    async def __call__(self, _: Mapping[str, str]) -> None:
        self._told = anyio.Event()  # of this environment: after a reset another one is attached
        await self._told.wait()
        await anyio.sleep(self._budget - _MARGIN)
