#!/usr/bin/env python3
"""Print all telemetry: each request of the platform as one line, a JSON array of its events as they came."""

import sys

import anyio

from lambda_extension import open_telemetry
from lambda_extension.telemetry import encode


async def main() -> None:
    async with open_telemetry() as telemetry:
        async for batch in telemetry.batches():
            sys.stdout.write(encode(batch).decode() + "\n")
            sys.stdout.flush()  # standard output is a pipe


if __name__ == "__main__":
    anyio.run(main)
