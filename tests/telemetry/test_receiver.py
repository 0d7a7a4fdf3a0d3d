"""The receiver's answers, over a real server on a real socket, each in turn."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from fake_lambda import FakeLambda, dropped, log, report, start
from lambda_extension.serving import ServerName
from lambda_extension.serving._serve import serve_app
from lambda_extension.serving._socket import listen_on
from lambda_extension.telemetry import Batch, FunctionLog, UnknownEvent
from lambda_extension.telemetry._app import TelemetryReceiver


class Served:
    def __init__(
        self, lambda_: FakeLambda, receiver: TelemetryReceiver, batches: MemoryObjectReceiveStream[Batch]
    ) -> None:
        self.post = lambda_.post
        self.port = lambda_.port
        self.receiver = receiver
        self.counters = receiver.counters
        self.batches = batches

    async def wait_until_one_waits(self) -> None:
        while self.batches.statistics().tasks_waiting_send == 0:
            await anyio.lowlevel.checkpoint()

    async def connect(self) -> anyio.abc.SocketStream:
        return await anyio.connect_tcp("127.0.0.1", self.port)


@asynccontextmanager
async def serving(server: ServerName, *, buffered: int = 10, max_body_bytes: int = 10_000) -> AsyncGenerator[Served]:
    send, receive = anyio.create_memory_object_stream[Batch](buffered)
    stop = anyio.Event()
    receiver = TelemetryReceiver(send, max_body_bytes=max_body_bytes)
    sock = listen_on("127.0.0.1")
    with anyio.fail_after(20), send, receive:
        async with FakeLambda() as lambda_, anyio.create_task_group() as tasks:
            lambda_.port = sock.getsockname()[1]

            async def serve(*, task_status: anyio.abc.TaskStatus[None]) -> None:
                await serve_app(
                    receiver,
                    sock,
                    server=server,
                    shutdown_trigger=stop.wait,
                    graceful_timeout=0.3,
                    task_status=task_status,
                )

            await tasks.start(serve)
            yield Served(lambda_, receiver, receive)
            stop.set()
            receiver.abort()


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_batch_reaches_the_stream_with_its_sequence_id(server: ServerName, method: str) -> None:
    async with serving(server) as served:
        assert await served.post([log("a"), log("b")], method=method, sequence_id="s1") == 200
        batch = served.batches.receive_nowait()
        assert batch.sequence_id == "s1"
        assert len(batch) == 2
        assert [event.record for event in batch] == ["a", "b"]
        assert isinstance(batch.events[0], FunctionLog)
        assert served.counters.received_bytes == batch.size > 0


async def test_other_methods_are_not_allowed(server: ServerName) -> None:
    async with serving(server) as served:
        assert await served.post(b"", method="GET") == 405
        assert served.counters.received_batches == 0


async def test_a_body_in_many_chunks_is_read_whole(server: ServerName) -> None:
    async with serving(server) as served, await served.connect() as connection:
        await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b'[{"time":"t","type":"fun', b'ction","record":"a"}', b"]"):
            await connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        await connection.send(b"0\r\n\r\n")
        assert (await connection.receive()).startswith(b"HTTP/1.1 200")
        assert len(served.batches.receive_nowait()) == 1


async def test_a_peer_that_leaves_in_the_middle_leaves_nothing(server: ServerName) -> None:
    async with serving(server) as served:
        async with await served.connect() as connection:
            await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
        assert await served.post([log("a")]) == 200
        assert served.counters.received_batches == 1
        assert served.counters.refused_bodies == 0


async def test_a_body_over_the_cap_is_refused_and_the_next_taken(
    server: ServerName, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(server, max_body_bytes=1000) as served:
        assert await served.post([log("x" * 200_000)]) == 413
        assert await served.post([log("a")]) == 200
        assert served.counters.refused_bodies == 1
        assert "longer than 1000 bytes" in caplog.text


async def test_what_is_refused_is_counted_in_events_and_said_without_a_flood(
    server: ServerName, caplog: pytest.LogCaptureFixture
) -> None:
    events = json.dumps([log("canary")] * 50).encode()
    async with serving(server, max_body_bytes=1000) as served:
        assert await served.post(events) == 413
        counted = served.counters.refused_events
        assert 49 <= counted <= 50  # one may begin on either side of a cut
        for number in range(11):
            assert await served.post(b'{"time":"canary %d"}{"time":""}' % number) == 400
        assert await served.post(b"canary") == 400
        assert served.counters.refused_events == counted + 2 * 11 + 1
        served.receiver.sum_up()
    refused = [message.removeprefix("refused a telemetry body ") for message in caplog.messages if "refused" in message]
    assert refused == [
        "that is longer than 1000 bytes (1 so far)",
        "that is not a JSON array of events (1 so far)",
        "that is not a JSON array of events (10 so far)",
        "that is not a JSON array of events (12 in all)",
    ]
    assert "canary" not in caplog.text


async def test_nothing_is_logged_of_a_server_that_does_its_work(
    server: ServerName, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="lambda_extension")
    async with serving(server) as served:
        assert await served.post([log("a")]) == 200
    assert [record.message for record in caplog.records if record.levelno >= logging.INFO] == []


@pytest.mark.parametrize("culprit", [b'"cut \\ud83d"', b"NaN", b'"\x01"', b'"'])
async def test_one_hopeless_record_costs_its_batch_nothing(server: ServerName, culprit: bytes) -> None:
    good = json.dumps(log("a")).encode()
    async with serving(server) as served:
        assert await served.post(b'[%s,{"time":"t","type":"function","record":%s},%s]' % (good, culprit, good)) == 200
        assert [type(event) for event in served.batches.receive_nowait()] == [FunctionLog, UnknownEvent, FunctionLog]
        assert (served.counters.received_events, served.counters.unknown_events) == (3, 1)
        assert served.counters.refused_events == 0


async def test_what_is_no_array_is_refused_once_and_then_let_pass(
    server: ServerName, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(server) as served:
        assert await served.post(b"{}") == 400
        assert await served.post(b"{}") == 200
        assert await served.post(b"nonsense") == 400
        assert served.counters.refused_bodies == 2
        assert served.counters.received_batches == 0
        assert caplog.text.count("refused a telemetry body") == 1


async def test_a_retry_is_delivered_once_and_nothing_else_is_taken_for_one(server: ServerName) -> None:
    async with serving(server) as served:
        for sequence_id, events in [
            ("s1", [log("a")]),
            ("s1", [log("a")]),  # a retry
            ("s2", [log("a")]),  # another id
            ("s2", [log("b")]),  # other bytes
            (None, [log("b")]),  # no id
            (None, [log("b")]),
            ("s1", [log("a")]),  # seen before, but not right before
        ]:
            assert await served.post(events, sequence_id=sequence_id) == 200
        assert served.counters.received_batches == 6
        assert served.counters.repeated_batches == 1


async def test_a_full_stream_keeps_the_answer_back_until_there_is_room(server: ServerName) -> None:
    async with serving(server, buffered=1) as served, anyio.create_task_group() as tasks:
        assert await served.post([log("a")]) == 200
        statuses: list[int] = []

        async def second() -> None:
            statuses.append(await served.post([log("b")]))

        tasks.start_soon(second)
        await served.wait_until_one_waits()
        assert statuses == []
        assert served.counters.received_batches == 1
        await served.batches.receive()
        await served.receiver.wait_batch()
        assert served.counters.received_batches == 2
    assert statuses == [200]


async def test_a_closed_stream_answers_503_so_that_nothing_counts_as_acknowledged(server: ServerName) -> None:
    async with serving(server) as served:
        served.batches.close()
        assert await served.post([log("a")], sequence_id="s") == 503
        assert await served.post([log("a")], sequence_id="s") == 503
        assert (served.counters.received_batches, served.counters.rejected_batches) == (0, 2)


async def test_abort_answers_what_waits_with_503(server: ServerName) -> None:
    async with serving(server, buffered=1) as served, anyio.create_task_group() as tasks:
        assert await served.post([log("a")]) == 200
        statuses: list[int] = []

        async def second() -> None:
            statuses.append(await served.post([log("b")]))

        tasks.start_soon(second)
        await served.wait_until_one_waits()
        served.receiver.abort()
        while not statuses:
            await anyio.lowlevel.checkpoint()
        assert statuses == [503]
        assert served.counters.rejected_batches == 1


async def test_drops_are_summed_and_said_once_a_burst(server: ServerName, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(server) as served:
        for events in ([dropped(3, 300)], [log("a"), dropped(4, 400)], [log("b")], [dropped(1, 10)]):
            assert await served.post(events) == 200
        assert (served.counters.dropped_events, served.counters.dropped_bytes) == (8, 710)
        assert caplog.messages.count("Lambda dropped 3 telemetry events: they are taken too slowly") == 1
        assert len([message for message in caplog.messages if "dropped" in message]) == 2


async def test_unknown_events_are_counted_and_open_requests_followed(
    server: ServerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_extension.telemetry._app._MOST_OPEN", 2)
    async with serving(server) as served:
        await served.post([{"type": "novelty"}, start("r1"), start("r2"), report("r1"), report("never started")])
        assert served.counters.unknown_events == 1
        assert list(served.receiver.open_requests) == ["r2"]
        await served.post([start("r3"), start("r4")])
        assert list(served.receiver.open_requests) == ["r3", "r4"]


async def test_a_request_stalled_in_its_body_does_not_hold_up_the_end(server: ServerName) -> None:
    async with serving(server) as served:
        connection = await served.connect()
        await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
        assert await served.post([log("a")]) == 200
    await connection.aclose()
