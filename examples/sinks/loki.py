#!/usr/bin/env python3
"""Deliver telemetry to Grafana Loki, in its push format. Environment variables of the function:

    LOKI_URL                such as https://logs.example.com
    LOKI_AUTHORIZATION      an Authorization header, if Loki wants one

A batch that is sent again is the same to the nanosecond, and Loki drops what it has already. What Loki objects to, such
as lines older than it takes, is dropped and counted.
"""

import itertools
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec

from lambda_extension import run_telemetry
from lambda_extension.delivery import Compression, Delivery, HTTPSink
from lambda_extension.telemetry import TelemetryEvent, UnknownEvent

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LokiPush:
    """Loki's push format. A function's line is a line; what is not text is the event's JSON."""

    content_type: str = "application/json"
    compression: Compression | None = "gzip"

    def __init__(self, **labels: str) -> None:
        self._labels = labels
        self._nanoseconds = itertools.cycle(range(1000))

    def encode_event(self, event: TelemetryEvent) -> bytes:
        labels = msgspec.json.encode({**self._labels, "type": event.type or "unknown"})
        value = msgspec.json.encode((str(self._moment(event.timestamp)), line_of(event)))
        return labels + b"\n" + value

    def join(self, pieces: Sequence[bytes]) -> bytes:
        streams: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for piece in pieces:
            labels, _, value = piece.partition(b"\n")
            streams[labels].append(value)
        stream = b'{"stream":%b,"values":[%b]}'
        body = b",".join(stream % (labels, b",".join(values)) for labels, values in streams.items())
        return b'{"streams":[%b]}' % body

    def _moment(self, timestamp: datetime | None) -> int:
        """Give nanoseconds since the epoch. The last three keep equal lines apart, which Loki would take for one."""
        moment = time.time_ns() // 1000 if timestamp is None else (timestamp - EPOCH) // timedelta(microseconds=1)
        return moment * 1000 + next(self._nanoseconds)


def line_of(event: TelemetryEvent) -> str:
    if isinstance(event, UnknownEvent):
        return event.raw.decode(errors="replace")
    record: Any = event.record
    return record if isinstance(record, str) else msgspec.json.encode(record).decode()


async def main() -> None:
    authorization = os.environ.get("LOKI_AUTHORIZATION")
    headers = {"Authorization": authorization} if authorization else {}
    encoder = LokiPush(function=os.environ["AWS_LAMBDA_FUNCTION_NAME"])
    async with HTTPSink(f"{os.environ['LOKI_URL']}/loki/api/v1/push", headers=headers, encoder=encoder) as sink:
        await run_telemetry(Delivery(sink))


if __name__ == "__main__":
    anyio.run(main)
