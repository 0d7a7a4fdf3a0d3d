"""The public surface of a session without sockets or processes, for runs in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Self, cast

import anyio
import attrs

from lambda_extension import (
    EventType,
    ExtensionSession,
    Invocation,
    InvokeEvent,
    Registration,
    Shutdown,
    ShutdownEvent,
    ShutdownReason,
)
from lambda_extension._budget import SHUTDOWN_MARGIN
from lambda_extension.telemetry import Batch, decode
from virtual_time import EPOCH, use_virtual_wall_clock


@attrs.define
class FakeStream:
    """Batches that have come, each with the moment when the platform was told that it is taken."""

    receive: Any
    taken: list[float] = attrs.field(factory=list)

    def batches(self) -> AsyncIterator[Batch]:
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        batch: Batch = await self.receive.__anext__()
        self.taken.append(anyio.current_time())
        return batch


class FakeSession:
    """What `run` and `run_telemetry` use of an `ExtensionSession`; as a context manager, what cancels it in the end."""

    def __init__(self, *, managed_instance: bool = False, sees_ends: bool = True) -> None:
        use_virtual_wall_clock()
        events = (EventType.SHUTDOWN,) if managed_instance else tuple(EventType)
        self.registration = Registration(
            extension_name="x", extension_id="id", function_name="f", function_version="1", handler="h", events=events
        )
        self.client = self
        self.sees_ends = sees_ends
        self.shutdown: Shutdown | None = None
        # When Lambda was asked for each next event.
        self.asked: list[float] = []
        self._events, self._arrivals = anyio.create_memory_object_stream[InvokeEvent](100)
        self._batches, receive = anyio.create_memory_object_stream[Batch](100)
        self.telemetry = FakeStream(receive)
        self._shutting_down = anyio.Event()
        self._asking = anyio.Event()
        self._scope = anyio.CancelScope()

    async def __aenter__(self) -> ExtensionSession:
        self._scope.__enter__()
        return cast("ExtensionSession", self)

    async def __aexit__(self, *exc_info: object) -> bool | None:
        for stream in (self._events, self._arrivals, self._batches, self.telemetry.receive):
            stream.close()
        return self._scope.__exit__(*exc_info)  # type: ignore[arg-type]  # as they came

    def invoke(self, request_id: str, seconds: float = 3.0) -> None:
        deadline_ms = (EPOCH + anyio.current_time() + seconds) * 1000
        event = InvokeEvent(deadline_ms=int(deadline_ms), request_id=request_id, invoked_function_arn="arn")
        self._events.send_nowait(event)

    def send(self, body: bytes) -> None:
        self._batches.send_nowait(Batch(events=decode(body), size=len(body)))

    def left_over(self) -> int:
        """Count the events that nobody has taken from the stream."""
        return sum(len(batch) for batch in self._rest())

    def _rest(self) -> Iterator[Batch]:
        while self.telemetry.receive.statistics().current_buffer_used:
            yield self.telemetry.receive.receive_nowait()

    async def wait_asked(self, times: int) -> None:
        """Wait until Lambda has been asked for an event so many times in all."""
        while len(self.asked) < times:
            await self._asking.wait()

    def end_telemetry(self) -> None:
        self._batches.close()

    def shut_down(self, seconds: float = 2.0, *, telemetry_ends: bool = True) -> None:
        """Begin a shutdown; with the stream's end comes what the receiver waits for in the catch phase."""
        deadline = anyio.current_time() + seconds
        event = ShutdownEvent(deadline_ms=int((EPOCH + deadline) * 1000), shutdown_reason=ShutdownReason.SPINDOWN)
        self.shutdown = Shutdown(event=event, deadline=deadline - SHUTDOWN_MARGIN)
        self._scope.deadline = deadline - SHUTDOWN_MARGIN
        self._events.close()
        self._shutting_down.set()
        if telemetry_ends:
            self.end_telemetry()

    async def wait_shutdown(self) -> None:
        await self._shutting_down.wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Invocation:
        self.asked.append(anyio.current_time())
        asking, self._asking = self._asking, anyio.Event()
        asking.set()
        event = await self._arrivals.__anext__()
        deadline = event.deadline_ms / 1000 - EPOCH
        return Invocation(event, deadline, lambda: None)
