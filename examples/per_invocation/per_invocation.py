#!/usr/bin/env python3
"""Ship each invocation's telemetry before Lambda freezes the environment."""

import anyio

from lambda_extension import TelemetrySubscription, open_extension
from lambda_extension.telemetry import TelemetryEvent


async def ship(batch: list[TelemetryEvent]) -> None:
    """Send a batch to a backend; here, only say so."""
    print(f"shipped {len(batch)} events", flush=True)
    batch.clear()


async def main() -> None:
    batch: list[TelemetryEvent] = []
    async with open_extension(telemetry=TelemetrySubscription()) as extension:
        async for invocation in extension:
            async for event in invocation.telemetry():
                batch.append(event)
            # A backend that hangs must not make the function time out: what has not left stays in the batch.
            with anyio.CancelScope(deadline=invocation.deadline - 0.2):
                await ship(batch)
        async for event in extension.telemetry:
            batch.append(event)
        await ship(batch)


if __name__ == "__main__":
    anyio.run(main)
