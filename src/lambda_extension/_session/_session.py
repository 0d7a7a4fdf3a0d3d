"""One extension's life: the task group, the poller, the telemetry receiver, and the order in which they end."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self, final

import anyio
import anyio.abc
import attrs

from lambda_extension._api._client import ExtensionClient, leaf_of
from lambda_extension._api._enums import EventType, ShutdownReason
from lambda_extension._api._models import (
    InvokeEvent,
    LogsSubscription,
    Registration,
    ShutdownEvent,
    TelemetrySubscription,
)
from lambda_extension._budget import (
    QUIET_MARGIN,
    SHUTDOWN_BUDGET,
    SHUTDOWN_MARGIN,
    closing_until,
    error_phases,
    shielded,
    shutdown_phases,
    to_deadline,
    wall_clock,
)
from lambda_extension._environment import Environment
from lambda_extension._exceptions import TelemetryNotSupportedError
from lambda_extension._session._invocation import Invocation
from lambda_extension._session._reporting import Reporter
from lambda_extension._session._signals import watch_signals
from lambda_extension.telemetry import ReceiverSettings, TelemetryStream, decode
from lambda_extension.telemetry._receiver import Decode, Listener

logger = logging.getLogger("lambda_extension")


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
class ExtensionSession:
    """A registered extension: an async iterator of invocations, which ends at SHUTDOWN.

    The first step ends this extension's part of init, each further one tells Lambda that it is done with the
    invocation before.
    """

    def __init__(self, life: Life) -> None:
        self._life = life

    @property
    def client(self) -> ExtensionClient:
        """The client of the Lambda APIs."""
        return self._life.client

    @property
    def shutdown(self) -> Shutdown | None:
        """Why and until when the environment shuts down; None while it does not."""
        return self._life.shutdown

    @property
    def registration(self) -> Registration:
        """What the platform told this extension when it registered."""
        return self._life.client.registration

    @property
    def environment(self) -> Environment:
        """The execution environment's variables."""
        return self._life.client.environment

    @property
    def telemetry(self) -> TelemetryStream:
        """The telemetry of this environment, between invocations and after SHUTDOWN.

        Where the extension asked for no INVOKE, reading it polls for SHUTDOWN too, so that nothing else needs to.

        Raises:
            RuntimeError: None was subscribed to.
        """
        return self._life.telemetry()

    @property
    def sees_ends(self) -> bool:
        """Whether the end of an invocation, `platform.runtimeDone`, can come here.

        It cannot without a subscription, with one that does not ask for it, and where there is no telemetry at all.
        """
        return self._life.sees_ends

    def answer_when_taken(self) -> None:
        """Have the platform answered only once the `taken` of a batch has been set, by whoever reads `batches()`.

        By default it is answered when the batch is in the stream. What has not been answered when the environment ends
        is sent again at best; while one waits for its answer, the platform sends no other.
        """
        self._life.answer_when_taken()

    async def wait_shutdown(self) -> Shutdown:
        """Wait until the environment, or this process, is about to end; for whoever works beside the iteration."""
        return await self._life.wait_shutdown()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Invocation:
        """Ask Lambda for the next event and wait for it, for hours if need be.

        A cancelled call loses nothing: the request stays under way and the next call takes its answer.

        Raises:
            anyio.BusyResourceError: Another task waits already.
            LambdaExtensionError: The platform refused or failed.
            Exception: The telemetry receiver could not be started, or broke.
        """
        return await self._life.next_invocation()


