#!/usr/bin/env python3
"""Function logs and platform events to Amazon Data Firehose, one record per event.

boto3 blocks, so it runs in worker threads. A call that is cancelled at a deadline is left to itself there, for the few
seconds of its time-outs, and its payload is sent again later: delivery is at least once.

Settings: DELIVERY_STREAM names the stream.
"""

from __future__ import annotations

import os
from typing import Any

import anyio
import anyio.to_thread

from lambda_extension import run_telemetry
from lambda_extension.delivery import NDJSON, Batching, Delivery, Payload, SinkError

# What one PutRecordBatch takes.
LIMITS = Batching(max_items=500, max_bytes=4_000_000)
ATTEMPTS = 3
PASSING = {"InternalFailure", "LimitExceededException", "ServiceUnavailableException", "ThrottlingException"}


class FirehoseSink:
    encoder = NDJSON()

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._client: Any = None
        self._partly: tuple[str, list[bytes]] = ("", [])

    async def open(self) -> None:
        self._client = await anyio.to_thread.run_sync(_client)

    async def send(self, payload: Payload) -> None:
        # Of a payload that was taken in part, only the rest is sent again.
        known, left = self._partly
        if known != payload.id:
            left = payload.body.splitlines(keepends=True)
        for _ in range(ATTEMPTS):
            left = await anyio.to_thread.run_sync(self._put, left, abandon_on_cancel=True)
            if not left:
                return
            self._partly = (payload.id, left)
        raise SinkError(f"Firehose did not take {len(left)} of {payload.items} records")

    def _put(self, lines: list[bytes]) -> list[bytes]:
        """Send records; return those that were not taken."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.put_record_batch(
                DeliveryStreamName=self._stream, Records=[{"Data": line} for line in lines]
            )
        except ClientError as error:
            raise SinkError(str(error), retryable=error.response["Error"]["Code"] in PASSING) from error
        except BotoCoreError as error:  # not reached, or too late
            raise ConnectionError(str(error)) from error
        results = answer["RequestResponses"]
        return [line for line, result in zip(lines, results, strict=True) if "ErrorCode" in result]


def _client() -> Any:
    import boto3  # takes half a second: during init, in a thread, while the runtime boots
    from botocore.config import Config

    return boto3.client("firehose", config=Config(connect_timeout=1, read_timeout=3, retries={"total_max_attempts": 1}))


async def main() -> None:
    await run_telemetry(Delivery(FirehoseSink(os.environ["DELIVERY_STREAM"]), batching=LIMITS))


if __name__ == "__main__":
    anyio.run(main)
