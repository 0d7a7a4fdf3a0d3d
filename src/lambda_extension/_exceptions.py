"""One small tree of errors: a class for each thing that a user would do differently."""

from __future__ import annotations

from typing import final


class LambdaExtensionError(Exception):
    """The root of every error that this library defines."""


@final
class NotInLambdaError(LambdaExtensionError):
    """The process does not run inside a Lambda execution environment, or a simulator of one."""

    def __init__(self) -> None:
        super().__init__(
            "AWS_LAMBDA_RUNTIME_API is not set: this process was not started by Lambda (or by a simulator or emulator"
            " of it). Pass runtime_api='host:port' to address one explicitly."
        )


@final
class DecodeError(LambdaExtensionError, ValueError):
    """A body is not what the API promises: not JSON, or not a JSON array of events."""


@final
class ConnectError(LambdaExtensionError):
    """The API could not be reached, or the connection broke before it answered.

    Attributes:
        call: Name of the API call, such as `register`.
    """

    def __init__(self, call: str, reason: str) -> None:
        super().__init__(f"{call}: no answer from the Lambda API: {reason}")
        self.call = call


class APIError(LambdaExtensionError):
    """The API answered, but not with success.

    Attributes:
        call: Name of the API call, such as `register`.
        status: HTTP status of the answer.
        error_type: The platform's error type, such as `Extension.InvalidEventType`; empty if it gave none.
        message: The platform's words, or the start of a body that could not be read.
    """

    def __init__(self, call: str, *, status: int, error_type: str = "", message: str = "") -> None:
        said = ": ".join(part for part in (error_type, message) if part) or "no reason given"
        super().__init__(f"{call} was answered {status}: {said}")
        self.call = call
        self.status = status
        self.error_type = error_type
        self.message = message


@final
class RegistrationError(APIError):
    """The registration was refused: a wrong name, event, order, or one extension too many."""


@final
class SubscriptionError(APIError):
    """A telemetry or logs subscription was refused: invalid, or sent after init was over."""


@final
class TelemetryNotSupportedError(APIError):
    """Telemetry does not exist here: local emulators answer 202 or 404, and nothing will ever be delivered."""


@final
class ProtocolError(APIError):
    """A call did not fit the state of the extension, such as a second next, or an unknown identifier."""


@final
class ContainerError(APIError):
    """The platform failed (status 500 and above). It does not recover: exit promptly."""
