"""An extension that delivers to a backend by the policy that its environment names."""

from __future__ import annotations

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import (
    NDJSON,
    Adaptive,
    Batching,
    Continuous,
    Delivery,
    EndOfInvocation,
    Every,
    FlushPolicy,
    HTTPSink,
    OnSize,
    Spill,
)

POLICIES: dict[str, FlushPolicy] = {
    "EndOfInvocation()": EndOfInvocation(),
    "Every(0.5)": Every(0.5),
    "OnSize(max_items=100)": OnSize(max_items=100),
    "Continuous()": Continuous(),
    "Adaptive()": Adaptive(),
}


async def main() -> None:
    spill = Spill(directory=os.environ["DELIVERING_SPILL"], max_bytes=64 * 1024 * 1024)
    async with HTTPSink(os.environ["DELIVERING_URL"], encoder=NDJSON(), timeout=2.0) as sink:
        delivery = Delivery(sink, spill=spill, batching=Batching(max_items=1_000))
        await run_telemetry(delivery, flush=POLICIES[os.environ["DELIVERING_POLICY"]], name="delivering.py")
        print(f"statistics: {delivery.statistics()}", flush=True)


if __name__ == "__main__":
    anyio.run(main, backend=os.environ.get("DELIVERING_BACKEND", "asyncio"))
