"""One extension's life: the task group, the poller, the telemetry receiver, and the order in which they end."""

from __future__ import annotations

import logging
import math
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import NoReturn, Self, final

import anyio
import anyio.abc
import attrs

from lambda_extension._api._client import ExtensionClient
from lambda_extension._api._enums import ShutdownReason
from lambda_extension._api._models import (
    InvokeEvent,
    LogsSubscription,
    Registration,
    ShutdownEvent,
    TelemetrySubscription,
)
from lambda_extension._budget import (
    INVOCATION_MARGIN,
    SHUTDOWN_BUDGET,
    SHUTDOWN_MARGIN,
    shielded,
    to_deadline,
    wall_clock,
)
from lambda_extension._environment import Environment
from lambda_extension._exceptions import LambdaExtensionError, TelemetryNotSupportedError
from lambda_extension.telemetry import (
    PlatformRuntimeDone,
    ReceiverSettings,
    TelemetryEvent,
    TelemetryStream,
)
from lambda_extension.telemetry._receiver import Listener

logger = logging.getLogger("lambda_extension")

# How long the last words (error reports, the end of the receiver) may take once nothing else may.
_LAST_WORDS = 0.5


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
    """There is no telemetry here."""


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


@final
class Invocation:
    """One invocation of the function; leaving the loop's body tells Lambda that this extension is done with it.

    Attributes:
        event: The INVOKE event.
        deadline: When the function times out, on the clock of `anyio.current_time()`.
        outcome: Why `telemetry()` ended; None while it has not.
    """

    def __init__(self, event: InvokeEvent, deadline: float, stream: TelemetryStream | None) -> None:
        self.event = event
        self.deadline = deadline
        self.outcome: InvocationOutcome | None = None
        self._stream = stream

    @property
    def request_id(self) -> str:
        """AWS request id."""
        return self.event.request_id

    def telemetry(self, *, limit: float = math.inf) -> AsyncIterator[TelemetryEvent]:
        """Iterate over what arrives, up to and including this request's `platform.runtimeDone`.

        It never holds the invocation hostage: it also ends shortly before the deadline, after `limit`, or at once where
        there is no telemetry; `outcome` says which. What arrives later waits in the stream.

        Args:
            limit: Seconds from this call that waiting may take.
        """
        return _InvocationTelemetry(self, self._stream, anyio.current_time() + limit)


@final
class _InvocationTelemetry(AsyncIterator[TelemetryEvent]):
    def __init__(self, invocation: Invocation, stream: TelemetryStream | None, limit: float) -> None:
        self._invocation = invocation
        self._stream = stream
        self._limit = limit
        invocation.outcome = None

    async def __anext__(self) -> TelemetryEvent:
        if self._invocation.outcome is not None:
            raise StopAsyncIteration
        if self._stream is None:
            self._end(InvocationOutcome.UNAVAILABLE)
        if self._stream.has_event:
            return self._checked(await self._stream.__anext__())
        deadline = self._invocation.deadline - INVOCATION_MARGIN
        event: TelemetryEvent | None = None
        with anyio.CancelScope(deadline=min(deadline, self._limit)):
            try:
                event = await self._stream.__anext__()
            except StopAsyncIteration:
                self._end(InvocationOutcome.ENDED)
        if event is None:
            self._end(InvocationOutcome.DEADLINE if deadline <= self._limit else InvocationOutcome.LIMIT)
        return self._checked(event)

    def _checked(self, event: TelemetryEvent) -> TelemetryEvent:
        if type(event) is PlatformRuntimeDone and event.record.request_id == self._invocation.request_id:
            self._invocation.outcome = InvocationOutcome.RUNTIME_DONE
        return event

    def _end(self, outcome: InvocationOutcome) -> NoReturn:
        self._invocation.outcome = outcome
        raise StopAsyncIteration


