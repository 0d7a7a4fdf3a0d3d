"""The shutdown as users see it, made once there is one."""

from __future__ import annotations

import attrs

from lambda_extension._api._enums import ShutdownReason
from lambda_extension._api._events import ShutdownEvent


@attrs.frozen(kw_only=True)
class Shutdown:
    """The environment, or this process, is about to end.

    Attributes:
        event: What the platform sent; after a signal, an event made of the signal's name and a budget of 2 seconds.
        deadline: When everything still running is cancelled, on the clock of `anyio.current_time()`.
    """

    event: ShutdownEvent
    deadline: float

    @property
    def reason(self) -> ShutdownReason:
        """Why."""
        return self.event.shutdown_reason
