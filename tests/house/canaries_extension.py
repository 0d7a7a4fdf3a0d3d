"""An extension with every kind of secret that one can have, and with backends that take nothing; for the canaries."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import anyio

from lambda_extension import TelemetryProcessor, run_telemetry
from lambda_extension.delivery import Delivery, HTTPSink, Payload
from lambda_extension.delivery.sinks import splunk
from lambda_extension.otel import OpenTelemetryProcessor
from lambda_extension.processing import EndOfInvocation


class Direct(TelemetryProcessor):
    """Sends by itself, and lets the sink's own error out."""

    name = "direct"

    def __init__(self, sink: HTTPSink) -> None:
        self.sink = sink
        self.line = b""

    async def process(self, events: Sequence[Any]) -> None:
        self.line = repr(events).encode()

    async def flush(self) -> None:
        await self.sink.send(Payload(id="1", body=self.line, items=1, content_type="text/plain"))


async def main() -> None:
    url, header = os.environ["SECRET_URL"], os.environ["SECRET_HEADER"]
    headers = {"X-Api-Key": header}
    processors = [
        Delivery(HTTPSink(url, headers=headers)),
        Delivery(splunk(url, token=header), name="splunk"),
        OpenTelemetryProcessor(),
        Direct(HTTPSink(url, headers=headers)),
    ]
    for processor in processors:
        logging.getLogger("canaries").debug("%r", processor)
    on_error: Any = os.environ["ON_ERROR"]
    await run_telemetry(processors, flush=EndOfInvocation(), on_error=on_error, name=os.environ["NAME"])


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    options = {"use_uvloop": True} if os.environ["BACKEND"] == "uvloop" else {}
    anyio.run(main, backend=os.environ["BACKEND"].replace("uvloop", "asyncio"), backend_options=options)