@final
class Life:
    """What goes on behind a session: whoever has it may use all of it, and users see the session alone.

    Background tasks raise nothing: what one of them meets becomes `failure`, with which the invocations and the stream
    of telemetry end, so that it meets the user's code where that waits.

    Args:
        client: An open client that has registered.
        tasks: The group that everything runs in; leaving the session cancels it.
        subscription: What was subscribed to.
        listener: What receives it.

    Attributes:
        client: The client.
        session: What the user gets.
        shutdown: Set once the environment shuts down.
        deadline: When the process is killed, known from then on.
        failure: What the platform, or the receiver, failed with.
        past_init: Whether Lambda has been asked for an event, which is when init is over.
        sees_ends: See `ExtensionSession.sees_ends`.
    """

    def __init__(
        self,
        client: ExtensionClient,
        tasks: anyio.abc.TaskGroup,
        subscription: TelemetrySubscription | LogsSubscription | None,
        listener: Listener | None,
    ) -> None:
        self.client = client
        self.session: ExtensionSession = ExtensionSession(self)
        self.shutdown: Shutdown | None = None
        self.deadline: float | None = None
        self.failure: Exception | None = None
        self.past_init: bool = False
        available = listener is not None and listener.available
        self.sees_ends: bool = available and subscription is not None and subscription.sees_ends
        self._tasks = tasks
        self._listener = listener
        self._stream: TelemetryStream | None = None
        if listener is not None:
            self._stream = TelemetryStream(
                listener.batches,
                listener.counters,
                before_read=self._before_read,
                failure=lambda: self.failure,
                session=self.session,
            )
        self._events, self._arrivals = anyio.create_memory_object_stream[InvokeEvent](1)
        self._shutting_down = anyio.Event()
        self._polling = self._leaving = False
        self._passing_by = False
        self._warned = not available  # then `_listen` has said so
        self._guard = anyio.ResourceGuard("waiting for the next invocation")

    async def start(self) -> None:
        """Start what runs beside the user's code."""
        await self._tasks.start(watch_signals, self._on_signal, name="lambda_extension signals")
        if self._listener is not None and self._listener.available:
            self._tasks.start_soon(self._serve, self._listener, name="lambda_extension receiver")

    def telemetry(self) -> TelemetryStream:
        """Return the stream; see `ExtensionSession.telemetry`."""
        if self._stream is None:
            msg = "no telemetry was subscribed to: open the extension with telemetry=TelemetrySubscription()"
            raise RuntimeError(msg)
        return self._stream

    async def next_invocation(self) -> Invocation:
        """Wait for the next invocation; see `ExtensionSession.__anext__`."""
        self._ask()
        with self._guard:
            try:
                event = await self._arrivals.receive()
            except anyio.EndOfStream:
                if self.failure is not None:
                    raise self.failure from None
                raise StopAsyncIteration from None
        # Only now: a call that was cancelled has left its request under way, and the next one must not ask again.
        self._polling = False
        return Invocation(event, to_deadline(event.deadline_ms), self._stream_of_invocation)

    def answer_when_taken(self) -> None:
        """See `ExtensionSession.answer_when_taken`; without telemetry there is nothing to answer."""
        if self._listener is not None:
            self._listener.answer_when_taken()

    def leave(self) -> None:
        """Note that the user's block has ended: nothing is asked for any more."""
        self._leaving = True

    async def wait_shutdown(self) -> Shutdown:
        """Wait for the shutdown; see `ExtensionSession.wait_shutdown`."""
        await self._shutting_down.wait()
        assert self.shutdown is not None
        return self.shutdown

    async def close(self) -> None:
        """Stop taking telemetry, close the streams, and say what is left over; the last line is written in any case."""
        # By the time, and not by whether the scope was cancelled: on trio any cancellation from outside cancels it too.
        cut_off = anyio.current_time() >= self._tasks.cancel_scope.deadline
        try:
            if self._listener is not None:
                # The server first, so that requests under way are answered while there is a stream to put them in.
                with shielded(closing_until()):
                    await self._listener.stop()
        finally:
            # Then what nobody can fill any more. None of this awaits, so nothing can cut it off.
            self._events.close()
            self._arrivals.close()
            if self._listener is not None:
                self._listener.close()
            self._log_end(cut_off=cut_off)

    def _stream_of_invocation(self) -> TelemetryStream | None:
        """Return the stream if it can say when an invocation ends: nothing else is worth holding one up for."""
        stream = self.telemetry()
        if self.sees_ends:
            return stream
        if not self._warned:
            self._warned = True
            logger.warning(
                "the subscription does not bring platform.runtimeDone: invocation.telemetry() ends at once; read the "
                "session's telemetry in a task of its own, or subscribe to platform too"
            )
        return None

    def _before_read(self) -> None:
        """Poll without a consumer of invocations, where none can come: somebody has to learn of SHUTDOWN."""
        if EventType.INVOKE not in self.client.registration.events:
            self._passing_by = True
            self._ask()

    def _ask(self) -> None:
        """Have an event asked for, unless that is under way or pointless."""
        if not self._polling and self.shutdown is None and self.failure is None:
            self._polling = True
            self._tasks.start_soon(self._poll, name="lambda_extension poller")

    async def _poll(self) -> None:
        try:
            if self._listener is not None:
                # Asking ends init. A receiver that cannot start is to be found before, as an error of init.
                await self._listener.ready.wait()
            # Since this task was started the receiver may have failed, and the block may have ended: Lambda is then
            # being told, of an error of init, and after that must not be asked for an event.
            if self.failure is not None or self._leaving:
                return
            self.past_init = True
            event = await self.client.next_event()
            while self._passing_by and isinstance(event, InvokeEvent):  # an emulator sends what was not asked for
                event = await self.client.next_event()
        except Exception as error:  # noqa: BLE001 - it meets the user's code at its next step
            self._fail(error)
            return
        # While Lambda was waited for, hours may have passed, the receiver may have broken, and a signal may have begun
        # the shutdown: an invocation that comes then is not begun, since nobody would end it.
        if isinstance(event, ShutdownEvent):
            self._begin_shutdown(event)
        elif self.shutdown is None and self.failure is None:
            # There is room: nothing is asked for until the consumer has taken the one before.
            self._events.send_nowait(event)

    async def _serve(self, listener: Listener) -> None:
        try:
            await listener.serve()
        except Exception as error:  # noqa: BLE001 - as in _poll; the server has a task group of its own
            self._fail(leaf_of(error))

    def _fail(self, error: Exception) -> None:
        if self.failure is not None:
            logger.error("another failure while the extension ends", exc_info=error)
            return
        self.failure = error
        self._events.close()
        if self._listener is not None:
            # What was received can still be read; the stream ends with the failure.
            self._tasks.start_soon(self._listener.stop, name="lambda_extension receiver's end")

    def _begin_shutdown(self, event: ShutdownEvent) -> None:
        if self.shutdown is not None:
            return
        self.deadline = to_deadline(event.deadline_ms)
        self.shutdown = Shutdown(event=event, deadline=self.deadline - SHUTDOWN_MARGIN)
        # Only now, and never across the wait for an event: over a freeze, a timer that is armed means nothing.
        self._tasks.cancel_scope.deadline = min(self._tasks.cancel_scope.deadline, self.shutdown.deadline)
        # In this order: whoever waits or iterates wakes up to a shutdown that can be seen already.
        self._shutting_down.set()
        self._events.close()
        if self._listener is not None:
            catch = shutdown_phases(self.deadline).catch
            self._tasks.start_soon(self._listener.finish, catch, name="lambda_extension last telemetry")

    def _on_signal(self, number: signal.Signals) -> None:
        if self.shutdown is not None:
            # Asked twice: whatever still runs is cancelled.
            self._tasks.cancel_scope.deadline = -math.inf
            return
        deadline_ms = int((wall_clock.get()() + SHUTDOWN_BUDGET) * 1000)
        self._begin_shutdown(ShutdownEvent(deadline_ms=deadline_ms, shutdown_reason=ShutdownReason(number.name)))

    def _log_end(self, *, cut_off: bool) -> None:
        if self._stream is None:
            if cut_off:
                logger.warning("the shutdown deadline cut the extension off")
            return
        counts = self._stream.statistics()
        if cut_off or counts.buffered_events or counts.rejected_batches:
            logger.warning(
                "%s: %d events delivered, %d left over, %d batches rejected",
                "the shutdown deadline cut the extension off" if cut_off else "telemetry was left unread",
                counts.delivered_events,
                counts.buffered_events,
                counts.rejected_batches,
            )


