"""Axiom's ingestion of events: https://axiom.co/docs/restapi/ingest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final
from urllib.parse import quote

import attrs
import msgspec

from lambda_extension.delivery._encoders import Compression
from lambda_extension.delivery._http import HTTPSink
from lambda_extension.delivery._sinks import Limits, Payload, SinkError
from lambda_extension.delivery.sinks._fields import cut, fields_of, message_of
from lambda_extension.records import Record
from lambda_extension.records._record import encode_json

# What is longer costs its event, which may have a million bytes in all.
_MESSAGE = 900_000


class _Answer(msgspec.Struct):
    ingested: int = 0
    failed: int = 0


@final
@attrs.frozen(kw_only=True)
class AxiomIngest:
    """Axiom's events, one JSON object per line.

    Attributes:
        compression: How bodies are compressed.
    """

    compression: Compression | None = "gzip"
    records: bool = attrs.field(default=True, init=False)
    limits: Limits = attrs.field(default=Limits(items=10_000, bytes=8_000_000, event_bytes=1_000_000), init=False)
    content_type: str = attrs.field(default="application/x-ndjson", init=False)

    def encode_event(self, event: Record) -> bytes:
        """Encode one record."""
        return encode_json({"_time": event.time, "message": cut(message_of(event), _MESSAGE), **fields_of(event)})

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded records."""
        return b"\n".join([*pieces, b""])

    def read_answer(self, payload: Payload, status: int, body: bytes) -> None:
        """Find out whether events were not taken.

        Raises:
            SinkError: There are some, which will not be taken another time either.
        """
        if status != 200:
            return
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if answer.failed:
            # Which they are is not said; how many is, and none of them is worth sending again.
            msg = f"{answer.failed} of {payload.items} events were rejected"
            raise SinkError(msg, rejected=range(min(answer.failed, payload.items)))


def axiom(
    token: str,
    *,
    dataset: str,
    url: str = "https://api.axiom.co",
    compression: Compression | None = "gzip",
) -> HTTPSink:
    """Send to Axiom.

    Args:
        token: An API token that may ingest.
        dataset: The dataset.
        url: The API's.
        compression: How bodies are compressed.
    """
    encoder = AxiomIngest(compression=compression)
    return HTTPSink(
        f"{url.rstrip('/')}/v1/datasets/{quote(dataset, safe='')}/ingest",
        headers={"Authorization": f"Bearer {token}"},
        encoder=encoder,
        read_answer=encoder.read_answer,
    )
