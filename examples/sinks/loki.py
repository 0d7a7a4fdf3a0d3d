#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery]"]
# ///
"""Deliver what the function logs to Grafana Loki. Environment variables of the function:

LOKI_URL                such as https://logs.example.com
LOKI_AUTHORIZATION      an Authorization header, if Loki wants one
"""

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import Delivery
from lambda_extension.delivery.sinks import loki
from lambda_extension.records import at_least, redact


async def main() -> None:
    sink = loki(
        os.environ["LOKI_URL"],
        labels={"function": os.environ["AWS_LAMBDA_FUNCTION_NAME"]},
        authorization=os.environ.get("LOKI_AUTHORIZATION"),
    )
    await run_telemetry(Delivery(sink, transforms=[at_least("INFO"), redact()]))


if __name__ == "__main__":
    anyio.run(main)
