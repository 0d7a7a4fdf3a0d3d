"""An extension that exports at the end of each invocation, by OpenTelemetry or by a delivery alone, on any loop."""

from __future__ import annotations

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.processing import EndOfInvocation
from lambda_extension.telemetry import ReceiverSettings


def processor() -> object:
    if url := os.environ.get("EXPORTING_DELIVERY"):
        from lambda_extension.delivery import Delivery, HTTPSink

        return Delivery(HTTPSink(url))
    from lambda_extension.otel import OpenTelemetryProcessor

    port = os.environ.get("EXPORTING_RECEIVE")
    return OpenTelemetryProcessor(receive=int(port) if port else None)


async def main() -> None:
    await run_telemetry(processor, flush=EndOfInvocation(), receiver=ReceiverSettings(server="direct"))


if __name__ == "__main__":
    loop = os.environ["EXPORTING_LOOP"]
    if loop == "trio":
        anyio.run(main, backend="trio")
    else:
        anyio.run(main, backend_options={"use_uvloop": loop == "uvloop"})
