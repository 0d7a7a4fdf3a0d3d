#!/usr/bin/env python3
# /// script
# dependencies = ["lambda-extension[delivery]"]
# ///
"""Deliver each invocation's telemetry before Lambda freezes the environment. LOGS_URL says where to."""

from lambda_extension import early

early.register()  # on the wire before anything else is imported

import os

import anyio

from lambda_extension import run_telemetry
from lambda_extension.processing import EndOfInvocation


def processor() -> object:  # called once the extension has registered: these imports delay nobody
    from lambda_extension.delivery import NDJSON, Delivery, HTTPSink
    from lambda_extension.records import at_least, redact

    sink = HTTPSink(os.environ["LOGS_URL"], encoder=NDJSON(compression="gzip"))
    return Delivery(sink, transforms=[at_least("INFO"), redact()])


async def main() -> None:
    # With "degrade", an error costs telemetry and no invocation.
    await run_telemetry(processor, flush=EndOfInvocation(), on_error="degrade")


if __name__ == "__main__":
    anyio.run(main)
