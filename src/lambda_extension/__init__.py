"""AWS Lambda extensions with structured concurrency, on trio or asyncio."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - for whoever has put it on the path of an older one by hand
    msg = "lambda-extension needs Python 3.11 or later; this is %d.%d" % sys.version_info[:2]  # noqa: UP031
    raise ImportError(msg)

from lambda_extension._lazy import import_on_use

TYPE_CHECKING = False  # as checkers know it; importing `typing` takes longer than everything that `early` needs
if TYPE_CHECKING or not import_on_use(__name__):
    from lambda_extension import early as early, telemetry as telemetry
    from lambda_extension._api._client import ExtensionClient as ExtensionClient
    from lambda_extension._api._enums import (
        EventType as EventType,
        InitializationType as InitializationType,
        LogsSchemaVersion as LogsSchemaVersion,
        SchemaVersion as SchemaVersion,
        ShutdownReason as ShutdownReason,
        TelemetryType as TelemetryType,
    )
    from lambda_extension._api._events import (
        InvokeEvent as InvokeEvent,
        ShutdownEvent as ShutdownEvent,
        Tracing as Tracing,
    )
    from lambda_extension._api._logs import LogsSubscription as LogsSubscription
    from lambda_extension._api._models import (
        Buffering as Buffering,
        Destination as Destination,
        Registration as Registration,
        TelemetrySubscription as TelemetrySubscription,
    )
    from lambda_extension._environment import Environment as Environment
    from lambda_extension._exceptions import (
        APIError as APIError,
        ConnectError as ConnectError,
        ContainerError as ContainerError,
        DecodeError as DecodeError,
        LambdaExtensionError as LambdaExtensionError,
        NotInLambdaError as NotInLambdaError,
        ProtocolError as ProtocolError,
        RegistrationError as RegistrationError,
        SubscriptionError as SubscriptionError,
        TelemetryNotSupportedError as TelemetryNotSupportedError,
    )
    from lambda_extension._session._internal import start_internal as start_internal
    from lambda_extension._session._invocation import (
        Invocation as Invocation,
        InvocationOutcome as InvocationOutcome,
    )
    from lambda_extension._session._open import open_extension as open_extension, open_telemetry as open_telemetry
    from lambda_extension._session._session import ExtensionSession as ExtensionSession
    from lambda_extension._session._shutdown import Shutdown as Shutdown
    from lambda_extension.processing._extension import Extension as Extension, run as run
    from lambda_extension.processing._processor import (
        TelemetryProcessor as TelemetryProcessor,
        run_telemetry as run_telemetry,
    )
