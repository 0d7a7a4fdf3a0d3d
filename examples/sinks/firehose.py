#!/usr/bin/env python3
"""Deliver telemetry to Amazon Data Firehose, one record per event, each a line of JSON.

The function's role needs firehose:PutRecordBatch. Environment variables of the function:

    DELIVERY_STREAM     the delivery stream's name

Every record is acknowledged by Firehose before it is forgotten. A record may arrive twice if an answer got lost.
"""

import os
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.to_thread

from lambda_extension import run_telemetry
from lambda_extension.delivery import NDJSON, Compression, Delivery, Payload, SinkError

RECORDS_PER_CALL = 500
BYTES_PER_CALL = 4 * 1024 * 1024
BYTES_PER_RECORD = 1000 * 1024
ROUNDS = 3
THROTTLED = frozenset({"ServiceUnavailableException", "ThrottlingException", "Throttling", "RequestLimitExceeded"})


class Records:
    """Lines that fit into a record each; an event that is longer than a record may be is left out, and counted."""

    content_type: str = "application/x-ndjson"
    compression: Compression | None = None

    def __init__(self) -> None:
        self._lines = NDJSON()

    def encode_event(self, event: Any) -> bytes:
        line = self._lines.encode_event(event)
        return line if len(line) < BYTES_PER_RECORD else b""

    def join(self, pieces: Sequence[bytes]) -> bytes:
        return self._lines.join(pieces)


class Firehose:
    def __init__(self, stream: str) -> None:
        self.encoder = Records()
        self.client: Any = None
        self._stream = stream
        # What is left of a payload that was taken in part, for when it is sent again.
        self._left: tuple[str, list[bytes]] = ("", [])

    async def open(self) -> None:
        self.client = self.client or await anyio.to_thread.run_sync(make_client)

    async def send(self, payload: Payload) -> None:
        payload_id, left = self._left
        if payload_id != payload.id:
            left = payload.body.splitlines(keepends=True)
        error = ""
        for attempt in range(ROUNDS):
            if attempt:
                await anyio.sleep(0.1 * 2**attempt)
            refused: list[bytes] = []
            while left:
                call = first_call(left)
                # When the time is over nobody waits for the thread: it ends by the client's own time-outs.
                failed = await anyio.to_thread.run_sync(self._put, call, abandon_on_cancel=True)
                refused += (call[place] for place in failed)
                error = next(iter(failed.values()), error)
                left = left[len(call) :]
                self._left = (payload.id, refused + left)
            if not refused:
                self._left = ("", [])
                return
            left = refused
        msg = f"Firehose refused {len(left)} of {payload.items} records: {error}"
        raise SinkError(msg)

    def _put(self, lines: list[bytes]) -> dict[int, str]:
        """Put records in one call; give the places of those that were refused, and why."""
        from botocore.exceptions import ClientError, ConnectionClosedError

        records = [{"Data": line} for line in lines]
        try:
            answer = self.client.put_record_batch(DeliveryStreamName=self._stream, Records=records)
        except ConnectionClosedError as error:
            # After a freeze, kept connections are stale: this is tried again at once.
            raise ConnectionResetError(str(error)) from error
        except ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            # The rest is a matter of configuration, since every record keeps to the limits: nothing is dropped.
            raise SinkError(str(error), retryable=code in THROTTLED or status >= 500) from error
        results = enumerate(answer["RequestResponses"]) if answer["FailedPutCount"] else ()
        return {place: result["ErrorCode"] for place, result in results if result.get("ErrorCode")}


def first_call(lines: list[bytes]) -> list[bytes]:
    """Give as many of the first lines as one call takes."""
    size = 0
    for count, line in enumerate(lines[:RECORDS_PER_CALL]):
        size += len(line)
        if size > BYTES_PER_CALL:
            return lines[:count]
    return lines[:RECORDS_PER_CALL]


def make_client() -> Any:
    # Imported here, in a worker thread: Lambda starts the runtime only once the extension has registered.
    import boto3
    from botocore.config import Config

    once = {"mode": "standard", "total_max_attempts": 1}  # the library retries, by its deadlines
    return boto3.client("firehose", config=Config(connect_timeout=2, read_timeout=5, retries=once))


async def main() -> None:
    await run_telemetry(Delivery(Firehose(os.environ["DELIVERY_STREAM"])))


if __name__ == "__main__":
    anyio.run(main)
