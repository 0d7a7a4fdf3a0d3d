"""open_extension and open_telemetry: register first, import the rest while Lambda answers."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lambda_extension._api._enums import EventType, InitializationType
from lambda_extension._api._register import extension_name, send_register, wanted_events

if TYPE_CHECKING:
    import anyio.abc
    import httpx

    from lambda_extension._api._models import LogsSubscription, TelemetrySubscription
    from lambda_extension._environment import Environment
    from lambda_extension._session._session import ExtensionSession
    from lambda_extension.telemetry import ReceiverSettings, TelemetryStream


@asynccontextmanager
async def open_extension(
    *,
    telemetry: TelemetrySubscription | LogsSubscription | None = None,
    telemetry_required: bool = False,
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
    still runs shortly before Lambda's deadline is cancelled. Leaving closes the receiver and the client, in 0.5 seconds
    each at most. An exception of the block is reported to Lambda (init/error or exit/error) and leaves inside an
    exception group, as from any anyio task group.

    Args:
        telemetry: What to subscribe to; None starts no server. Events of the Logs API, which AWS has deprecated, need
            `receiver=ReceiverSettings(decode=lambda_extension.logs.decode)`.
        telemetry_required: Fail where there is no telemetry (local emulators), instead of going on with a warning.
        receiver: How telemetry is received.
        name: Name of the extension; see `ExtensionClient.register`.
        events: What to be told of; by default INVOKE and SHUTDOWN.
        account_id: Ask for the AWS account id too.
        runtime_api: `host:port` of the API; by default that of the environment.
        environment: The environment's variables; by default those of this process.
        http_client: An httpx client to use instead of plain connections; it stays open.

    Raises:
        NotInLambdaError: No runtime API is known.
        RegistrationError: The platform refused the registration.
        SubscriptionError: The platform refused the subscription.
        OSError: The receiver's address cannot be bound.
    """
    async with open_session(
        telemetry=telemetry,
        telemetry_required=telemetry_required,
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
    telemetry: TelemetrySubscription | None = None,
    *,
    required: bool = False,
    receiver: ReceiverSettings | None = None,
    name: str | None = None,
    runtime_api: str | None = None,
    environment: Environment | None = None,
    http_client: httpx.AsyncClient | None = None,
) -> AsyncGenerator[TelemetryStream]:
    """Register an extension that only takes in telemetry, and give its stream.

    It asks for no INVOKE, so that it never holds an invocation up. The block up to the first read is the extension's
    init; the stream ends after SHUTDOWN, SIGTERM or SIGINT, once drained. Everything else is as in `open_extension`.

    Args:
        telemetry: What to subscribe to; by default platform and function.
        required: Fail where there is no telemetry (local emulators), instead of going on with a warning.
        receiver: How telemetry is received.
        name: Name of the extension; see `ExtensionClient.register`.
        runtime_api: `host:port` of the API; by default that of the environment.
        environment: The environment's variables; by default those of this process.
        http_client: An httpx client to use instead of plain connections; it stays open.

    Raises:
        NotInLambdaError: No runtime API is known.
        RegistrationError: The platform refused the registration.
        SubscriptionError: The platform refused the subscription.
        OSError: The receiver's address cannot be bound.
    """
    async with open_session(
        telemetry=telemetry,
        default_telemetry=True,
        telemetry_required=required,
        receiver=receiver,
        name=name,
        events=[EventType.SHUTDOWN],
        runtime_api=runtime_api,
        environment=environment,
        http_client=http_client,
    ) as session:
        assert session._listener is not None
        session._listener.before_read = session._poll_on
        yield session._listener.stream


@asynccontextmanager
async def open_session(
    *,
    telemetry: TelemetrySubscription | LogsSubscription | None = None,
    default_telemetry: bool = False,
    telemetry_required: bool = False,
    receiver: ReceiverSettings | None = None,
    name: str | None = None,
    events: Iterable[EventType | str] | None = None,
    account_id: bool = False,
    runtime_api: str | None = None,
    environment: Environment | None = None,
    http_client: httpx.AsyncClient | None = None,
) -> AsyncGenerator[ExtensionSession]:
    """Do what `open_extension` says; with `default_telemetry`, None subscribes to the default."""
    wanted = None if events is None else tuple(events)
    registering: anyio.abc.SocketStream | None = None
    if http_client is None:
        registering = await _register(runtime_api, environment, name, wanted, account_id=account_id)
    # Now, while Lambda answers.
    from lambda_extension._api._client import ExtensionClient
    from lambda_extension._api._models import TelemetrySubscription
    from lambda_extension._session._session import hold_session

    if telemetry is None and default_telemetry:
        telemetry = TelemetrySubscription()
    client = ExtensionClient(runtime_api, environment=environment, http_client=http_client)
    async with client:
        if registering is not None:
            client._connections.take_over(registering)
        await client.register(name, events=wanted, account_id=account_id)
        async with hold_session(client, telemetry, required=telemetry_required, receiver=receiver) as session:
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
