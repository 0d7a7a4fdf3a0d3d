"""The events of the Extensions API, made once the first one has come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lambda_extension._api._enums import EventType, ShutdownReason


@attrs.frozen(kw_only=True)
class Tracing:
    """The trace header of an invocation.

    Attributes:
        type: Kind of header, `X-Amzn-Trace-Id`.
        value: The header as it came, such as `Root=1-…;Parent=…;Sampled=1`; may be empty.
    """

    type: str = "X-Amzn-Trace-Id"
    value: str = ""


@attrs.frozen(kw_only=True)
class InvokeEvent:
    """An invocation has begun.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html

    Attributes:
        deadline_ms: When the function times out, in epoch milliseconds.
        request_id: AWS request id of the invocation.
        invoked_function_arn: The ARN that was invoked, with its version or alias if one was named.
        tracing: Trace header; None when the platform sent none.
    """

    deadline_ms: int
    request_id: str
    invoked_function_arn: str = ""
    tracing: Tracing | None = None


@attrs.frozen(kw_only=True)
class ShutdownEvent:
    """The environment goes away.

    Attributes:
        deadline_ms: When the process is killed, in epoch milliseconds.
        shutdown_reason: Why; an open enumeration.
    """

    deadline_ms: int
    shutdown_reason: ShutdownReason


def _tracing(body: Any) -> Tracing | None:
    """Make of it what can be made: a trace header of another shape is no reason to lose an invocation."""
    if isinstance(body, str):
        return Tracing(value=body)
    if not isinstance(body, Mapping):
        return None
    return Tracing(type=str(body.get("type") or "X-Amzn-Trace-Id"), value=str(body.get("value") or ""))


def event_from_wire(body: Mapping[str, Any]) -> InvokeEvent | ShutdownEvent | None:
    """Make an event of a decoded `/next` body; None when its type is neither INVOKE nor SHUTDOWN.

    Raises:
        ValueError: A required field is missing.
    """
    try:
        kind = body["eventType"]
        if kind == EventType.INVOKE:
            return InvokeEvent(
                deadline_ms=int(body["deadlineMs"]),
                request_id=str(body["requestId"]),
                invoked_function_arn=str(body.get("invokedFunctionArn") or ""),
                tracing=_tracing(body.get("tracing")),
            )
        if kind == EventType.SHUTDOWN:
            return ShutdownEvent(
                deadline_ms=int(body["deadlineMs"]),
                shutdown_reason=ShutdownReason(str(body.get("shutdownReason") or "unknown")),
            )
    except (KeyError, TypeError, ValueError, OverflowError) as error:  # the last is of an infinite number
        msg = f"the event does not have the expected shape ({type(error).__name__}: {error}): {body!r}"
        raise ValueError(msg) from error
    return None
