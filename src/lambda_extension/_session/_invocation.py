"""One invocation as the user sees it, its telemetry, and why that ended."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn, final

import anyio

from lambda_extension._budget import INVOCATION_MARGIN
from lambda_extension.telemetry import PlatformRuntimeDone, TelemetryEvent, TelemetryStream, UnknownEvent

if TYPE_CHECKING:
    from lambda_extension._api._events import InvokeEvent

# Seconds between two looks at the clock of the event loop while a batch is read: each costs more than giving an event,
# and to see whether one is due costs a fifth of that.
_LOOK: Final = 0.001


class InvocationOutcome(Enum):
    """Why `Invocation.telemetry()` ended."""

    RUNTIME_DONE = "runtime_done"
    """This request's `platform.runtimeDone` has been given."""
    DEADLINE = "deadline"
    """The invocation's deadline, less a margin, has come."""
    LIMIT = "limit"
    """The caller's own limit has been reached."""
    ENDED = "ended"
    """The telemetry stream has ended."""
    UNAVAILABLE = "unavailable"
    """There is no telemetry here, or none that says when an invocation ends."""


@final
class Invocation:
    """One invocation of the function; leaving the loop's body tells Lambda that this extension is done with it.

    Attributes:
        event: The INVOKE event.
        deadline: When the function times out, on the clock of `anyio.current_time()`.
    """

    def __init__(self, event: InvokeEvent, deadline: float, open_stream: Callable[[], TelemetryStream | None]) -> None:
        self.event = event
        self.deadline = deadline
        self._open_stream = open_stream
        self._latest: _InvocationTelemetry | None = None

    @property
    def request_id(self) -> str:
        """AWS request id."""
        return self.event.request_id

    @property
    def outcome(self) -> InvocationOutcome | None:
        """Why the latest `telemetry()` ended; None while none has."""
        return None if self._latest is None else self._latest.outcome

    def telemetry(self, *, limit: float = math.inf) -> AsyncIterator[TelemetryEvent]:
        """Iterate over what arrives, up to and including this request's `platform.runtimeDone`.

        It never holds the invocation hostage: it also ends shortly before the deadline, after `limit`, or at once where
        there is no telemetry that says when an invocation ends; `outcome` says which. What arrives later waits in the
        stream, as does the rest of what is there if the loop's body takes until the deadline. Called again it goes on
        where the last one stopped, and ends at once if that one gave the end.

        Args:
            limit: Seconds from this call that waiting may take.

        Raises:
            RuntimeError: No telemetry was subscribed to.
        """
        latest = self._latest
        if latest is None or latest.outcome is not InvocationOutcome.RUNTIME_DONE:
            latest = _InvocationTelemetry(
                self.request_id,
                self._open_stream(),
                deadline=self.deadline - INVOCATION_MARGIN,
                limit=anyio.current_time() + limit,
            )
            self._latest = latest
        return latest


@final
class _InvocationTelemetry(AsyncIterator[TelemetryEvent]):
    """A class: an abandoned async generator would be finalised at some later time."""

    def __init__(self, request_id: str, stream: TelemetryStream | None, *, deadline: float, limit: float) -> None:
        self.outcome: InvocationOutcome | None = None
        self._request_id = request_id
        self._stream = stream
        self._deadline = deadline
        self._limit = limit
        self._next_look = -math.inf

    async def __anext__(self) -> TelemetryEvent:
        if self.outcome is not None:
            raise StopAsyncIteration
        if self._stream is None:
            self._end(InvocationOutcome.UNAVAILABLE)
        if self._stream.has_event:
            # No wait, so no scope: a batch of thousands would make one for each event. But what is done with each may
            # take time, and a batch must not outlast the invocation. The caller's limit is for waiting alone.
            if monotonic() >= self._next_look:
                self._next_look = monotonic() + _LOOK
                if anyio.current_time() >= self._deadline:
                    self._end(InvocationOutcome.DEADLINE)
            return self._checked(await self._stream.__anext__())
        event: TelemetryEvent | None = None
        with anyio.CancelScope(deadline=min(self._deadline, self._limit)):
            try:
                event = await self._stream.__anext__()
            except StopAsyncIteration:
                self._end(InvocationOutcome.ENDED)
        # The event and not the scope decides: a deadline that passed while it was being handed over took nothing.
        if event is None:
            self._end(InvocationOutcome.DEADLINE if self._deadline <= self._limit else InvocationOutcome.LIMIT)
        return self._checked(event)

    def _checked(self, event: TelemetryEvent) -> TelemetryEvent:
        if ended_request(event) == self._request_id:
            self.outcome = InvocationOutcome.RUNTIME_DONE
        return event

    def _end(self, outcome: InvocationOutcome) -> NoReturn:
        self.outcome = outcome
        raise StopAsyncIteration


def ended_request(event: TelemetryEvent) -> str | None:
    """Return the request whose function an event says is done, or None if it says nothing of the kind.

    The type and the request id are enough, whatever else is odd or missing: an invocation that waited for a better
    event would be held, and billed, to its time-out.
    """
    if type(event) is PlatformRuntimeDone:
        return event.record.request_id
    if type(event) is UnknownEvent and event.type == "platform.runtimeDone":
        # In the text, since JSON's own reader may have refused what stands beside it.
        found = re.search(rb'"requestId"\s*:\s*"([!#-\[\]-~]+)"', event.raw)
        return None if found is None else found[1].decode("ascii")
    return None
