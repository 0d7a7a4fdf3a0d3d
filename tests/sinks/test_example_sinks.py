"""The example sinks, as extensions in the simulator, against what they are written for, on loopback."""

from __future__ import annotations

import gzip
import http.server
import importlib.util
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto.server import ThreadedMotoServer

from lambda_extension.delivery import Payload, SinkError
from lambda_extension.simulator import ExtensionSpec, FunctionContext, Simulator

SINKS = Path(__file__).parents[2] / "examples/sinks"
CREDENTIALS = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # of the simulator; `runs_on` is that of the extension


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """Run moto's server; give its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


RUN = """
import functools, runpy, sys, anyio
anyio.run = functools.partial(anyio.run, backend=sys.argv[1])
runpy.run_path(sys.argv[2], run_name="__main__")
"""


async def run(name: str, runs_on: str, environment: dict[str, str]) -> list[str]:
    """Run an example for five invocations of four lines each; return the lines."""
    command = [sys.executable, "-c", RUN, runs_on, str(SINKS / name)]

    async def function(event: Any, context: FunctionContext) -> None:
        for number in range(4):
            context.log(f"line {number} of {context.request_id}")

    spec = ExtensionSpec(command, name=name, environment=environment)
    async with Simulator([spec], function, timeout=20) as lambda_:
        results = await lambda_.invoke_many(5)
        report = await lambda_.shutdown()
    assert [result.status for result in results] == ["success"] * 5
    assert report.exit_codes[name] == 0, lambda_.record.story()
    return [f"line {number} of {result.request_id}" for result in results for number in range(4)]


def logged(events: list[Any]) -> Counter[str]:
    return Counter(event["record"] for event in events if event["type"] == "function")


def objects(aws: str, bucket: str) -> list[tuple[str, bytes]]:
    s3 = boto3.client("s3", endpoint_url=aws, **CREDENTIALS)
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return [(key, s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys]


@pytest.mark.parametrize("runs_on", ["asyncio", "trio"])
async def test_firehose_takes_every_line_once(aws: str, runs_on: str, tmp_path: Path) -> None:
    bucket = f"firehose-{runs_on}"
    boto3.client("s3", endpoint_url=aws, **CREDENTIALS).create_bucket(Bucket=bucket)
    boto3.client("firehose", endpoint_url=aws, **CREDENTIALS).create_delivery_stream(
        DeliveryStreamName=bucket,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            "BucketARN": f"arn:aws:s3:::{bucket}",
        },
    )
    settings = {"DELIVERY_STREAM": bucket, "AWS_ENDPOINT_URL": aws, "TMPDIR": str(tmp_path)}
    lines = await run("firehose.py", runs_on, settings)
    events = [json.loads(line) for _, body in objects(aws, bucket) for line in body.splitlines()]
    assert logged(events) == Counter(lines)


@pytest.mark.parametrize("runs_on", ["asyncio", "trio"])
async def test_s3_holds_every_line_once(aws: str, runs_on: str, tmp_path: Path) -> None:
    bucket = f"lines-{runs_on}"
    boto3.client("s3", endpoint_url=aws, **CREDENTIALS).create_bucket(Bucket=bucket)
    settings = {"BUCKET": bucket, "AWS_ENDPOINT_URL": aws, "TMPDIR": str(tmp_path)}
    lines = await run("s3.py", runs_on, settings)
    found = objects(aws, bucket)
    assert all(key.startswith("telemetry/") and key.endswith(".ndjson.gz") for key, _ in found)
    events = [json.loads(line) for _, body in found for line in gzip.decompress(body).splitlines()]
    assert logged(events) == Counter(lines)


class Loki(http.server.BaseHTTPRequestHandler):
    """Takes what Loki's push API takes, and refuses everything else."""

    protocol_version = "HTTP/1.1"
    lines: Counter[str]
    types: set[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        problem = self._problem(body)
        self.send_response(400 if problem else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _problem(self, body: bytes) -> bool:
        if self.path != "/loki/api/v1/push" or self.headers["Content-Type"] != "application/json":
            return True
        for stream in json.loads(gzip.decompress(body))["streams"]:
            labels, values = stream["stream"], stream["values"]
            for nanoseconds, line in values:
                if len(nanoseconds) != 19 or not isinstance(line, str):
                    return True
                self.types.add(labels["type"])
                if labels["type"] == "function" and labels["function"]:
                    self.lines[line] += 1
        return False

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the standard library
        pass


@pytest.mark.parametrize("runs_on", ["asyncio", "trio"])
async def test_loki_gets_streams_with_labels_and_nanoseconds(runs_on: str, tmp_path: Path) -> None:
    class Handler(Loki):
        lines: Counter[str] = Counter()  # noqa: RUF012 - of one server
        types: set[str] = set()  # noqa: RUF012 - of one server

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/loki/api/v1/push"
        try:
            lines = await run("loki.py", runs_on, {"LOKI_URL": url, "TMPDIR": str(tmp_path)})
        finally:
            server.shutdown()
            thread.join()
    assert Handler.lines == Counter(lines)
    assert {"platform.start", "platform.report"} <= Handler.types


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", SINKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ScriptedClient:
    """Answers, or fails, as told."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.sent: list[list[bytes]] = []

    def put_record_batch(self, *, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> Any:  # noqa: N803
        self.sent.append([record["Data"] for record in Records])
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return {"RequestResponses": [{"ErrorCode": "x"} if failed else {"RecordId": "1"} for failed in step]}

    def put_object(self, **_: Any) -> None:
        raise self.script.pop(0)


PAYLOAD = Payload(id="1", body=b"a\nb\nc\n", items=3, content_type="application/x-ndjson")


async def test_firehose_sends_again_only_the_records_that_were_not_taken() -> None:
    sink = load("firehose").FirehoseSink("stream")
    sink._client = client = ScriptedClient([False, True, True], [True, False], [True], [True], [False])
    with pytest.raises(SinkError, match="1 of 3 records") as caught:
        await sink.send(PAYLOAD)
    assert caught.value.retryable
    await sink.send(PAYLOAD)
    assert client.sent == [[b"a\n", b"b\n", b"c\n"], [b"b\n", b"c\n"], [b"b\n"], [b"b\n"], [b"b\n"]]


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [("ThrottlingException", 429, True), ("ServiceUnavailableException", 503, True), ("AccessDenied", 403, False)],
)
async def test_refusals_of_aws_are_tried_again_where_that_may_help(code: str, status: int, retryable: bool) -> None:
    error = ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Put")
    firehose, s3 = load("firehose").FirehoseSink("stream"), load("s3").S3Sink("bucket", "")
    for sink in (firehose, s3):
        sink._client = ScriptedClient(error)
        with pytest.raises(SinkError) as caught:
            await sink.send(PAYLOAD)
        assert caught.value.retryable == retryable
        assert caught.value.keep
        sink._client = ScriptedClient(EndpointConnectionError(endpoint_url="http://x"))
        with pytest.raises(ConnectionError):
            await sink.send(PAYLOAD)
