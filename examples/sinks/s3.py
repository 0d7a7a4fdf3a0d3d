#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[aws,delivery]"]
# ///
"""Deliver telemetry to Amazon S3: an object of gzipped lines of JSON for each batch.

The function's role needs s3:PutObject. Environment variables of the function:

    BUCKET      the bucket's name
    PREFIX      what keys begin with; by default the function's name
"""

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import Delivery
from lambda_extension.delivery.sinks import S3Sink


async def main() -> None:
    prefix = os.environ.get("PREFIX") or os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    await run_telemetry(Delivery(S3Sink(os.environ["BUCKET"], prefix=prefix)))


if __name__ == "__main__":
    anyio.run(main)
