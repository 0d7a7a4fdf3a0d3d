#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery,nats]"]
# ///
"""Deliver telemetry to NATS JetStream, a message of lines of JSON for each batch. Variables of the function:

NATS_URL        such as nats://nats.example.com:4222
NATS_SUBJECT    a subject that a stream of the server's takes
"""

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import Delivery
from lambda_extension.delivery.sinks import JetStreamSink


async def main() -> None:
    await run_telemetry(Delivery(JetStreamSink(os.environ["NATS_URL"], os.environ["NATS_SUBJECT"])))


if __name__ == "__main__":
    anyio.run(main)
