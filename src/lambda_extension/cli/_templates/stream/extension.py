"""Print the function's logs, and what each invocation was billed."""

import anyio
from lambda_extension import open_telemetry
from lambda_extension.telemetry import FunctionLog, PlatformReport, TelemetryStream


async def show(telemetry: TelemetryStream) -> None:
    async for event in telemetry:
        match event:
            case FunctionLog(record=record):
                print("function:", record, flush=True)
            case PlatformReport(record=report):
                print("billed:", report.metrics.billed_duration_ms, "ms for", report.request_id, flush=True)
            case _:
                pass


async def main() -> None:
    async with open_telemetry() as telemetry:
        await show(telemetry)


if __name__ == "__main__":
    anyio.run(main)
