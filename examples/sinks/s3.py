#!/usr/bin/env python3
"""Function logs and platform events to Amazon S3: one gzipped object of JSON lines per payload.

An object is named after its payload, so that one that is sent twice overwrites itself: what arrives, arrives once.

Settings: BUCKET, and PREFIX (default `telemetry/`).
"""

from __future__ import annotations

import os
from typing import Any

import anyio
import anyio.to_thread

from lambda_extension import run_telemetry
from lambda_extension.delivery import NDJSON, Batching, Delivery, Every, Payload, SinkError


class S3Sink:
    encoder = NDJSON(compression="gzip")

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._client: Any = None

    async def open(self) -> None:
        self._client = await anyio.to_thread.run_sync(_client)

    async def send(self, payload: Payload) -> None:
        # A cancelled call is left to itself: it writes the same object that the next one will.
        await anyio.to_thread.run_sync(self._put, payload, abandon_on_cancel=True)

    def _put(self, payload: Payload) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=f"{self._prefix}{payload.id}.ndjson.gz",
                Body=payload.body,
                ContentType=payload.content_type,
                ContentEncoding=payload.content_encoding,
            )
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            raise SinkError(str(error), retryable=status == 429 or status >= 500) from error
        except BotoCoreError as error:
            raise ConnectionError(str(error)) from error


def _client() -> Any:
    import boto3  # takes half a second: during init, in a thread, while the runtime boots
    from botocore.config import Config

    return boto3.client("s3", config=Config(connect_timeout=1, read_timeout=3, retries={"total_max_attempts": 1}))


async def main() -> None:
    sink = S3Sink(os.environ["BUCKET"], os.environ.get("PREFIX", "telemetry/"))
    # Few large objects are better than many small ones.
    await run_telemetry(Delivery(sink, batching=Batching(max_bytes=16 * 1024 * 1024)), flush=Every(60))


if __name__ == "__main__":
    anyio.run(main)
