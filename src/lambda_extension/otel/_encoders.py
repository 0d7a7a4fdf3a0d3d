"""OTLP's requests: one encoder for each signal, in JSON or Protobuf."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

import msgspec

from lambda_extension.delivery import Compression, Payload, SinkError
from lambda_extension.otel._values import attributes

if TYPE_CHECKING:
    from types import ModuleType

Protocol: TypeAlias = Literal["http/json", "http/protobuf"]
"""OTLP's protocols over HTTP."""
Signal: TypeAlias = Literal["traces", "logs", "metrics"]
"""What OTLP carries."""

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
SCOPE: Final = "lambda_extension.otel"
# Of this library; a test holds that it is the project's. Asking what is installed takes 5 ms and half a MiB, and a
# layer that was made by copying does not know.
VERSION: Final = "0.1.0"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
# How a request names what is in it: of a resource, of a scope, and the items.
_NAMES: Final[Mapping[str, tuple[str, str, str]]] = {
    "traces": ("resourceSpans", "scopeSpans", "spans"),
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
    "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
}

_encode = msgspec.json.Encoder().encode


@final
class Resource(msgspec.Struct):
    """What telemetry is about; encoded once for each time that it changes.

    Attributes:
        values: Its attributes.
    """

    values: Mapping[str, Any]


@final
class OTLPEncoder(msgspec.Struct, kw_only=True, eq=False):
    """Encodes spans, log records or metrics, and makes requests of them.

    Attributes:
        signal: What the items are.
        resource: What they are about, as it is when a request is made.
        protocol: `http/json` or `http/protobuf`.
        compression: `gzip`, or None.
        version: Of the instrumentation scope, which is this library.
    """

    signal: Signal
    resource: Resource
    protocol: Protocol = "http/json"
    compression: Compression | None = "gzip"
    version: str = VERSION

    @property
    def content_type(self) -> str:
        """The `Content-Type` of a request."""
        return JSON if self.protocol == "http/json" else PROTOBUF

    def encode_event(self, event: Any) -> bytes:
        """Encode a span, a log record or a metric."""
        encode: Callable[[Any], bytes] = _encode if self.protocol == "http/json" else _protobuf().encode_item
        return encode(event)

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one request of encoded items."""
        about = attributes(self.resource.values)
        if self.protocol == "http/protobuf":
            whole: bytes = _protobuf().encode_request(about, (SCOPE, self.version), SCHEMA_URL, pieces)
            return whole
        resources, scopes, items_name = _NAMES[self.signal]
        head = _encode({"resource": {"attributes": about}, "schemaUrl": SCHEMA_URL})[:-1]
        scope_head = _encode({"scope": {"name": SCOPE, "version": self.version}, "schemaUrl": SCHEMA_URL})[:-1]
        opening = b'{"%s":[%s,"%s":[%s,"%s":[' % (
            resources.encode(),
            head,
            scopes.encode(),
            scope_head,
            items_name.encode(),
        )
        return opening + b",".join(pieces) + b"]}]}]}"


@functools.cache
def _protobuf() -> ModuleType:
    """Give the writer of Protobuf's wire format, for whoever chose it."""
    from lambda_extension.otel import _protobuf

    return _protobuf


def read_answer(payload: Payload, status: int, body: bytes) -> None:
    """See what a backend says of an OTLP request: what `HTTPSink` asks.

    Raises:
        SinkError: It was not taken, or not all of it. By OTLP, 429, 502, 503 and 504 pass; a request in which something
            is at fault is cut into halves, until what is at fault is alone.
    """
    if 200 <= status < 300:
        if rejected := min(_rejected(body, json=payload.content_type == JSON), payload.items):
            msg = f"the backend took a request, but for {rejected} of its {payload.items} items"
            # Which ones, OTLP does not say.
            raise SinkError(msg, rejected=range(rejected))
    elif status in _REFUSED:
        msg = f"the backend answered {status} to {payload.content_type}"
        # Of an item that is alone, it is what it holds, unless its length is named.
        raise SinkError(msg, too_large=payload.items > 1 or status in _TOO_LONG, keep=False)
    elif status in _NEVER_AGAIN or (status >= 500 and status not in _PASSING):
        msg = f"the backend answered {status}, which OTLP does not allow to try again"
        raise SinkError(msg, keep=False)


# What something in the request is to blame for, and what is over some time. The rest is what HTTP makes of it.
_TOO_LONG: Final = frozenset({413, 414, 431})
_REFUSED: Final = frozenset({400, 422}) | _TOO_LONG
_PASSING: Final = frozenset({502, 503, 504})
# What HTTP would try again, and OTLP does not.
_NEVER_AGAIN: Final = frozenset({408, 425})
# How much of it was not taken, as each signal's answer calls it.
_REJECTED: Final = ("rejectedSpans", "rejectedLogRecords", "rejectedDataPoints")


def _rejected(body: bytes, *, json: bool) -> int:
    """Read how many items were rejected; 0 where nothing can be read: most answers are empty."""
    if not body:
        return 0
    if not json:
        return int(_protobuf().rejected(body))
    try:
        partial = msgspec.json.decode(body, type=dict[str, Any]).get("partialSuccess") or {}
        return max(int(partial.get(name) or 0) for name in _REJECTED)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, AttributeError, ValueError, TypeError):
        return 0
