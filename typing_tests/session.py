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
    TelemetrySubscription,
    open_extension,
    open_telemetry,
    run,
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


class Methods:
    async def init(self, client: ExtensionClient) -> None: ...

    async def handle_invoke(self, event: InvokeEvent) -> None: ...

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None: ...


methods: Extension = Methods()
anyio.run(run, methods)
