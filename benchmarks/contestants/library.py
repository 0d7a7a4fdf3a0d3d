"""This library through its public names: the stream, and invocation by invocation."""

# ruff: noqa: E402

from __future__ import annotations

import os
import time

os.write(1, b"up %.6f\n" % time.perf_counter())

if early := os.environ.get("BENCH_EARLY"):
    # As a launcher does that has no time for the package's head: by the folder that the module lies in.
    import sys

    sys.path.insert(0, early)
    import early as launcher  # type: ignore[import-not-found]

    del sys.path[0]
    launcher.register(events=["INVOKE", "SHUTDOWN"] if os.environ["BENCH_MODE"] in ("idle", "flush") else ["SHUTDOWN"])

from typing import TYPE_CHECKING, Any

import anyio

from lambda_extension import open_extension, open_telemetry
from lambda_extension.telemetry import (
    FunctionLog,
    PlatformReport,
    PlatformRuntimeDone,
    PlatformStart,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lambda_extension.telemetry import ReceiverSettings

BACKEND = os.environ["BENCH_BACKEND"]
MODE = os.environ["BENCH_MODE"]
BUFFERED = os.environ.get("BENCH_BUFFERED")
SERVER = os.environ.get("BENCH_SERVER")
# A tuple is cheaper to test against than a union, which is made anew each time.
REQUESTS = (PlatformStart, PlatformRuntimeDone, PlatformReport)
marks = [int(mark) for mark in os.environ.get("BENCH_MARKS", "").split(",") if mark]


def settings() -> ReceiverSettings | None:
    if not (BUFFERED or SERVER):
        return None
    from lambda_extension.telemetry import ReceiverSettings  # which is not needed otherwise

    chosen: dict[str, Any] = {"server": SERVER} if SERVER else {}
    if BUFFERED:
        chosen["max_buffered_batches"] = int(BUFFERED)
    return ReceiverSettings(**chosen)


async def telemetry() -> None:
    count = length = 0
    mark = marks[0] if marks else -1
    async with open_telemetry(receiver=settings()) as stream:
        async for event in stream:
            count += 1
            if isinstance(event, FunctionLog):
                length += len(event.record)
            elif isinstance(event, REQUESTS):
                length += len(event.record.request_id)
            if count == mark:
                os.write(1, b"mark %d %d\n" % (count, length))
                del marks[0]
                mark = marks[0] if marks else -1


async def stall() -> None:
    async with open_telemetry(receiver=settings()) as stream:
        async for _ in stream:
            await anyio.sleep_forever()


async def idle() -> None:
    async with open_extension() as extension:
        async for _ in extension:
            pass


async def flush() -> None:
    from lambda_extension import TelemetrySubscription  # which no other mode needs

    length = 0
    async with open_extension(telemetry=TelemetrySubscription(), receiver=settings()) as extension:
        async for invocation in extension:
            async for event in invocation.telemetry():
                if isinstance(event, FunctionLog) and isinstance(event.record, str):
                    length += len(event.record)


modes: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "telemetry": telemetry,
    "stall": stall,
    "idle": idle,
    "flush": flush,
}
if BACKEND == "trio":
    anyio.run(modes[MODE], backend="trio")
else:
    anyio.run(modes[MODE], backend_options={"use_uvloop": BACKEND == "uvloop"})
