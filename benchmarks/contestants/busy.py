"""An extension whose sink is as busy as its environment says; for the soak, not a contestant."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import NDJSON, Batching, Continuous, Delivery, HTTPSink, Spill
from lambda_extension.telemetry import ReceiverSettings


class Stuck:
    """An encoder that never comes to an end, in a thread that nobody can stop."""

    content_type = "application/x-ndjson"
    compression = None

    def encode_event(self, event: Any) -> bytes:
        """Encode one event."""
        return NDJSON().encode_event(event)

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Never come to an end."""
        time.sleep(60)
        return NDJSON().join(pieces)


async def main() -> None:
    """Deliver to the backend that the environment names."""
    encoder = Stuck() if os.environ["BUSY"] == "stuck" else NDJSON(compression="gzip")
    sink = HTTPSink(os.environ["BUSY_URL"], encoder=encoder)
    delivery = Delivery(sink, spill=Spill(directory=os.environ["BUSY_SPILL"]), batching=Batching(max_items=1_000))
    receiver = ReceiverSettings(server=os.environ["BUSY_SERVER"])  # type: ignore[arg-type]  # checked there
    await run_telemetry(delivery, flush=Continuous(), receiver=receiver, name="busy.py")


if __name__ == "__main__":
    options = {"use_uvloop": True} if os.environ["BUSY_BACKEND"] == "uvloop" else {}
    anyio.run(main, backend=os.environ["BUSY_BACKEND"].replace("uvloop", "asyncio"), backend_options=options)
