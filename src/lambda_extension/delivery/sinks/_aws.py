"""Sinks of AWS, through boto3 in worker threads: Data Firehose, Kinesis, S3, SQS."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, final

import anyio
import attrs

from lambda_extension._budget import THREAD_CONNECT_LIMIT, THREAD_READ_LIMIT
from lambda_extension._threads import in_daemon_thread
from lambda_extension.delivery._encoders import Compression
from lambda_extension.delivery._sinks import Limits, Payload, SinkError
from lambda_extension.records import Record

T = TypeVar("T")

# Faults that pass although their status is not 5xx.
_PASSING = frozenset(
    {
        "KMSThrottlingException",
        "OperationAborted",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
    }
)


class _Client:
    """One of boto3's clients, made late and used in worker threads, and what its errors mean."""

    def __init__(self, service: str, client: Any) -> None:
        self._service = service
        self._client = client
        self._opening = anyio.Lock()

    async def open(self) -> None:
        async with self._opening:
            self._client = self._client or await in_daemon_thread(self._make)

    async def call(self, function: Callable[[Any], T]) -> T:
        """Call with the client. When the time is over nobody waits for the thread: it ends by the client's time-outs.

        Raises:
            SinkError: AWS refused.
            ConnectionResetError: The connection broke; after a freeze, kept ones have.
        """
        await self.open()
        return await in_daemon_thread(lambda: self._guarded(function))

    def _make(self) -> Any:
        # Imported here: Lambda starts the runtime only once the extension has registered.
        import boto3
        from botocore.config import Config

        once = {"mode": "standard", "total_max_attempts": 1}  # delivery retries, by its deadlines
        config = Config(connect_timeout=THREAD_CONNECT_LIMIT, read_timeout=THREAD_READ_LIMIT, retries=once)
        return boto3.client(self._service, config=config)

    def _guarded(self, function: Callable[[Any], T]) -> T:
        from botocore.exceptions import ClientError, ConnectionClosedError

        try:
            return function(self._client)
        except ConnectionClosedError as error:
            raise ConnectionResetError(f"{self._service}: {type(error).__name__}") from None
        except ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            # The rest is a matter of configuration, since every payload keeps to the limits: nothing is dropped.
            msg = f"{self._service} answered {code}"
            # Without the error itself: its text is AWS's, and may quote what was sent.
            raise SinkError(msg, retryable=code in _PASSING or status >= 500) from None


