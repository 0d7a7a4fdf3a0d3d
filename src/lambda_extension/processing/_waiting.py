"""What tasks of a run wait for: a bell, and the ends of invocations."""

from __future__ import annotations

from typing import TypeAlias, final

import anyio

# Requests that a batch says are done, and when they were, in epoch seconds.
Done: TypeAlias = list[tuple[str, float]]

# Ends of invocations that may come before their INVOKE is seen: one, and never this many.
_MOST_ENDS = 100


@final
class Bell:
    """An event that happens again and again: ringing wakes who waits now; who comes later waits for the next."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        """Wake everybody who waits."""
        event, self._event = self._event, anyio.Event()
        event.set()

    async def wait(self) -> None:
        """Wait for the next ring. Between a look at some state and this call there must be no other await."""
        await self._event.wait()


@final
class Ends:
    """When the function was done with each invocation, in epoch seconds; the latest hundred."""

    def __init__(self) -> None:
        self._moments: dict[str, float] = {}
        self._bell = Bell()

    def note(self, request_id: str, moment: float) -> None:
        """Note an end; the first one of a request counts."""
        self._moments.setdefault(request_id, moment)
        if len(self._moments) > _MOST_ENDS:
            del self._moments[next(iter(self._moments))]
        self._bell.ring()

    async def wait(self, request_id: str, until: float) -> bool:
        """Wait for the end of an invocation, which may have come long ago; False when it has not come in time."""
        with anyio.CancelScope(deadline=until):
            while request_id not in self._moments:
                await self._bell.wait()
        return request_id in self._moments

    def take(self, request_id: str) -> float | None:
        """Forget an invocation, and give when it ended; None when that was not seen."""
        return self._moments.pop(request_id, None)
