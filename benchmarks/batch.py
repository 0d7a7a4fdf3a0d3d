"""Where the time of a batch goes inside the process: its decoding, its counting, and user code that iterates it.

`python -m benchmarks.batch` prints a table; docs/benchmarks.md says what follows from it.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import anyio

from benchmarks.corpus import batches
from lambda_extension.telemetry import FunctionLog, PlatformReport, PlatformRuntimeDone, PlatformStart, decode
from lambda_extension.telemetry._app import TelemetryReceiver
from lambda_extension.telemetry._stream import Batch, Counters, TelemetryStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZES = (20, 1000, 4000)
ROUNDS = 100
REQUESTS = (PlatformStart, PlatformRuntimeDone, PlatformReport)


def touch(event: Any) -> int:
    """Do with an event what the contestants do."""
    if isinstance(event, FunctionLog):
        return len(event.record)
    return len(event.record.request_id) if isinstance(event, REQUESTS) else 0


def iterate(events: list[Any]) -> None:
    """Touch every event of a list."""
    for event in events:
        touch(event)


def microseconds(work: Callable[[], object]) -> float:
    """Return the least of a few rounds."""
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken) * 1e6


async def stream_microseconds(batch: Batch) -> float:
    """Return the least of a few rounds of touching every event of the stream, which gives one batch per round."""
    send, receive = anyio.create_memory_object_stream[Batch](1)
    stream = TelemetryStream(receive, Counters(), before_read=lambda: None, failure=lambda: None)
    taken = []
    async with send, receive:
        for _ in range(ROUNDS):
            send.send_nowait(batch)
            started = time.perf_counter()
            left = len(batch.events)
            async for event in stream:
                touch(event)
                left -= 1
                if not left:
                    break
            taken.append(time.perf_counter() - started)
    return min(taken) * 1e6


def lines() -> Iterator[str]:
    """Give the lines of the table, once all is measured."""
    rows: dict[str, list[float]] = {}
    for size in SIZES:
        request = batches(size, kind="mixed")[0].request
        body = request[request.index(b"\r\n\r\n") + 4 :]
        events = decode(body)
        batch = Batch(events=events, size=len(body))
        send, receive = anyio.create_memory_object_stream[Batch](1)
        receiver = TelemetryReceiver(send, max_body_bytes=len(body))
        figures = {
            "decoding to typed events": microseconds(lambda body=body: decode(body)),  # type: ignore[misc]
            "json.loads, for comparison": microseconds(lambda body=body: json.loads(body)),  # type: ignore[misc]
            "counting what the receiver needs": microseconds(lambda r=receiver, b=batch: r.count(b)),  # type: ignore[misc]
            "user code over the stream": anyio.run(stream_microseconds, batch),
            "the same over a list": microseconds(lambda events=events: iterate(events)),  # type: ignore[misc]
        }
        send.close()
        receive.close()
        for name, figure in figures.items():
            rows.setdefault(name, []).append(figure)
    yield "| µs per batch | " + " | ".join(f"{size:,} events" for size in SIZES) + " |"
    yield "|---|---|---|---|"
    for name, found in rows.items():
        yield f"| {name} | " + " | ".join(f"{figure:.0f}" for figure in found) + " |"


def main() -> None:
    print("\n".join(lines()))


if __name__ == "__main__":
    main()
