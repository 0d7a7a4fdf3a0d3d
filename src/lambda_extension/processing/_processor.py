"""Telemetry into an object with methods, flushed when a policy says so, and always before Lambda's deadlines."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

import anyio
import anyio.abc

from lambda_extension._api._enums import EventType, LogsSchemaVersion, ShutdownReason, TelemetryType
from lambda_extension._budget import INVOCATION_MARGIN, wall_clock
from lambda_extension._session._open import open_session
from lambda_extension.telemetry import PlatformRuntimeDone

if TYPE_CHECKING:
    import httpx

    from lambda_extension._api._models import LogsSubscription, Registration, TelemetrySubscription
    from lambda_extension._environment import Environment
    from lambda_extension._session._session import ExtensionSession, Invocation
    from lambda_extension.processing._policies import Decision, FlushPolicy
    from lambda_extension.telemetry import Batch, ReceiverSettings, TelemetryEvent

logger = logging.getLogger("lambda_extension")

# What the last flush leaves of a shutdown's time to the processor's own end.
_SHUTDOWN_MARGIN = 0.5
# Ends of invocations that may come before their INVOKE is seen: one, and never this many.
_MOST_DONE = 100
# How often a policy without a next tick is asked again, and how often one may tick at most.
_SLOWEST_TICK = 1.0
_FASTEST_TICK = 0.05


@runtime_checkable
class TelemetryProcessor(Protocol):
    """What `run_telemetry` calls. A class need not define all of it: only the methods that it has are called.

    Instead of `process`, a class may have `async def process_event(event)`, which takes one event at a time. Two more
    methods are called if they are there: `async def background()` runs beside everything else until it is cancelled at
    the end, and `held(seconds)` is told after each invocation how long it was held beyond its function's end.
    """

    async def init(self, registration: Registration) -> None:
        """Prepare, after registration and before the first invocation. An error is reported as init/error."""

    async def process(self, events: Sequence[TelemetryEvent]) -> None:
        """Take in the events of one request of the platform. While this blocks, the platform is pushed back."""

    async def flush(self) -> None:
        """Send what was taken in. Cancelled at the limit of the policy and at Lambda's deadlines; never run twice."""

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        """Clean up, after the last `flush`, within the shutdown's deadline.

        Args:
            reason: Why; `EXTENSION_ERROR` when one of the other methods, or the platform, failed.
            error: What failed.
        """


_METHODS = ("init", "process", "process_event", "flush", "shutdown", "background", "held")


async def run_telemetry(
    processor: object,
    *,
    flush: FlushPolicy | None = None,
    telemetry: TelemetrySubscription | None = None,
    required: bool = False,
    receiver: ReceiverSettings | None = None,
    name: str | None = None,
    account_id: bool = False,
    runtime_api: str | None = None,
    environment: Environment | None = None,
    http_client: httpx.AsyncClient | None = None,
) -> None:
    """Run a telemetry extension until SHUTDOWN, SIGTERM or SIGINT.

    Telemetry is given to `process` as it comes; `flush` is called when the policy says so, at SHUTDOWN, and within what
    is left of the invocation or the shutdown. On Lambda Managed Instances, which know no INVOKE, a timer flushes. An
    error of one of the methods is reported to Lambda, given to `shutdown`, and then leaves inside an exception group.

    Args:
        processor: An object with any of the methods of `TelemetryProcessor`.
        flush: When to flush; by default `lambda_extension.delivery.Adaptive()`.
        telemetry: What to subscribe to; by default platform and function.
        required: Fail where there is no telemetry (local emulators), instead of going on with a warning.
        receiver: How, and at which address, telemetry is received.
        name: Name of the extension; see `ExtensionClient.register`.
        account_id: Ask for the AWS account id too.
        runtime_api: `host:port` of the API; by default that of the environment.
        environment: The environment's variables; by default those of this process.
        http_client: An httpx client for Lambda's APIs to use instead of an own one; it stays open.

    Raises:
        TypeError: The object has none of the methods.
        NotInLambdaError: No runtime API is known.
        RegistrationError: The platform refused the registration.
        SubscriptionError: The platform refused the subscription.
        OSError: The receiver's address cannot be bound.
    """
    await run_processor(
        processor,
        flush,
        telemetry,
        telemetry_required=required,
        receiver=receiver,
        name=name,
        account_id=account_id,
        runtime_api=runtime_api,
        environment=environment,
        http_client=http_client,
    )


