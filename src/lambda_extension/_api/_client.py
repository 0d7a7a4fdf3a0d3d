"""The Extensions, Telemetry and Logs APIs over HTTP. Spawns nothing, keeps no state but what the protocol demands."""

from __future__ import annotations

import inspect
import logging
import re
import traceback
import warnings
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

import anyio
import anyio.abc
import msgspec

from lambda_extension._api._answers import IDENTIFIER, accepted, read_event, read_registration, refusal
from lambda_extension._api._enums import EventType
from lambda_extension._api._models import Destination, Registration, TelemetrySubscription
from lambda_extension._api._parsing import Response
from lambda_extension._api._register import extension_name, split_address, take_early, wanted_events
from lambda_extension._api._transport import Connections
from lambda_extension._budget import CALL_LIMIT, CONNECT_LIMIT
from lambda_extension._environment import Environment
from lambda_extension._exceptions import (
    APIError,
    ConnectError,
    NotInLambdaError,
    ProtocolError,
    RegistrationError,
    SubscriptionError,
    TelemetryNotSupportedError,
)
from lambda_extension._validators import check_http_client, check_type
from lambda_extension.early import JSON, REGISTER, register_body, register_headers

if TYPE_CHECKING:
    import httpx

    from lambda_extension._api._events import InvokeEvent, ShutdownEvent
    from lambda_extension._api._logs import LogsSubscription

logger = logging.getLogger("lambda_extension")

_EXTENSIONS = "/2020-01-01/extension"
_LONGEST_ERROR_TYPE = 128
_LONGEST_TEXT = 16_384


