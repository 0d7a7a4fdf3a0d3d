"""Datadog's log intake: https://docs.datadoghq.com/api/latest/logs/#send-logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import attrs

from lambda_extension.delivery._encoders import Compression
from lambda_extension.delivery._http import HTTPSink
from lambda_extension.delivery._sinks import Limits
from lambda_extension.delivery.sinks._fields import (
    cut,
    fields_of,
    flat,
    message_of,
    milliseconds_of,
    text_of,
    without_unknown,
)
from lambda_extension.records import Record
from lambda_extension.records._record import encode_json

# What is longer is cut by Datadog, in the middle of its JSON.
_MESSAGE = 900_000
# Names that Datadog gives a meaning; a dot leads to what is within.
_NAMES = {
    "level": "status",
    "traceId": "trace_id",
    "spanId": "span_id",
    "source": "origin",
    "type": "event_type",
    "requestId": "lambda.request_id",
    "functionName": "lambda.name",
    "functionVersion": "lambda.version",
    "functionArn": "lambda.arn",
    "coldStart": "lambda.cold_start",
    "memorySizeMb": "lambda.memory_size_mb",
}


@final
@attrs.frozen(kw_only=True)
class DatadogLogs:
    """Datadog's logs: a JSON array of objects, whose values are all text, as the API's schema has it.

    Attributes:
        service: The service; None for the function's name.
        tags: Tags of every log.
        compression: How bodies are compressed.
    """

    service: str | None = None
    tags: Mapping[str, str] = attrs.field(factory=dict)
    compression: Compression | None = "gzip"
    records: bool = attrs.field(default=True, init=False)
    limits: Limits = attrs.field(default=Limits(items=1000, bytes=5_000_000), init=False)
    content_type: str = attrs.field(default="application/json", init=False)

    def encode_event(self, event: Record) -> bytes:
        """Encode one record."""
        fields = {_NAMES.get(key, key): value for key, value in fields_of(event).items()}
        log = {
            "message": cut(message_of(event), _MESSAGE),
            "timestamp": milliseconds_of(event),
            "ddsource": "lambda",
            "ddtags": ",".join(f"{key}:{value}" for key, value in self.tags.items()) or None,
            "hostname": event.context.function_arn or event.context.function_name,
            "service": self.service or event.context.function_name,
            **{key: text_of(value) for key, value in flat(fields).items()},
        }
        return encode_json(without_unknown(log))

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded records."""
        return b"[%b]" % b",".join(pieces)


def datadog(
    api_key: str,
    *,
    site: str = "datadoghq.com",
    url: str | None = None,
    service: str | None = None,
    tags: Mapping[str, str] | None = None,
    compression: Compression | None = "gzip",
) -> HTTPSink:
    """Send to Datadog.

    Args:
        api_key: The API key.
        site: The site of the account, such as `datadoghq.eu`.
        url: The whole URL of another intake, such as a proxy's.
        service: The service; None for the function's name.
        tags: Tags of every log.
        compression: How bodies are compressed.
    """
    return HTTPSink(
        url or f"https://http-intake.logs.{site}/api/v2/logs",
        headers={"DD-API-KEY": api_key},
        encoder=DatadogLogs(service=service, tags=tags or {}, compression=compression),
    )