async def run_processor(
    processor: object,
    policy: FlushPolicy | None,
    subscription: TelemetrySubscription | LogsSubscription | None,
    **settings: Any,
) -> None:
    """Run a processor on either API, by default the Telemetry API; `settings` are those of `open_session`."""
    methods = {name: getattr(processor, name, None) for name in _METHODS}
    if not any(methods.values()):
        msg = f"{type(processor).__name__} has none of the methods {', '.join(_METHODS)}"
        raise TypeError(msg)
    shutdown = methods["shutdown"] or _nothing
    async with open_session(telemetry=subscription, default_telemetry=True, **settings) as session:
        try:
            if methods["init"] is not None:
                await methods["init"](session.registration)
            # What can wait until after register.
            from lambda_extension._api._models import TelemetrySubscription
            from lambda_extension.processing._policies import Adaptive

            sees_ends = _sees_ends(subscription or TelemetrySubscription())
            await _Run(session, policy or Adaptive(), methods, sees_ends=sees_ends).run()
        except Exception as error:
            await session._report(error)
            try:
                await shutdown(ShutdownReason.EXTENSION_ERROR, error)
            except Exception as shutdown_error:  # noqa: BLE001 - both are raised
                msg = "the extension failed, and so did its shutdown"
                raise ExceptionGroup(msg, [error, shutdown_error]) from None
            raise
        assert session.shutdown is not None  # nothing else ends the run without an error
        await shutdown(session.shutdown.reason, None)


def _sees_ends(subscription: TelemetrySubscription | LogsSubscription) -> bool:
    has_runtime_done = subscription.schema_version is not LogsSchemaVersion.V2020_08_15
    if TelemetryType.PLATFORM in subscription.types and has_runtime_done:
        return True
    logger.warning("without platform.runtimeDone the end of an invocation is not seen: flushing does not wait for it")
    return False


async def _nothing(*_: object) -> None:
    """Do nothing."""


def _ignore(_: float) -> None:
    """Do nothing."""


