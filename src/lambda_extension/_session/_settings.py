"""Settings of another type than they should be, refused by name before anything is done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lambda_extension._validators import check_http_client, check_type


def check_settings(
    *,
    telemetry: object,
    required: object,
    receiver: object,
    name: object,
    events: Any,
    account_id: object,
    runtime_api: object,
    environment: object,
    http_client: object,
) -> tuple[Any, ...] | None:
    """Look at the settings of `open_session`, which has the names and types of each.

    This stands before register, so no class is imported to compare with but where a value is there, whose class then is
    imported already.

    Returns:
        The events, which may have come from an iterator.

    Raises:
        TypeError: One is of another type; the message names it.
    """
    check_type("required", required, bool, "a bool")
    check_type("account_id", account_id, bool, "a bool")
    check_type("name", name, str | None, "a string or None")
    check_type("runtime_api", runtime_api, str | None, "a string of host:port or None")
    if telemetry is not None:
        from lambda_extension._api._models import TelemetrySubscription

        if not isinstance(telemetry, TelemetrySubscription):
            from lambda_extension._api._logs import LogsSubscription

            check_type("telemetry", telemetry, LogsSubscription, "a TelemetrySubscription, a LogsSubscription or None")
    if receiver is not None:
        from lambda_extension.telemetry import ReceiverSettings

        check_type("receiver", receiver, ReceiverSettings, "a ReceiverSettings or None")
    if environment is not None:
        from lambda_extension._environment import Environment

        check_type("environment", environment, Environment, "an Environment or None")
    check_http_client(http_client)
    if events is None:
        return None
    if isinstance(events, str) or not isinstance(events, Iterable):
        check_type("events", events, (), "a collection of event types or None")
    return tuple(events)
