"""Telemetry into objects with methods, flushed when a policy says so, and always before Lambda's deadlines."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, final

import anyio

from lambda_extension._api._enums import EventType, ShutdownReason
from lambda_extension._budget import wall_clock
from lambda_extension._session._open import open_session
from lambda_extension.processing._hooks import hooks_of
from lambda_extension.processing._lifecycle import Workers, live, phases_of, side_by_side
from lambda_extension.processing._waiting import Ends

logger = logging.getLogger("lambda_extension")

# Nothing else here: what an extension can do without until it has registered is imported in `_Run`.
if TYPE_CHECKING:
    import httpx

    from lambda_extension._api._events import InvokeEvent
    from lambda_extension._api._logs import LogsSubscription
    from lambda_extension._api._models import Registration, TelemetrySubscription
    from lambda_extension._environment import Environment
    from lambda_extension._session._invocation import Invocation
    from lambda_extension._session._session import ExtensionSession
    from lambda_extension.processing._lane import Lane
    from lambda_extension.processing._policies import FlushPolicy
    from lambda_extension.telemetry import ReceiverSettings, TelemetryEvent


class TelemetryProcessor:
    """What `run_telemetry` calls: methods that do nothing, each of which a subclass may define.

    An object of any other class that has some of them is taken too. A method that is not defined is not called, and
    nothing waits for it: without a `flush`, no invocation is held.
    """

    async def init(self, registration: Registration) -> None:
        """Prepare, after registration and before the first invocation. An error is reported as init/error."""

    async def process(self, events: Sequence[TelemetryEvent]) -> None:
        """Take in the events of one request of the platform. While this blocks, the platform is pushed back."""

    async def process_event(self, event: TelemetryEvent) -> None:
        """Take in one event; called only where there is no `process`."""

    async def flush(self) -> None:
        """Send what was taken in. Cancelled at the limit of the policy and at Lambda's deadlines; never run twice."""

    async def background(self) -> None:
        """Run beside everything else, from `init` until the last `flush`, and be cancelled then."""

    def record_invocation(self, event: InvokeEvent) -> None:
        """Note what Lambda says of an invocation as it begins; on Lambda Managed Instances it says nothing."""

    def record_overhead(self, seconds: float) -> None:
        """Note how long an invocation was held beyond its function's end; called after each."""

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        """Clean up, after the last `flush`, within the shutdown's time; cancelled when that is over.

        Args:
            reason: Why; `EXTENSION_ERROR` when one of the other methods, or the platform, failed.
            error: What failed; None where a method exited by `sys.exit`. Lambda is told of it only afterwards.
        """


# The name of a processor, for the log, and its methods.
NamedHooks: TypeAlias = tuple[str, dict[str, Any]]


class RunSettings(TypedDict, total=False):
    """The keywords of `run_telemetry`, but for the subscription."""

    flush: FlushPolicy | None
    on_error: Literal["raise", "degrade"]
    required: bool
    receiver: ReceiverSettings | None
    name: str | None
    account_id: bool
    runtime_api: str | None
    environment: Environment | None
    http_client: httpx.AsyncClient | None


