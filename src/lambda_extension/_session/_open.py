"""open_extension and open_telemetry: register first, import the rest while Lambda answers."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lambda_extension._api._enums import EventType, InitializationType
from lambda_extension._api._register import extension_name, send_register, wanted_events
from lambda_extension._session._settings import check_settings

if TYPE_CHECKING:
    import anyio.abc
    import httpx

    from lambda_extension._api._logs import LogsSubscription
    from lambda_extension._api._models import TelemetrySubscription
    from lambda_extension._environment import Environment
    from lambda_extension._session._session import ExtensionSession
    from lambda_extension.telemetry import ReceiverSettings, TelemetryStream


@asynccontextmanager
async def open_extension(
    *,
    telemetry: TelemetrySubscription | LogsSubscription | None = None,
    required: bool = False,
    receiver: ReceiverSettings | None = None,
    name: str | None = None,
    events: Iterable[EventType | str] | None = None,
    account_id: bool = False,
    runtime_api: str | None = None,
    environment: Environment | None = None,
    http_client: httpx.AsyncClient | None = None,
) -> AsyncGenerator[ExtensionSession]:
    """Register an extension and run it until its `async with` block ends.

    Entering registers, and with `telemetry` listens and subscribes; it blocks on these calls. The block up to the
    first step of the iteration is the extension's init. At SHUTDOWN, SIGTERM or SIGINT the iteration ends, and whatever
    still runs shortly before Lambda's deadline is cancelled. Leaving closes the receiver and the client, within 0.2
    seconds.

    **Errors leave bare.** What goes wrong while entering, and an exception of the block, leaves `open_extension`,
    `open_telemetry`, `run` and `run_telemetry` as it was raised, so that `except` catches it; an exception group leaves
    only where your own code raised one, for example by a task group within the block. What the platform or the receiver
    fails with is raised by the next step of the iteration, or at the end of the telemetry.

    Lambda is told first, once, by init/error or exit/error: of an exception, `SystemExit` among them; of a block that
    ends, or is cancelled, before SHUTDOWN. Of an exception group with one leaf, Lambda is told the leaf.

    Args:
        telemetry: What to subscribe to; None starts no server.
        required: Fail where there is no telemetry (local emulators), instead of going on with a warning.
        receiver: How telemetry is received.
        name: Name of the extension; see `ExtensionClient.register`.
        events: What to be told of; by default INVOKE and SHUTDOWN.
        account_id: Ask for the AWS account id too.
        runtime_api: `host:port` of the API; by default that of the environment.
        environment: The environment's variables; by default those of this process.
        http_client: An httpx client to use instead of plain connections; it stays open.

    Raises:
        TypeError: A setting is of another type.
        ValueError: The name cannot be one, or an event is none that the API has.
        NotInLambdaError: No runtime API is known.
        RegistrationError: The platform refused the registration.
        SubscriptionError: The platform refused the subscription.
        LambdaExtensionError: The platform failed, or could not be reached.
        OSError: The receiver's address cannot be bound.
    """
    async with open_session(
        telemetry=telemetry,
        required=required,
        receiver=receiver,
        name=name,
        events=events,
        account_id=account_id,
        runtime_api=runtime_api,
        environment=environment,
        http_client=http_client,
    ) as session:
        yield session


@asynccontextmanager
async def open_telemetry(
    telemetry: TelemetrySubscription | LogsSubscription | None = None,
    *,
    required: bool = False,
    receiver: ReceiverSettings | None = None,
    name: str | None = None,
    account_id: bool = False,
    runtime_api: str | None = None,
    environment: Environment | None = None,
    http_client: httpx.AsyncClient | None = None,
) -> AsyncGenerator[TelemetryStream]:
    """Register an extension that only takes in telemetry, and give its stream.

    It asks for no INVOKE, so that it never holds an invocation up. The block up to the first read is the extension's
    init; the stream ends after SHUTDOWN, SIGTERM or SIGINT, once drained. `stream.session` has the registration, the
    environment, and why it shuts down. Everything else, the form of errors too, is as in `open_extension`.

    Args:
        telemetry: What to subscribe to; by default platform and function.
        required: Fail where there is no telemetry (local emulators), instead of going on with a warning.
        receiver: How telemetry is received.
        name: Name of the extension; see `ExtensionClient.register`.
        account_id: Ask for the AWS account id too.
        runtime_api: `host:port` of the API; by default that of the environment.
        environment: The environment's variables; by default those of this process.
        http_client: An httpx client to use instead of plain connections; it stays open.

    Raises:
        Exception: What `open_extension` raises.
    """
    async with open_session(
        telemetry=telemetry,
        default_telemetry=True,
        required=required,
        receiver=receiver,
        name=name,
        events=[EventType.SHUTDOWN],
        account_id=account_id,
        runtime_api=runtime_api,
        environment=environment,
        http_client=http_client,
    ) as session:
        yield session.telemetry


@asynccontextmanager
async def open_session(
    *,
    telemetry: TelemetrySubscription | LogsSubscription | None = None,
    default_telemetry: bool = False,
    required: bool = False,
    receiver: ReceiverSettings | None = None,
    name: str | None = None,
    events: Iterable[EventType | str] | None = None,
    account_id: bool = False,
    runtime_api: str | None = None,
    environment: Environment | None = None,
    http_client: httpx.AsyncClient | None = None,
    on_failed_start: Callable[[Exception], Awaitable[object]] | None = None,
) -> AsyncGenerator[ExtensionSession]:
    """Do what `open_extension` says, for those of this library that are built on it.

    Args:
        telemetry: As there.
        default_telemetry: Whether None subscribes to the default.
        required: As there.
        receiver: As there.
        name: As there.
        events: As there.
        account_id: As there.
        runtime_api: As there.
        environment: As there.
        http_client: As there.
        on_failed_start: Awaited with the error if listening or subscribing fails, after the registration, within the
            share that hooks have after an error. Lambda is told of the error when it has returned.
    """
    wanted = check_settings(
        telemetry=telemetry,
        required=required,
        receiver=receiver,
        name=name,
        events=events,
        account_id=account_id,
        runtime_api=runtime_api,
        environment=environment,
        http_client=http_client,
    )
    registering: anyio.abc.SocketStream | None = None
    if http_client is None:
        registering = await _register(runtime_api, environment, name, wanted, account_id=account_id)
    # Now, while Lambda answers.
    from lambda_extension._api._client import ExtensionClient
    from lambda_extension._api._models import TelemetrySubscription
    from lambda_extension._session._holding import hold_session

    if telemetry is None and default_telemetry:
        telemetry = TelemetrySubscription()
    client = ExtensionClient(runtime_api, environment=environment, http_client=http_client, registering=registering)
    async with client:
        await client.register(name, events=wanted, account_id=account_id)
        async with hold_session(
            client, telemetry, required=required, receiver=receiver, on_failed_start=on_failed_start
        ) as session:
            yield session


async def _register(
    runtime_api: str | None,
    environment: Environment | None,
    name: str | None,
    events: Iterable[EventType | str] | None,
    *,
    account_id: bool,
) -> anyio.abc.SocketStream | None:
    """Send the registration as the client would; None where there is no address to send it to."""
    if environment is None:
        runtime_api = runtime_api or os.environ.get("AWS_LAMBDA_RUNTIME_API")
        kind = InitializationType(os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", ""))
        managed_instance = kind is InitializationType.MANAGED_INSTANCES
    else:
        runtime_api = runtime_api or environment.runtime_api
        managed_instance = environment.is_managed_instance
    if not runtime_api:
        return None
    wanted = wanted_events(events, managed_instance=managed_instance)
    return await send_register(runtime_api, extension_name(name), wanted, account_id=account_id)
