"""Participants that somebody else starts, a debugger say: the simulation only waits for them."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

import anyio

from lambda_extension.simulator import Entry

# In place of a runtime: a process that does nothing until it is ended. Whoever asks for invocations is the runtime.
ATTACHED_RUNTIME: Final = (sys.executable, "-I", "-S", "-c", "import signal; signal.pause()")
# Before the end of the shutdown's budget; later would be late.
_MARGIN: Final = 0.1
_ESTABLISHED: Final = "01"


@final
class AttachedExtension:
    """In place of an extension: takes part until the one that was attached ends, or has had its time to shut down.

    It is nobody's child here, so that Linux is asked whose the connection is on which it registers. If the same process
    asks for events, its end is the extension's; where that cannot be told, as with a script whose calls curl makes, it
    is given the whole budget.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._budget = 0.0
        self._told = anyio.Event()
        self._ended = anyio.Event()
        self._known = anyio.Event()
        self._registered: int | None = None
        self._process: int | None = None

    def see(self, entry: Entry) -> None:
        """Take in an entry of the record."""
        match (entry.kind, entry.what):
            case ("phase", "shutdown-start"):
                self._budget = entry.detail["budget_ms"] / 1000
            case ("state", "Running") if entry.who == self._name and entry.detail["event"] == "SHUTDOWN":
                self._told.set()
            case ("call", what) if entry.who == self._name and self._process is None and "ports" in entry.detail:
                # The answer has not left, so that the connection is open still.
                found = process_at(*entry.detail["ports"])
                if what.endswith("register"):
                    self._registered = found
                elif found is not None and found == self._registered:
                    self._process = found
                    self._known.set()

    async def __call__(self, _: Mapping[str, str]) -> None:
        # Of this environment: after a reset another one is attached.
        self._told, self._ended, self._known = anyio.Event(), anyio.Event(), anyio.Event()
        self._registered = self._process = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            tasks.start_soon(self._give_time)
            await self._ended.wait()
            tasks.cancel_scope.cancel()

    async def _give_time(self) -> None:
        await self._told.wait()
        await anyio.sleep(self._budget - _MARGIN)
        self._ended.set()

    async def _watch(self) -> None:
        await self._known.wait()
        assert self._process is not None
        try:
            descriptor = os.pidfd_open(self._process)
        except ProcessLookupError:  # it did not wait for the answer
            self._ended.set()
            return
        except OSError:  # a kernel, or a container, that has no such thing, or does not let us
            return
        try:
            await anyio.wait_readable(descriptor)
        finally:
            os.close(descriptor)
        self._ended.set()


def process_at(port: int | None, peer: int | None) -> int | None:
    """Return the process that has a connection of the loopback interface, at this port of it; None if nobody tells.

    Args:
        port: At its end.
        peer: At the other end; another process may be at the same port, of a connection that leads elsewhere.
    """
    try:
        lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return None
    # Established ones: those that were closed lately, and have no process any more, may have been at the same port.
    established = [fields for fields in map(str.split, lines) if fields[3] == _ESTABLISHED]
    wanted = {f"socket:[{fields[9]}]" for fields in established if (_port(fields[1]), _port(fields[2])) == (port, peer)}
    # Not by pathlib, which raises where a process ends meanwhile.
    for link in glob.iglob("/proc/[0-9]*/fd/*"):  # noqa: PTH207
        if _leads_to(link) in wanted:
            return int(link.split("/")[2])
    return None


def _port(address: str) -> int:
    return int(address.partition(":")[2], 16)


def _leads_to(link: str) -> str:
    try:
        return str(Path(link).readlink())
    except OSError:
        return ""  # closed meanwhile