async def run_telemetry(
    processor: object | Sequence[object] | Callable[[], object],
    *,
    flush: FlushPolicy | None = None,
    on_error: Literal["raise", "degrade"] = "raise",
    telemetry: TelemetrySubscription | LogsSubscription | None = None,
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
    is left of the invocation or the shutdown. On Lambda Managed Instances, which know no INVOKE, a timer flushes.

    **By default an error of one of the methods ends the extension, and with it the function's environment**: it is
    given to `shutdown`, then reported to Lambda, and then it leaves, bare. With `on_error="degrade"` an error of
    `process`, `flush`, `background` or one that records costs telemetry and nothing else: it is logged once per kind
    with its traceback, and counted. After five failures of a method in a row, flushes that were cut off at their limit
    included, the processor is left alone for 60 seconds of the wall clock: it holds no invocation, and what comes for
    it is dropped and counted. `background` is not started again. An error of `init`, or of the function that makes the
    processors, without which nothing works, ends the extension always.

    Several processors run side by side: each has its own flushes, in one budget of time, and one that hangs loses
    telemetry of its own instead of holding up the others. The first error, where errors end the extension, ends all.

    Args:
        processor: A `TelemetryProcessor`, or any object with some of its methods; a list of them; or a function without
            arguments, plain or `async`, that makes either. It is called once the extension has registered, so that
            what it imports and opens does not delay the start of the function.
        flush: When to flush; by default `lambda_extension.processing.Adaptive()`.
        on_error: What becomes of an error.
        telemetry: What to subscribe to; by default platform and function.
        required: Fail where there is no telemetry (local emulators), instead of going on with a warning.
        receiver: How, and at which address, telemetry is received.
        name: Name of the extension; see `ExtensionClient.register`.
        account_id: Ask for the AWS account id too, as is done anyhow where a processor given here wants it.
        runtime_api: `host:port` of the API; by default that of the environment.
        environment: The environment's variables; by default those of this process.
        http_client: An httpx client for Lambda's APIs to use instead of an own one; it stays open.

    Raises:
        TypeError: A processor is a class, has none of the methods, or one of them is not a coroutine function or nearly
            has another name; or a setting is of another type.
        ValueError: Two processors have the same `name`, or `on_error` is neither of the two.
        NotInLambdaError: No runtime API is known.
        RegistrationError: The platform refused the registration.
        SubscriptionError: The platform refused the subscription.
        OSError: The receiver's address cannot be bound.
        Exception: What a method raised, bare; an exit by `sys.exit` too.
        BaseExceptionGroup: What a method and then `shutdown` raised, or the same method of several processors.
    """
    if on_error not in ("raise", "degrade"):
        msg = f"on_error must be 'raise' or 'degrade', not {on_error!r}"
        raise ValueError(msg)
    if flush is not None and (isinstance(flush, type) or not callable(getattr(flush, "begin", None))):
        msg = f"flush must be a FlushPolicy, such as EndOfInvocation(), not {flush!r}"
        raise TypeError(msg)
    processors = None if _is_factory(processor) else checked_processors(processor)
    degrade = on_error == "degrade"
    account_id = account_id or any("account_id" in hooks for _, hooks in processors or ())
    async with open_session(
        telemetry=telemetry,
        default_telemetry=True,
        required=required,
        receiver=receiver,
        name=name,
        account_id=account_id,
        runtime_api=runtime_api,
        environment=environment,
        http_client=http_client,
        on_failed_start=None if processors is None else functools.partial(_start_failed, processors),
    ) as session:
        if processors is None:
            assert callable(processor)
            made = processor()
            processors = checked_processors(await made if inspect.isawaitable(made) else made)
        await run_processors(session, processors, flush, degrade=degrade)


async def _start_failed(processors: list[NamedHooks], error: Exception) -> None:
    """Give processors that were never initialised the error that kept them from it."""
    try:
        await _call_each(processors, "shutdown", ShutdownReason.EXTENSION_ERROR, error)
    except (Exception, SystemExit):
        # Not raised: it would take the place of the error that Lambda is to be told of.
        logger.exception("the extension could not start, and its shutdown failed too")


async def _call_each(processors: list[NamedHooks], name: str, *args: Any) -> None:
    """Call a method of each processor that has it, side by side."""
    await side_by_side([functools.partial(hooks[name], *args) for _, hooks in processors if name in hooks])


async def run_processors(
    session: ExtensionSession, processors: list[NamedHooks], policy: FlushPolicy | None, *, degrade: bool
) -> None:
    """Run processors on a session, within its block, until the environment shuts down."""
    if any("durable" in hooks for _, hooks in processors):
        session.answer_when_taken()
    runner = _Run(session, processors, policy, degrade=degrade)
    await live(session, init=runner.init, work=runner.work, shutdown=runner.shutdown)


def _is_factory(processor: object) -> bool:
    """Say whether an object is a function that makes processors; a processor may be callable for reasons of its own."""
    methods = (name for name in vars(TelemetryProcessor) if not name.startswith("_"))
    return (
        callable(processor)
        and not isinstance(processor, type)
        and not any(hasattr(processor, name) for name in methods)
    )


def checked_processors(processor: object) -> list[NamedHooks]:
    """Give the name and the methods of each processor.

    Raises:
        TypeError: One is no processor.
        ValueError: There is none, or two have the same name.
    """
    processors = list(processor) if isinstance(processor, Sequence) else [processor]
    if not processors:
        msg = "there is no processor in the list"
        raise ValueError(msg)
    found = []
    names: set[str] = set()
    for one in processors:
        hooks = hooks_of(one, TelemetryProcessor)
        if getattr(one, "durable", False):
            # A `Delivery` that stores what it takes in: the platform is to be answered afterwards, not before.
            hooks["durable"] = True
        store = getattr(one, "store_what_is_left", None)
        if inspect.iscoroutinefunction(store):
            # A `Delivery`, once nothing more comes: a last flush that hangs must not keep what it sends from the disk.
            hooks["store_what_is_left"] = store
        if getattr(one, "account_id", None) is True:
            # An exporter that names the account in what it sends.
            hooks["account_id"] = True
        name = getattr(one, "name", None)
        if isinstance(name, str):
            if name in names:
                msg = f"two processors are named {name!r}"
                raise ValueError(msg)
            names.add(name)
        found.append((name if isinstance(name, str) else type(one).__name__, hooks))
    return found


@final
class _Run:
    """One run: telemetry goes into the lanes of the processors, and invocations are held as long as these want."""

    def __init__(
        self,
        session: ExtensionSession,
        processors: list[NamedHooks],
        policy: FlushPolicy | None,
        *,
        degrade: bool,
    ) -> None:
        self._session = session
        self._processors = processors
        self._policy = policy
        self._distributing = anyio.CancelScope()
        # Of the invocation that is held.
        self._holding = anyio.CancelScope()
        self._degrade = degrade
        self._wall_clock = wall_clock.get()
        self._workers = Workers()
        self._lanes: list[Lane] = []
        self._ends = Ends()

    async def init(self) -> None:
        """Prepare the processors side by side."""
        await _call_each(self._processors, "init", self._session.registration)

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        """Let the processors clean up, side by side."""
        await _call_each(self._processors, "shutdown", reason, error)

    async def work(self) -> None:
        """Run until the environment shuts down and what came has been taken in and flushed.

        Raises:
            Exception: The first error of a method, bare, where errors end the extension.
        """
        # What can wait until after register.
        from lambda_extension.processing._lane import Lane
        from lambda_extension.processing._policies import Adaptive

        policy = self._policy or Adaptive()
        alone = len(self._processors) == 1
        self._lanes = [
            Lane(name, hooks, policy, degrade=self._degrade, alone=alone) for name, hooks in self._processors
        ]
        try:
            await self._workers.run(self._follow, name="invocations")
        finally:
            for lane in self._lanes:
                lane.close()

    async def _follow(self) -> None:
        """Answer invocations until SHUTDOWN, then take in and flush what still comes."""
        session = self._session
        self._workers.start(self._distribute, name="telemetry")
        self._workers.start(self._watch_shutdown, name="end of what is held")
        for lane in self._lanes:
            lane.start(self._workers, freezes=EventType.INVOKE in session.registration.events)
        sees_ends = session.sees_ends
        if not sees_ends:
            logger.warning("without platform.runtimeDone the end of an invocation is not seen: no flush waits for it")
        async for invocation in session:
            await self._hold(invocation, sees_ends=sees_ends)
        phases = phases_of(session)
        # What is still in the stream then stays there, and the session says how much it was.
        self._distributing.deadline = phases.drain
        # All before any is waited for: each then sends while the platform's last telemetry is still on its way.
        for lane in self._lanes:
            lane.flush_early()
        await side_by_side([functools.partial(lane.finish, phases) for lane in self._lanes])

    async def _watch_shutdown(self) -> None:
        """Let go of an invocation when a signal ends it: what it waits for takes time from the shutdown."""
        await self._session.wait_shutdown()
        self._holding.cancel()

    async def _hold(self, invocation: Invocation, *, sees_ends: bool) -> None:
        began = anyio.current_time()
        for lane in self._lanes:
            await lane.begin(invocation)
        with anyio.CancelScope() as self._holding:
            if self._session.shutdown is not None:
                self._holding.cancel()  # a signal came after the event, but before this scope
            await side_by_side(
                [functools.partial(lane.hold, invocation, self._ends, sees_ends=sees_ends) for lane in self._lanes]
            )
        await self._release(invocation, anyio.current_time() - began)

    async def _release(self, invocation: Invocation, seconds: float) -> None:
        """Tell the processors how long the invocation waited for this extension alone."""
        done = self._ends.take(invocation.request_id)
        held = 0.0 if done is None else self._wall_clock() - done
        for lane in self._lanes:
            await lane.release(invocation.request_id, min(max(held, 0.0), seconds))

    async def _distribute(self) -> None:
        """Take batches from the stream, and give each to every processor."""
        from lambda_extension.processing._lane import done_in  # after register

        with self._distributing:
            async for batch in self._session.telemetry.batches():
                done = done_in(batch, self._wall_clock())
                for request_id, moment in done:
                    self._ends.note(request_id, moment)
                # To all before the first takes it: a shutdown may cut this short, and each says what it did not get.
                for lane in self._lanes:
                    lane.announce(batch)
                for lane in self._lanes:
                    await lane.put(batch, done)
                if batch.taken is not None:
                    for lane in self._lanes:
                        await lane.wait_taken()
                    batch.taken.set()
        for lane in self._lanes:
            lane.end()
