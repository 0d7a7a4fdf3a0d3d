#!/usr/bin/env python3
"""Deliver telemetry to NATS JetStream, one message of lines of JSON per batch. Environment variables of the function:

    NATS_URL        such as nats://nats.example.com:4222
    NATS_SUBJECT    a subject that a stream of the server's takes

nats-py knows asyncio only, so its connection lives in a thread with an asyncio loop of its own: the extension itself
runs on either backend. A message is acknowledged once it is stored, and carries the batch's id: one that is sent again
within the stream's duplicate window (two minutes by default) is stored once.
"""

import logging
import os
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from lambda_extension import run_telemetry
from lambda_extension.delivery import NDJSON, Batching, Delivery, Payload, SinkError

if TYPE_CHECKING:
    from nats.aio.client import Client

logger = logging.getLogger("nats_jetstream")

SECONDS = 2
# The server takes messages of 1 MiB, unless it is told otherwise.
BATCHING = Batching(max_bytes=900 * 1024)


class JetStream:
    def __init__(self, portal: BlockingPortal, url: str, subject: str) -> None:
        self.encoder = NDJSON()
        self._portal = portal
        self._url = url
        self._subject = subject
        self._connection: Client | None = None

    async def send(self, payload: Payload) -> None:
        future = self._portal.start_task_soon(self._publish, payload)
        try:
            await anyio.to_thread.run_sync(future.result, abandon_on_cancel=True)
        finally:
            future.cancel()

    # What follows runs in the portal's thread, where alone the connection is touched.

    async def _publish(self, payload: Payload) -> None:
        # Imported here: Lambda starts the runtime only once the extension has registered.
        import nats
        from nats.errors import Error, MaxPayloadError
        from nats.js.errors import APIError, NoStreamResponseError

        try:
            if self._connection is None or not self._connection.is_connected:
                # Whoever sends decides when to try again, so that this gives up soon.
                self._connection = await nats.connect(
                    self._url,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=SECONDS,
                    error_cb=log,
                )
            stream = self._connection.jetstream(timeout=SECONDS)
            await stream.publish(self._subject, payload.body, headers={"Nats-Msg-Id": payload.id})
        except NoStreamResponseError as error:
            msg = f"no stream takes {self._subject}"
            raise SinkError(msg, retryable=False) from error
        except APIError as error:
            raise SinkError(str(error), retryable=error.code is None or error.code >= 500) from error
        except MaxPayloadError as error:
            raise SinkError(str(error), keep=False) from error
        except (Error, OSError) as error:
            # After a freeze, a connection may be dead without knowing it: the next attempt makes a new one.
            await self.close()
            raise ConnectionResetError(repr(error)) from error

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def log(error: Exception) -> None:
    """Log on one line; nats-py itself would log a traceback for each attempt."""
    logger.warning("nats: %r", error)


async def extension(sink: JetStream) -> None:
    await run_telemetry(Delivery(sink, batching=BATCHING))


def main() -> None:
    with start_blocking_portal() as portal:
        sink = JetStream(portal, os.environ["NATS_URL"], os.environ["NATS_SUBJECT"])
        try:
            anyio.run(extension, sink)
        finally:
            portal.call(sink.close)


if __name__ == "__main__":
    main()
