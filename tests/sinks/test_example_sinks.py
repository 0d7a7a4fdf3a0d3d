"""The example sinks against what they are for: moto's server, a server that is strict about Loki's format."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import anyio
import boto3
import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer

from lambda_extension import Registration
from lambda_extension.delivery import Batching, Delivery, HTTPSink, Payload, SinkError
from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator
from lambda_extension.telemetry import FunctionLog, PlatformStart, StartRecord, UnknownEvent

SINKS = Path(__file__).parents[2] / "examples/sinks"
REGISTRATION = Registration(extension_id="1", extension_name="test", function_name="f", function_version="1")
TIME = "2026-03-01T23:59:59.123Z"
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}

# Runs a script as if it had asked for the other backend.
AS_BACKEND = """
import functools, runpy, sys, anyio
anyio.run = functools.partial(anyio.run, backend=sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_sink_{name}", SINKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


firehose, loki, s3 = example("firehose"), example("loki"), example("s3")


def logs(*records: str) -> list[FunctionLog]:
    return [FunctionLog(time=TIME, record=record) for record in records]


def lines(count: int) -> list[str]:
    return [f"order {number} accepted" for number in range(count)]


def payload(*records: str, encoder: Any, payload_id: str = "batch-1") -> Payload:
    body = encoder.join([encoder.encode_event(event) for event in logs(*records)])
    if encoder.compression == "gzip":
        body = gzip.compress(body)
    return Payload(
        id=payload_id,
        body=body,
        items=len(records),
        content_type=encoder.content_type,
        content_encoding=encoder.compression,
    )


async def deliver(sink: Any, records: list[str], **settings: Any) -> Delivery:
    delivery = Delivery(sink, spill=None, **settings)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(*records))
    await delivery.flush()
    return delivery


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
    command = [sys.executable, "-c", AS_BACKEND, backend, str(script)]
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
    return Counter(str(event["record"]) for event in events if event["type"] == "function")


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


class Stubbed:
    """A sink's client with answers, which checks each call's parameters; a call more than answers fails."""

    def __init__(self, sink: Any, service: str) -> None:
        self.client = sink.client = boto3.client(
            service, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )
        self.calls = Stubber(self.client)
        self.calls.activate()


async def test_the_sink_of_the_documentation_takes_each_line_once(anyio_backend: Any, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (SINKS.parents[1] / "docs/sinks.md").read_text(), re.DOTALL)
    script = tmp_path / "documented.py"
    taken = tmp_path / "taken"
    # Into a file, which the log lines of the extension itself do not get into.
    script.write_text(code.replace("payload.body.decode())", f"payload.body.decode(), file=open({str(taken)!r}, 'a'))"))
    expected = await run_as_extension(script, {}, anyio_backend)
    batches = [json.loads(line.partition(" events ")[2]) for line in taken.read_text().splitlines()]
    events = [event for batch in batches for event in batch if event["type"] == "function"]
    assert Counter(event["record"] for event in events) == Counter(expected)


# Firehose


