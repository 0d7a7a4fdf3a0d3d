"""New Relic's Log API: https://docs.newrelic.com/docs/logs/log-api/introduction-log-api/."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import attrs

from lambda_extension.delivery._encoders import Compression
from lambda_extension.delivery._http import HTTPSink
from lambda_extension.delivery._sinks import Limits
from lambda_extension.delivery.sinks._fields import (
    cut,
    fields_of,
    message_of,
    milliseconds_of,
    text_of,
    without_unknown,
)
from lambda_extension.records import Record
from lambda_extension.records._record import encode_json

# Attributes of an event, and characters of a name and of a value; what is beyond, New Relic drops or cuts.
_ATTRIBUTES = 255
_NAME = 255
_VALUE = 4094
# A message is kept up to this length; a longer event would be refused with its whole request.
_MESSAGE = 128 * 1024
_URLS = {"us": "https://log-api.newrelic.com/log/v1", "eu": "https://log-api.eu.newrelic.com/log/v1"}


@final
@attrs.frozen(kw_only=True)
class NewRelicLogs:
    """New Relic's logs, in the detailed form of its JSON.

    A record's own attributes are attributes of the log too. Where there are more than New Relic takes, those beyond are
    in one of the name `attributes`, as JSON.

    Attributes:
        compression: How bodies are compressed.
    """

    compression: Compression | None = "gzip"
    records: bool = attrs.field(default=True, init=False)
    limits: Limits = attrs.field(default=Limits(bytes=990_000), init=False)
    content_type: str = attrs.field(default="application/json", init=False)

    def encode_event(self, event: Record) -> bytes:
        """Encode one record."""
        fields = fields_of(event)
        own = fields.pop("attributes", {})
        names = [key for key in own if key not in fields and len(key) <= _NAME][: _ATTRIBUTES - len(fields) - 1]
        told = {**{key: own[key] for key in names}, **fields}
        rest = {key: value for key, value in own.items() if key not in names}
        if rest:
            told["attributes"] = rest
        log = {
            "timestamp": milliseconds_of(event),
            "message": cut(message_of(event), _MESSAGE),
            "attributes": {
                key: value if isinstance(value, int | float) else cut(text_of(value), _VALUE)
                for key, value in told.items()
            },
        }
        return encode_json(without_unknown(log))

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded records."""
        return b'[{"common":{"attributes":{"plugin.type":"lambda-extension"}},"logs":[%b]}]' % b",".join(pieces)


def new_relic(
    license_key: str,
    *,
    region: Literal["us", "eu"] = "us",
    url: str | None = None,
    compression: Compression | None = "gzip",
) -> HTTPSink:
    """Send to New Relic.

    Args:
        license_key: The account's license key.
        region: Where the account is.
        url: The whole URL of another endpoint.
        compression: How bodies are compressed.
    """
    return HTTPSink(
        url or _URLS[region], headers={"Api-Key": license_key}, encoder=NewRelicLogs(compression=compression)
    )
