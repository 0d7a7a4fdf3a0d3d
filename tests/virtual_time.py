"""Event loops whose clock jumps to the next timer when nothing else can happen: minutes pass in no time, exactly.

Only for code without sockets, processes and threads: what these would still bring is not waited for.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

import anyio
import sniffio
import trio
import trio.testing

from lambda_extension._budget import wall_clock

# What the wall clock shows when the clock of the event loop shows 0.
EPOCH = 1_000_000.0


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing will ever happen"
            self.now += max(timeout, 0.0)
        return ready


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def jump(self, seconds: float) -> None:
        self._jumping.now += seconds


def backend(name: str) -> tuple[str, dict[str, Any]]:
    """Give the backend and the options of a run with a clock of its own."""
    if name == "trio":
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return "asyncio", {"loop_factory": _JumpingLoop}


def freeze(seconds: float) -> None:
    """Let time pass as in a frozen environment: nothing runs meanwhile, and then every timer is late."""
    if sniffio.current_async_library() == "trio":
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(seconds)
    else:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _JumpingLoop)
        loop.jump(seconds)


def use_virtual_wall_clock() -> None:
    """Let the wall clock go with the clock of the event loop, in this task and those that it starts."""
    wall_clock.set(lambda: EPOCH + anyio.current_time())
