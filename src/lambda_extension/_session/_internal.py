"""An extension within the function's own process: in a thread, with an event loop of its own."""

from __future__ import annotations

import inspect
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import anyio

from lambda_extension._api._enums import EventType
from lambda_extension._budget import INTERNAL_START_LIMIT, SHUTDOWN_BUDGET
from lambda_extension._session._open import open_extension

if TYPE_CHECKING:
    from lambda_extension._api._models import Registration
    from lambda_extension._environment import Environment
    from lambda_extension._session._session import ExtensionSession

logger = logging.getLogger("lambda_extension")


def start_internal(
    function: Callable[[ExtensionSession], Awaitable[object]],
    *,
    name: str,
    account_id: bool = False,
    runtime_api: str | None = None,
    environment: Environment | None = None,
    backend: str = "asyncio",
    backend_options: Mapping[str, Any] | None = None,
) -> Registration:
    """Start an internal extension and return once it has registered; blocks for 5 seconds at most.

    Call it from the function's module, outside of the handler. An internal extension has to register while the function
    initialises, and a module that started a thread and returned would lose that race: Lambda would refuse the
    extension, and every invocation would pass it by. What it imports after it has registered is imported in its thread.

    It is told of INVOKE alone, gets no SHUTDOWN and no signal, and ends with the process. An error of `function` after
    the start is reported to Lambda and logged; the thread then ends.

    Args:
        function: Runs the extension, in the thread; what it is given iterates over invocations.
        name: A name that no other extension of the function has.
        account_id: Ask for the AWS account id too.
        runtime_api: `host:port` of the API; by default that of the environment.
        environment: The environment's variables; by default those of this process.
        backend: What `anyio.run` is to use.
        backend_options: Its options.

    Raises:
        TimeoutError: It could not register in time.
        TypeError: A setting is of another type, or the function is no coroutine function.
        LambdaExtensionError: What else went wrong; any error of the start is raised here, in the caller.
    """
    wrong = f"start_internal needs a coroutine function (async def), not {function!r}"
    if not callable(function):
        raise TypeError(wrong)
    started: Future[Registration] = Future()

    async def hold(scope: anyio.CancelScope) -> None:
        async with open_extension(
            name=name,
            events=[EventType.INVOKE],
            account_id=account_id,
            runtime_api=runtime_api,
            environment=environment,
        ) as session:
            scope.deadline = math.inf
            # Before the caller goes on, who is then told that this is a plain function; an async one only runs below.
            working = function(session)
            if not inspect.isawaitable(working):
                raise TypeError(wrong)
            started.set_result(session.registration)
            await working

    async def main() -> None:
        # One scope around everything, whose deadline goes once the extension has registered: scopes end as they began.
        with anyio.CancelScope(deadline=anyio.current_time() + INTERNAL_START_LIMIT) as scope:
            await hold(scope)
        if not started.done():
            msg = f"the internal extension {name!r} could not register within {INTERNAL_START_LIMIT:g} s"
            raise TimeoutError(msg)

    def run() -> None:
        try:
            anyio.run(main, backend=backend, backend_options=dict(backend_options or {}))
        except BaseException as error:
            if started.done():
                logger.exception("the internal extension %r has ended", name)
            else:
                started.set_exception(error)

    # Daemonic: the process must not wait for it at its end. The context has the wall clock of a simulation in it.
    context = copy_context()
    threading.Thread(target=context.run, args=(run,), name=f"internal extension {name}", daemon=True).start()
    # A little more than the extension's own limit, which is what names the cause.
    return started.result(INTERNAL_START_LIMIT + SHUTDOWN_BUDGET)
