"""Kafka against a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest
from kafka_broker import Broker, kafka
from records_for_backends import HOSTILE, KEPT, REQUEST_ID, hostile, log, payload_of

from extension_runs import run_script
from lambda_extension import Registration, ShutdownReason
from lambda_extension.delivery import Batching, Delivery, Retry, SinkError
from lambda_extension.delivery.sinks import KafkaSink
from lambda_extension.delivery.sinks._kafka import meaning_of
from lambda_extension.simulator import ScriptedFunction
from lambda_extension.telemetry import FunctionLog

pytestmark = [
    pytest.mark.timeout(600),  # where the broker has to be fetched first
    pytest.mark.backends,
]
REGISTRATION = Registration(extension_id="1", extension_name="test", function_name="f", function_version="1")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with kafka(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture
def topic(broker: Broker) -> str:
    return broker.create_topic(f"t{uuid4().hex}")


def patient(broker: Broker, topic: str, **settings: Any) -> KafkaSink:
    """Make a sink that a broker may keep waiting: time is not what its test is about."""
    return KafkaSink(broker.servers, topic, settings={"message.timeout.ms": 60_000, **settings})


def bodies(broker: Broker, topic: str) -> list[Any]:
    return [json.loads(message.value() or b"")["body"] for message in broker.stored(topic)]


async def test_every_record_is_a_message_once_with_all_its_fields(broker: Broker, topic: str) -> None:
    sink = patient(broker, topic)
    await sink.open()
    await sink.send(payload_of(sink.encoder, hostile("m"), payload_id="batch-1"))
    await sink.send(payload_of(sink.encoder, [log("after")], payload_id="batch-2"))
    await sink.aclose()
    *messages, last = await anyio.to_thread.run_sync(broker.stored, topic)
    records = [json.loads(message.value() or b"") for message in messages]
    assert {each["attributes"]["name"]: each["body"] for each in records} == KEPT
    assert {(each["requestId"], each["severityText"]) for each in records} == {(REQUEST_ID, "warning")}
    assert [message.headers() for message in messages] == [[("id", b"batch-1-%d" % n)] for n in range(len(HOSTILE))]
    assert {message.key() for message in messages} == {b"batch-1"}
    assert (last.key(), json.loads(last.value() or b"")["body"]) == (b"batch-2", "after")


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_as_much_as_a_payload_takes_arrives_whole(broker: Broker, topic: str, compression: str) -> None:
    sink = patient(broker, topic, **{"compression.type": compression})
    limits = sink.encoder.limits
    assert limits.items is not None
    assert limits.event_bytes is not None
    longest = log("x" * (limits.event_bytes - len(sink.encoder.encode_event(log("")))))
    assert len(sink.encoder.encode_event(longest)) == limits.event_bytes
    await sink.send(payload_of(sink.encoder, [log(f"{n}") for n in range(limits.items)]))
    await sink.send(payload_of(sink.encoder, [longest], payload_id="long"))
    await sink.aclose()
    found = await anyio.to_thread.run_sync(bodies, broker, topic)
    assert found == [*map(str, range(limits.items)), longest.body]


async def test_what_a_topic_finds_too_long_is_halved_until_it_fits(broker: Broker) -> None:
    topic = broker.create_topic(f"t{uuid4().hex}", **{"max.message.bytes": "4000"})
    delivery = Delivery(patient(broker, topic), transforms=[], spill=None, send_timeout=60)
    await delivery.init(REGISTRATION)
    lines = [f"{n} {'x' * 300}" for n in range(40)]
    await delivery.process([FunctionLog(time="2026-03-01T10:00:00Z", record=line) for line in [*lines, "y" * 5000]])
    await delivery.flush()
    figures = delivery.statistics()
    assert (figures.delivered, figures.dropped, figures.buffered) == (40, 1, 0)
    await delivery.shutdown(ShutdownReason.SPINDOWN, None)
    assert await anyio.to_thread.run_sync(bodies, broker, topic) == lines


async def test_a_topic_that_there_is_not_is_a_matter_of_configuration(broker: Broker) -> None:
    sink = KafkaSink(broker.servers, "missing")
    with pytest.raises(SinkError, match="1 of 1 messages were not taken: UNKNOWN_TOPIC") as caught:
        await sink.send(payload_of(sink.encoder, [log("line")]))
    await sink.aclose()
    assert (caught.value.retryable, caught.value.keep, caught.value.too_large) == (False, True, False)


async def test_brokers_that_cannot_be_reached_are_a_fault_that_passes(capfd: pytest.CaptureFixture[str]) -> None:
    sink = KafkaSink("127.0.0.1:1", "logs")
    with anyio.fail_after(30), pytest.raises(ConnectionResetError, match="_TRANSPORT"):
        await sink.send(payload_of(sink.encoder, [log("line")]))
    await sink.aclose()
    await sink.aclose()
    assert capfd.readouterr() == ("", "")


async def test_a_send_that_is_cut_off_ends_at_once_and_the_next_one_connects_anew(broker: Broker, topic: str) -> None:
    sink = patient(broker, topic)
    await sink.send(payload_of(sink.encoder, [log("before")], payload_id="a"))
    cut_off = payload_of(sink.encoder, [log("cut off")], payload_id="b")
    broker.pause()
    try:
        with anyio.move_on_after(0.3) as scope:
            await sink.send(cut_off)
    finally:
        broker.resume()
    assert scope.cancelled_caught
    await sink.send(cut_off)
    await sink.aclose()
    messages = await anyio.to_thread.run_sync(broker.stored, topic)
    # It may be there twice: by its id, whoever reads it can tell.
    assert {dict(message.headers() or {})["id"] for message in messages} == {b"a-0", b"b-0"}


async def test_nothing_is_lost_while_the_broker_does_not_answer(broker: Broker, topic: str) -> None:
    delivery = Delivery(
        patient(broker, topic),
        transforms=[],
        spill=None,
        retry=Retry(attempts=1),
        batching=Batching(max_items=10),
        send_timeout=60,
    )
    await delivery.init(REGISTRATION)

    async def take(first: int) -> None:
        events = [FunctionLog(time="2026-03-01T10:00:00Z", record=str(n)) for n in range(first, first + 25)]
        await delivery.process(events)

    await take(0)
    await delivery.flush()
    broker.pause()
    try:
        await take(25)
        with anyio.move_on_after(0.3) as scope:
            await delivery.flush()
    finally:
        broker.resume()
    assert scope.cancelled_caught
    assert (delivery.statistics().delivered, delivery.statistics().buffered) == (25, 25)
    await take(50)
    await delivery.flush()
    assert delivery.statistics().delivered == 75
    await delivery.shutdown(ShutdownReason.SPINDOWN, None)
    # What was under way may be there twice: by its id, whoever reads it can tell.
    messages = await anyio.to_thread.run_sync(broker.stored, topic)
    once = {dict(message.headers() or {})["id"]: json.loads(message.value() or b"")["body"] for message in messages}
    assert list(once.values()) == [str(n) for n in range(75)]


async def test_only_what_was_refused_goes_again(broker: Broker) -> None:
    topic = broker.create_topic(f"t{uuid4().hex}", **{"max.message.bytes": "4000"})
    sink = patient(broker, topic, **{"batch.num.messages": 1})
    with pytest.raises(SinkError, match="2 of 4 messages were not taken: MSG_SIZE_TOO_LARGE") as caught:
        await sink.send(payload_of(sink.encoder, [log("a"), log("b" * 5000), log("c"), log("d" * 5000)]))
    assert (caught.value.refused, caught.value.is_partial) == ((1, 3), True)
    with pytest.raises(SinkError) as caught:
        await sink.send(payload_of(sink.encoder, [log("b" * 5000), log("d" * 5000)]))
    assert (caught.value.too_large, caught.value.is_partial) == (True, False)
    await sink.aclose()
    assert await anyio.to_thread.run_sync(bodies, broker, topic) == ["a", "c"]


@pytest.mark.parametrize(
    ("names", "meaning"),
    [
        ({0: "NOT_ENOUGH_REPLICAS", 1: "NOT_ENOUGH_REPLICAS"}, (True, True, ())),
        ({0: "TOPIC_AUTHORIZATION_FAILED", 1: "TOPIC_AUTHORIZATION_FAILED"}, (False, True, ())),
        ({0: "_AUTHENTICATION", 1: "_AUTHENTICATION"}, (False, True, ())),
        ({1: "TOPIC_AUTHORIZATION_FAILED"}, (False, True, (1,))),
        ({1: "_MSG_TIMED_OUT"}, (True, True, (1,))),
    ],
)
def test_what_errors_mean(names: dict[int, str], meaning: tuple[bool, bool, tuple[int, ...]]) -> None:
    error = meaning_of(names, 2)
    assert isinstance(error, SinkError)
    assert (error.retryable, error.keep, error.refused) == meaning


async def test_the_example_as_an_extension_delivers_each_line_once(
    broker: Broker, topic: str, anyio_backend: Any
) -> None:
    example = Path(__file__).parents[3] / "examples/sinks/to_kafka.py"
    environment = {"KAFKA_SERVERS": broker.servers, "KAFKA_TOPIC": topic}
    turns = [ScriptedFunction(log_lines=[f"order {turn} accepted"]) for turn in range(3)]
    function = ScriptedFunction(log_lines=turns[0].log_lines, then=turns[1:])
    await run_script(example, anyio_backend, function, environment=environment)
    records = [json.loads(message.value() or b"") for message in await anyio.to_thread.run_sync(broker.stored, topic)]
    lines = [record["body"] for record in records if record["source"] == "function"]
    assert lines == [f"order {turn} accepted" for turn in range(3)]
