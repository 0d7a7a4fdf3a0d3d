#!/usr/bin/env python3
"""Function logs and platform events to Grafana Loki's push API: an encoder is all that it takes.

Loki drops a line that it has already, with the same labels and time, so that a payload sent twice shows once.

Settings: LOKI_URL, such as https://loki.example.com/loki/api/v1/push.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import anyio
import msgspec

from lambda_extension import run_telemetry
from lambda_extension.delivery import Compression, Delivery, HTTPSink
from lambda_extension.telemetry import TelemetryEvent


class LokiPush:
    """A stream per event: Loki puts those of the same labels together."""

    content_type = "application/json"
    compression: Compression | None = "gzip"

    def __init__(self, **labels: str) -> None:
        self._labels = labels

    def encode_event(self, event: TelemetryEvent) -> bytes:
        record: Any = event.record
        line = record if isinstance(record, str) else msgspec.json.encode(record).decode()
        moment = event.timestamp
        nanoseconds = time.time_ns() if moment is None else int(moment.timestamp() * 1000) * 1_000_000
        labels = {**self._labels, "type": event.type or "unknown"}
        return msgspec.json.encode({"stream": labels, "values": [[str(nanoseconds), line]]})

    def join(self, pieces: Sequence[bytes]) -> bytes:
        return b'{"streams":[' + b",".join(pieces) + b"]}"


async def main() -> None:
    encoder = LokiPush(source="lambda", function=os.environ["AWS_LAMBDA_FUNCTION_NAME"])
    async with HTTPSink(os.environ["LOKI_URL"], encoder=encoder) as sink:
        await run_telemetry(Delivery(sink))


if __name__ == "__main__":
    anyio.run(main)
