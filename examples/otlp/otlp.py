#!/usr/bin/env python3
"""Export telemetry by OpenTelemetry: OTLP over HTTP, to where OTEL_EXPORTER_OTLP_ENDPOINT says."""

import anyio

from lambda_extension import run_telemetry
from lambda_extension.otel import OpenTelemetryProcessor


async def main() -> None:
    await run_telemetry(OpenTelemetryProcessor())


if __name__ == "__main__":
    anyio.run(main)
