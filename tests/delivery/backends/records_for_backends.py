"""Records for formats: every field filled, and bodies that formats break over."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

import zstandard

from lambda_extension.delivery import Payload
from lambda_extension.records import Context, InvocationReport, LogRecord

REQUEST_ID = "5a0c4c0e-0000-4000-8000-000000000001"
TRACE_ID, SPAN_ID = "67c2d4a0aabbccddeeff001122334455", "53995c3f42cd8ad8"
CONTEXT = Context(
    request_id=REQUEST_ID,
    function_name="orders",
    function_version="12",
    function_arn="arn:aws:lambda:eu-west-1:111122223333:function:orders",
    memory_size_mb=512,
    region="eu-west-1",
    cold_start=True,
    trace_id=TRACE_ID,
    span_id=SPAN_ID,
    trace_flags=1,
)
NOW = datetime.now(UTC).replace(microsecond=123000) - timedelta(minutes=5)

HOSTILE = {
    "plain": "order 17 accepted",
    "quotes": "a \"b\" 'c' \\d\\ ]]> </x> %s {} ${x}",
    "lines": "one\ntwo\r\nthree\u2028four\u2029\ttab",
    "nul": "a\x00b\x01\x1b[31m\x7f\x85",
    "surrogates": "a\ud800b\udfff",
    "emoji": "😀 👩‍👩‍👧‍👦 é ä 中文 \U0010ffff \ufeff",
    "json": '{"a": {"b": [1, 2]}}',
    "long": "x" * (250 * 1024),
    "blank": " ",
}
# What is left of them in a backend whose text is Unicode.
KEPT = HOSTILE | {"surrogates": "a\ufffdb\ufffd"}


def time_of(n: int) -> str:
    """Give a time some milliseconds after the first."""
    return (NOW + timedelta(milliseconds=n)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def log(body: Any, n: int = 0, *, context: Context = CONTEXT, level: int = 13, **attributes: Any) -> LogRecord:
    return LogRecord(time_of(n), "function", "function", level, "warning", body, attributes, context)


def hostile(marker: str) -> list[LogRecord]:
    """Give a record for each hostile body, which is also the value of an attribute."""
    return [
        log(body, n, marker=marker, name=name, value=body if len(body) < 1000 else "long")
        for n, (name, body) in enumerate(HOSTILE.items())
    ]


def report(**attributes: Any) -> InvocationReport:
    return InvocationReport(
        time=time_of(0),
        context=CONTEXT,
        status="timeout",
        outcome="timeout",
        duration_ms=3000.5,
        billed_duration_ms=3000,
        max_memory_used_mb=91,
        attributes=attributes,
    )


def payload_of(encoder: Any, records: list[Any], *, payload_id: str = "batch-1") -> Payload:
    """Encode records as a delivery does."""
    pieces = [piece for piece in map(encoder.encode_event, records) if piece]
    body = encoder.join(pieces)
    if encoder.compression == "gzip":
        body = gzip.compress(body)
    elif encoder.compression == "zstd":
        body = zstandard.ZstdCompressor().compress(body)
    return Payload(
        id=payload_id,
        body=body,
        items=len(pieces),
        content_type=encoder.content_type,
        content_encoding=encoder.compression,
        pieces=tuple(pieces),
    )