def put(stub: Stubbed, records: list[bytes], refused: tuple[int, ...] = ()) -> None:
    results = [
        {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."} if place in refused else {}
        for place in range(len(records))
    ]
    stub.calls.add_response(
        "put_record_batch",
        {
            "FailedPutCount": len(refused),
            "RequestResponses": [result or {"RecordId": f"record-{place}"} for place, result in enumerate(results)],
        },
        {"DeliveryStreamName": "stream", "Records": [{"Data": record} for record in records]},
    )


async def test_firehose_as_an_extension_delivers_each_line_once(aws: AWS, anyio_backend: Any) -> None:
    aws.create_stream()
    environment = {"DELIVERY_STREAM": aws.stream, "AWS_ENDPOINT_URL": aws.endpoint}
    expected = await run_as_extension(SINKS / "firehose.py", environment, anyio_backend)
    assert function_lines(list(aws.objects().values())) == Counter(expected)


async def test_firehose_sends_more_than_500_records_in_several_calls(aws: AWS) -> None:
    aws.create_stream()
    delivery = await deliver(firehose.Firehose(aws.stream), lines(1201))
    assert delivery.statistics().delivered == 1201
    documents = list(aws.objects().values())
    assert sorted(len(document.splitlines()) for document in documents) == [201, 500, 500]
    assert function_lines(documents) == Counter(lines(1201))


async def test_firehose_keeps_each_call_below_4_mib(aws: AWS) -> None:
    aws.create_stream()
    big = [f"{number}{'x' * 900_000}" for number in range(6)]
    delivery = await deliver(firehose.Firehose(aws.stream), big, batching=Batching(max_bytes=16 * 1024 * 1024))
    assert delivery.statistics().delivered == 6
    documents = list(aws.objects().values())
    assert sorted(len(document.splitlines()) for document in documents) == [2, 4]
    assert function_lines(documents) == Counter(big)


async def test_firehose_leaves_out_an_event_longer_than_a_record(aws: AWS) -> None:
    aws.create_stream()
    delivery = await deliver(firehose.Firehose(aws.stream), ["short", "x" * 1000 * 1024])
    assert delivery.statistics().delivered == 1
    assert function_lines(list(aws.objects().values())) == Counter(["short"])


async def test_firehose_sends_again_only_the_records_that_were_refused() -> None:
    sink = firehose.Firehose("stream")
    batch = payload(*lines(4), encoder=sink.encoder)
    a, b, c, d = batch.body.splitlines(keepends=True)
    stub = Stubbed(sink, "firehose")
    put(stub, [a, b, c, d], refused=(1, 3))
    put(stub, [b, d], refused=(0,))
    put(stub, [b])
    await sink.send(batch)
    stub.calls.assert_no_pending_responses()


async def test_firehose_gives_up_on_records_refused_again_and_goes_on_with_them_later() -> None:
    sink = firehose.Firehose("stream")
    batch = payload(*lines(3), encoder=sink.encoder)
    a, b, c = batch.body.splitlines(keepends=True)
    stub = Stubbed(sink, "firehose")
    put(stub, [a, b, c], refused=(2,))
    put(stub, [c], refused=(0,))
    put(stub, [c], refused=(0,))
    with pytest.raises(SinkError, match=r"refused 1 of 3 records: ServiceUnavailableException") as caught:
        await sink.send(batch)
    assert caught.value.retryable
    put(stub, [c])
    await sink.send(batch)
    other = payload("another", encoder=sink.encoder, payload_id="batch-2")
    put(stub, [other.body])
    await sink.send(other)
    stub.calls.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [
        ("ServiceUnavailableException", 503, True),
        ("ThrottlingException", 400, True),
        ("InternalFailure", 500, True),
        ("AccessDeniedException", 400, False),
        ("ResourceNotFoundException", 400, False),
    ],
)
async def test_firehose_says_whether_to_try_again(code: str, status: int, retryable: bool) -> None:
    sink = firehose.Firehose("stream")
    Stubbed(sink, "firehose").calls.add_client_error("put_record_batch", code, "because", status)
    with pytest.raises(SinkError, match="because") as caught:
        await sink.send(payload("line", encoder=sink.encoder))
    assert (caught.value.retryable, caught.value.keep) == (retryable, True)


async def test_firehose_without_its_stream_keeps_everything(aws: AWS) -> None:
    delivery = await deliver(firehose.Firehose("missing"), lines(3))
    assert delivery.statistics().buffered == 3


# S3


async def test_s3_as_an_extension_delivers_each_line_once(aws: AWS, anyio_backend: Any) -> None:
    environment = {"BUCKET": aws.bucket, "PREFIX": "logs", "AWS_ENDPOINT_URL": aws.endpoint}
    expected = await run_as_extension(SINKS / "s3.py", environment, anyio_backend)
    objects = aws.objects()
    assert all(re.fullmatch(r"logs/\d{4}/\d\d/\d\d/[0-9a-f]{32}\.ndjson\.gz", key) for key in objects)
    assert function_lines([gzip.decompress(body) for body in objects.values()]) == Counter(expected)


async def test_s3_overwrites_a_batch_that_is_sent_again(aws: AWS) -> None:
    sink = s3.S3(aws.bucket, "f")
    await sink.open()
    batch = payload(*lines(3), encoder=sink.encoder)
    await sink.send(batch)
    await sink.send(batch)
    objects = aws.objects()
    assert list(objects) == ["f/2026/03/01/batch-1.ndjson.gz"]
    assert function_lines([gzip.decompress(body) for body in objects.values()]) == Counter(lines(3))
    head = aws.s3.head_object(Bucket=aws.bucket, Key="f/2026/03/01/batch-1.ndjson.gz")
    assert (head["ContentType"], head["ContentEncoding"]) == ("application/x-ndjson", "gzip")


async def test_s3_stores_events_without_a_time_as_undated(aws: AWS) -> None:
    sink = s3.S3(aws.bucket, "f")
    await sink.open()
    body = sink.encoder.join([sink.encoder.encode_event(UnknownEvent(raw=b'{"type":"new"}'))])
    await sink.send(
        Payload(id="a", body=gzip.compress(body), items=1, content_type="application/x-ndjson", content_encoding="gzip")
    )
    assert list(aws.objects()) == ["f/undated/a.ndjson.gz"]


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [
        ("SlowDown", 503, True),
        ("InternalError", 500, True),
        ("RequestTimeout", 400, True),
        ("OperationAborted", 409, True),
        ("AccessDenied", 403, False),
        ("NoSuchBucket", 404, False),
    ],
)
async def test_s3_says_whether_to_try_again(code: str, status: int, retryable: bool) -> None:
    sink = s3.S3("bucket", "f")
    Stubbed(sink, "s3").calls.add_client_error("put_object", code, "because", status)
    with pytest.raises(SinkError, match="because") as caught:
        await sink.send(payload("line", encoder=sink.encoder))
    assert (caught.value.retryable, caught.value.keep) == (retryable, True)


