#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery]"]
# ///
"""Deliver telemetry to Elasticsearch or OpenSearch, in the Elastic Common Schema. Variables of the function:

ELASTIC_URL             such as https://search.example.com
ELASTIC_INDEX           an index or a data stream, such as logs-lambda-default
ELASTIC_AUTHORIZATION   an Authorization header, such as "ApiKey ..."
"""

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.delivery import Delivery
from lambda_extension.delivery.sinks import elasticsearch
from lambda_extension.records import at_least, redact


async def main() -> None:
    sink = elasticsearch(
        os.environ["ELASTIC_URL"],
        index=os.environ["ELASTIC_INDEX"],
        authorization=os.environ.get("ELASTIC_AUTHORIZATION"),
    )
    await run_telemetry(Delivery(sink, transforms=[at_least("INFO"), redact()]))


if __name__ == "__main__":
    anyio.run(main)