@final
class _Run:
    """One run: a task that takes in, one that answers invocations, and at most one flush at a time."""

    def __init__(
        self, session: ExtensionSession, policy: FlushPolicy, methods: dict[str, Any], *, sees_ends: bool
    ) -> None:
        self._session = session
        self._wall_clock = wall_clock.get()
        self._schedule = policy.begin(self._wall_clock())
        self._process = _processing(methods)
        self._processor_flush = methods["flush"] or _nothing
        self._background = methods["background"]
        self._held = methods["held"] or _ignore
        self._sees_ends = sees_ends and session._listener is not None and session._listener.available
        self._tasks: anyio.abc.TaskGroup
        self._failure: Exception | None = None
        self._items = self._size = 0
        self._flushing = anyio.Lock()
        self._flush_pending = False
        # When the function of a request was done, in epoch seconds.
        self._done: dict[str, float] = {}
        self._done_came = anyio.Event()
        self._drained = anyio.Event()

    async def run(self) -> None:
        """Run until the environment shuts down; the first error of a method ends it, and is raised bare."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self._spawn(self._take_in, "lambda_extension telemetry")
            if self._background is not None:
                self._spawn(self._background, "lambda_extension processor's background")
            if EventType.INVOKE not in self._session.registration.events:
                self._spawn(self._tick, "lambda_extension flush timer")
            self._spawn(self._follow, "lambda_extension invocations")
        if self._failure is not None:
            raise self._failure

    def _spawn(self, function: Callable[[], Awaitable[None]], name: str) -> None:
        self._tasks.start_soon(self._guarded, function, name=name)

    async def _guarded(self, function: Callable[[], Awaitable[None]]) -> None:
        try:
            await function()
        except Exception as error:
            if self._failure is not None:
                logger.exception("another error while the extension fails")
                return
            self._failure = error
            self._tasks.cancel_scope.cancel()

    async def _take_in(self) -> None:
        async for batch in self._session.telemetry.batches():
            await self._process(batch.events)
            self._note(batch)
            if self._schedule.buffered(self._wall_clock(), items=self._items, size=self._size):
                self._start_flush()
        self._drained.set()

    def _note(self, batch: Batch) -> None:
        self._items += len(batch.events)
        self._size += batch.size
        for event in batch.events:
            if type(event) is PlatformRuntimeDone:
                moment = event.timestamp
                now = self._wall_clock()
                self._done[event.record.request_id] = now if moment is None else min(now, moment.timestamp())
                if len(self._done) > _MOST_DONE:
                    del self._done[next(iter(self._done))]
                came, self._done_came = self._done_came, anyio.Event()
                came.set()

    async def _follow(self) -> None:
        """Answer invocations until SHUTDOWN, then flush what still comes."""
        async for invocation in self._session:
            began = anyio.current_time()
            now = self._wall_clock()
            decision = self._schedule.invocation_started(now, invocation.event.deadline_ms / 1000)
            with anyio.CancelScope(deadline=invocation.deadline - INVOCATION_MARGIN):
                await self._obey(decision, invocation.request_id)
            self._count_hold(invocation, anyio.current_time() - began)
        assert self._session.shutdown is not None
        # At once, while the platform still sends; what comes meanwhile is for the last flush.
        self._start_flush()
        await self._drained.wait()
        left = self._session.shutdown.deadline - anyio.current_time()
        await self._flush(limit=max(left - _SHUTDOWN_MARGIN, left / 2))
        self._tasks.cancel_scope.cancel()

    async def _obey(self, decision: Decision, request_id: str) -> None:
        from lambda_extension.processing._policies import Action  # as above

        if decision.action is Action.LET_GO:
            return
        limit = decision.limit
        if decision.action is Action.FLUSH_AT_END:
            if self._sees_ends:
                await self._wait_done(request_id, anyio.current_time() + decision.wait)
            else:
                limit = 0.0
        if limit > 0:
            await self._flush(limit=limit)
        else:
            self._start_flush()

    async def _wait_done(self, request_id: str, deadline: float) -> None:
        while request_id not in self._done and anyio.current_time() < deadline:
            now = self._wall_clock()
            tick = self._schedule.next_tick(now)
            pause = deadline - anyio.current_time() if tick is None else max(tick - now, _FASTEST_TICK)
            with anyio.CancelScope(deadline=min(deadline, anyio.current_time() + pause)):
                await self._done_came.wait()
                continue
            if anyio.current_time() < deadline:
                self._start_flush()

    def _count_hold(self, invocation: Invocation, seconds: float) -> None:
        """Tell the processor how long the invocation waited for this extension alone."""
        done = self._done.pop(invocation.request_id, None)
        held = 0.0 if done is None else self._wall_clock() - done
        self._held(min(max(held, 0.0), seconds))

    async def _flush(self, *, limit: float) -> None:
        """Flush, after a flush that runs in the background if there is one; cancelled after `limit` seconds."""
        with anyio.CancelScope(deadline=anyio.current_time() + limit):
            async with self._flushing:
                self._begin_flush()
                await self._processor_flush()

    def _start_flush(self) -> None:
        """Flush in the background, unless that is under way already."""
        self._schedule.flush_started(self._wall_clock())
        if not self._flush_pending:
            self._flush_pending = True
            self._spawn(self._flush_in_background, "lambda_extension flush")

    async def _flush_in_background(self) -> None:
        try:
            async with self._flushing:
                self._begin_flush()
                await self._processor_flush()
        finally:
            self._flush_pending = False

    def _begin_flush(self) -> None:
        self._schedule.flush_started(self._wall_clock())
        self._items = self._size = 0

    async def _tick(self) -> None:
        """Flush by time. Only where nothing freezes: a timer across a freeze means nothing."""
        while True:
            now = self._wall_clock()
            tick = self._schedule.next_tick(now)
            if tick is not None and tick <= now:
                self._start_flush()
            pause = _SLOWEST_TICK if tick is None else min(tick - now, _SLOWEST_TICK)
            await anyio.sleep(max(pause, _FASTEST_TICK))


def _processing(methods: dict[str, Any]) -> Callable[[Sequence[Any]], Awaitable[None]]:
    process, process_event = methods["process"], methods["process_event"]
    if process is not None or process_event is None:
        return process or _nothing

    async def one_by_one(events: Iterable[Any]) -> None:
        for event in events:
            await process_event(event)

    return one_by_one
