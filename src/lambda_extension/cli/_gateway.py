"""Invocations over HTTP, as Lambda's Invoke API and AWS's emulator take them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol, final

import anyio.abc
import attrs

from lambda_extension.serving._asgi import Message, Receive, Scope, Send
from lambda_extension.simulator import InvocationResult

PATH: Final = "/2015-03-31/functions/function/invocations"
_ROUTE: Final = re.compile(r"/2015-03-31/functions/[^/]+/invocations")
_MOST_BYTES: Final = 6 * 1024 * 1024
_LOG_TAIL_BYTES: Final = 4096


class Invoke(Protocol):
    """What runs one invocation."""

    def __call__(
        self, payload: bytes, *, trace_header: str | None, client_context: Mapping[str, Any] | None
    ) -> Awaitable[InvocationResult]: ...


@attrs.frozen
class _Refused(Exception):  # noqa: N818 - raised and caught here
    """A request that reaches no function."""

    status: int
    kind: str
    message: str


@attrs.frozen(kw_only=True)
class _Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


@final
class Gateway:
    """An ASGI application in front of one function, under whatever name it is called.

    `RequestResponse`, `Event` and `DryRun` are known; the tail of the function's log is added where it is asked for.
    The answer comes when the invocation is over, extensions included, as from AWS's emulator.

    Args:
        invoke: Runs an invocation; never raises for what the function does.
        tasks: Where invocations run that nobody waits for.
    """

    def __init__(self, invoke: Invoke, tasks: anyio.abc.TaskGroup) -> None:
        self._invoke, self._tasks = invoke, tasks
        self._closed = False

    def close(self) -> None:
        """Take no invocation any more; those under way go on."""
        self._closed = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        try:
            answer = await self._answer(scope, body)
        except _Refused as refused:
            said = {"Type": "User", "message": refused.message}
            answer = _Answer(
                status=refused.status, body=json.dumps(said).encode(), headers={"x-amzn-errortype": refused.kind}
            )
        headers = {"content-type": "application/json", **answer.headers, "content-length": str(len(answer.body))}
        pairs = [(name.encode(), text.encode("latin-1", "replace")) for name, text in headers.items()]
        start: Message = {"type": "http.response.start", "status": answer.status, "headers": pairs}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, body: bytes | None) -> _Answer:
        headers = {name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]}
        if not _ROUTE.fullmatch(scope["path"]):
            raise _Refused(404, "ResourceNotFoundException", f"there is only POST {PATH}")
        if scope["method"] != "POST":
            raise _Refused(405, "MethodNotAllowedException", f"there is only POST {PATH}")
        if self._closed:
            raise _Refused(503, "ServiceException", "the simulation is ending")
        if body is None:
            raise _Refused(413, "RequestTooLargeException", f"the payload is larger than {_MOST_BYTES} bytes")
        kind = headers.get("x-amz-invocation-type", "RequestResponse")
        run = self._prepare(headers, body)
        if kind == "DryRun":
            return _Answer(status=204)
        if kind == "Event":
            self._tasks.start_soon(run, name="event")
            return _Answer(status=202)
        if kind != "RequestResponse":
            raise _Refused(400, "InvalidParameterValueException", f"there is no invocation type {kind!r}")
        return _answer(await run(), tail=headers.get("x-amz-log-type") == "Tail")

    def _prepare(self, headers: Mapping[str, str], body: bytes) -> Callable[[], Coroutine[Any, Any, InvocationResult]]:
        payload = body or b"{}"
        try:
            json.loads(payload)
        except ValueError as error:
            raise _Refused(400, "InvalidRequestContentException", f"the payload is not JSON: {error}") from None
        context = None
        if "x-amz-client-context" in headers:
            try:
                context = json.loads(base64.b64decode(headers["x-amz-client-context"], validate=True))
            except ValueError as error:
                what = f"the client context is not JSON in base 64: {error}"
                raise _Refused(400, "InvalidRequestContentException", what) from None

        async def run() -> InvocationResult:
            return await self._invoke(payload, trace_header=headers.get("x-amzn-trace-id"), client_context=context)

        return run


def _answer(result: InvocationResult, *, tail: bool) -> _Answer:
    headers = {"x-amzn-requestid": result.request_id, "x-amz-executed-version": "$LATEST"}
    body = result.response
    if result.status != "success":
        headers["x-amz-function-error"] = "Unhandled"
        if not isinstance(result.payload, dict):
            said = {"errorType": result.error_type, "errorMessage": f"the invocation ended with {result.status}"}
            body = json.dumps(said).encode()
    if tail:
        log = "".join(f"{line}\n" for line in result.logs).encode()[-_LOG_TAIL_BYTES:]
        headers["x-amz-log-result"] = base64.b64encode(log).decode()
    return _Answer(status=200, body=body, headers=headers)


async def _read(receive: Receive) -> bytes | None:
    """Read a body to its end; None if it is too large."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        more = bool(message.get("more_body"))
        if len(body) <= _MOST_BYTES:  # the rest is read and thrown away
            body += message.get("body", b"")
    return bytes(body) if len(body) <= _MOST_BYTES else None
