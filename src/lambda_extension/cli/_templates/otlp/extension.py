"""Export telemetry by OpenTelemetry: OTLP over HTTP, to where OTEL_EXPORTER_OTLP_ENDPOINT says."""

import anyio
from lambda_extension import otel, run_telemetry


def export() -> otel.OpenTelemetryProcessor:
    return otel.OpenTelemetryProcessor()


async def main() -> None:
    await run_telemetry(export)


if __name__ == "__main__":
    anyio.run(main)
