#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery]"]
# ///
"""Deliver telemetry to Datadog. Other vendors with a key differ in one line: new_relic, honeycomb, axiom, splunk, sumo.

Environment variables of the function:

    DD_API_KEY      the key
    DD_LOGS_URL     the whole URL of another intake, such as a proxy's
"""

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import Delivery
from lambda_extension.delivery.sinks import datadog
from lambda_extension.records import at_least, redact


async def main() -> None:
    sink = datadog(os.environ["DD_API_KEY"], url=os.environ.get("DD_LOGS_URL"), tags={"team": "orders"})
    await run_telemetry(Delivery(sink, transforms=[at_least("INFO"), redact()]))


if __name__ == "__main__":
    anyio.run(main)
