"""What the platform's answers say: statuses and bodies as objects and errors of ours. Pure: nothing here waits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from lambda_extension._api._enums import EventType
from lambda_extension._api._models import Registration
from lambda_extension._api._parsing import Response
from lambda_extension._environment import Environment
from lambda_extension._exceptions import (
    APIError,
    ContainerError,
    DecodeError,
    RegistrationError,
    SubscriptionError,
    TelemetryNotSupportedError,
)

if TYPE_CHECKING:
    from lambda_extension._api._events import InvokeEvent, ShutdownEvent

logger = logging.getLogger("lambda_extension")

ErrorT = TypeVar("ErrorT", bound=APIError)

IDENTIFIER = "Lambda-Extension-Identifier"


def accepted(response: Response, call: str, refused: type[APIError]) -> Response:
    """Return the answer of a call that succeeded.

    Args:
        response: The answer.
        call: What was called, for the error.
        refused: The error of a call that the platform refused.

    Raises:
        ContainerError: The platform failed.
        APIError: The platform refused; of the class that was passed, or a `TelemetryNotSupportedError`.
    """
    if 200 <= response.status < 300:
        return response
    if response.status >= 500:
        raise refusal(ContainerError, call, response)
    if refused is SubscriptionError and response.status == 404:
        raise refusal(TelemetryNotSupportedError, call, response)
    raise refusal(refused, call, response)


def read_registration(
    response: Response, name: str, events: tuple[EventType, ...], environment: Environment
) -> Registration:
    """Read the answer to register; what it does not say of the function is taken from the environment.

    Raises:
        RegistrationError: It gives no identifier.
    """
    extension_id = response.headers.get(IDENTIFIER.lower(), "")
    if not extension_id:
        msg = f"the answer has no {IDENTIFIER}, without which nothing else can be asked for"
        raise RegistrationError("register", status=response.status, message=msg)
    try:
        body = _object(response, "register")
    except DecodeError as error:
        # The identifier is all that later calls need; what the function is called the environment says too.
        logger.warning("going on without what the registration says of the function: %s", error)
        body = {}
    return Registration(
        extension_id=extension_id,
        extension_name=name,
        function_name=str(body.get("functionName") or environment.function_name or ""),
        function_version=str(body.get("functionVersion") or environment.function_version or ""),
        handler=str(body.get("handler") or ""),
        account_id=body.get("accountId") or None,
        events=events,
    )


def read_event(response: Response) -> InvokeEvent | ShutdownEvent | None:
    """Read the answer to next; None, and a line in the log, where it is an event of a type not known here.

    Raises:
        DecodeError: It is no event.
    """
    # Not before the first has come, which the end of init does not wait for.
    from lambda_extension._api._events import event_from_wire

    body = _object(response, "next")
    try:
        event = event_from_wire(body)
    except ValueError as error:
        msg = f"next: {error}"
        raise DecodeError(msg) from error
    if event is None:
        logger.warning("passed over an event of the unknown type %r", body.get("eventType"))
    return event


def refusal(kind: type[ErrorT], call: str, response: Response) -> ErrorT:
    """Make the error of a call that was refused, of what its answer says."""
    try:
        body = _object(response, call)
    except DecodeError:
        # Known to happen: the emulator pastes messages unescaped into its JSON.
        return kind(call, status=response.status, message=response.content[:500].decode("utf-8", "replace"))
    return kind(
        call,
        status=response.status,
        error_type=str(body.get("errorType") or ""),
        message=str(body.get("errorMessage") or ""),
    )


def _object(response: Response, call: str) -> Mapping[str, Any]:
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{call}: the answer is not JSON: {error}"
        raise DecodeError(msg) from error
    if not isinstance(body, dict):
        msg = f"{call}: the answer is not a JSON object but {type(body).__name__}"
        raise DecodeError(msg)
    return body
