"""The examples as extensions, against moto's server and one that is strict about Loki's format."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import boto3
import pytest
from moto.server import ThreadedMotoServer

from http_servers import QuietHandler, serving
from lambda_extension import Registration
from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator
from script_backends import command_on

SINKS = Path(__file__).parents[2] / "examples/sinks"
REGISTRATION = Registration(extension_id="1", extension_name="test", function_name="f", function_version="1")
TIME = "2026-03-01T23:59:59.123Z"
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}


async def run_as_extension(script: Path, environment: dict[str, str], anyio_backend: Any) -> list[str]:
    """Run an example as a process for five invocations of two lines each; give the lines that must arrive."""
    backend, options = anyio_backend
    if options.get("use_uvloop"):
        pytest.skip("a script chooses its event loop by itself")
    turns = [
        ScriptedFunction(log_lines=[f"order {turn} accepted", f"order {turn} shipped"], latency=0.05)
        for turn in range(5)
    ]
    first = ScriptedFunction(log_lines=turns[0].log_lines, then=turns[1:])
    command = command_on(backend, script)
    with anyio.fail_after(60):
        async with Simulator(
            [ExtensionSpec(command, name=script.name)], first, timeout=20, init_timeout=30, environment=environment
        ) as lambda_:
            results = await lambda_.invoke_many(5)
            shutdown = await lambda_.shutdown()
    output = [entry.detail["text"] for entry in lambda_.record.find("output") if entry.who == script.name]
    assert [result.status for result in results] == ["success"] * 5, output
    assert shutdown.exit_codes[script.name] == 0
    assert shutdown.late == ()
    return [line for turn in turns for line in turn.log_lines]


def function_lines(documents: list[bytes]) -> Counter[str]:
    events = [json.loads(line) for document in documents for line in document.splitlines()]
    return Counter(str(event["body"]) for event in events if event["type"] == "function")


class AWS:
    """moto's server, and a bucket and a delivery stream of the test's own in it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.bucket = self.stream = f"test-{uuid4().hex}"
        self.s3 = self._client("s3")
        self.s3.create_bucket(Bucket=self.bucket)

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="k",
            aws_secret_access_key="s",
        )

    def create_stream(self) -> None:
        arns = {"RoleARN": "arn:aws:iam::123456789012:role/f", "BucketARN": f"arn:aws:s3:::{self.bucket}"}
        self._client("firehose").create_delivery_stream(
            DeliveryStreamName=self.stream, DeliveryStreamType="DirectPut", S3DestinationConfiguration=arns
        )

    def objects(self) -> dict[str, bytes]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        return {key: self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> AWS:
    for name, text in {**KEYS, "AWS_ENDPOINT_URL": moto_endpoint}.items():
        monkeypatch.setenv(name, text)
    return AWS(moto_endpoint)


async def test_the_sink_of_the_documentation_takes_each_line_once(anyio_backend: Any, tmp_path: Path) -> None:
    page = (SINKS.parents[1] / "docs/howto/write-a-sink.md").read_text()
    code, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    script = tmp_path / "documented.py"
    taken = tmp_path / "taken"
    # Into a file, which the log lines of the extension itself do not get into.
    to_file = code.replace("flush=True", f"flush=True, file=open({str(taken)!r}, 'a')")
    assert to_file != code
    script.write_text(to_file)
    expected = await run_as_extension(script, {}, anyio_backend)
    batches = [json.loads(line.partition(" events ")[2]) for line in taken.read_text().splitlines()]
    events = [event for batch in batches for event in batch if event["type"] == "function"]
    assert Counter(event["record"] for event in events) == Counter(expected)


async def test_firehose_as_an_extension_delivers_each_line_once(aws: AWS, anyio_backend: Any) -> None:
    aws.create_stream()
    environment = {"DELIVERY_STREAM": aws.stream, "AWS_ENDPOINT_URL": aws.endpoint}
    expected = await run_as_extension(SINKS / "firehose.py", environment, anyio_backend)
    assert function_lines(list(aws.objects().values())) == Counter(expected)


async def test_s3_as_an_extension_delivers_each_line_once(aws: AWS, anyio_backend: Any) -> None:
    environment = {"BUCKET": aws.bucket, "PREFIX": "logs", "AWS_ENDPOINT_URL": aws.endpoint}
    expected = await run_as_extension(SINKS / "s3.py", environment, anyio_backend)
    objects = aws.objects()
    assert all(re.fullmatch(r"logs/\d{4}/\d\d/\d\d/[0-9a-f]{32}\.ndjson\.gz", key) for key in objects)
    assert function_lines([gzip.decompress(body) for body in objects.values()]) == Counter(expected)


class Loki:
    """Takes pushes as Loki does: anything that is not the documented format is refused with 400."""

    def __init__(self) -> None:
        self.entries: Counter[tuple[str, str, int, str]] = Counter()
        self.refusals: list[str] = []
        self.authorizations: list[str | None] = []
        loki = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                loki.authorizations.append(self.headers["Authorization"])
                try:
                    loki.take(self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"])))
                except (ValueError, AssertionError, KeyError) as error:
                    loki.refusals.append(repr(error))
                self.answer(400 if loki.refusals else 204)

        self.handler = Handler

    def take(self, path: str, headers: Any, body: bytes) -> None:
        assert path == "/loki/api/v1/push"
        assert headers["Content-Type"] == "application/json"
        assert headers["Content-Encoding"] == "gzip"
        push = json.loads(gzip.decompress(body))
        assert set(push) == {"streams"}
        assert push["streams"]
        for stream in push["streams"]:
            assert set(stream) == {"stream", "values"}
            labels = stream["stream"]
            assert set(labels) == {"function", "source"}
            assert all(isinstance(text, str) and text for text in labels.values())
            assert stream["values"]
            for moment, line, metadata in stream["values"]:
                assert re.fullmatch(r"[0-9]{19}", moment)
                assert isinstance(line, str)
                assert all(isinstance(text, str) for text in metadata.values())
                self.entries[labels["function"], metadata["type"], int(moment), line] += 1

    def lines(self, event_type: str) -> Counter[str]:
        counts: Counter[str] = Counter()
        for (_, kind, _, line), count in self.entries.items():
            if kind == event_type:
                counts[line] += count
        return counts


async def test_loki_as_an_extension_delivers_each_line_once(anyio_backend: Any) -> None:
    there = Loki()
    with serving(there.handler) as url:
        environment = {"LOKI_URL": url, "LOKI_AUTHORIZATION": "Bearer token"}
        expected = await run_as_extension(SINKS / "loki.py", environment, anyio_backend)
    assert there.refusals == []
    assert there.lines("function") == Counter(expected)
    assert there.lines("platform.runtimeDone").total() == 5
    assert set(there.authorizations) == {"Bearer token"}
