"""The bulk format of Elasticsearch and OpenSearch.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, final

import attrs
import msgspec

from lambda_extension.delivery._encoders import Compression
from lambda_extension.delivery._http import HTTPSink
from lambda_extension.delivery._sinks import Limits, Payload, SinkError
from lambda_extension.delivery.sinks._fields import fields_of, message_of
from lambda_extension.records import Record
from lambda_extension.records._record import encode_json

# Elastic Common Schema's names for what has one.
_ECS = {
    "level": "log.level",
    "traceId": "trace.id",
    "spanId": "span.id",
    "requestId": "faas.execution",
    "coldStart": "faas.coldstart",
    "functionName": "faas.name",
    "functionVersion": "faas.version",
    "functionArn": "faas.id",
    "region": "cloud.region",
    "type": "event.dataset",
}
_PASSING = frozenset({408, 429})
_KIND = re.compile(r"[a-z_]{1,80}")


@final
@attrs.frozen(kw_only=True)
class ElasticsearchBulk:
    """The bulk format of Elasticsearch and OpenSearch: documents in Elastic Common Schema, as far as it has names.

    Each document has an id, drawn when it is encoded: one that is sent again is there once. Of an answer that took some
    documents and not others, only what is worth it is sent again.

    Attributes:
        compression: How bodies are compressed.
    """

    compression: Compression | None = "gzip"
    records: bool = attrs.field(default=True, init=False)
    # The server's own limit is 100 MB; Elastic's advice is a few.
    limits: Limits = attrs.field(default=Limits(bytes=8_000_000), init=False)
    content_type: str = attrs.field(default="application/x-ndjson", init=False)

    def encode_event(self, event: Record) -> bytes:
        """Encode one record: the action, and the document."""
        fields = {_ECS.get(key, key): value for key, value in fields_of(event).items()}
        document = {"@timestamp": event.time, "message": message_of(event), **fields}
        # `create`, since a data stream takes nothing else; from the operating system, since a snapshot copies all else.
        return b'{"create":{"_id":"%b"}}\n%b' % (os.urandom(12).hex().encode(), encode_json(document))

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded records."""
        return b"\n".join([*pieces, b""])

    def read_answer(self, payload: Payload, status: int, body: bytes) -> None:  # noqa: ARG002 - as `HTTPSink` calls it
        """Find the documents that were not taken.

        Raises:
            SinkError: There are some; says which of them are to be sent again.
        """
        if status != 200:
            return
        answer = _decoded(body)
        if not isinstance(answer, dict) or not answer.get("errors"):
            return
        refused, rejected, reason = [], [], ""
        for place, item in enumerate(answer.get("items", [])):
            result = next(iter(item.values()))
            code = result.get("status", 200)
            if code in _PASSING or code >= 500:
                refused.append(place)
            elif code >= 400 and code != 409:  # which says that it is there already
                rejected.append(place)
            reason = reason or _kind(result.get("error") or {}) * (code != 409)
        if refused or rejected:
            msg = f"{len(refused)} documents were put off and {len(rejected)} rejected: {reason}"
            raise SinkError(msg, refused=refused, rejected=rejected)


def _kind(error: dict[str, Any]) -> str:
    """Give the kind of an error, such as `mapper_parsing_exception`, and nothing that might be else: it is logged."""
    kind = str(error.get("type", ""))
    return kind if _KIND.fullmatch(kind) else ""


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def elasticsearch(
    url: str,
    *,
    index: str,
    authorization: str | None = None,
    compression: Compression | None = "gzip",
) -> HTTPSink:
    """Send to Elasticsearch or OpenSearch.

    Args:
        url: The cluster's, such as `https://search.example.com`; or the whole URL of a bulk endpoint.
        index: An index, or a data stream such as `logs-lambda-default`.
        authorization: The `Authorization` header, such as `ApiKey …`.
        compression: How bodies are compressed.
    """
    encoder = ElasticsearchBulk(compression=compression)
    return HTTPSink(
        url if "/_bulk" in url else f"{url.rstrip('/')}/{index}/_bulk",
        headers={} if authorization is None else {"Authorization": authorization},
        encoder=encoder,
        read_answer=encoder.read_answer,
    )
