#!/usr/bin/env python3
"""Deliver telemetry to Amazon S3: one object of gzipped lines of JSON per batch.

The function's role needs s3:PutObject. Environment variables of the function:

    BUCKET      the bucket's name
    PREFIX      what keys begin with; by default the function's name

A batch that is sent again has the same key, so that it overwrites itself: no event is there twice.
"""

import os
import re
import zlib
from typing import Any

import anyio
import anyio.to_thread

from lambda_extension import run_telemetry
from lambda_extension.delivery import NDJSON, Delivery, Payload, SinkError

TIME = re.compile(rb'"time":\s*"(\d{4})-(\d\d)-(\d\d)')
# Faults that pass although their status is not 5xx.
PASSING = frozenset({"RequestTimeout", "RequestTimeTooSkewed", "OperationAborted", "SlowDown", "Throttling"})


class S3:
    def __init__(self, bucket: str, prefix: str) -> None:
        self.encoder = NDJSON(compression="gzip")
        self.client: Any = None
        self._bucket = bucket
        self._prefix = prefix

    async def open(self) -> None:
        self.client = self.client or await anyio.to_thread.run_sync(make_client)

    async def send(self, payload: Payload) -> None:
        # When the time is over nobody waits for the thread: it ends by the client's own time-outs.
        await anyio.to_thread.run_sync(self._put, payload, abandon_on_cancel=True)

    def _put(self, payload: Payload) -> None:
        from botocore.exceptions import ClientError, ConnectionClosedError

        try:
            self.client.put_object(
                Bucket=self._bucket,
                Key=f"{self._prefix}/{date(payload)}/{payload.id}.ndjson.gz",
                Body=payload.body,
                ContentType=payload.content_type,
                ContentEncoding=payload.content_encoding,
            )
        except ConnectionClosedError as error:
            # After a freeze, kept connections are stale: this is tried again at once.
            raise ConnectionResetError(str(error)) from error
        except ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            # The rest is a matter of configuration, such as a missing permission: nothing is dropped.
            raise SinkError(str(error), retryable=code in PASSING or status >= 500) from error


def date(payload: Payload) -> str:
    """Give the date of the first event that has one; today's would not be the same when the batch is sent again."""
    found = TIME.search(zlib.decompress(payload.body, zlib.MAX_WBITS | 16))
    return "undated" if found is None else b"/".join(found.groups()).decode()


def make_client() -> Any:
    # Imported here, in a worker thread: Lambda starts the runtime only once the extension has registered.
    import boto3
    from botocore.config import Config

    once = {"mode": "standard", "total_max_attempts": 1}  # the library retries, by its deadlines
    return boto3.client("s3", config=Config(connect_timeout=2, read_timeout=5, retries=once))


async def main() -> None:
    prefix = os.environ.get("PREFIX") or os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    await run_telemetry(Delivery(S3(os.environ["BUCKET"], prefix)))


if __name__ == "__main__":
    anyio.run(main)
