"""NATS JetStream against a real server."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread
import nats
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from nats_server import Server, create_stream, in_portal, stored
from test_example_sinks import SINKS, function_lines, run_as_extension

from lambda_extension.delivery import Payload, SinkError
from lambda_extension.delivery.sinks import JetStreamSink
from lambda_extension.records import Context, LogRecord


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    """Another thread with an asyncio loop, for the test's own connection."""
    with start_blocking_portal() as portal:
        yield portal


def payload(*bodies: str, encoder: Any, payload_id: str = "batch-1") -> Payload:
    time = "2026-03-01T23:59:59.123Z"
    records = [LogRecord(time, "function", "function", 0, None, body, {}, Context()) for body in bodies]
    pieces = [encoder.encode_event(record) for record in records]
    return Payload(id=payload_id, body=encoder.join(pieces), items=len(pieces), content_type=encoder.content_type)


async def test_nats_as_an_extension_delivers_each_line_once(
    server: Server, portal: BlockingPortal, anyio_backend: Any
) -> None:
    await in_portal(portal, create_stream, server.url, "logs")
    environment = {"NATS_URL": server.url, "NATS_SUBJECT": "logs"}
    expected = await run_as_extension(SINKS / "nats_jetstream.py", environment, anyio_backend)
    assert function_lines(await in_portal(portal, stored, server.url, "logs")) == Counter(expected)


async def test_nats_stores_a_batch_that_is_sent_again_once(server: Server, portal: BlockingPortal) -> None:
    await in_portal(portal, create_stream, server.url, "logs")
    sink = JetStreamSink(server.url, "logs")
    batch = payload("0", "1", "2", encoder=sink.encoder)
    await sink.send(batch)
    await sink.send(batch)
    await sink.aclose()
    assert await in_portal(portal, stored, server.url, "logs") == [batch.body]


async def test_nats_connects_again_after_the_server_went_away(server: Server, portal: BlockingPortal) -> None:
    await in_portal(portal, create_stream, server.url, "logs")
    sink = JetStreamSink(server.url, "logs")
    await sink.send(payload("before", encoder=sink.encoder, payload_id="a"))
    await anyio.to_thread.run_sync(server.stop)
    after = payload("after", encoder=sink.encoder, payload_id="b")
    with pytest.raises(ConnectionResetError):
        await sink.send(after)
    await anyio.to_thread.run_sync(server.start)
    await sink.send(after)
    await sink.aclose()
    documents = await in_portal(portal, stored, server.url, "logs")
    assert [json.loads(document)["body"] for document in documents] == ["before", "after"]


async def test_nats_stores_a_batch_once_whose_first_send_was_cut_off(
    server: Server, portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_extension.delivery.sinks._jetstream.THREAD_CONNECT_LIMIT", 60.0)
    await in_portal(portal, create_stream, server.url, "logs")
    sink = JetStreamSink(server.url, "logs")
    await sink.send(payload("before", encoder=sink.encoder, payload_id="a"))
    batch = payload("cut off", encoder=sink.encoder, payload_id="b")
    server.pause()
    with anyio.fail_after(5), anyio.move_on_after(0.2) as scope:
        await sink.send(batch)
    server.resume()
    assert scope.cancelled_caught
    await sink.send(batch)
    await sink.aclose()
    documents = await in_portal(portal, stored, server.url, "logs")
    assert [json.loads(document)["body"] for document in documents] == ["before", "cut off"]


async def test_nats_keeps_what_no_stream_takes(server: Server, portal: BlockingPortal) -> None:
    sink = JetStreamSink(server.url, f"missing-{uuid4().hex}")
    with pytest.raises(SinkError, match="no stream takes missing") as caught:
        await sink.send(payload("line", encoder=sink.encoder))
    await sink.aclose()
    assert (caught.value.retryable, caught.value.keep) == (False, True)


async def test_nats_drops_what_is_longer_than_a_message_may_be(server: Server, portal: BlockingPortal) -> None:
    sink = JetStreamSink(server.url, "logs")
    with pytest.raises(SinkError) as caught:
        await sink.send(Payload(id="a", body=b"x" * (1024 * 1024 + 1), items=1, content_type="application/x-ndjson"))
    await sink.aclose()
    assert caught.value.too_large


async def create_narrow_stream(url: str) -> None:
    async with await nats.connect(url) as connection:
        await connection.jetstream().add_stream(name="narrow", subjects=["narrow"], max_msg_size=10)


async def test_nats_keeps_what_a_stream_is_configured_not_to_take(server: Server, portal: BlockingPortal) -> None:
    await in_portal(portal, create_narrow_stream, server.url)
    sink = JetStreamSink(server.url, "narrow")
    with pytest.raises(SinkError, match="JetStream answered 400, 10054") as caught:
        await sink.send(payload("line", encoder=sink.encoder))
    await sink.aclose()
    assert "message size exceeds" in str(caught.value.answer)
    assert (caught.value.retryable, caught.value.keep) == (False, True)


async def test_nats_that_cannot_be_reached_is_a_fault_that_passes() -> None:
    sink = JetStreamSink("nats://127.0.0.1:1", "logs")
    with pytest.raises(ConnectionResetError):
        await sink.send(payload("line", encoder=sink.encoder))
    await sink.aclose()
    await sink.aclose()


async def test_nats_may_be_opened_more_than_once(server: Server, portal: BlockingPortal) -> None:
    await in_portal(portal, create_stream, server.url, "logs")
    sink = JetStreamSink(server.url, "logs")
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(sink.open)
    await sink.send(payload("line", encoder=sink.encoder))
    await sink.aclose()
    assert len(await in_portal(portal, stored, server.url, "logs")) == 1
