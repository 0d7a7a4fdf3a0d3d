"""An extension as an object with methods, run on a session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import anyio

from lambda_extension._api._enums import EventType, ShutdownReason
from lambda_extension._session._open import open_extension

if TYPE_CHECKING:
    import httpx

    from lambda_extension._api._client import ExtensionClient
    from lambda_extension._api._models import InvokeEvent
    from lambda_extension._environment import Environment
    from lambda_extension._session._session import ExtensionSession


@runtime_checkable
class Extension(Protocol):
    """What `run` calls. A class need not define all three: only the methods that it has are called."""

    async def init(self, client: ExtensionClient) -> None:
        """Prepare, after registration and before the first invocation. An error is reported as init/error."""

    async def handle_invoke(self, event: InvokeEvent) -> None:
        """Handle an invocation; Lambda waits for the return. Cancelled when the function's time is over."""

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        """Clean up, within the shutdown's deadline.

        Args:
            reason: Why; `EXTENSION_ERROR` when one of the other methods, or the platform, failed.
            error: What failed.
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

    An error of `init` or `handle_invoke` is reported to Lambda, given to `shutdown`, and then leaves inside an
    exception group.

    Args:
        extension: An object with any of the methods of `Extension`.
        name: Name of the extension; see `ExtensionClient.register`.
        events: What to be told of; by default SHUTDOWN, and INVOKE if there is a `handle_invoke`.
        account_id: Ask for the AWS account id too.
        runtime_api: `host:port` of the API; by default that of the environment.
        environment: The environment's variables; by default those of this process.
        http_client: An httpx client to use instead of plain connections; it stays open.

    Raises:
        TypeError: The object has none of the methods.
        NotInLambdaError: No runtime API is known.
        RegistrationError: The platform refused the registration.
    """
    init, handle_invoke, shutdown = (getattr(extension, method, None) for method in _METHODS)
    if init is handle_invoke is shutdown is None:
        msg = f"{type(extension).__name__} has none of the methods {', '.join(_METHODS)}"
        raise TypeError(msg)
    if events is None:
        events = (EventType.INVOKE, EventType.SHUTDOWN) if handle_invoke else (EventType.SHUTDOWN,)
    async with open_extension(
        name=name,
        events=events,
        account_id=account_id,
        runtime_api=runtime_api,
        environment=environment,
        http_client=http_client,
    ) as session:
        try:
            if init is not None:
                await init(session.client)
            await _handle_invocations(session, handle_invoke)
        except Exception as error:
            await session._report(error)
            await _shut_down(shutdown, ShutdownReason.EXTENSION_ERROR, error)
            raise
        assert session.shutdown is not None  # nothing else ends the iteration without an error
        await _shut_down(shutdown, session.shutdown.reason, None)


_METHODS = ("init", "handle_invoke", "shutdown")


async def _handle_invocations(session: ExtensionSession, handle_invoke: Any) -> None:
    async for invocation in session:
        if handle_invoke is not None:
            with anyio.CancelScope(deadline=invocation.deadline):
                await handle_invoke(invocation.event)


async def _shut_down(shutdown: Any, reason: ShutdownReason, error: Exception | None) -> None:
    if shutdown is None:
        return
    try:
        await shutdown(reason, error)
    except Exception as hook_error:
        if error is None:
            raise
        msg = "the extension failed, and so did its shutdown"
        raise ExceptionGroup(msg, [error, hook_error]) from None
