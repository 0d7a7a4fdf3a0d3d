"""Honeycomb's batches of events: https://docs.honeycomb.io/api/events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final
from urllib.parse import quote

import attrs
import msgspec

from lambda_extension.delivery._encoders import Compression
from lambda_extension.delivery._http import HTTPSink
from lambda_extension.delivery._sinks import Limits, Payload, SinkError
from lambda_extension.delivery.sinks._fields import cut, fields_of, flat, message_of
from lambda_extension.records import Record
from lambda_extension.records._record import encode_json

# Bytes of a text; a longer one costs its event.
_TEXT = 64 * 1024
_COLUMNS = 2000
_NAMES = {"traceId": "trace.trace_id", "spanId": "trace.parent_id", "functionName": "service.name"}
_PASSING = frozenset({408, 429})


@final
@attrs.frozen(kw_only=True)
class HoneycombBatch:
    """Honeycomb's batches: a JSON array of events, whose nested objects are fields with dotted names.

    Attributes:
        compression: How bodies are compressed.
    """

    compression: Compression | None = "gzip"
    records: bool = attrs.field(default=True, init=False)
    limits: Limits = attrs.field(default=Limits(bytes=5_000_000, event_bytes=1_000_000), init=False)
    content_type: str = attrs.field(default="application/json", init=False)

    def encode_event(self, event: Record) -> bytes:
        """Encode one record."""
        fields = {_NAMES.get(key, key): value for key, value in fields_of(event).items()}
        own = flat({"attributes": fields.pop("attributes", {})})
        told: dict[str, Any] = {"message": cut(message_of(event), _TEXT), **fields}
        for key, value in list(own.items())[: _COLUMNS - len(told)]:
            told[key] = cut(value, _TEXT) if isinstance(value, str) else value
        return encode_json({"time": event.time, "data": told})

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded records."""
        return b"[%b]" % b",".join(pieces)

    def read_answer(self, payload: Payload, status: int, body: bytes) -> None:  # noqa: ARG002 - as `HTTPSink` calls it
        """Find the events that were not taken.

        Raises:
            SinkError: There are some; says which of them are to be sent again.
        """
        if status != 200:
            return
        try:
            answers = msgspec.json.decode(body, type=list[dict[str, Any]])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        codes = [answer.get("status", 202) for answer in answers]
        refused = [place for place, code in enumerate(codes) if code in _PASSING or code >= 500]
        rejected = [place for place, code in enumerate(codes) if 400 <= code < 500 and code not in _PASSING]
        if refused or rejected:
            msg = f"{len(refused)} events were put off and {len(rejected)} rejected"
            raise SinkError(msg, refused=refused, rejected=rejected)


def honeycomb(
    api_key: str,
    *,
    dataset: str,
    url: str = "https://api.honeycomb.io",
    compression: Compression | None = "gzip",
) -> HTTPSink:
    """Send to Honeycomb.

    Args:
        api_key: An ingest key.
        dataset: The dataset.
        url: The API's, such as `https://api.eu1.honeycomb.io`.
        compression: How bodies are compressed.
    """
    encoder = HoneycombBatch(compression=compression)
    return HTTPSink(
        f"{url.rstrip('/')}/1/batch/{quote(dataset, safe='')}",
        headers={"X-Honeycomb-Team": api_key},
        encoder=encoder,
        read_answer=encoder.read_answer,
    )
