"""Spans, log records and metrics as OTLP has them: msgspec structs, whose JSON is OTLP/JSON."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from lambda_extension.otel._values import KeyValue

SpanKind: TypeAlias = Literal[1, 2, 3, 4, 5]
INTERNAL: SpanKind = 1
SERVER: SpanKind = 2
# Of a status; unset is 0 and left out.
ERROR = 2
# Of a metric: what was counted since the last time, or since the beginning.
DELTA, CUMULATIVE = 1, 2
# Bits of a span's flags, besides those of W3C's trace flags: whether it is known if its parent is remote, and that.
_KNOWN, _REMOTE = 0x100, 0x200


class _Item(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, frozen=True, gc=False):
    """Something in a request. Integers of 64 bits are text, as Protobuf's JSON mapping has it."""


class SpanLink(_Item, frozen=True, kw_only=True):
    """Another span that this one has to do with."""

    trace_id: str
    span_id: str
    attributes: list[KeyValue] = []
    flags: int = 0


class SpanStatus(_Item, frozen=True, kw_only=True):
    """How a span ended."""

    code: int = 0


class OTLPSpan(_Item, frozen=True, kw_only=True):
    """A span."""

    trace_id: str
    span_id: str
    parent_span_id: str = ""
    flags: int = 0
    name: str
    kind: int
    start_time_unix_nano: str
    end_time_unix_nano: str
    attributes: list[KeyValue] = []
    dropped_attributes_count: int = 0
    links: list[SpanLink] = []
    status: SpanStatus | None = None


class OTLPLogRecord(_Item, frozen=True, kw_only=True):
    """A log record."""

    time_unix_nano: str = "0"
    observed_time_unix_nano: str = "0"
    severity_number: int = 0
    severity_text: str = ""
    body: dict[str, Any] | None = None
    attributes: list[KeyValue] = []
    dropped_attributes_count: int = 0
    flags: int = 0
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""


class NumberPoint(_Item, frozen=True, kw_only=True):
    """A sum at a time; one of the two values is set."""

    attributes: list[KeyValue] = []
    start_time_unix_nano: str
    time_unix_nano: str
    as_int: str | None = None
    as_double: float | None = None


class HistogramPoint(_Item, frozen=True, kw_only=True):
    """How values were distributed at a time."""

    attributes: list[KeyValue] = []
    start_time_unix_nano: str
    time_unix_nano: str
    count: str
    sum: float
    bucket_counts: list[str]
    explicit_bounds: list[float]
    min: float
    max: float


class Sum(_Item, frozen=True, kw_only=True):
    """Points of a counter."""

    data_points: list[NumberPoint]
    aggregation_temporality: int
    is_monotonic: bool = False


class Histogram(_Item, frozen=True, kw_only=True):
    """Points of a histogram."""

    data_points: list[HistogramPoint]
    aggregation_temporality: int


class OTLPMetric(_Item, frozen=True, kw_only=True):
    """A metric with its points."""

    name: str
    description: str = ""
    unit: str = ""
    sum: Sum | None = None
    histogram: Histogram | None = None


def span_flags(trace_flags: int, *, parent_is_remote: bool) -> int:
    """Return the flags of a span whose parent's whereabouts are known."""
    return trace_flags | _KNOWN | (_REMOTE if parent_is_remote else 0)
