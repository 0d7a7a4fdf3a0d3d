"""Who takes part in an environment, what they wait for, and the invocations that they work on."""

from __future__ import annotations

import math
import signal
import uuid
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, final

import anyio
import attrs

from lambda_extension.simulator._platform._processes import GroupProcess

# What is said where nothing can be measured: no process, or no /proc.
_UNMEASURED_MB: Final = 64


class SandboxClosedError(Exception):
    """The environment ended while a long poll waited."""


@final
class Mailbox:
    """Events for one long poller, or for several that share them."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._changed = anyio.Event()
        self._closed = False

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._wake()

    def close(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        # A new event each time: several workers may wait, and each looks again.
        self._changed.set()
        self._changed = anyio.Event()

    async def get(self) -> Any:
        while not self._items:
            if self._closed:
                raise SandboxClosedError
            await self._changed.wait()
        return self._items.popleft()


@attrs.define(eq=False, kw_only=True)
class Participant:
    """The runtime or an extension: a process, or a task of this process.

    Attributes:
        name: `runtime`, or the extension's.
        real: Whether it has a process of its own, and with it the host's clock.
        unstarted: Whether its file could not be started.
        exit_code: How it ended; negative is the signal's number.
        done: Whether it has ended.
        killed: Whether the platform has killed it.
        excused: Whether it was killed through no fault of its own.
        starved: Whether that was for want of memory.
    """

    name: str
    real: bool = False
    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    process: GroupProcess | None = None
    unstarted: bool = False
    exit_code: int | None = None
    done: bool = False
    killed: bool = False
    excused: bool = False
    starved: bool = False

    def signal(self, number: int) -> None:
        """Send a signal; a task only knows the end."""
        if self.process is not None:
            self.process.signal(number)
        else:
            self.scope.cancel()

    def kill(self, *, excused: bool = False) -> None:
        """End it now."""
        if not self.done:
            self.killed = True
            self.excused = self.excused or excused
            self.scope.cancel()
            self.signal(signal.SIGKILL)


@attrs.define(eq=False, kw_only=True)
class Invocation:
    """One invocation on its way through the environment; moments in epoch seconds."""

    payload: bytes
    timeout: float
    request_id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    trace_header: str | None = None
    client_context: str | None = None
    cognito_identity: str | None = None
    span_id: str | None = None
    deadline_ms: int = 0
    host_deadline_ms: int = 0
    started: float = 0.0
    answered: float = 0.0
    runtime_done: float = 0.0
    finished: float = 0.0
    response: bytes = b""
    status: str = "success"
    error_type: str | None = None
    out_of_memory: bool = False
    logs: list[str] = attrs.field(factory=list)
    reported: anyio.Event = attrs.field(factory=anyio.Event)


def max_memory_mb(participants: Iterable[Participant]) -> int:
    """Add up the most that each process has ever had resident; what runs in this process cannot be told apart."""
    found = sum(item.process.peak_kb() for item in participants if item.process is not None)
    return math.ceil(found / 1024) or _UNMEASURED_MB
