#!/usr/bin/env python3
"""An extension that counts the lines of each invocation; what is under test is `count`, and its life in Lambda."""

import anyio

from lambda_extension import TelemetrySubscription, open_extension
from lambda_extension.telemetry import FunctionLog


async def count() -> None:
    """Print how many lines the function wrote in each invocation."""
    async with open_extension(telemetry=TelemetrySubscription()) as extension:
        async for invocation in extension:
            lines = 0
            async for event in invocation.telemetry():
                lines += isinstance(event, FunctionLog)
            print(f"{lines} lines", flush=True)
        async for _ in extension.telemetry:  # what Lambda still sends at shutdown
            pass


if __name__ == "__main__":
    anyio.run(count)
