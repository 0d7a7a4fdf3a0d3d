"""NATS JetStream, through nats-py: https://docs.nats.io/nats-concepts/jetstream.

nats-py knows asyncio only, so that its connection lives in a thread with an asyncio loop of its own: the extension
itself runs on either backend.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, final

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from lambda_extension._budget import THREAD_CONNECT_LIMIT, closing_until, shielded
from lambda_extension._threads import in_daemon_thread
from lambda_extension.delivery._sinks import Limits, Payload, SinkError
from lambda_extension.delivery.sinks._aws import JSONLines

if TYPE_CHECKING:
    from nats.aio.client import Client

logger = logging.getLogger("lambda_extension.delivery")

# The server takes messages of 1 MiB, headers included, unless it is told otherwise.
_MESSAGE = 1024 * 1024 - 4096


@final
class JetStreamSink:
    """Publishes each payload as a message of a stream: lines of JSON.

    A message is acknowledged once it is stored, and carries the payload's id: one that is sent again within the
    stream's duplicate window, two minutes by default, is stored once.

    Args:
        url: The server's, such as `nats://nats.example.com:4222`.
        subject: A subject that a stream of the server's takes.
    """

    def __init__(self, url: str, subject: str) -> None:
        self.encoder: JSONLines = JSONLines(limits=Limits(bytes=_MESSAGE, event_bytes=_MESSAGE))
        self._url = url
        self._subject = subject
        self._thread: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None
        self._connection: Client | None = None
        self._opening = anyio.Lock()

    async def open(self) -> None:
        """Start the thread. `send` does it if nobody did."""
        async with self._opening:
            self._portal = self._portal or await in_daemon_thread(self._begin)

    async def send(self, payload: Payload) -> None:
        """Publish one payload. A cancelled call ends at once; the server may have stored it.

        Raises:
            SinkError: It was not taken.
            ConnectionResetError: The server cannot be reached, or the connection broke.
        """
        await self.open()
        assert self._portal is not None
        future = self._portal.start_task_soon(self._publish, payload)
        try:
            await in_daemon_thread(future.result)
        finally:
            future.cancel()

    async def aclose(self) -> None:
        """Close the connection and end the thread; idempotent. Never blocks for long."""
        portal, self._portal = self._portal, None
        thread, self._thread = self._thread, None
        if portal is None or thread is None:
            return
        with shielded(closing_until()):
            await in_daemon_thread(portal.call, self._disconnect)
        with shielded(closing_until()):
            await in_daemon_thread(thread.__exit__, None, None, None)

    def _begin(self) -> BlockingPortal:
        self._thread = start_blocking_portal("asyncio")
        return self._thread.__enter__()

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
                    connect_timeout=int(THREAD_CONNECT_LIMIT),
                    error_cb=_note,
                )
            stream = self._connection.jetstream(timeout=THREAD_CONNECT_LIMIT)
            await stream.publish(self._subject, payload.body, headers={"Nats-Msg-Id": payload.id})
        except NoStreamResponseError:
            msg = f"no stream takes {self._subject}"
            raise SinkError(msg, retryable=False) from None
        except APIError as error:
            # Without its text, which is the server's.
            msg = f"JetStream answered {error.code}, {error.err_code}"
            passing = error.code is None or error.code >= 500
            raise SinkError(msg, retryable=passing, answer=error.description) from None
        except MaxPayloadError:
            msg = "the payload is longer than the server takes"
            raise SinkError(msg, too_large=True) from None
        except (Error, OSError) as error:
            # After a freeze, a connection may be dead without knowing it: the next attempt makes a new one.
            await self._disconnect()
            raise ConnectionResetError(type(error).__name__) from None

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _note(error: Exception) -> None:
    """Take note; nats-py itself would log a traceback for each attempt."""
    logger.debug("nats: %s", type(error).__name__)
