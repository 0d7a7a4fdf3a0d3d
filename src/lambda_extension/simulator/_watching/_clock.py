"""The wall clock that participants of a simulation see."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import final

import anyio

__all__ = ["Clock"]


@final
class Clock:
    """Epoch time that advances with the event loop's clock, and can jump.

    Under trio's autojump clock it is virtual, because the event loop's clock is: hours pass in milliseconds.
    """

    def __init__(self) -> None:
        self._base = time.time()
        self._start = anyio.current_time()
        self._offset = 0.0

    def time(self) -> float:
        """Return seconds since the epoch."""
        return self._base + anyio.current_time() - self._start + self._offset

    def time_ms(self) -> int:
        """Return whole milliseconds since the epoch."""
        return int(self.time() * 1000)

    def jump(self, seconds: float) -> None:
        """Move the clock by `seconds`, as a freeze or a clock correction would."""
        self._offset += seconds

    @staticmethod
    def format(moment: float) -> str:
        """Return an epoch time as the platform writes it: UTC, milliseconds, `Z`."""
        text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z")
