"""Real processes: own group, output by line, frozen and killed as a group."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, final

import anyio
import anyio.abc

_LINE_LIMIT: Final = 256 * 1024
_DRAIN_LIMIT: Final = 1.0


@final
class GroupProcess:
    """A child process that leads a process group of its own."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process = process
        self.pid = process.pid
        self.exit_code: int | None = None
        self._gone = False

    @classmethod
    async def start(cls, argv: Sequence[str], environment: Mapping[str, str]) -> GroupProcess:
        """Start `argv`.

        Raises:
            OSError: It cannot be executed.
        """
        process = await anyio.open_process(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        return cls(process)

    async def run(self, on_line: Callable[[str], None]) -> int:
        """Hand each line of output on until the process ends; return its exit code.

        A cancelled call kills the whole group and reaps the process first.
        """
        code = -1
        try:
            async with anyio.create_task_group() as readers:
                for stream in (self._process.stdout, self._process.stderr):
                    assert stream is not None  # both are piped
                    readers.start_soon(_read_lines, stream, on_line)
                code = await self._process.wait()
                self.exit_code = code
                # A grandchild may hold the pipes open for ever.
                self.signal(signal.SIGKILL)
                readers.cancel_scope.deadline = anyio.current_time() + _DRAIN_LIMIT
            return code
        finally:
            self.signal(signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await self._process.aclose()
                self.exit_code = self._process.returncode
            self._gone = True

    def peak_kb(self) -> int:
        """Return the most that the process has ever had resident; 0 once it is gone, and where there is no /proc."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return 0
        _, found, rest = status.partition("VmHWM:")
        return int(rest.split(maxsplit=1)[0]) if found else 0  # a zombie has none

    def signal(self, number: int) -> None:
        """Send a signal to the group; nothing happens when it is gone."""
        if self._gone:
            return
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            # macOS answers EPERM for a group of zombies only.
            return


async def _read_lines(stream: anyio.abc.ByteReceiveStream, on_line: Callable[[str], None]) -> None:
    rest = b""
    try:
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                on_line(line.removesuffix(b"\r").decode(errors="replace"))
            while len(rest) > _LINE_LIMIT:
                on_line(rest[:_LINE_LIMIT].decode(errors="replace"))
                rest = rest[_LINE_LIMIT:]
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):  # pragma: no cover - only if it dies as it is read
        pass
    if rest:
        on_line(rest.decode(errors="replace"))
