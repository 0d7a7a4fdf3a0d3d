"""Sinks that block in threads: nobody waits for one when the time is over, and nothing is tried twice by the client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import anyio
import anyio.to_thread
import pytest
from records_for_backends import log, payload_of

from http_servers import serving
from lambda_extension.delivery.sinks import FirehoseSink, KinesisSink, S3Sink, SQSSink

SINKS: dict[str, Callable[[str], Any]] = {
    "firehose": lambda url: FirehoseSink("stream"),
    "kinesis": lambda url: KinesisSink("stream"),
    "s3": lambda url: S3Sink("bucket", prefix="f"),
    "sqs": lambda url: SQSSink(f"{url}/1/queue"),
}


@contextmanager
def as_aws(handler: type[BaseHTTPRequestHandler], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    with serving(handler) as url:
        for name, value in {**keys, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        yield url


@pytest.mark.parametrize("name", SINKS)
async def test_a_connection_that_broke_is_tried_again_by_the_library_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[object] = []

    class Hangup(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            requests.append(self.client_address)
            self.close_connection = True
            return False

    with as_aws(Hangup, monkeypatch) as url:
        sink = SINKS[name](url)
        await sink.open()
        with pytest.raises(ConnectionResetError):
            await sink.send(payload_of(sink.encoder, [log("m")]))
    assert len(requests) == 1


@pytest.mark.parametrize("name", SINKS)
async def test_a_send_whose_time_is_over_does_not_wait_for_its_thread(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, released = threading.Event(), threading.Event()

    class Hang(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            asked.set()
            self.close_connection = True
            released.wait(10)
            return False

    with as_aws(Hang, monkeypatch) as url:
        sink = SINKS[name](url)
        await sink.open()
        ended = anyio.Event()

        async def send() -> None:
            with scope:
                await sink.send(payload_of(sink.encoder, [log("m")]))
            ended.set()

        scope = anyio.CancelScope()
        try:
            with anyio.fail_after(5):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(send)
                    await anyio.to_thread.run_sync(asked.wait)
                    scope.cancel()
                    await ended.wait()
            assert not released.is_set()
        finally:
            released.set()