@final
class ExtensionSession:
    """A registered extension: an async iterator of invocations, which ends at SHUTDOWN.

    The first step ends this extension's part of init, each further one tells Lambda that it is done with the
    invocation before.

    Attributes:
        client: The client of the Lambda APIs.
        shutdown: Set once the environment shuts down.
    """

    def __init__(self, client: ExtensionClient) -> None:
        self.client = client
        self.shutdown: Shutdown | None = None
        self._tasks: anyio.abc.TaskGroup
        self._listener: Listener | None = None
        self._events, self._arrivals = anyio.create_memory_object_stream[InvokeEvent](1)
        self._polling = False
        self._past_init = False
        self._failure: Exception | None = None
        self._reported = False
        self._guard = anyio.ResourceGuard("waiting for the next invocation")

    @property
    def registration(self) -> Registration:
        """What the platform told this extension when it registered."""
        return self.client.registration

    @property
    def environment(self) -> Environment:
        """The execution environment's variables."""
        return self.client.environment

    @property
    def telemetry(self) -> TelemetryStream:
        """The telemetry of this environment, between invocations and after SHUTDOWN.

        Raises:
            RuntimeError: None was subscribed to.
        """
        if self._listener is None:
            msg = "no telemetry was subscribed to: open the extension with telemetry=TelemetrySubscription()"
            raise RuntimeError(msg)
        return self._listener.stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Invocation:
        """Ask Lambda for the next event and wait for it, for hours if need be.

        A cancelled call loses nothing: the request stays under way and the next call takes its answer.

        Raises:
            anyio.BusyResourceError: Another task waits already.
            LambdaExtensionError: The platform refused or failed.
        """
        self._request_event()
        with self._guard:
            try:
                event = await self._arrivals.receive()
            except anyio.EndOfStream:
                if self._failure is not None:
                    raise self._failure from None
                raise StopAsyncIteration from None
        self._polling = False
        stream = None if self._listener is None or not self._listener.available else self._listener.stream
        return Invocation(event, to_deadline(event.deadline_ms), stream)

    async def _open_listener(
        self, subscription: TelemetrySubscription | LogsSubscription, settings: ReceiverSettings, *, required: bool
    ) -> None:
        """Listen, then subscribe; an error is reported as init/error and raised bare, before any task runs."""
        listener: Listener | None = None
        try:
            listener = await Listener.bind(settings, quiet=subscription.buffering.timeout_ms / 1000 + 0.1)
            if isinstance(subscription, LogsSubscription):
                await self.client.subscribe_logs(subscription, listener.destination)
            else:
                await self.client.subscribe_telemetry(subscription, listener.destination)
        except BaseException as error:  # a cancellation has to close the listener too
            if listener is not None and isinstance(error, TelemetryNotSupportedError) and not required:
                logger.warning("going on without telemetry: %s", error)
                listener.give_up()
            else:
                if listener is not None:
                    listener.close()
                if isinstance(error, Exception):
                    await self._report(error)
                raise
        self._listener = listener

    async def _start(self, tasks: anyio.abc.TaskGroup) -> None:
        self._tasks = tasks
        if threading.current_thread() is threading.main_thread():
            await tasks.start(self._watch_signals, name="lambda_extension signals")
        if self._listener is not None and self._listener.available:
            await tasks.start(self._listener.serve, name="lambda_extension receiver")

    def _request_event(self) -> None:
        if not self._polling and self.shutdown is None and self._failure is None:
            self._polling = self._past_init = True
            self._tasks.start_soon(self._poll, name="lambda_extension poller")

    def _poll_on(self) -> None:
        """Poll without a consumer of invocations: each INVOKE is answered with the next request at once."""
        if not self._past_init:
            self._request_event()
            self._tasks.start_soon(self._discard_invocations, name="lambda_extension invocations")

    async def _discard_invocations(self) -> None:
        try:
            async for _ in self:
                pass
        except LambdaExtensionError:
            # The stream of telemetry ends with this failure.
            assert self._listener is not None
            await self._listener.stop(self._failure)

    async def _poll(self) -> None:
        try:
            event = await self.client.next_event()
        except LambdaExtensionError as error:
            self._failure = error
            self._events.close()
            return
        if isinstance(event, ShutdownEvent):
            self._begin_shutdown(event)
        elif self.shutdown is None:
            self._events.send_nowait(event)

    def _begin_shutdown(self, event: ShutdownEvent) -> None:
        if self.shutdown is not None:
            return
        deadline = to_deadline(event.deadline_ms) - SHUTDOWN_MARGIN
        self.shutdown = Shutdown(event=event, deadline=deadline)
        self._tasks.cancel_scope.deadline = min(self._tasks.cancel_scope.deadline, deadline)
        self._events.close()
        if self._listener is not None:
            self._tasks.start_soon(self._listener.finish, deadline, name="lambda_extension last telemetry")

    async def _watch_signals(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                if self.shutdown is not None:
                    # Asked twice: whatever still runs is cancelled.
                    self._tasks.cancel_scope.deadline = -math.inf
                    return
                deadline_ms = int((wall_clock.get()() + SHUTDOWN_BUDGET) * 1000)
                reason = ShutdownReason(signal.Signals(number).name)
                self._begin_shutdown(ShutdownEvent(deadline_ms=deadline_ms, shutdown_reason=reason))

    async def _report(self, error: Exception) -> None:
        """Tell the platform of the user's error, once; bounded, and never in the way of the error itself."""
        if self._reported:
            return
        self._reported = True
        with shielded(anyio.current_time() + _LAST_WORDS) as scope:
            try:
                if self._past_init:
                    await self.client.exit_error(error)
                else:
                    await self.client.init_error(error)
            except LambdaExtensionError:
                logger.warning("the error could not be reported to Lambda", exc_info=True)
        if scope.cancelled_caught:
            logger.warning("Lambda did not take the report of the error within %.1f s", _LAST_WORDS)

    async def _close(self) -> None:
        """Stop taking telemetry, close the streams, and say what is left over."""
        if self._listener is None:
            return
        with shielded(anyio.current_time() + _LAST_WORDS):
            await self._listener.stop(None)
        self._listener.close()
        self._log_left_over(self._listener)

    def _log_left_over(self, listener: Listener) -> None:
        counts = listener.stream.statistics()
        left_over = counts.buffered_events
        if self._tasks.cancel_scope.cancel_called and self.shutdown is not None:
            logger.warning(
                "the shutdown deadline cut the extension off: %d events delivered, %d left over, %d batches rejected",
                counts.delivered_events,
                left_over,
                counts.rejected_batches,
            )
        elif left_over or counts.rejected_batches:
            logger.warning(
                "telemetry was left unread: %d events delivered, %d left over, %d batches rejected",
                counts.delivered_events,
                left_over,
                counts.rejected_batches,
            )


@asynccontextmanager
async def hold_session(
    client: ExtensionClient,
    telemetry: TelemetrySubscription | LogsSubscription | None,
    *,
    required: bool,
    receiver: ReceiverSettings | None,
) -> AsyncGenerator[ExtensionSession]:
    """Run a session, from the subscription to the end of its block; `open_extension` says what the arguments mean."""
    session = ExtensionSession(client)
    with session._events, session._arrivals:
        if telemetry is not None:
            await session._open_listener(telemetry, receiver or ReceiverSettings(), required=required)
        async with anyio.create_task_group() as tasks:
            try:
                await session._start(tasks)
                yield session
            except Exception as error:
                await session._report(error)
                raise
            finally:
                await session._close()
                tasks.cancel_scope.cancel()
