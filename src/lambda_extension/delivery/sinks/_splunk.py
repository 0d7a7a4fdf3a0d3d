"""Splunk's HTTP Event Collector: https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs
import msgspec

from lambda_extension.delivery._encoders import Compression
from lambda_extension.delivery._http import HTTPSink
from lambda_extension.delivery._sinks import Limits, Payload, SinkError
from lambda_extension.delivery.sinks._fields import fields_of, message_of, without_unknown
from lambda_extension.records import Record
from lambda_extension.records._record import encode_json

# Codes of an answer that says what is wrong with the token, the index or the channel, and nothing against the data.
_CONFIGURATION = frozenset({1, 2, 3, 4, 7, 10, 11, 14, 16})


class _Answer(msgspec.Struct):
    code: int
    text: str = ""
    invalid: int | None = msgspec.field(default=None, name="invalid-event-number")


@final
@attrs.frozen(kw_only=True)
class SplunkHEC:
    """Splunk's events, one JSON object after the other.

    Attributes:
        index: The index; None for the token's own.
        sourcetype: What Splunk is to take the events for.
        compression: How bodies are compressed.
    """

    index: str | None = None
    sourcetype: str = "aws:lambda"
    compression: Compression | None = "gzip"
    records: bool = attrs.field(default=True, init=False)
    # What Splunk Cloud takes in one request.
    limits: Limits = attrs.field(default=Limits(bytes=1_000_000), init=False)
    content_type: str = attrs.field(default="application/json", init=False)

    def encode_event(self, event: Record) -> bytes:
        """Encode one record."""
        nanoseconds = event.time_unix_nano
        envelope = {
            "time": None if nanoseconds is None else f"{nanoseconds / 1e9:.3f}",
            "host": event.context.function_name,
            "source": event.source,
            "sourcetype": self.sourcetype,
            "index": self.index,
            "event": {"message": message_of(event), **fields_of(event)},
        }
        return encode_json(without_unknown(envelope))

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded records."""
        return b"\n".join(pieces)

    def read_answer(self, payload: Payload, status: int, body: bytes) -> None:
        """Find out what an error means for the events.

        Raises:
            SinkError: One event is wrong, or the configuration is.
        """
        if status != 400:
            return
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if answer.code in _CONFIGURATION:
            raise SinkError(f"Splunk answered {answer.code}", retryable=False, answer=answer.text)
        if answer.invalid is not None:
            msg = f"Splunk answered {answer.code} for event {answer.invalid}"
            # Whether those before it were taken is not said, so that all others are sent again.
            others = [place for place in range(payload.items) if place != answer.invalid]
            raise SinkError(msg, refused=others, rejected=[answer.invalid], answer=answer.text)


def splunk(
    url: str,
    *,
    token: str,
    index: str | None = None,
    sourcetype: str = "aws:lambda",
    compression: Compression | None = "gzip",
) -> HTTPSink:
    """Send to Splunk's HTTP Event Collector.

    Args:
        url: The collector's, such as `https://http-inputs.example.splunkcloud.com`; or the whole URL of an endpoint.
        token: The token.
        index: The index; None for the token's own.
        sourcetype: What Splunk is to take the events for.
        compression: How bodies are compressed.
    """
    encoder = SplunkHEC(index=index, sourcetype=sourcetype, compression=compression)
    return HTTPSink(
        url if "/services/collector" in url else f"{url.rstrip('/')}/services/collector/event",
        headers={"Authorization": f"Splunk {token}"},
        encoder=encoder,
        read_answer=encoder.read_answer,
    )
