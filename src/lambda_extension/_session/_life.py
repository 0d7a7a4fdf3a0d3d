"""What goes on behind a session: the poller, the telemetry receiver, and the order in which they end."""

from __future__ import annotations

import atexit
import gc
import logging
import math
import signal
from typing import TYPE_CHECKING, final

import anyio
import anyio.abc
import anyio.lowlevel

from lambda_extension._api._client import ExtensionClient, leaf_of
from lambda_extension._api._enums import EventType, ShutdownReason
from lambda_extension._api._models import TelemetrySubscription
from lambda_extension._budget import (
    SHUTDOWN_BUDGET,
    SHUTDOWN_MARGIN,
    closing_until,
    shielded,
    shutdown_phases,
    to_deadline,
    wall_clock,
)
from lambda_extension._session._invocation import Invocation
from lambda_extension._session._session import ExtensionSession
from lambda_extension._session._signals import watch_signals
from lambda_extension.telemetry import TelemetryStream
from lambda_extension.telemetry._receiver import Listener

if TYPE_CHECKING:
    from lambda_extension._api._events import InvokeEvent, ShutdownEvent
    from lambda_extension._api._logs import LogsSubscription
    from lambda_extension._session._shutdown import Shutdown

logger = logging.getLogger("lambda_extension")


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
        self._event: InvokeEvent | None = None
        self._arrived = anyio.Event()  # an event, or that there will be none
        self._wanted = anyio.Event()
        self._shutting_down = anyio.Event()
        self._polling = self._asked = self._leaving = False
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
        # Whoever is woken as another task fails is cancelled at its next await only. Were Lambda asked for an event
        # before, it might freeze the environment in the middle of the hook and of the report.
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._ask()
        with self._guard:
            await self._arrived.wait()
        event, self._event = self._event, None
        if event is None:
            raise self.failure or StopAsyncIteration
        if self.shutdown is None and self.failure is None:
            self._arrived = anyio.Event()
        # Only now: a call that was cancelled has left its request under way, and the next one must not ask again.
        self._asked = False
        return Invocation(event, to_deadline(event.deadline_ms), self._stream_of_invocation)

    def answer_when_taken(self) -> None:
        """See `ExtensionSession.answer_when_taken`; without telemetry there is nothing to answer."""
        if self._listener is not None:  # pragma: no branch - only run_telemetry asks, which has one
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
            self._arrived.set()
            if self._listener is not None:
                self._listener.close()
            # Most of the interpreter's own end is looking for cycles among everything that was ever imported, 50 ms of
            # processor time, and several times that on a busy machine, while Lambda counts. Whatever is still there
            # then goes with the process. At its very end alone: where it lives on, as in a test, nothing changes.
            atexit.unregister(gc.freeze)
            atexit.register(gc.freeze)
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
        if not self._asked and self.shutdown is None and self.failure is None:
            self._asked = True
            self._wanted.set()
            if not self._polling:
                self._polling = True
                self._tasks.start_soon(self._poll, name="lambda_extension poller")

    async def _poll(self) -> None:
        """Ask for an event whenever one is wanted: one task for all, since to start one takes as long as the rest."""
        try:
            if self._listener is not None:
                # Asking ends init. A receiver that cannot start is to be found before, as an error of init.
                await self._listener.ready.wait()
            while self.shutdown is None:
                await self._wanted.wait()
                self._wanted = anyio.Event()
                # Meanwhile the receiver may have failed, and the block may have ended: Lambda is then being told, of an
                # error of init, and after that must not be asked for an event.
                if self.failure is not None or self._leaving:
                    return
                self.past_init = True
                self._take(await self.client.next_event())
        except Exception as error:  # noqa: BLE001 - it meets the user's code at its next step
            self._fail(error)

    def _take(self, event: InvokeEvent | ShutdownEvent) -> None:
        # While Lambda was waited for, hours may have passed, the receiver may have broken, and a signal may have begun
        # the shutdown: an invocation that comes then is not begun, since nobody would end it.
        from lambda_extension._api._events import ShutdownEvent  # which the end of init does not wait for

        if isinstance(event, ShutdownEvent):
            self._begin_shutdown(event)
        elif self._passing_by:  # an emulator sends what was not asked for
            self._wanted.set()
        elif self.shutdown is None and self.failure is None:
            # There is room: nothing is asked for until the consumer has taken the one before.
            self._event = event
            self._arrived.set()

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
        self._arrived.set()
        if self._listener is not None:
            # What was received can still be read; the stream ends with the failure.
            self._tasks.start_soon(self._listener.stop, name="lambda_extension receiver's end")

    def _begin_shutdown(self, event: ShutdownEvent) -> None:
        if self.shutdown is not None:
            return
        from lambda_extension._session._shutdown import Shutdown  # which nothing before needs

        self.deadline = to_deadline(event.deadline_ms)
        self.shutdown = Shutdown(event=event, deadline=self.deadline - SHUTDOWN_MARGIN)
        # Only now, and never across the wait for an event: over a freeze, a timer that is armed means nothing.
        self._tasks.cancel_scope.deadline = min(self._tasks.cancel_scope.deadline, self.shutdown.deadline)
        # In this order: whoever waits or iterates wakes up to a shutdown that can be seen already.
        self._shutting_down.set()
        self._arrived.set()
        if self._listener is not None:
            catch = shutdown_phases(self.deadline).catch
            self._tasks.start_soon(self._listener.finish, catch, name="lambda_extension last telemetry")

    def _on_signal(self, number: signal.Signals) -> None:
        if self.shutdown is not None:
            # Asked twice: whatever still runs is cancelled.
            self._tasks.cancel_scope.deadline = -math.inf
            return
        from lambda_extension._api._events import ShutdownEvent  # which nothing before needs

        deadline_ms = int((wall_clock.get()() + SHUTDOWN_BUDGET) * 1000)
        self._begin_shutdown(ShutdownEvent(deadline_ms=deadline_ms, shutdown_reason=ShutdownReason(number.name)))

    def _log_end(self, *, cut_off: bool) -> None:
        if self._stream is None:
            if cut_off:
                logger.warning("the shutdown deadline cut the extension off")
            return
        if cut_off or self._stream.buffered or self._stream.rejected:
            counts = self._stream.statistics()
            logger.warning(
                "%s: %d events delivered, %d left over, %d batches rejected",
                "the shutdown deadline cut the extension off" if cut_off else "telemetry was left unread",
                counts.delivered_events,
                counts.buffered_events,
                counts.rejected_batches,
            )
