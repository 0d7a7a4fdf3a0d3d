#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery]"]
# ///
"""Keep an audit: one entry for each invocation, whatever became of it. AUDIT_URL says where to."""

import os

import anyio

from lambda_extension import TelemetrySubscription, run_telemetry
from lambda_extension.delivery import NDJSON, Delivery, HTTPSink, Spill
from lambda_extension.processing import EndOfInvocation
from lambda_extension.records import add, only


def processor() -> Delivery:
    return Delivery(
        HTTPSink(os.environ["AUDIT_URL"], encoder=NDJSON()),
        transforms=[only(source="report"), add(auditVersion=1)],
        spill=Spill(durable=True),  # an entry is on disk before it can be lost with the process
    )


async def main() -> None:
    platform_alone = TelemetrySubscription(types=["platform"])  # no line of the function's is wanted here
    await run_telemetry(processor, flush=EndOfInvocation(), telemetry=platform_alone)


if __name__ == "__main__":
    anyio.run(main)
