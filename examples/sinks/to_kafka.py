#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery,kafka]"]
# ///
"""Deliver telemetry to Apache Kafka, a message for each record. Variables of the function:

KAFKA_SERVERS   such as kafka.example.com:9092, with commas between several
KAFKA_TOPIC     the topic
"""

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import Delivery
from lambda_extension.delivery.sinks import KafkaSink
from lambda_extension.records import at_least, redact


async def main() -> None:
    sink = KafkaSink(os.environ["KAFKA_SERVERS"], os.environ["KAFKA_TOPIC"])
    await run_telemetry(Delivery(sink, transforms=[at_least("INFO"), redact()]))


if __name__ == "__main__":
    anyio.run(main)
