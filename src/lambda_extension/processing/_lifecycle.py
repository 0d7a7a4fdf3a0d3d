"""The life of an object with methods: init, work, shutdown; the same for `run` and `run_telemetry`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, final

import anyio
import anyio.abc

from lambda_extension._api._enums import ShutdownReason
from lambda_extension._budget import (
    REQUESTS_END,
    SHUTDOWN_MARGIN,
    ShutdownPhases,
    error_phases,
    shielded,
    shutdown_phases,
)

if TYPE_CHECKING:
    from lambda_extension._session._session import ExtensionSession

logger = logging.getLogger("lambda_extension")


async def live(
    session: ExtensionSession,
    *,
    init: Callable[[], Awaitable[object]],
    work: Callable[[], Awaitable[object]],
    shutdown: Callable[[ShutdownReason, Exception | None], Awaitable[object]],
) -> None:
    """Run an extension's methods in their order, within the block of its session.

    Once the environment shuts down, `shutdown` is called whatever was cut off before it. After an error, or an exit by
    `sys.exit`, it comes first, within its share of time. The error then leaves, and the session tells Lambda of it: in
    this order, since the platform may end the environment as soon as it has been told.

    Raises:
        BaseExceptionGroup: Both `init` or `work` and `shutdown` failed.
    """
    try:
        await init()
        await work()
    except (Exception, SystemExit) as error:
        deadline = None if session.shutdown is None else session.shutdown.deadline + SHUTDOWN_MARGIN
        try:
            told = error if isinstance(error, Exception) else None
            await _shut_down(shutdown, ShutdownReason.EXTENSION_ERROR, told, error_phases(deadline).hook)
        except (Exception, SystemExit) as hook_error:  # noqa: BLE001 - both are raised
            msg = "the extension failed, and so did its shutdown"
            raise BaseExceptionGroup(msg, [error, hook_error]) from None
        raise
    except anyio.get_cancelled_exc_class():
        if session.shutdown is not None:
            # The time was over before its turn came, as on a machine that hardly gets to this process. It is called
            # all the same, with a part of the margin, so that what is counted is said.
            until = min(session.shutdown.deadline, anyio.current_time()) + REQUESTS_END
            with shielded(until):
                await _shut_down(shutdown, session.shutdown.reason, None, until)
        raise
    phases = phases_of(session)  # what the work has left over is the hook's
    assert session.shutdown is not None
    await _shut_down(shutdown, session.shutdown.reason, None, phases.hook)


def phases_of(session: ExtensionSession) -> ShutdownPhases:
    """Share out what is left of the session's shutdown, which has begun: nothing else ends its iteration."""
    assert session.shutdown is not None
    return shutdown_phases(session.shutdown.deadline + SHUTDOWN_MARGIN)


async def _shut_down(
    shutdown: Callable[[ShutdownReason, Exception | None], Awaitable[object]],
    reason: ShutdownReason,
    error: Exception | None,
    until: float,
) -> None:
    began, done = anyio.current_time(), False
    try:
        with anyio.CancelScope(deadline=until):
            await shutdown(reason, error)
            done = True
    except (Exception, SystemExit):
        done = True
        raise
    finally:
        # Whoever cut it off: the session's own deadline comes at the same moment as this scope's.
        if not done:
            logger.warning("shutdown was cut off after %.1f s", anyio.current_time() - began)


async def side_by_side(calls: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Make some calls at the same time, and wait for all of them whatever becomes of one.

    Raises:
        Exception: What one of them raised, bare; an exit by `sys.exit` too.
        BaseExceptionGroup: What several of them raised.
    """
    errors: list[BaseException] = []

    async def make(call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised below
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        for call in calls[1:]:
            tasks.start_soon(make, call)
        # One of them here: most often it is the only one.
        for call in calls[:1]:
            await make(call)
    if len(errors) > 1:
        msg = "several processors failed"
        raise BaseExceptionGroup(msg, errors)
    if errors:
        raise errors[0]


@final
class Workers:
    """The tasks of an extension. The first error of one cancels the others, and leaves bare: hooks get the error."""

    def __init__(self) -> None:
        self._tasks: anyio.abc.TaskGroup
        self._failure: BaseException | None = None

    async def run(self, lead: Callable[[], Awaitable[object]], *, name: str) -> None:
        """Run until a function has returned, which may start others; those are cancelled then."""
        async with anyio.create_task_group() as self._tasks:

            async def lead_the_others() -> None:
                await lead()
                self._tasks.cancel_scope.cancel()

            self.start(lead_the_others, name=name)
        if self._failure is not None:
            raise self._failure

    def start(self, function: Callable[..., Awaitable[object]], *args: Any, name: str) -> None:
        """Start a task beside the others."""
        self._tasks.start_soon(self._guarded, function, *args, name=f"lambda_extension {name}")

    async def _guarded(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        try:
            await function(*args)
        except (Exception, SystemExit) as error:
            # An exit too, since asyncio does not let one leave a task: it would end the event loop on the spot.
            if self._failure is not None:
                # One that came up while the others were being cancelled; only the first leaves.
                logger.exception("another error while the extension fails")
                return
            self._failure = error
            self._tasks.cancel_scope.cancel()
