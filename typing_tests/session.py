"""Code as users write it, looked at by the type checkers only."""

from __future__ import annotations

from typing import assert_type

import anyio

from lambda_extension import (
    Extension,
    ExtensionClient,
    ExtensionSession,
    Invocation,
    InvokeEvent,
    ShutdownReason,
    TelemetryProcessor,
    TelemetrySubscription,
    open_extension,
    open_telemetry,
    run,
    run_telemetry,
)
from lambda_extension.telemetry import Batch, FunctionLog, PlatformReport, TelemetryEvent, TelemetryStream


async def streams() -> None:
    async with open_telemetry() as telemetry:
        assert_type(telemetry, TelemetryStream)
        async for event in telemetry:
            assert_type(event, TelemetryEvent)
            match event:
                case PlatformReport(record=report):
                    assert_type(report.metrics.billed_duration_ms, int | None)
                case FunctionLog():
                    assert_type(event, FunctionLog)
                case _:
                    pass
        async for batch in telemetry.batches():
            assert_type(batch, Batch)


async def invocations() -> None:
    async with open_extension(telemetry=TelemetrySubscription()) as extension:
        assert_type(extension, ExtensionSession)
        async for invocation in extension:
            assert_type(invocation, Invocation)
            assert_type(invocation.deadline, float)
            async for event in invocation.telemetry(limit=1):
                assert_type(event, TelemetryEvent)


class Methods(Extension):
    async def init(self, client: ExtensionClient) -> None: ...

    async def handle_invoke(self, event: InvokeEvent) -> None: ...

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None: ...


class OnlyOneOfThem:
    async def flush(self) -> None: ...


async def objects() -> None:
    await run(Methods())
    await run_telemetry(OnlyOneOfThem(), on_error="degrade")
    await run_telemetry([OnlyOneOfThem(), TelemetryProcessor()])
    await run_telemetry(lambda: [OnlyOneOfThem(), TelemetryProcessor()])


anyio.run(run, Methods())
