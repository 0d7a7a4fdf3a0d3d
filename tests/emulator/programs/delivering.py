"""An extension that delivers to the backend at URL, twice a second."""

from __future__ import annotations

import os

import anyio
import attrs
from notes import note  # type: ignore[import-not-found]  # a module of /var/task

from lambda_extension import Buffering, TelemetrySubscription, run_telemetry
from lambda_extension.delivery import NDJSON, Delivery, Every, HTTPSink
from lambda_extension.telemetry import ReceiverSettings


async def main() -> None:
    subscription = TelemetrySubscription(buffering=Buffering(timeout_ms=1000, max_bytes=1_048_576))
    receiver = ReceiverSettings(server=os.environ["SERVER"])  # type: ignore[arg-type]  # a name of one
    async with HTTPSink(os.environ["URL"], encoder=NDJSON(compression=None)) as sink:
        delivery = Delivery(sink)
        note(backend=os.environ["BACKEND"])
        await run_telemetry(delivery, flush=Every(0.5), telemetry=subscription, required=True, receiver=receiver)
        note(statistics=attrs.asdict(delivery.statistics()))


anyio.run(main, backend=os.environ["BACKEND"])
