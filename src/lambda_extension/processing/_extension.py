"""An extension as an object with methods, run on a session."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, final

import anyio

from lambda_extension._api._enums import EventType, ShutdownReason
from lambda_extension._budget import INVOCATION_MARGIN
from lambda_extension._session._open import open_extension
from lambda_extension.processing._hooks import hooks_of
from lambda_extension.processing._lifecycle import Workers, live, phases_of

if TYPE_CHECKING:
    import httpx

    from lambda_extension._api._client import ExtensionClient
    from lambda_extension._api._events import InvokeEvent
    from lambda_extension._environment import Environment
    from lambda_extension._session._session import ExtensionSession

logger = logging.getLogger("lambda_extension")


class Extension:
    """What `run` calls: methods that do nothing, each of which a subclass may define.

    An object of any other class that has some of them is taken too. A method that is not defined is not called, and
    nothing waits for it.
    """

    async def init(self, client: ExtensionClient) -> None:
        """Prepare, after registration and before the first invocation. An error is reported as init/error."""

    async def handle_invoke(self, event: InvokeEvent) -> None:
        """Handle an invocation; Lambda waits for the return. Cancelled shortly before the function's time is over."""

    async def background(self) -> None:
        """Run beside the rest, from `init` until `shutdown`, and be cancelled then; an error ends the extension."""

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        """Clean up, within the shutdown's time; cancelled when that is over.

        Args:
            reason: Why; `EXTENSION_ERROR` when one of the other methods, or the platform, failed.
            error: What failed; None where a method exited by `sys.exit`. Lambda is told of it only afterwards.
        """


async def run(
    extension: object,
    *,
    name: str | None = None,
    events: Iterable[EventType | str] | None = None,
    account_id: bool = False,
    runtime_api: str | None = None,
    environment: Environment | None = None,
    http_client: httpx.AsyncClient | None = None,
) -> None:
    """Run an extension until SHUTDOWN, SIGTERM or SIGINT.

    **An error of a method ends the extension, and with it the function's environment**: it is given to `shutdown`, then
    reported to Lambda, and then it leaves, bare.

    Args:
        extension: An `Extension`, or any object with some of its methods.
        name: Name of the extension; see `ExtensionClient.register`.
        events: What to be told of; by default SHUTDOWN, and INVOKE if there is a `handle_invoke`.
        account_id: Ask for the AWS account id too.
        runtime_api: `host:port` of the API; by default that of the environment.
        environment: The environment's variables; by default those of this process.
        http_client: An httpx client to use instead of plain connections; it stays open.

    Raises:
        TypeError: The object is a class, has none of the methods, or one of them is not a coroutine function or nearly
            has another name.
        NotInLambdaError: No runtime API is known.
        RegistrationError: The platform refused the registration.
        Exception: What a method raised, bare; an exit by `sys.exit` too.
        BaseExceptionGroup: What a method and then `shutdown` raised.
    """
    hooks = hooks_of(extension, Extension)
    if events is None:
        events = (EventType.INVOKE, EventType.SHUTDOWN) if "handle_invoke" in hooks else (EventType.SHUTDOWN,)
    async with open_extension(
        name=name,
        events=events,
        account_id=account_id,
        runtime_api=runtime_api,
        environment=environment,
        http_client=http_client,
    ) as session:
        await run_hooks(session, hooks)


async def run_hooks(session: ExtensionSession, hooks: dict[str, Any]) -> None:
    """Run the methods of an extension on a session, within its block, until the environment shuts down."""
    await live(
        session,
        init=functools.partial(hooks.get("init", _nothing), session.client),
        work=functools.partial(_work, session, hooks),
        shutdown=hooks.get("shutdown", _nothing),
    )


async def _work(session: ExtensionSession, hooks: dict[str, Any]) -> None:
    workers = Workers()
    handling = _Handling(session, hooks.get("handle_invoke", _nothing))

    # `background` runs before the first event is asked for, which is what ends init: it sees every invocation.
    async def lead() -> None:
        workers.start(handling.watch_shutdown, name="end of the handler")
        if "background" in hooks:
            workers.start(hooks["background"], name="background")
        await handling.run()

    await workers.run(lead, name="invocations")


@final
class _Handling:
    """Handles invocations, none for longer than Lambda allows."""

    def __init__(self, session: ExtensionSession, handle_invoke: Callable[[InvokeEvent], Awaitable[object]]) -> None:
        self._session = session
        self._handle_invoke = handle_invoke
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        async for invocation in self._session:
            with anyio.CancelScope(deadline=invocation.deadline - INVOCATION_MARGIN) as self._scope:
                if self._session.shutdown is not None:
                    self._hurry()  # a signal came after the event, but before this scope
                await self._handle_invoke(invocation.event)
            # Only now Lambda is asked for the next event: cancelled code has ended within the margin.
            if self._scope.cancelled_caught:
                logger.warning(
                    "handle_invoke of request %s was cut off, %.1f s before the invocation's deadline",
                    invocation.request_id,
                    invocation.deadline - anyio.current_time(),
                )

    async def watch_shutdown(self) -> None:
        """After a signal a handler has as long as anything else before the hook."""
        await self._session.wait_shutdown()
        self._hurry()

    def _hurry(self) -> None:
        self._scope.deadline = min(self._scope.deadline, phases_of(self._session).flush)


async def _nothing(*_: object) -> None:
    """Do nothing, for a method that is not there."""
