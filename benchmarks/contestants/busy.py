"""An extension whose sink is as busy as its environment says; for the soak, not a contestant."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import NDJSON, Batching, Continuous, Delivery, HTTPSink, Spill
from lambda_extension.telemetry import ReceiverSettings


class Stuck:
    """An encoder that never comes to an end, in a thread that nobody can stop; what is short is encoded without one."""

    content_type = "application/x-ndjson"
    compression = None

    def encode_event(self, event: Any) -> bytes:
        """Encode one event."""
        return NDJSON().encode_event(event)

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Never come to an end."""
        if threading.current_thread() is not threading.main_thread():
            time.sleep(60)
        return NDJSON().join(pieces)


def hang_for_names() -> None:
    """Let the look-up of the backend's name take longer than anybody waits."""
    real = socket.getaddrinfo

    def hang(host: Any, *others: Any, **options: Any) -> Any:
        if host in ("backend.test", b"backend.test"):
            time.sleep(60)
        return real(host, *others, **options)

    socket.getaddrinfo = hang


async def main() -> None:
    """Deliver to the backend that the environment names."""
    encoder = Stuck() if os.environ["BUSY"] == "stuck" else NDJSON(compression="gzip")
    sink = HTTPSink(os.environ["BUSY_URL"], encoder=encoder)
    delivery = Delivery(sink, spill=Spill(directory=os.environ["BUSY_SPILL"]), batching=Batching(max_items=1_000))
    receiver = ReceiverSettings(server=os.environ["BUSY_SERVER"])  # type: ignore[arg-type]  # checked there
    await run_telemetry(delivery, flush=Continuous(), receiver=receiver, name="busy.py")


if __name__ == "__main__":
    if os.environ["BUSY"] == "nameless":
        hang_for_names()
    options = {"use_uvloop": True} if os.environ["BUSY_BACKEND"] == "uvloop" else {}
    anyio.run(main, backend=os.environ["BUSY_BACKEND"].replace("uvloop", "asyncio"), backend_options=options)
