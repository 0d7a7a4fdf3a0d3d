"""What a durable acknowledgement costs: `python -m benchmarks.durable`.

A batch of twenty function logs is taken in by a `Delivery`, in memory alone and with writing it to disk first.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from functools import partial

import anyio

from lambda_extension import Registration
from lambda_extension.delivery import Delivery, Payload, Spill
from lambda_extension.telemetry import FunctionLog

BATCHES = 2_000
EVENTS = 20
LINE = "2026-03-01T10:00:00.000Z\t6f1b0f43-5f6c-4a4e-9e2f-1d1f6f6b8f10\tINFO\tan order of three things was taken\n"


class Sink:
    """Takes everything."""

    async def send(self, payload: Payload) -> None:
        """Take a payload."""


async def measure(*, durable: bool, batches: int = BATCHES) -> float:
    """Give the median of what taking in a batch takes, in microseconds."""
    registration = Registration(extension_id="1", extension_name="x", function_name="f", function_version="1")
    events = [FunctionLog(time="2026-03-01T10:00:00.000Z", record=LINE) for _ in range(EVENTS)]
    with tempfile.TemporaryDirectory() as directory:
        delivery = Delivery(Sink(), spill=Spill(directory=directory, durable=durable))
        await delivery.init(registration)
        took = []
        for number in range(batches):
            began = time.perf_counter()
            await delivery.process(events)
            took.append(time.perf_counter() - began)
            if number % 100 == 99:
                await delivery.flush()
    return statistics.median(took) * 1e6


def main() -> None:
    """Measure both, and print them."""
    plain, durable = (anyio.run(partial(measure, durable=durable)) for durable in (False, True))
    print(f"{EVENTS} events, µs a batch: in memory {plain:.0f}, on disk too {durable:.0f}: {durable - plain:.0f} more")


if __name__ == "__main__":
    main()
