"""`run_logs`: what `run_telemetry` is to the Telemetry API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from lambda_extension._api._models import LogsSubscription
from lambda_extension._environment import Environment
from lambda_extension.logs._events import decode
from lambda_extension.processing._processor import run_processor
from lambda_extension.telemetry import ReceiverSettings

if TYPE_CHECKING:
    import httpx

    from lambda_extension.processing._policies import FlushPolicy


async def run_logs(
    processor: object,
    *,
    flush: FlushPolicy | None = None,
    logs: LogsSubscription | None = None,
    required: bool = False,
    receiver: ReceiverSettings | None = None,
    name: str | None = None,
    account_id: bool = False,
    runtime_api: str | None = None,
    environment: Environment | None = None,
    http_client: httpx.AsyncClient | None = None,
) -> None:
    """Run a logs extension until SHUTDOWN, SIGTERM or SIGINT: `run_telemetry` on the Logs API. Warns of deprecation.

    The end of an invocation is seen from schema 2021-03-18 on, the default; with an older one no flush waits for it.

    Args:
        processor: An object with any of the methods of `TelemetryProcessor`; `process` takes values of `LogsEvent`.
        flush: When to flush; by default `lambda_extension.delivery.Adaptive()`.
        logs: What to subscribe to; by default platform and function.
        required: Fail where there are no logs (local emulators, Lambda Managed Instances), instead of going on with a
            warning.
        receiver: How, and at which address, logs are received; its `decode` is not used.
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
        logs or LogsSubscription(),
        telemetry_required=required,
        receiver=attrs.evolve(receiver or ReceiverSettings(), decode=decode),
        name=name,
        account_id=account_id,
        runtime_api=runtime_api,
        environment=environment,
        http_client=http_client,
    )