@asynccontextmanager
async def hold_session(
    client: ExtensionClient,
    subscription: TelemetrySubscription | LogsSubscription | None,
    *,
    required: bool,
    receiver: ReceiverSettings | None,
    on_failed_start: Callable[[Exception], Awaitable[object]] | None,
) -> AsyncGenerator[ExtensionSession]:
    """Run a session, from the subscription to the end of its block; `open_session` says what the arguments mean."""
    reporter = Reporter(client)
    listener: Listener | None = None
    if subscription is not None:
        try:
            listener = await _listen(client, subscription, receiver or ReceiverSettings(), required=required)
        except Exception as error:
            if on_failed_start is not None:
                # First, since Lambda may end the environment once it is told.
                with anyio.CancelScope(deadline=error_phases().hook):
                    await on_failed_start(error)
            await reporter.report(error, past_init=False, deadline=None)
            raise
    try:
        async with anyio.create_task_group() as tasks:
            life = Life(client, tasks, subscription, listener)
            try:
                await life.start()
                try:
                    yield life.session
                finally:
                    life.leave()
                if life.shutdown is None:
                    await reporter.report_early_end(life.failure, past_init=life.past_init)
            except BaseException as error:
                # Of the user's block; what asks for the end of an asynchronous generator cannot come from `async with`.
                await reporter.report_leaving(error, past_init=life.past_init, deadline=life.deadline)
                raise
            finally:
                # After the report, which a receiver that hangs must not keep from Lambda; and before the tasks are
                # cancelled, so that the server ends by itself and the requests it has are answered.
                await life.close()
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # Background tasks raise nothing, so there is one error, that of the user's block: it leaves as it was raised.
        (*others, leaving) = group.exceptions
        if others:
            leaving = group
    else:
        return
    raise leaving


async def _listen(
    client: ExtensionClient,
    subscription: TelemetrySubscription | LogsSubscription,
    settings: ReceiverSettings,
    *,
    required: bool,
) -> Listener:
    """Listen, then subscribe: Lambda refuses a subscription that nobody listens for.

    Raises:
        OSError: The address cannot be bound.
        LambdaExtensionError: The platform refused or failed.
    """
    quiet = subscription.buffering.timeout_ms / 1000 + QUIET_MARGIN
    listener = await Listener.bind(settings, decode=_decoder_of(subscription), quiet=quiet)
    try:
        if isinstance(subscription, LogsSubscription):
            await client.subscribe_logs(subscription, listener.destination)
        else:
            await client.subscribe_telemetry(subscription, listener.destination)
    except TelemetryNotSupportedError as error:
        if required:
            listener.close()
            raise
        logger.warning("going on without telemetry: %s", error)
        listener.give_up()
    except BaseException:  # a cancellation has to close it too
        listener.close()
        raise
    return listener


def _decoder_of(subscription: TelemetrySubscription | LogsSubscription) -> Decode:
    if isinstance(subscription, LogsSubscription):
        from lambda_extension.logs import decode as decode_logs  # which nobody needs who does not ask for logs

        return decode_logs
    return decode
