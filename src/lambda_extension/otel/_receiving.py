"""The function's own OTLP, taken in on localhost: an export ends in a millisecond, and what it holds leaves in time."""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, final

import attrs
import msgspec

from lambda_extension.delivery import Compression, Delivery
from lambda_extension.otel._encoders import JSON, PROTOBUF, Resource
from lambda_extension.otel._protobuf import add_resource, check_request
from lambda_extension.otel._values import KeyValue, attributes
from lambda_extension.serving._asgi import Receive, Scope, Send

logger = logging.getLogger("lambda_extension.otel")

# Bytes of one request, once unpacked: far beyond what SDKs put into one, and a limit on what a small body unpacks to.
MOST_BODY_BYTES: Final = 8 * 1024 * 1024
# Requests that may wait for the backend, in memory and on disk, and their bytes, before the function is asked to keep
# its own: less than the spill store takes, so that nothing that was taken is lost to what comes after it.
_MOST_WAITING: Final = 1_000
_MOST_WAITING_BYTES: Final = 32 * 1024 * 1024
_RETRY_AFTER: Final = b"1"
_ARRAYS: Final = {"traces": "resourceSpans", "logs": "resourceLogs", "metrics": "resourceMetrics"}


@final
@attrs.frozen(kw_only=True)
class PassingOn:
    """Puts requests of the function's together, as they came.

    Attributes:
        signal: What they hold.
        content_type: Of the requests; Protobuf's are put together by putting one behind the other.
        compression: `gzip`, or None.
    """

    signal: str
    content_type: str
    compression: Compression | None = "gzip"

    def encode_event(self, event: bytes) -> bytes:
        """Return a request as it came."""
        return event

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one request of several."""
        if self.content_type == PROTOBUF:
            return b"".join(pieces)
        return b'{"%s":[%s]}' % (_ARRAYS[self.signal].encode(), b",".join(pieces))


@final
class FunctionTelemetry:
    """An ASGI app that takes OTLP over HTTP, JSON and Protobuf, and has deliveries pass it on.

    Args:
        deliveries: Gives the delivery for a signal and a content type; None where it is not passed on.
        resource: Whose attributes are added to the resources of requests, where they have none of that name; None
            passes requests on as they came.

    Attributes:
        refused: How many requests were refused, by status.
    """

    def __init__(
        self, deliveries: Callable[[str, str], Awaitable[Delivery | None]], resource: Resource | None = None
    ) -> None:
        self.refused: Counter[int] = Counter()
        self._deliveries = deliveries
        self._resource = resource

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request: answered once it waits for the backend, or refused with the reason."""
        body = await _read(receive)
        if body is None:
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        status, reason = await self._take(scope["method"], scope["path"], content_type, headers, body)
        if status != 200:
            if not self.refused[status]:
                logger.warning("refused OTLP of the function's: %d, %s; not told again", status, reason)
            self.refused[status] += 1
        await _answer(send, status, content_type, reason)

    async def _take(
        self, method: str, path: str, content_type: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str]:
        signal = path.removeprefix("/v1/")
        if signal not in _ARRAYS or path == signal:
            return 404, "it is /v1/traces, /v1/logs or /v1/metrics"
        if method != "POST":
            return 405, "OTLP is taken by POST"
        if content_type not in {JSON, PROTOBUF}:
            return 415, f"it is {JSON} or {PROTOBUF}"
        if len(body) > MOST_BODY_BYTES:
            return 413, f"the body is longer than {MOST_BODY_BYTES} bytes"
        try:
            request = _unpacked(signal, content_type, headers.get("content-encoding", ""), body, self._resource)
        except ValueError as error:
            return 400, str(error)
        delivery = await self._deliveries(signal, content_type)
        if delivery is None:
            return 200, ""
        figures = delivery.statistics()
        waiting = delivery.waiting_bytes + len(request)
        if figures.buffered + figures.spilled >= _MOST_WAITING or waiting > _MOST_WAITING_BYTES:
            return 503, "too much waits for the backend"
        if request:
            await delivery.process([request])
        return 200, ""


def _unpacked(signal: str, content_type: str, encoding: str, body: bytes, resource: Resource | None) -> bytes:
    """Unpack a body, within a limit, and check what can be.

    Returns:
        The request, or, of JSON, what stands in its array.

    Raises:
        ValueError: It is not what it says it is.
    """
    if encoding.lower() in {"gzip", "deflate"}:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            body = unpacker.decompress(body, MOST_BODY_BYTES)
        except zlib.error as error:
            msg = f"the body is not {encoding}: {error}"
            raise ValueError(msg) from error
        if not unpacker.eof or unpacker.unused_data:
            msg = "the body is cut off, unpacks to too much, or goes on behind its end"
            raise ValueError(msg)
    elif encoding.lower() not in {"", "identity"}:
        msg = f"content encoding {encoding!r} is not supported: it is gzip or none"
        raise ValueError(msg)
    more = [] if resource is None else attributes(resource.values)
    if content_type == PROTOBUF:
        if more:
            return add_resource(body, more)
        check_request(body)
        return body
    name = _ARRAYS[signal]
    try:
        found = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get(name)
        items = [] if found is None else msgspec.json.decode(found, type=list[msgspec.Raw])
        if more:
            items = [_with_resource(item, more) for item in items]
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        msg = f"the body is no OTLP/JSON: {type(error).__name__}"
        raise ValueError(msg) from error
    return b",".join(bytes(item) for item in items)


def _with_resource(item: msgspec.Raw, more: Sequence[KeyValue]) -> msgspec.Raw:
    """Add attributes to the resource of what stands in a JSON request's array."""
    whole = msgspec.json.decode(item, type=dict[str, msgspec.Raw])
    about = msgspec.json.decode(whole.get("resource", b"{}"), type=dict[str, Any])
    has = about.get("attributes") or []
    known = {pair.get("key") for pair in msgspec.convert(has, list[dict[str, Any]])}
    about["attributes"] = [*has, *(pair for pair in more if pair["key"] not in known)]
    return msgspec.Raw(msgspec.json.encode({**whole, "resource": about}))


async def _read(receive: Receive) -> bytes | None:
    """Read a body to its end, keeping no more than the cap and a little; None when the peer has gone."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        if size <= MOST_BODY_BYTES:
            chunks.append(chunk)
            size += len(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _answer(send: Send, status: int, content_type: str, reason: str) -> None:
    headers: list[tuple[bytes, bytes]] = [(b"content-type", (content_type or JSON).encode("latin-1"))]
    body = b""
    if status == 200:
        body = b"" if content_type == PROTOBUF else b"{}"
    else:
        headers = [(b"content-type", JSON.encode())]
        body = msgspec.json.encode({"message": reason})
    if status == 503:
        headers.append((b"retry-after", _RETRY_AFTER))
    headers.append((b"content-length", b"%d" % len(body)))
    start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
