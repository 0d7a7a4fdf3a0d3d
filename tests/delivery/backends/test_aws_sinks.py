"""The sinks of AWS against moto's server, and against boto3's stubs for what moto never answers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ConnectionClosedError
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer
from records_for_backends import HOSTILE, KEPT, hostile, log, payload_of, time_of

from lambda_extension import Registration
from lambda_extension.delivery import Delivery, SinkError
from lambda_extension.delivery.sinks import FirehoseSink, KinesisSink, S3Sink, SQSSink
from lambda_extension.telemetry import FunctionLog

REGISTRATION = Registration(extension_id="1", extension_name="x", function_name="orders", function_version="12")
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def endpoint(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": moto}.items():
        monkeypatch.setenv(name, value)
    return moto


def client(service: str) -> Any:
    return boto3.client(service)


def bodies(lines: bytes) -> list[str]:
    return [json.loads(each)["body"] for each in lines.decode().split("\n") if each]


async def test_s3_has_an_object_per_payload_and_each_once(endpoint: str) -> None:
    bucket = f"b-{uuid4().hex}"
    client("s3").create_bucket(Bucket=bucket)
    sink = S3Sink(bucket, prefix="/logs/")
    await sink.open()
    for _ in range(2):  # as when the answer got lost
        await sink.send(payload_of(sink.encoder, hostile("m")))
    (found,) = client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert found["Key"] == f"logs/{time_of(0)[:10].replace('-', '/')}/batch-1.ndjson.gz"
    body = client("s3").get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
    assert bodies(gzip.decompress(body)) == list(KEPT.values())


async def test_s3_takes_payloads_without_compression_and_without_time(endpoint: str) -> None:
    bucket = f"b-{uuid4().hex}"
    client("s3").create_bucket(Bucket=bucket)
    sink = S3Sink(bucket, prefix="", compression=None)
    await sink.send(payload_of(sink.encoder, [log("m").replace(time="")]))
    (found,) = client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert found["Key"] == "undated/batch-1.ndjson"


async def test_kinesis_has_a_record_for_each_in_order(endpoint: str) -> None:
    stream = f"s-{uuid4().hex}"
    kinesis = client("kinesis")
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    sink = KinesisSink(stream)
    await sink.open()
    await sink.send(payload_of(sink.encoder, hostile("m")))
    shard = kinesis.list_shards(StreamName=stream)["Shards"][0]["ShardId"]
    place = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    records = kinesis.get_records(ShardIterator=place["ShardIterator"])["Records"]
    assert [bodies(each["Data"])[0] for each in records] == list(KEPT.values())


async def test_firehose_has_a_record_for_each(endpoint: str) -> None:
    name = f"f-{uuid4().hex}"
    client("s3").create_bucket(Bucket=name)
    arns = {"RoleARN": "arn:aws:iam::123456789012:role/f", "BucketARN": f"arn:aws:s3:::{name}"}
    client("firehose").create_delivery_stream(
        DeliveryStreamName=name, DeliveryStreamType="DirectPut", S3DestinationConfiguration=arns
    )
    sink = FirehoseSink(name)
    await sink.open()
    await sink.send(payload_of(sink.encoder, hostile("m")))
    keys = [each["Key"] for each in client("s3").list_objects_v2(Bucket=name)["Contents"]]
    stored = b"".join(client("s3").get_object(Bucket=name, Key=key)["Body"].read() for key in keys)
    assert bodies(stored) == list(KEPT.values())


@pytest.mark.parametrize("fifo", [False, True])
async def test_sqs_has_a_message_per_payload(endpoint: str, fifo: bool) -> None:
    name = f"q-{uuid4().hex}{'.fifo' if fifo else ''}"
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if fifo else {})["QueueUrl"]
    sink = SQSSink(url)
    await sink.open()
    records = [log(f"{body} \ufffe\uffff", n) for n, body in enumerate(KEPT.values()) if len(body) < 1000]
    for _ in range(2):
        await sink.send(payload_of(sink.encoder, records))
    messages = []
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for each in found:
            messages.append(each["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    assert len(messages) == (1 if fifo else 2), "a FIFO queue drops what it has"
    assert bodies(messages[0].encode()) == [record.body for record in records]
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
    assert all(character in "\t\n\r" or " " <= character <= "\ud7ff" or "\ue000" <= character <= "\ufffd" or character > "\uffff" for character in messages[0])  # fmt: skip  # noqa: E501


async def test_of_a_call_in_parts_only_what_was_refused_goes_again() -> None:
    firehose = boto3.client("firehose", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")
    good, bad = {"RecordId": "1"}, {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow"}
    with Stubber(firehose) as stub:
        stub.add_response("put_record_batch", {"FailedPutCount": 1, "RequestResponses": [good, bad, good]})
        stub.add_response("put_record_batch", {"FailedPutCount": 0, "RequestResponses": [good]})
        delivery = Delivery(FirehoseSink("s", client=firehose), spill=None)
        await delivery.init(REGISTRATION)
        await delivery.process([FunctionLog(time=time_of(n), record=f"line {n}") for n in range(3)])
        await delivery.flush()
        stub.assert_no_pending_responses()
    statistics = delivery.statistics()
    assert (statistics.delivered, statistics.dropped) == (3, 0)


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [
        ("ProvisionedThroughputExceededException", 400, True),
        ("InternalFailure", 500, True),
        ("AccessDeniedException", 400, False),
        ("ResourceNotFoundException", 400, False),
    ],
)
async def test_what_aws_refuses_is_kept_and_tried_again_where_that_helps(
    code: str, status: int, retryable: bool
) -> None:
    kinesis = boto3.client("kinesis", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")
    sink = KinesisSink("s", client=kinesis)
    with Stubber(kinesis) as stub:
        stub.add_client_error("put_records", code, http_status_code=status)
        with pytest.raises(SinkError, match=f"kinesis answered {code}") as raised:
            await sink.send(payload_of(sink.encoder, [log("m")]))
    assert (raised.value.retryable, raised.value.keep) == (retryable, True)


async def test_a_stale_connection_is_one_that_broke() -> None:
    class Stale:
        def send_message(self, **_: Any) -> None:
            raise ConnectionClosedError(endpoint_url="https://sqs")

    sink = SQSSink("https://sqs/q", client=Stale())
    with pytest.raises(ConnectionResetError):
        await sink.send(payload_of(sink.encoder, [log("m")]))


def test_limits_are_those_that_aws_documents() -> None:
    for sink, items, most, event in (
        (FirehoseSink("s"), 500, 4 * 1024 * 1024, 1000 * 1024),
        (KinesisSink("s"), 500, 5 * 1024 * 1024, 1024 * 1024),
        (SQSSink("q"), None, 256 * 1024, 256 * 1024),
    ):
        limits = sink.encoder.limits
        assert limits.items == items
        assert (limits.bytes or 0) <= most
        assert (limits.event_bytes or 0) <= event
    assert len(HOSTILE) == len(KEPT)
