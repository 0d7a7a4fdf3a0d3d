"""Deliver the function's log lines, without e-mail addresses, to the URL in LOGS_URL."""

from __future__ import annotations

import os

import anyio
from lambda_extension import delivery, records, run_telemetry


def deliver() -> delivery.Delivery:
    sink = delivery.HTTPSink(os.environ["LOGS_URL"])
    return delivery.Delivery(sink, transforms=[records.only(source="function"), records.redact(records.EMAIL)])


async def main() -> None:
    await run_telemetry(deliver)


if __name__ == "__main__":
    anyio.run(main)
