"""What the docs recommend: run_telemetry with a delivery to an HTTP sink, or with OpenTelemetry's exporter."""

# ruff: noqa: E402

from __future__ import annotations

import os
import time

os.write(1, b"up %.6f\n" % time.perf_counter())

from typing import TYPE_CHECKING

import anyio

from lambda_extension import run_telemetry

if TYPE_CHECKING:
    from lambda_extension.delivery import Delivery
    from lambda_extension.otel import OpenTelemetryProcessor
    from lambda_extension.telemetry import ReceiverSettings

URL = os.environ["BENCH_URL"]


# Both are called once the extension has registered.
def delivery() -> Delivery:
    from lambda_extension.delivery import Delivery, HTTPSink

    return Delivery(HTTPSink(URL))


def otlp() -> OpenTelemetryProcessor:
    from lambda_extension.otel import OpenTelemetryProcessor

    return OpenTelemetryProcessor(endpoint=URL)


def receiver() -> ReceiverSettings:
    from lambda_extension.telemetry import ReceiverSettings

    return ReceiverSettings(server="direct")


async def main() -> None:
    await run_telemetry({"delivery": delivery, "otlp": otlp}[os.environ["BENCH_SETUP"]], receiver=receiver())


anyio.run(main)
