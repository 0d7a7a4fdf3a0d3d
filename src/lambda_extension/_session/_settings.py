"""Settings of another type than they should be, refused by name before anything is done."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any


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
    _check("required", required, bool, "a bool")
    _check("account_id", account_id, bool, "a bool")
    _check("name", name, str | None, "a string or None")
    _check("runtime_api", runtime_api, str | None, "a string of host:port or None")
    if telemetry is not None:
        from lambda_extension._api._models import LogsSubscription, TelemetrySubscription

        wanted = "a TelemetrySubscription, a LogsSubscription or None"
        _check("telemetry", telemetry, TelemetrySubscription | LogsSubscription, wanted)
    if receiver is not None:
        from lambda_extension.telemetry import ReceiverSettings

        _check("receiver", receiver, ReceiverSettings, "a ReceiverSettings or None")
    if environment is not None:
        from lambda_extension._environment import Environment

        _check("environment", environment, Environment, "an Environment or None")
    if http_client is not None:
        httpx = sys.modules.get("httpx")  # whoever has a client of it has imported it
        _check("http_client", http_client, () if httpx is None else httpx.AsyncClient, "an httpx.AsyncClient or None")
    if events is None:
        return None
    if isinstance(events, str) or not isinstance(events, Iterable):
        _check("events", events, (), "a collection of event types or None")
    return tuple(events)


def _check(name: str, value: object, kind: Any, wanted: str) -> None:
    if not isinstance(value, kind):
        msg = f"{name} must be {wanted}, not {value!r}"
        raise TypeError(msg)
