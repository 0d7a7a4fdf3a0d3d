#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery]"]
# ///
"""Export telemetry by OpenTelemetry: OTLP over HTTP, to where OTEL_EXPORTER_OTLP_ENDPOINT says."""

from __future__ import annotations

import anyio

from lambda_extension import otel, run_telemetry


def export() -> otel.OpenTelemetryProcessor:  # called once the extension has registered: its imports delay nobody
    return otel.OpenTelemetryProcessor()


async def main() -> None:
    await run_telemetry(export, account_id=True)


if __name__ == "__main__":
    anyio.run(main)
