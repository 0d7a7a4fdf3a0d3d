"""Apache Kafka, through confluent-kafka in worker threads: https://kafka.apache.org/documentation/#producerconfigs."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, final

import anyio

from lambda_extension._budget import THREAD_CONNECT_LIMIT, THREAD_READ_LIMIT, THREAD_SLICE
from lambda_extension._threads import in_daemon_thread
from lambda_extension.delivery._sinks import Limits, Payload, SinkError
from lambda_extension.delivery.sinks._aws import JSONLines

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

logger = logging.getLogger("lambda_extension.delivery")

# Brokers take batches of 1,048,588 bytes, the client makes them of 1,000,000, key and headers included.
_MESSAGE: Final = 1_000_000 - 1_000
# So many fit into the client's own queue many times over.
_MESSAGES: Final = 10_000
# What only somebody who configures the cluster can mend.
_CONFIGURED: Final = frozenset(
    {
        "CLUSTER_AUTHORIZATION_FAILED",
        "POLICY_VIOLATION",
        "TOPIC_AUTHORIZATION_FAILED",
        "TOPIC_EXCEPTION",
        "UNKNOWN_TOPIC_OR_PART",
        "_AUTHENTICATION",
        "_UNKNOWN_TOPIC",
    }
)


@final
class KafkaSink:
    """Produces each record as a message of a topic, in JSON.

    A message counts as taken once all copies in sync have it. The messages of a payload have its id for their key, so
    that one partition has them, in order, and a header `id` each, the same when a message is sent again. The client
    produces idempotently; a message is there twice only if its acknowledgement was lost with a connection or a freeze.

    Args:
        servers: Brokers to begin with: `host:port`, separated by commas.
        topic: The topic.
        settings: More of librdkafka's settings, such as `security.protocol`.
    """

    def __init__(self, servers: str, topic: str, *, settings: Mapping[str, Any] | None = None) -> None:
        self.encoder: JSONLines = JSONLines(limits=Limits(items=_MESSAGES, event_bytes=_MESSAGE))
        self._topic = topic
        self._settings: dict[str, Any] = {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "message.timeout.ms": int(1000 * THREAD_READ_LIMIT),
            "socket.connection.setup.timeout.ms": int(1000 * THREAD_CONNECT_LIMIT),
            "topic.metadata.propagation.max.ms": int(1000 * THREAD_CONNECT_LIMIT),  # then it is unknown
            "log_level": 0,  # it would write to standard error
            **(settings or {}),
        }
        self._producer: _Producer | None = None
        self._opening = anyio.Lock()

    async def open(self) -> None:
        """Make the producer, which connects by itself. `send` does it if nobody did."""
        async with self._opening:
            self._producer = self._producer or await in_daemon_thread(_Producer, self._settings)

    async def send(self, payload: Payload) -> None:
        """Produce the records of a payload.

        A cancelled call ends at once, and what has not left is taken back; the brokers may have stored the rest.

        Raises:
            SinkError: Not all were taken.
            ConnectionResetError: No broker can be reached, or none answered in time.
        """
        await self.open()
        # Whoever is cut off or gets no answer leaves its producer behind: its connections may have died in a freeze.
        producer, self._producer = self._producer, None
        assert producer is not None
        left = threading.Event()
        produce = functools.partial(producer.produce, self._topic, payload, left)
        try:
            refused = await in_daemon_thread(produce)
        finally:
            left.set()
        if not producer.is_stuck:
            self._producer = producer
        if refused:
            raise meaning_of(refused, payload.items)

    async def aclose(self) -> None:
        """Let go of the producer; idempotent, never blocks."""
        self._producer = None


@final
class _Producer:
    """A producer of confluent-kafka's, for one thread at a time.

    Attributes:
        is_stuck: Whether something had to be taken back, for want of an answer.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        # Imported here: Lambda starts the runtime only once the extension has registered.
        from confluent_kafka import Producer

        self.is_stuck = False
        self._trouble = ""
        self._since = 0.0
        self._producer = Producer({**settings, "error_cb": self._note})

    def produce(self, topic: str, payload: Payload, left: threading.Event) -> dict[int, str]:
        """Produce the messages of a payload; return the places and errors of those that were not taken.

        Args:
            topic: The topic.
            payload: The payload.
            left: Set once nobody waits for the outcome any more.
        """
        settled: dict[int, str | None] = {}
        self._trouble = ""
        for place, piece in enumerate(payload.pieces):

            def settle(error: KafkaError | None, _: object, place: int = place) -> None:
                settled[place] = None if error is None else error.name()

            message = piece.rstrip(b"\n")
            headers: dict[str, str | bytes | None] = {"id": f"{payload.id}-{place}"}
            self._producer.produce(topic, message, payload.id, headers=headers, on_delivery=settle)
        while len(settled) < payload.items and not left.is_set() and not self._is_in_trouble():
            self._producer.flush(THREAD_SLICE)
        if len(settled) < payload.items:
            self.is_stuck = True
            self._producer.purge()
            self._producer.flush(THREAD_SLICE)
        why = self._trouble or "_PURGE_QUEUE"
        outcomes = {place: settled.get(place, why) for place in range(payload.items)}
        # What was taken back says why better than that it was.
        return {place: why if name.startswith("_PURGE") else name for place, name in outcomes.items() if name}

    def _note(self, error: KafkaError) -> None:
        """Take note of what the client says of its connections, called by `flush`."""
        logger.debug("kafka: %s", error.name())
        if not self._trouble:
            self._trouble, self._since = error.name(), time.monotonic()

    def _is_in_trouble(self) -> bool:
        """Whether something has been wrong for so long that the next attempt may as well begin anew."""
        return bool(self._trouble) and time.monotonic() - self._since > THREAD_CONNECT_LIMIT


def meaning_of(refused: Mapping[int, str], items: int) -> Exception:
    """Say what errors mean: places and names, of so many messages."""
    name = refused[min(refused)]
    msg = f"{len(refused)} of {items} messages were not taken: {name.removeprefix('_')}"
    passing = not _CONFIGURED & set(refused.values())
    if len(refused) < items:
        return SinkError(msg, retryable=passing, refused=refused)
    if "MSG_SIZE_TOO_LARGE" in refused.values():
        # It is said of a whole batch that is longer than the topic takes: halves may not be.
        return SinkError(msg, too_large=True)
    if passing and name.startswith("_"):
        return ConnectionResetError(name)
    return SinkError(msg, retryable=passing)
