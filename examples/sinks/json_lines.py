#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery]"]
# ///
"""Deliver telemetry to an endpoint of your own: requests of gzipped lines of JSON. Variables of the function:

LOGS_URL        such as https://logs.example.com/ingest
LOGS_TOKEN      a bearer token, if the endpoint wants one
"""

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import NDJSON, Delivery, HTTPSink
from lambda_extension.records import at_least, redact


async def main() -> None:
    token = os.environ.get("LOGS_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    sink = HTTPSink(os.environ["LOGS_URL"], headers=headers, encoder=NDJSON(compression="gzip"))
    await run_telemetry(Delivery(sink, transforms=[at_least("INFO"), redact()]))


if __name__ == "__main__":
    anyio.run(main)
