"""An extension that notes all telemetry: the stream API."""

from __future__ import annotations

import os

import anyio
import attrs
from notes import memory_kib, note, note_event  # type: ignore[import-not-found]  # a module of /var/task

from lambda_extension import Buffering, TelemetrySubscription, open_telemetry
from lambda_extension.telemetry import ReceiverSettings


async def main() -> None:
    # The emulator stalls for good when a subscriber of `platform` is slower than this: docs/explanation/conformance.md.
    subscription = TelemetrySubscription(buffering=Buffering(timeout_ms=1000, max_bytes=1_048_576))
    receiver = ReceiverSettings(server=os.environ.get("SERVER", "hypercorn"))  # type: ignore[arg-type]  # a name of one
    async with open_telemetry(subscription, required=True, receiver=receiver) as telemetry:
        note(backend=os.environ["BACKEND"], memory=memory_kib())
        async for event in telemetry:
            note_event(event)
        note(statistics=attrs.asdict(telemetry.statistics()), memory=memory_kib())


anyio.run(main, backend=os.environ["BACKEND"])