@pytest.mark.parametrize("name", ["firehose", "s3"])
async def test_a_connection_that_broke_is_tried_again_at_once_by_the_library_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hangup(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            requests.append(self.client_address)
            self.close_connection = True
            return False

    requests: list[object] = []
    with serving(Hangup) as url:
        for variable, text in {**KEYS, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(variable, text)
        sink = firehose.Firehose("stream") if name == "firehose" else s3.S3("bucket", "f")
        await sink.open()
        with pytest.raises(ConnectionResetError):
            await sink.send(payload("line", encoder=sink.encoder))
    assert len(requests) == 1


@pytest.mark.parametrize("name", ["firehose", "s3"])
async def test_a_send_whose_time_is_over_does_not_wait_for_its_thread(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hang(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            self.close_connection = True
            released.wait(10)
            return False

    released = threading.Event()
    with serving(Hang) as url:
        for variable, text in {**KEYS, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(variable, text)
        sink = firehose.Firehose("stream") if name == "firehose" else s3.S3("bucket", "f")
        await sink.open()
        began = anyio.current_time()
        with anyio.move_on_after(0.2) as scope:
            await sink.send(payload("line", encoder=sink.encoder))
        took = anyio.current_time() - began
        released.set()
    assert scope.cancelled_caught
    assert took < 3


# Loki


class Loki:
    """Takes pushes as Loki does: anything that is not the documented format is refused with 400."""

    def __init__(self) -> None:
        self.entries: Counter[tuple[str, str, int, str]] = Counter()
        self.refusals: list[str] = []
        self.authorizations: list[str | None] = []
        loki = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                loki.authorizations.append(self.headers["Authorization"])
                try:
                    loki.take(self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"])))
                except (ValueError, AssertionError, KeyError) as error:
                    loki.refusals.append(repr(error))
                self.send_response(400 if loki.refusals else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

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
            assert set(labels) == {"function", "type"}
            assert all(isinstance(text, str) and text for text in labels.values())
            assert stream["values"]
            for moment, line in stream["values"]:
                assert re.fullmatch(r"[0-9]{19}", moment)
                assert isinstance(line, str)
                self.entries[labels["function"], labels["type"], int(moment), line] += 1

    def lines(self, event_type: str) -> Counter[str]:
        counts: Counter[str] = Counter()
        for (_, kind, _, line), count in self.entries.items():
            if kind == event_type:
                counts[line] += count
        return counts


class serving:  # noqa: N801 - reads as a statement
    """Serves a handler on a free port, in threads."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


async def test_loki_as_an_extension_delivers_each_line_once(anyio_backend: Any) -> None:
    there = Loki()
    with serving(there.handler) as url:
        environment = {"LOKI_URL": url, "LOKI_AUTHORIZATION": "Bearer token"}
        expected = await run_as_extension(SINKS / "loki.py", environment, anyio_backend)
    assert there.refusals == []
    assert there.lines("function") == Counter(expected)
    assert there.lines("platform.runtimeDone").total() == 5
    assert set(there.authorizations) == {"Bearer token"}


async def test_loki_keeps_equal_lines_of_one_millisecond_apart_and_in_order() -> None:
    there = Loki()
    with serving(there.handler) as url:
        encoder = loki.LokiPush(function="f")
        async with HTTPSink(f"{url}/loki/api/v1/push", encoder=encoder) as sink:
            await deliver(sink, ["same", "same", "last"])
    assert there.refusals == []
    assert set(there.entries.values()) == {1}
    entries = sorted((moment, line) for _, _, moment, line in there.entries)
    assert [line for _, line in entries] == ["same", "same", "last"]
    assert {moment // 1_000_000 for moment, _ in entries} == {1772409599123}


async def test_loki_gets_the_json_of_what_is_no_text() -> None:
    there = Loki()
    with serving(there.handler) as url:
        async with HTTPSink(f"{url}/loki/api/v1/push", encoder=loki.LokiPush(function="f")) as sink:
            delivery = await deliver(sink, [])
            await delivery.process(
                [
                    FunctionLog(time=TIME, record={"level": "INFO", "message": "order"}),
                    PlatformStart(time=TIME, record=StartRecord(request_id="r")),
                    UnknownEvent(raw=b'{"type":"platform.new"}', type="platform.new"),
                    UnknownEvent(raw=b"[]"),
                ]
            )
            await delivery.flush()
    assert there.refusals == []
    assert sorted((kind, line) for _, kind, _, line in there.entries) == [
        ("function", '{"level":"INFO","message":"order"}'),
        ("platform.new", '{"type":"platform.new"}'),
        ("platform.start", '{"requestId":"r"}'),
        ("unknown", "[]"),
    ]
