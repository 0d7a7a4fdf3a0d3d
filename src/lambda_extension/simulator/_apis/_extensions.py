"""The Extensions API's state machine: pure, no I/O, no clock."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from typing import Any, Final, final

import attrs

MAX_EXTENSIONS: Final = 10
_STATE = "Extension.InvalidExtensionState"
_NOT_ALLOWED = "State transition is not allowed"


def encode(body: Mapping[str, Any]) -> bytes:
    """Return JSON as compact as the platform writes it."""
    return json.dumps(body, separators=(",", ":")).encode()


class ApiError(Exception):
    """A request that is refused, with the status and error type of the platform."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(f"{status} {error_type}: {message}")
        self.status = status
        self.error_type = error_type
        self.message = message

    def body(self) -> bytes:
        """Return the answer's JSON body."""
        return encode({"errorMessage": self.message, "errorType": self.error_type})


@attrs.frozen(kw_only=True)
class Function:
    """What the simulation knows of the function."""

    name: str = "test_function"
    version: str = "$LATEST"
    handler: str = "handler"
    account_id: str | None = "123456789012"
    region: str = "us-east-1"

    @property
    def arn(self) -> str:
        """The invoked ARN."""
        account = self.account_id or "000000000000"
        return f"arn:aws:lambda:{self.region}:{account}:function:{self.name}"


@attrs.define(eq=False, kw_only=True)
class ExtensionState:
    """One extension as the platform sees it."""

    name: str
    external: bool
    state: str = "Started"
    identifier: str = ""
    events: tuple[str, ...] = ()
    asked_next: bool = False
    error_type: str | None = None

    def refuse(self, target: str, reason: str = _NOT_ALLOWED, *, by_name: bool = False) -> ApiError:
        """Return the error for a transition that is not allowed."""
        who = self.name if by_name else self.identifier
        return ApiError(
            403,
            _STATE,
            f"State transition from {self.state} to {target} failed for extension {who}. Error: {reason}",
        )


@final
class ExtensionTable:
    """Registered and expected extensions of one environment; every method is one transition."""

    def __init__(self, function: Function, external: Collection[str], *, managed: bool) -> None:
        self._function = function
        self._managed = managed
        self.closed = False
        self.extensions = {name: ExtensionState(name=name, external=True) for name in external}
        self._by_identifier: dict[str, ExtensionState] = {}

    def register(self, headers: Mapping[str, str], body: bytes) -> tuple[ExtensionState, bytes]:
        """Register; return the extension and the body of the answer.

        Raises:
            ApiError: Refused.
        """
        name = headers.get("lambda-extension-name", "")
        if not name:
            raise ApiError(403, "Extension.InvalidExtensionName", "Empty extension name")
        events = _parse_events(body)
        known = self.extensions.get(name)
        self._check_events(events, external=known is not None and known.external)
        if known is None:
            known = self._register_internal(name)
        elif not known.external:
            raise ApiError(403, _STATE, "Extension with this name already registered")
        elif known.state != "Started":
            raise known.refuse("Registered", by_name=True)
        known.state, known.events, known.identifier = "Registered", events, str(uuid.uuid4())
        self._by_identifier[known.identifier] = known
        return known, self._registration(headers)

    def _registration(self, headers: Mapping[str, str]) -> bytes:
        answer = {
            "functionName": self._function.name,
            "functionVersion": self._function.version,
            "handler": self._function.handler,
        }
        features = headers.get("lambda-extension-accept-feature", "").split(",")
        asked = "accountId" in (feature.strip() for feature in features)
        if asked and self._function.account_id is not None:
            answer["accountId"] = self._function.account_id
        return encode(answer)

    def _check_events(self, events: tuple[str, ...], *, external: bool) -> None:
        for event in events:
            if event not in {"INVOKE", "SHUTDOWN"} or (self._managed and event == "INVOKE"):
                message = f"{event}: ErrorInvalidEventType"
                raise ApiError(403, "Extension.InvalidEventType", message)
            if not external and self._managed:
                message = "No events allowed for internal extensions"
                raise ApiError(403, "Extension.InvalidEventType", message)
            if not external and event == "SHUTDOWN":
                message = "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"
                raise ApiError(403, "Extension.InvalidEventType", message)

    def _register_internal(self, name: str) -> ExtensionState:
        if self.closed:
            message = "Extension registration closed already"
            raise ApiError(403, "Extension.RegistrationClosed", message)
        if len(self.extensions) >= MAX_EXTENSIONS:
            message = f"Extension limit ({MAX_EXTENSIONS}) reached"
            raise ApiError(403, "Extension.TooManyExtensions", message)
        extension = ExtensionState(name=name, external=False)
        self.extensions[name] = extension
        return extension

    def identify(self, headers: Mapping[str, str], *, unknown: str = "Unknown extension {}") -> ExtensionState:
        """Return the extension that a request's identifier names.

        Raises:
            ApiError: No identifier, none of ours, or not a UUID.
        """
        identifier = headers.get("lambda-extension-identifier", "")
        if not identifier:
            message = "Missing Lambda-Extension-Identifier header"
            raise ApiError(403, "Extension.MissingExtensionIdentifier", message)
        try:
            identifier = str(uuid.UUID(identifier))
        except ValueError:
            message = "Invalid Lambda-Extension-Identifier"
            raise ApiError(403, "Extension.InvalidExtensionIdentifier", message) from None
        extension = self._by_identifier.get(identifier)
        if extension is None:
            message = unknown.format(identifier)
            raise ApiError(403, "Extension.UnknownExtensionIdentifier", message)
        return extension

    def next(self, extension: ExtensionState) -> None:
        """Start waiting for an event.

        Raises:
            ApiError: Not in this state.
        """
        if extension.state not in {"Registered", "Running"}:
            raise extension.refuse("Ready")
        extension.state, extension.asked_next = "Ready", True

    def delivered(self, extension: ExtensionState) -> None:
        """Hand an event to the waiting extension.

        Raises:
            ApiError: Another call changed the state meanwhile.
        """
        if extension.state != "Ready":
            raise extension.refuse("Ready", "Concurrent state modification")
        extension.state = "Running"

    def fail(self, headers: Mapping[str, str], target: str) -> tuple[ExtensionState, bool]:
        """Take an `InitError` or `ExitError`; return the extension and whether this was the first.

        Raises:
            ApiError: Refused.
        """
        extension = self.identify(headers, unknown="Unknown Lambda-Extension-Identifier")
        error_type = headers.get("lambda-extension-function-error-type", "")
        if not error_type:
            message = "Lambda-Extension-Function-Error-Type not found"
            raise ApiError(403, "Extension.MissingHeader", message)
        if extension.state == target:
            return extension, False
        allowed = {"Registered"} if target == "InitError" else {"Registered", "Ready", "Running"}
        if extension.state not in allowed:
            raise extension.refuse("InitError" if target == "InitError" else "Exited")
        extension.state, extension.error_type = target, error_type
        return extension, True


def _parse_events(body: bytes) -> tuple[str, ...]:
    try:
        parsed: Any = json.loads(body)
    except ValueError as error:
        raise ApiError(403, "InvalidRequestFormat", str(error)) from None
    if not isinstance(parsed, dict):
        raise ApiError(403, "InvalidRequestFormat", "the body is not a JSON object")
    if parsed.get("configurationKeys"):
        message = "configurationKeys are deprecated; use environment variables instead"
        raise ApiError(403, "InvalidRequestFormat", message)
    events = parsed.get("events") or []
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        raise ApiError(403, "InvalidRequestFormat", "events is not a list of strings")
    return tuple(dict.fromkeys(events))
