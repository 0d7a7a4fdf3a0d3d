"""The wall clock that participants of a simulation see."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import final

import anyio


@final
class Clock:
    """Epoch time that advances with the event loop's clock, and can jump.

    Under trio's autojump clock it is virtual, because the event loop's clock is: hours pass in milliseconds. A jump is
    seen by who runs in this process; a real process has the host's clock, which nobody can move, and is told times on
    that one.

    Attributes:
        offset: Seconds that all jumps so far add up to.
    """

    def __init__(self) -> None:
        self._base = time.time()
        self._start = anyio.current_time()
        self.offset: float = 0.0

    def time(self) -> float:
        """Return seconds since the epoch."""
        return self.host_time() + self.offset

    def host_time(self) -> float:
        """Return seconds since the epoch as the host's clock has them: without any jump."""
        return self._base + anyio.current_time() - self._start

    def time_ms(self) -> int:
        """Return whole milliseconds since the epoch."""
        return int(self.time() * 1000)

    def jump(self, seconds: float) -> None:
        """Move the clock by `seconds`, as a freeze or a clock correction would."""
        self.offset += seconds

    @staticmethod
    def format(moment: float) -> str:
        """Return an epoch time as the platform writes it: UTC, milliseconds, `Z`."""
        text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z")
