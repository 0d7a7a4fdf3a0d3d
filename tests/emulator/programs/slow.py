"""An extension that takes much longer over an event than the function takes to print one."""

from __future__ import annotations

import os

import anyio
import attrs
from notes import memory_kib, note  # type: ignore[import-not-found]  # a module of /var/task

from lambda_extension import Buffering, TelemetrySubscription, open_telemetry
from lambda_extension.telemetry import FunctionLog, ReceiverSettings


async def main() -> None:
    subscription = TelemetrySubscription(
        types=tuple(os.environ["TYPES"].split(",")), buffering=Buffering(timeout_ms=100)
    )
    async with open_telemetry(subscription, receiver=ReceiverSettings(max_buffered_batches=2)) as telemetry:
        note(memory=memory_kib())
        async for event in telemetry:
            if isinstance(event, FunctionLog):
                line = str(event.record)
                # Without the padding of the lines of text.
                note(line=line if line.startswith("{") else " ".join(line.split()[:3]), memory=memory_kib())
                await anyio.sleep(0.003)  # it is slow
            else:
                note(other=type(event).__name__, memory=memory_kib())
        note(statistics=attrs.asdict(telemetry.statistics()), memory=memory_kib())


anyio.run(main, backend=os.environ["BACKEND"])