@final
@attrs.frozen(kw_only=True)
class JSONLines:
    """A record per line, as JSON, within the limits of whoever takes it.

    Attributes:
        limits: They.
        compression: How bodies are compressed.
    """

    limits: Limits
    compression: Compression | None = None
    records: bool = attrs.field(default=True, init=False)
    content_type: str = attrs.field(default="application/x-ndjson", init=False)

    def encode_event(self, event: Record) -> bytes:
        """Encode one record, its line break included."""
        # SQS takes no character that XML does not have; JSON writes the others as escapes, but for these.
        return event.encode().replace(b"\xef\xbf\xbe", b"\\ufffe").replace(b"\xef\xbf\xbf", b"\\uffff") + b"\n"

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Make one body of encoded records."""
        return b"".join(pieces)


def _partial(codes: Sequence[str | None]) -> None:
    """Raise if some entries of a call were refused; all of them are worth sending again, since they keep the limits."""
    refused = [place for place, code in enumerate(codes) if code]
    if refused:
        msg = f"{len(refused)} of {len(codes)} records were refused: {codes[refused[0]]}"
        raise SinkError(msg, refused=refused)


@final
class FirehoseSink:
    """Puts each record as one of Amazon Data Firehose's, a line of JSON. The role needs firehose:PutRecordBatch.

    Args:
        stream: The delivery stream's name.
        client: A client of boto3's to use; by default one is made.
    """

    def __init__(self, stream: str, *, client: Any = None) -> None:
        self.encoder: JSONLines = JSONLines(limits=Limits(items=500, bytes=4_000_000, event_bytes=1_000 * 1024))
        self._stream = stream
        self._client = _Client("firehose", client)

    async def open(self) -> None:
        """Make the client. `send` does it if nobody did."""
        await self._client.open()

    async def send(self, payload: Payload) -> None:
        """Put the records of a payload, all in one call.

        Raises:
            SinkError: Not all were taken.
            ConnectionResetError: The connection broke.
        """
        records = [{"Data": piece} for piece in payload.pieces]
        answer = await self._client.call(
            lambda client: client.put_record_batch(DeliveryStreamName=self._stream, Records=records)
        )
        _partial([each.get("ErrorCode") for each in answer["RequestResponses"]])


@final
class KinesisSink:
    """Puts each record into a stream of Amazon Kinesis, a line of JSON. The role needs kinesis:PutRecords.

    Args:
        stream: The stream's name.
        client: A client of boto3's to use; by default one is made.
    """

    def __init__(self, stream: str, *, client: Any = None) -> None:
        self.encoder: JSONLines = JSONLines(limits=Limits(items=500, bytes=4_000_000, event_bytes=1024 * 1024 - 256))
        self._stream = stream
        self._client = _Client("kinesis", client)

    async def open(self) -> None:
        """Make the client. `send` does it if nobody did."""
        await self._client.open()

    async def send(self, payload: Payload) -> None:
        """Put the records of a payload, all in one call, to one shard, which keeps their order.

        Raises:
            SinkError: Not all were taken.
            ConnectionResetError: The connection broke.
        """
        records = [{"Data": piece, "PartitionKey": payload.id} for piece in payload.pieces]
        answer = await self._client.call(lambda client: client.put_records(StreamName=self._stream, Records=records))
        _partial([each.get("ErrorCode") for each in answer["Records"]])


_DATE = re.compile(rb'"timestamp":"(\d{4})-(\d\d)-(\d\d)')


@final
class S3Sink:
    """Puts each payload as an object of Amazon S3. The role needs s3:PutObject.

    Keys are `prefix/year/month/day/id.ndjson.gz`, by the first record that has a time. A payload that is sent again
    overwrites itself, so that nothing is there twice.

    Args:
        bucket: The bucket's name.
        prefix: What keys begin with.
        compression: How objects are compressed.
        client: A client of boto3's to use; by default one is made.
    """

    def __init__(
        self, bucket: str, *, prefix: str, compression: Literal["gzip", "zstd"] | None = "gzip", client: Any = None
    ) -> None:
        self.encoder: JSONLines = JSONLines(limits=Limits(), compression=compression)
        self._bucket = bucket
        self._prefix = prefix.strip("/")
        self._client = _Client("s3", client)

    async def open(self) -> None:
        """Make the client. `send` does it if nobody did."""
        await self._client.open()

    async def send(self, payload: Payload) -> None:
        """Put a payload.

        Raises:
            SinkError: It was not taken.
            ConnectionResetError: The connection broke.
        """
        suffix = {"gzip": ".gz", "zstd": ".zst"}.get(payload.content_encoding or "", "")
        encoding = {} if payload.content_encoding is None else {"ContentEncoding": payload.content_encoding}
        key = "/".join((self._prefix, _date(payload), f"{payload.id}.ndjson{suffix}")).lstrip("/")
        await self._client.call(
            lambda client: client.put_object(
                Bucket=self._bucket, Key=key, Body=payload.body, ContentType=payload.content_type, **encoding
            )
        )


def _date(payload: Payload) -> str:
    """Give the date of the first record that has one; today's would not be the same when it is sent again."""
    for piece in payload.pieces:
        found = _DATE.search(piece)
        if found is not None:
            return b"/".join(found.groups()).decode()
    return "undated"


@final
class SQSSink:
    """Sends each payload as a message of Amazon SQS: lines of JSON. The role needs sqs:SendMessage.

    In a queue whose name ends with `.fifo`, a message that is sent again is there once.

    Args:
        queue_url: The queue's URL.
        group: The message group, of a FIFO queue; the order is kept within it.
        client: A client of boto3's to use; by default one is made.
    """

    def __init__(self, queue_url: str, *, group: str = "telemetry", client: Any = None) -> None:
        most = 256 * 1024
        self.encoder: JSONLines = JSONLines(limits=Limits(bytes=most, event_bytes=most))
        self._queue_url = queue_url
        self._group = group
        self._client = _Client("sqs", client)

    async def open(self) -> None:
        """Make the client. `send` does it if nobody did."""
        await self._client.open()

    async def send(self, payload: Payload) -> None:
        """Send a payload.

        Raises:
            SinkError: It was not taken.
            ConnectionResetError: The connection broke.
        """
        once = {"MessageGroupId": self._group, "MessageDeduplicationId": payload.id}
        fifo = once if self._queue_url.endswith(".fifo") else {}
        await self._client.call(
            lambda client: client.send_message(QueueUrl=self._queue_url, MessageBody=payload.body.decode(), **fifo)
        )