@final
class ExtensionClient:
    """A client of the three APIs, for one extension in one execution environment.

    An async context manager: leaving it closes its HTTP connections (a client passed in stays open). Neither entering
    nor leaving blocks on the network. It cannot be entered again.

    Args:
        runtime_api: `host:port` of the API; by default that of `environment`.
        environment: The environment's variables; by default those of this process.
        http_client: An httpx client to use instead of plain connections (httpx takes a third of the start-up, so it
            is imported only with one). Its defaults for time-outs, redirects and base URL do not apply; its transport,
            limits and hooks do. It must not take a proxy for Lambda's APIs from the environment.
        registering: A connection on which `register` has been sent already, so that calling it only reads the answer;
            it is closed with the client.

    Raises:
        TypeError: An argument is of another type.
        NotInLambdaError: No runtime API is known.
        ValueError: The address is not `host:port`, or the httpx client would send the calls to a proxy.
    """

    def __init__(
        self,
        runtime_api: str | None = None,
        *,
        environment: Environment | None = None,
        http_client: httpx.AsyncClient | None = None,
        registering: anyio.abc.SocketStream | None = None,
    ) -> None:
        check_type("runtime_api", runtime_api, str | None, "a string of host:port or None")
        check_type("environment", environment, Environment | None, "an Environment or None")
        check_http_client(http_client)
        self.environment: Environment = Environment.from_mapping() if environment is None else environment
        address = runtime_api or self.environment.runtime_api
        if not address:
            raise NotInLambdaError
        self._address = address
        self._origin = f"http://{address}"
        self._connections = Connections(address, under_way=registering)
        self._http = http_client
        if http_client is not None and http_client.trust_env:
            _refuse_proxy(address)
        self._entered = self._open = False
        self._registration: Registration | None = None
        self._next_guard = anyio.ResourceGuard("waiting for the next event")
        self._next_refused: str | None = None

    async def __aenter__(self) -> Self:
        if self._entered:
            msg = "an ExtensionClient can be entered only once"
            raise RuntimeError(msg)
        self._entered = self._open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._open = False
        await self._connections.aclose()

    @property
    def registration(self) -> Registration:
        """The registration.

        Raises:
            RuntimeError: `register` has not succeeded yet.
        """
        if self._registration is None:
            msg = "the extension is not registered yet: call register() first"
            raise RuntimeError(msg)
        return self._registration

    async def register(
        self,
        name: str | None = None,
        *,
        events: Iterable[EventType | str] | None = None,
        account_id: bool = False,
    ) -> Registration:
        """Register the extension: Lambda starts the function's runtime only once all extensions have.

        On Lambda Managed Instances, INVOKE is left out; if it is refused elsewhere, SHUTDOWN alone is asked for. Where
        `early.register` has sent the call already, this reads the answer.

        Args:
            name: For an external extension, the complete file name of what Lambda started in `/opt/extensions`. By
                default the basename of `sys.argv[0]`; pass it when a launcher started this script.
            events: What to be told of; by default INVOKE and SHUTDOWN.
            account_id: Ask for the AWS account id too.

        Raises:
            ValueError: The name is none that a header can carry, or an event is none that the API has.
            RegistrationError: The platform refused, or gave no identifier.
            ContainerError: The platform failed.
            ConnectError: The API could not be reached.
            RuntimeError: `early.register` has registered with another name, or for other events.
        """
        name = extension_name(name)
        wanted = wanted_events(events, managed_instance=self.environment.is_managed_instance)
        try:
            self._registration = await self._register(name, wanted, account_id=account_id)
        except RegistrationError as error:
            if error.error_type != "Extension.InvalidEventType" or EventType.INVOKE not in wanted:
                raise
            wanted = wanted_events(wanted, managed_instance=True)
            if not wanted:
                raise
            self._registration = await self._register(name, wanted, account_id=account_id)
        return self._registration

    async def _register(self, name: str, events: tuple[EventType, ...], *, account_id: bool) -> Registration:
        early = await take_early(self._address, name, events, account_id=account_id)
        if early is not None:
            self._connections.take_over(early)
        headers = register_headers(name, account_id=account_id)
        content = register_body(events)
        response = await self._call("register", "POST", REGISTER, headers, content, refused=RegistrationError)
        return read_registration(response, name, events, self.environment)

    async def next_event(self) -> InvokeEvent | ShutdownEvent:
        """Tell the platform that this extension is ready, and wait for the next event, for hours if need be.

        The first call ends the extension's part of init. A call that is cancelled, or whose connection broke, may have
        lost its event, and the platform would refuse every later one: this client then refuses them itself. An event of
        a type that this library does not know is logged, and the next one asked for.

        Raises:
            anyio.BusyResourceError: Another task waits already.
            RuntimeError: SHUTDOWN has been received, or an earlier call was cancelled or failed.
            ProtocolError: The platform refused the call.
            ContainerError: The platform failed.
            ConnectError: The connection broke.
            DecodeError: The event cannot be read.
        """
        with self._next_guard:
            if self._next_refused is not None:
                raise RuntimeError(self._next_refused)
            # Until the event is here in one piece: whatever happens in between, cancellation too, may have lost it.
            self._next_refused = "an earlier next_event() was cancelled or failed: its event may be lost for good"
            event = await self._next()
            while event is None:
                event = await self._next()
            from lambda_extension._api._events import InvokeEvent  # not before the first has come

            if isinstance(event, InvokeEvent):
                self._next_refused = None
            else:
                self._next_refused = "SHUTDOWN has been received: there is no next event"
            return event

    async def _next(self) -> InvokeEvent | ShutdownEvent | None:
        headers = {IDENTIFIER: self.registration.extension_id}
        path = f"{_EXTENSIONS}/event/next"
        response = await self._call("next", "GET", path, headers, refused=ProtocolError, timeout=None)
        return read_event(response)

    async def init_error(self, error: BaseException, *, error_type: str | None = None) -> None:
        """Report that init failed; allowed until the first `next_event`. Then exit with a non-zero status.

        Args:
            error: What went wrong: its message and stack trace are sent; of a group with one leaf, the leaf's message.
            error_type: The error type to send, by convention `Extension.<Reason>`; by default made from the class of
                that. What a header cannot carry is left out.

        Raises:
            ProtocolError: The platform refused, for example since init is over.
            ContainerError: The platform failed.
            ConnectError: The API could not be reached.
        """
        await self._report("init", error, error_type)

    async def exit_error(self, error: BaseException, *, error_type: str | None = None) -> None:
        """Report that the extension fails and will exit. Arguments and errors are those of `init_error`."""
        await self._report("exit", error, error_type)

    async def _report(self, phase: str, error: BaseException, error_type: str | None) -> None:
        leaf = leaf_of(error)
        kind = _legal_error_type(error_type or f"Extension.{type(leaf).__name__}", phase)
        headers = {
            IDENTIFIER: self.registration.extension_id,
            "Lambda-Extension-Function-Error-Type": kind,
        }
        trace = _sendable("".join(traceback.format_exception(error)))[-_LONGEST_TEXT:]
        body = {
            "errorMessage": _message_of(leaf)[:_LONGEST_TEXT],
            "errorType": kind,
            "stackTrace": trace.splitlines(),
        }
        path = f"{_EXTENSIONS}/{phase}/error"
        await self._call(f"{phase}/error", "POST", path, headers, msgspec.json.encode(body), refused=ProtocolError)

    async def subscribe_telemetry(self, subscription: TelemetrySubscription, destination: Destination) -> None:
        """Subscribe to the Telemetry API: once, before the first `next_event`, with the listener accepting already.

        Raises:
            TelemetryNotSupportedError: There is no telemetry here (local emulators).
            SubscriptionError: The platform refused.
            ContainerError: The platform failed.
            ConnectError: The API could not be reached.
        """
        body = subscription.to_wire(destination, managed_instance=self.environment.is_managed_instance)
        await self._subscribe("telemetry", "/2022-07-01/telemetry", body)

    async def subscribe_logs(self, subscription: LogsSubscription, destination: Destination) -> None:
        """Subscribe to the Logs API, which AWS has superseded by the Telemetry API. Errors as `subscribe_telemetry`.

        Warns:
            DeprecationWarning: Always.
        """
        warnings.warn(
            "the Logs API is deprecated: subscribe to the Telemetry API",
            DeprecationWarning,
            stacklevel=_depth_of_user(),
        )
        await self._subscribe("logs", "/2020-08-15/logs", subscription.to_wire(destination))

    async def _subscribe(self, call: str, path: str, body: Mapping[str, Any]) -> None:
        headers = {IDENTIFIER: self.registration.extension_id}
        content = msgspec.json.encode(body)
        response = await self._call(call, "PUT", path, headers, content, refused=SubscriptionError)
        if response.status != 200:
            raise refusal(TelemetryNotSupportedError, call, response)

    async def _call(
        self,
        call: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: bytes = b"",
        *,
        refused: type[APIError],
        timeout: float | None = CALL_LIMIT,
    ) -> Response:
        """Make one call: the only place that maps transport errors to ours."""
        if not self._open:
            msg = "the ExtensionClient is not open: use it in `async with`"
            raise RuntimeError(msg)
        headers = {**JSON, **headers}
        try:
            # /next has no time-out: one that gave up cannot be repeated (it would be answered 403 for ever after).
            if self._http is None or self._connections.has_taken_over:
                response = await self._connections.request(method, path, headers, content, timeout=timeout)
            else:
                response = await self._request_httpx(self._http, method, path, headers, content, timeout=timeout)
        except (OSError, _HTTPXError) as error:  # a TimeoutError is an OSError too
            cause = error.__cause__ if isinstance(error, _HTTPXError) else error
            reason = f"{type(cause).__name__}: {cause}"
            logger.debug("%s: %s %s failed: %s", call, method, path, reason)
            raise ConnectError(call, reason) from cause
        logger.debug("%s: %s %s was answered %d", call, method, path, response.status)
        return accepted(response, call, refused)

    async def _request_httpx(
        self,
        http: httpx.AsyncClient,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: bytes,
        *,
        timeout: float | None,
    ) -> Response:
        import httpx  # who passed a client has paid for it

        from lambda_extension._api._httpx_body import send_whole

        limits = httpx.Timeout(timeout, connect=CONNECT_LIMIT)
        try:
            answer = await send_whole(
                http, method, self._origin + path, content=content, headers=headers, timeout=limits
            )
        except httpx.HTTPError as error:
            raise _HTTPXError from error
        return Response(status=answer.status_code, headers=answer.headers, content=answer.content)


