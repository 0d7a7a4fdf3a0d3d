"""From the subscription to the end of the user's block: what is opened, what Lambda is told, and in which order."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from lambda_extension._api._client import ExtensionClient
from lambda_extension._api._models import TelemetrySubscription
from lambda_extension._budget import QUIET_MARGIN, error_phases
from lambda_extension._exceptions import TelemetryNotSupportedError
from lambda_extension._session._life import Life
from lambda_extension._session._reporting import Reporter
from lambda_extension._session._session import ExtensionSession
from lambda_extension.telemetry import ReceiverSettings, decode
from lambda_extension.telemetry._receiver import Decode, Listener

if TYPE_CHECKING:
    from lambda_extension._api._logs import LogsSubscription

logger = logging.getLogger("lambda_extension")


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
            await _tell_of_failed_start(error, reporter, on_failed_start)
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


async def _tell_of_failed_start(
    error: Exception, reporter: Reporter, hook: Callable[[Exception], Awaitable[object]] | None
) -> None:
    """Run the hook, within its share of the time, and tell Lambda that init failed."""
    if hook is not None:
        # First, since Lambda may end the environment once it is told.
        with anyio.CancelScope(deadline=error_phases().hook):
            await hook(error)
    await reporter.report(error, past_init=False, deadline=None)


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
        if isinstance(subscription, TelemetrySubscription):
            await client.subscribe_telemetry(subscription, listener.destination)
        else:
            await client.subscribe_logs(subscription, listener.destination)
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
    if isinstance(subscription, TelemetrySubscription):
        return decode
    from lambda_extension.logs import decode as decode_logs  # which nobody needs who does not ask for logs

    return decode_logs
