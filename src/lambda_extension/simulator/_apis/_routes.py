"""The HTTP face of the platform: a plain ASGI application."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from typing import Any, Final, TypeAlias, final

import anyio

from lambda_extension.simulator._apis._extension_calls import next_event, register, report_error, subscribe
from lambda_extension.simulator._apis._extensions import ApiError, encode
from lambda_extension.simulator._apis._metadata import CREDENTIALS_PATH, METADATA_PATH, credentials, metadata
from lambda_extension.simulator._platform._faults import RouteFault
from lambda_extension.simulator._platform._lifecycle import Platform
from lambda_extension.simulator._platform._participants import Invocation, SandboxClosedError
from lambda_extension.simulator._platform._runtime_calls import (
    answer,
    restore_next,
    runtime_next,
    runtime_trace_header,
)
from lambda_extension.simulator._platform._sandbox import Sandbox

_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]
_Answer: TypeAlias = tuple[int, dict[str, str], bytes]

_BODY_LIMIT: Final = 7 * 1024 * 1024
_JSON: Final = {"content-type": "application/json"}
_ACCEPTED: Final[_Answer] = (202, _JSON, b'{"status":"OK"}\n')
_RUNTIME: Final = "/2018-06-01/runtime/"
_INVOCATION: Final = _RUNTIME + "invocation/"
_ROUTES: Final = {
    "/2020-01-01/extension/register": ("POST", "register"),
    "/2020-01-01/extension/event/next": ("GET", "next"),
    "/2020-01-01/extension/init/error": ("POST", "init-error"),
    "/2020-01-01/extension/exit/error": ("POST", "exit-error"),
    "/2022-07-01/telemetry": ("PUT", "telemetry"),
    "/2020-08-15/logs": ("PUT", "logs"),
    _INVOCATION + "next": ("GET", "runtime-next"),
    _RUNTIME + "init/error": ("POST", "runtime-init-error"),
    _RUNTIME + "restore/next": ("GET", "restore-next"),
    _RUNTIME + "restore/error": ("POST", "restore-error"),
    METADATA_PATH: ("GET", "metadata"),
    CREDENTIALS_PATH: ("GET", "credentials"),
}
# Calls by which an extension's process is known: the ports at both ends are in the record.
_PROCESSES: Final = frozenset({"register", "next"})


@final
class Routes:
    """ASGI application over the platform's current environment."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._calls: Counter[str] = Counter()

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        headers = {key.decode("latin-1"): text.decode("latin-1") for key, text in scope["headers"]}
        body = await _read(receive)
        path, method = scope["path"], scope["method"]
        why: dict[str, Any]
        try:
            name, argument = self._match(path, method)
            fault = await self._disturb(name)
            if fault is not None and fault.action == "reset":
                await _reset(send)
                return
            if fault is not None and fault.action == "error":
                raise ApiError(fault.status, "InternalServerError", "Internal Server Error")
            given = await self._answer(name, argument, headers, body)
            why = {"ports": _ports(scope)} if name in _PROCESSES else {}
        except ApiError as error:
            content = b"" if error.status in {404, 405} else error.body()
            given = (error.status, dict(_JSON) if content else {}, content)
            why = {"error_type": error.error_type, "message": error.message}
            if error.status >= 400:
                self._remember(self._who(headers, path), f"{method} {path}", error)
        except SandboxClosedError:
            given = (500, _JSON, b'{"errorMessage":"closed","errorType":"InternalServerError"}')
            why = {"error_type": "InternalServerError", "message": "the environment has ended"}
        self._platform.record.add("call", self._who(headers, path), f"{method} {path}", status=given[0], **why)
        await _respond(send, given)

    def _remember(self, who: str, call: str, error: ApiError) -> None:
        sandbox = self._platform.sandbox or self._platform.ending
        if sandbox is not None:
            sandbox.verdicts.refused(who, call, error)

    def _match(self, path: str, method: str) -> tuple[str, str]:
        wanted, name, argument = *_ROUTES.get(path, ("", "")), ""
        if not wanted and path.startswith(_INVOCATION):
            argument, _, action = path[len(_INVOCATION) :].partition("/")
            if action in {"response", "error"}:
                wanted, name = "POST", f"runtime-{action}"
        mode = self._platform.settings.mode
        absent = (name == "logs" and mode == "managed-instances") or (
            name.startswith(("restore", "credentials")) and mode != "snap-start"
        )
        if not wanted or absent:
            raise ApiError(404, "NotFound", "")
        if method != wanted:
            raise ApiError(405, "MethodNotAllowed", "")
        return name, argument

    def _who(self, headers: dict[str, str], path: str) -> str:
        if path.startswith(_RUNTIME):
            return "runtime"
        name = headers.get("lambda-extension-name")
        if name:
            return name
        try:
            return self._sandbox().table.identify(headers).name
        except ApiError:
            return "unknown"

    def _sandbox(self) -> Sandbox:
        sandbox = self._platform.sandbox or self._platform.ending
        if sandbox is None:
            raise ApiError(500, "InternalServerError", "Internal Server Error")
        return sandbox

    async def _disturb(self, name: str) -> RouteFault | None:
        self._calls[name] += 1
        for fault in self._platform.settings.faults:
            if not isinstance(fault, RouteFault) or fault.route != name:
                continue
            if fault.nth not in (None, self._calls[name]):
                continue
            self._platform.record.add("fault", "platform", fault.action, route=name)
            if fault.action != "delay":
                return fault
            await anyio.sleep(fault.seconds)
        return None

    async def _answer(self, name: str, argument: str, headers: dict[str, str], body: bytes) -> _Answer:
        if name == "metadata":
            more, content = metadata(self._platform.settings.about, headers)
            return 200, {**_JSON, **more}, content
        if name == "credentials":
            return 200, _JSON, credentials(headers)
        sandbox = self._sandbox()
        if name.startswith(("runtime", "restore")):
            return await self._runtime(sandbox, name, argument, headers, body)
        if name == "register":
            state, content = register(sandbox, headers, body)
            return 200, {**_JSON, "lambda-extension-identifier": state.identifier}, content
        if name == "next":
            return _event(await next_event(sandbox, sandbox.table.identify(headers)))
        if name in {"init-error", "exit-error"}:
            report_error(sandbox, headers, body, "InitError" if name == "init-error" else "ExitError")
            return _ACCEPTED
        if not self._platform.settings.telemetry_supported:
            title = name.capitalize()
            raise ApiError(202, f"{title}.NotSupported", f"{title} API is not supported")
        subscribe(sandbox, headers, body, api=name)
        return 200, {}, b'"OK"'

    async def _runtime(
        self, sandbox: Sandbox, name: str, argument: str, headers: dict[str, str], body: bytes
    ) -> _Answer:
        error_type = headers.get("lambda-runtime-function-error-type")
        if name == "runtime-next":
            return self._invocation(await runtime_next(sandbox))
        if name == "restore-next":
            await restore_next(sandbox)
            return 200, {}, b""
        if name == "runtime-response":
            answer(sandbox, argument, body)
        elif name == "runtime-error":
            answer(sandbox, argument, body, error_type=error_type or "Runtime.Unknown")
        else:
            sandbox.verdicts.function_init_failed(error_type or "Runtime.Unknown", body)
            sandbox.fail(error_type or "Runtime.Unknown")
        return _ACCEPTED

    def _invocation(self, invocation: Invocation) -> _Answer:
        # Who asks by HTTP has a process of its own, and with it the host's clock.
        headers = {
            **_JSON,
            "lambda-runtime-aws-request-id": invocation.request_id,
            "lambda-runtime-deadline-ms": str(invocation.host_deadline_ms),
            "lambda-runtime-invoked-function-arn": self._platform.settings.about.arn,
        }
        optional = {
            "lambda-runtime-trace-id": runtime_trace_header(invocation),
            "lambda-runtime-client-context": invocation.client_context,
            "lambda-runtime-cognito-identity": invocation.cognito_identity,
        }
        headers |= {name: text for name, text in optional.items() if text is not None}
        return 200, headers, invocation.payload


def _event(event: dict[str, Any]) -> _Answer:
    headers = {}
    if event["eventType"] == "INVOKE":
        headers = {**_JSON, "lambda-extension-event-identifier": str(uuid.uuid4())}
    return 200, headers, encode(event)


def _ports(scope: _Message) -> tuple[int | None, int | None]:
    """Give the ports at both ends of a connection, the caller's first: together they are nobody else's."""
    (_, port), (_, peer) = scope.get("client") or (None, None), scope.get("server") or (None, None)
    return port, peer


async def _read(receive: _Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        # Past the cap the rest is read and thrown away: the length alone decides the answer.
        if len(body) <= _BODY_LIMIT:
            body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body)


async def _respond(send: _Send, answer: _Answer) -> None:
    status, headers, body = answer
    pairs = [(key.encode(), text.encode("latin-1")) for key, text in headers.items()]
    pairs.append((b"date", formatdate(usegmt=True).encode()))
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _reset(send: _Send) -> None:
    """Begin an answer and never end it: the server then has to close the connection."""
    headers = [(b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