class _HTTPXError(Exception):
    """Something that httpx met, its cause; httpx itself is imported only where a client of it was passed."""


def _legal_error_type(error_type: str, phase: str) -> str:
    """Make what a header may carry: a line feed in it once broke a well-known extension."""
    legal = re.sub(r"[^!-~]+", "", error_type)[:_LONGEST_ERROR_TYPE]
    return legal or f"Extension.{phase.capitalize()}Error"


def _message_of(error: BaseException) -> str:
    """Return an error's message; Lambda is told of the error even if that cannot be made."""
    try:
        return _sendable(str(error))
    except Exception:  # noqa: BLE001 - it comes from a method of whoever defined the error
        return "its message cannot be made: str() of it fails"


def _sendable(text: str) -> str:
    """Write out what UTF-8 cannot hold: half of a pair, as in the name of a file that is none."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def leaf_of(error: Any) -> Any:
    """Return what a group is about, where that is one error; a task group around it says nothing."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _refuse_proxy(address: str) -> None:
    """Refuse an httpx client that would send the calls to a proxy: none can reach this environment from outside.

    Raises:
        ValueError: The environment names a proxy for the address.
    """
    from urllib.request import getproxies, proxy_bypass  # which httpx has imported

    proxies = getproxies()
    host = split_address(address)[0]
    if ("http" in proxies or "all" in proxies) and not proxy_bypass(host):
        msg = (
            "the environment names a proxy, to which this httpx client would send the calls of Lambda's APIs: make it"
            f" with httpx.AsyncClient(trust_env=False), or add {host} to NO_PROXY"
        )
        raise ValueError(msg)


def _depth_of_user() -> int:
    """Return the stack level, for `warnings.warn` in the caller, of the code that uses this library.

    A coroutine that was awaited is on the stack of whoever awaits it, in between other libraries' frames.
    """
    depth, frame = 0, inspect.currentframe()
    ours = ("lambda_extension", "contextlib")
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ours:
        depth, frame = depth + 1, frame.f_back
    return depth
