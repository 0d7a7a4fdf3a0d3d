"""Sumo Logic's HTTP source: https://www.sumologic.com/help/docs/send-data/hosted-collectors/http-source/."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs

from lambda_extension.delivery._encoders import Compression
from lambda_extension.delivery._http import HTTPSink
from lambda_extension.delivery._sinks import Limits
from lambda_extension.records import Record


@final
@attrs.frozen(kw_only=True)
class SumoLogs:
    """Sumo Logic's logs, one JSON object per line. Sumo Logic itself cuts one beyond 64 KiB into several.

    Attributes:
        compression: How bodies are compressed.
    """

    compression: Compression | None = "gzip"
    records: bool = attrs.field(default=True, init=False)
    # What Sumo Logic asks for, before compression.
    limits: Limits = attrs.field(default=Limits(bytes=1_000_000), init=False)
    content_type: str = attrs.field(default="application/x-ndjson", init=False)

    def encode_event(self, event: Record) -> bytes:
        """Encode one record."""
        return event.encode()

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded records."""
        return b"\n".join([*pieces, b""])


def sumo(
    url: str,
    *,
    category: str | None = None,
    name: str | None = None,
    host: str | None = None,
    compression: Compression | None = "gzip",
) -> HTTPSink:
    """Send to a HTTP source of Sumo Logic.

    Args:
        url: The source's, which is also the secret.
        category: The source category; None for the source's own.
        name: The source name.
        host: The source host.
        compression: How bodies are compressed.
    """
    headers = {"X-Sumo-Category": category, "X-Sumo-Name": name, "X-Sumo-Host": host}
    return HTTPSink(
        url,
        headers={key: value for key, value in headers.items() if value is not None},
        encoder=SumoLogs(compression=compression),
    )
