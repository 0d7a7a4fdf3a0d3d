"""An extension that notes its invocations and whatever telemetry there is."""

from __future__ import annotations

import os

import anyio
from notes import note  # type: ignore[import-not-found]  # a module of /var/task

from lambda_extension import TelemetrySubscription, open_extension


async def main() -> None:
    async with open_extension(telemetry=TelemetrySubscription()) as extension:
        async for invocation in extension:
            async for _ in invocation.telemetry():
                pass
            note(
                invocation=invocation.request_id,
                arn=invocation.event.invoked_function_arn,
                outcome=str(invocation.outcome),
                left=invocation.deadline - anyio.current_time(),
                tracing=None if invocation.event.tracing is None else invocation.event.tracing.value,
            )
        assert extension.shutdown is not None
        note(shutdown=extension.shutdown.reason, left=extension.shutdown.deadline - anyio.current_time())


anyio.run(main, backend=os.environ["BACKEND"])
