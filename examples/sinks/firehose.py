#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[aws,delivery]"]
# ///
"""Deliver telemetry to Amazon Data Firehose, a record for each, as a line of JSON.

The function's role needs firehose:PutRecordBatch. Environment variables of the function:

    DELIVERY_STREAM     the delivery stream's name
"""

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import Delivery
from lambda_extension.delivery.sinks import FirehoseSink


async def main() -> None:
    await run_telemetry(Delivery(FirehoseSink(os.environ["DELIVERY_STREAM"])))


if __name__ == "__main__":
    anyio.run(main)
