"""Ship each invocation's telemetry before Lambda freezes the environment."""

import anyio
from lambda_extension import ExtensionSession, TelemetrySubscription, open_extension
from lambda_extension.telemetry import TelemetryEvent


async def ship(batch: list[TelemetryEvent]) -> None:
    """Send a batch to a backend; here, only say so."""
    print(f"shipped {len(batch)} events", flush=True)
    batch.clear()


async def work(extension: ExtensionSession) -> None:
    batch: list[TelemetryEvent] = []
    async for invocation in extension:  # one turn per invocation; Lambda freezes nothing before its body ends
        async for event in invocation.telemetry():
            batch.append(event)
        with anyio.CancelScope(deadline=invocation.deadline - 0.2):  # no backend may make the function time out
            await ship(batch)
    async for event in extension.telemetry:  # what Lambda still sends at shutdown
        batch.append(event)
    await ship(batch)


async def main() -> None:
    async with open_extension(telemetry=TelemetrySubscription()) as extension:
        await work(extension)


if __name__ == "__main__":
    anyio.run(main)
