"""OTLP's model in Protobuf's wire format: what OTLP uses of it, and no more. Pure.

The field numbers are those of opentelemetry-proto 1; a test decodes what this writes with the generated classes.
"""

from __future__ import annotations

import base64
import functools
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from lambda_extension.otel._model import (
    HistogramPoint,
    NumberPoint,
    OTLPLogRecord,
    OTLPMetric,
    OTLPSpan,
    SpanLink,
)

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_MOST_SHORT: Final = 0x400
# Characters of text that is worth remembering.
_OFTEN_THE_SAME: Final = 64
_pack_fixed64 = struct.Struct("<BQ").pack


def encode_item(item: OTLPSpan | OTLPLogRecord | OTLPMetric) -> bytes:
    """Encode a span, a log record or a metric."""
    return _ITEMS[type(item)](item)


def encode_request(
    about: Iterable[Mapping[str, Any]], scope: tuple[str, str], schema_url: str, pieces: Iterable[bytes]
) -> bytes:
    """Make a request of encoded items, of any signal: of one resource and one scope.

    Args:
        about: Attributes of the resource.
        scope: Its name and version.
        schema_url: What the names of attributes follow.
        pieces: The items.
    """
    name, version = scope
    url = _text(3, schema_url)
    scoped = _message(1, _text(1, name) + _text(2, version)) + repeated(2, pieces) + url
    return _message(1, _message(1, encode_attributes(1, about)) + _message(2, scoped) + url)


def nested(number: int, content: bytes) -> bytes:
    """Return a field that is text, bytes or a message; empty where it is the default."""
    return _message(number, content) if content else b""


def repeated(number: int, messages: Iterable[bytes]) -> bytes:
    """Return a repeated field of messages; each is there, however empty."""
    tag, short = _SHORT[number << 3 | _BYTES], _SHORT
    out: list[bytes] = []
    for message in messages:
        size = len(message)
        out += (tag, short[size] if size < _MOST_SHORT else _encode_varint(size), message)
    return b"".join(out)


def encode_attributes(number: int, values: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a repeated field of attributes; each is there, however empty."""
    return repeated(number, [_attribute(item["key"], item["value"]) for item in values])


def rejected(answer: bytes) -> int:
    """Read out of an answer how many items were rejected: field 1 of its field 1, whatever the signal.

    Returns:
        0 where that is not there, or where the answer is no such message.
    """
    try:
        partial = _first_field(answer)
        found = _first_field(partial) if isinstance(partial, bytes) else 0
    except (IndexError, ValueError):
        return 0
    return found if isinstance(found, int) and found < 1 << 63 else 0


def check_request(request: bytes) -> None:
    """See that a request of any signal is not cut off: behind such a one, no other could be read.

    Raises:
        ValueError: It is no such request.
    """
    try:
        for _ in _fields(request):
            pass
    except IndexError:
        msg = "the request is cut off"
        raise ValueError(msg) from None


def add_resource(request: bytes, values: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a request of any signal whose resources have these attributes too, where they have none of that name.

    A message that comes twice is merged by whoever reads it: what is added is a resource of its own behind the first.

    Raises:
        ValueError: It is no such request.
    """
    out = []
    try:
        for number, about in _fields(request):
            if number != 1 or not isinstance(about, bytes):
                continue
            resources = (found for each, found in _fields(about) if each == 1 and isinstance(found, bytes))
            pairs = (pair for found in resources for each, pair in _fields(found) if each == 1)
            known = {_first_field(pair) for pair in pairs if isinstance(pair, bytes)}
            more = encode_attributes(1, (item for item in values if item["key"].encode() not in known))
            out.append(_message(1, about + nested(1, more)))
    except IndexError:
        msg = "the request is cut off"
        raise ValueError(msg) from None
    return b"".join(out)


def _first_field(message: bytes) -> bytes | int:
    """Return the field with the number 1; 0 where there is none.

    Raises:
        IndexError: The message is cut off.
        ValueError: It has a field of a kind that is not known here.
    """
    return next((value for number, value in _fields(message) if number == 1), 0)


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Give the number and the content of each field.

    Raises:
        IndexError: The message is cut off.
        ValueError: It has a field of a kind that is not known here.
    """
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        value: bytes | int
        if key & 7 == _VARINT:
            value, at = _read_varint(message, at)
        else:
            size, at = _read_varint(message, at) if key & 7 == _BYTES else (_SIZES.get(key & 7, -1), at)
            if size < 0:
                msg = f"wire type {key & 7}"
                raise ValueError(msg)
            value, at = message[at : at + size], at + size
        if at > len(message):
            raise IndexError
        yield key >> 3, value


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            msg = "a number of more than 64 bits"
            raise ValueError(msg)


def _span(span: OTLPSpan) -> bytes:
    parts = (
        nested(1, bytes.fromhex(span.trace_id)),
        nested(2, bytes.fromhex(span.span_id)),
        nested(4, bytes.fromhex(span.parent_span_id)),
        _text(5, span.name),
        _number(6, span.kind),
        _fixed64(7, span.start_time_unix_nano),
        _fixed64(8, span.end_time_unix_nano),
        encode_attributes(9, span.attributes),
        _number(10, span.dropped_attributes_count),
        *(_message(13, _link(link)) for link in span.links),
        b"" if span.status is None else nested(15, _number(3, span.status.code)),
        _fixed32(16, span.flags),
    )
    return b"".join(parts)


def _link(link: SpanLink) -> bytes:
    return (
        nested(1, bytes.fromhex(link.trace_id))
        + nested(2, bytes.fromhex(link.span_id))
        + encode_attributes(4, link.attributes)
        + _fixed32(6, link.flags)
    )


def _log_record(record: OTLPLogRecord) -> bytes:
    """Encode a log record: most of them are those of a few invocations, and much of each is as in the one before."""
    parts = (
        _fixed64(1, record.time_unix_nano),
        _severity(record.severity_number, record.severity_text),
        b"" if record.body is None else _message(5, _any(record.body)),
        encode_attributes(6, record.attributes),
        _number(7, record.dropped_attributes_count) if record.dropped_attributes_count else b"",
        _place(record.flags, record.trace_id, record.span_id, record.observed_time_unix_nano, record.event_name),
    )
    return b"".join(parts)


@functools.lru_cache(64)
def _severity(number: int, text: str) -> bytes:
    return _number(2, number) + _text(3, text)


@functools.lru_cache(64)
def _place(flags: int, trace_id: str, span_id: str, observed: str, event_name: str) -> bytes:
    """Encode where a log record belongs, and when it was seen."""
    parts = (
        _fixed32(8, flags),
        nested(9, bytes.fromhex(trace_id)),
        nested(10, bytes.fromhex(span_id)),
        _fixed64(11, observed),
        _text(12, event_name),
    )
    return b"".join(parts)


def _metric(metric: OTLPMetric) -> bytes:
    head = _text(1, metric.name) + _text(2, metric.description) + _text(3, metric.unit)
    if metric.sum is not None:
        points = b"".join(_message(1, _number_point(point)) for point in metric.sum.data_points)
        tail = _number(2, metric.sum.aggregation_temporality) + _number(3, int(metric.sum.is_monotonic))
        return head + _message(7, points + tail)
    assert metric.histogram is not None
    points = b"".join(_message(1, _histogram_point(point)) for point in metric.histogram.data_points)
    return head + _message(9, points + _number(2, metric.histogram.aggregation_temporality))


def _number_point(point: NumberPoint) -> bytes:
    times = _fixed64(2, point.start_time_unix_nano) + _fixed64(3, point.time_unix_nano)
    if point.as_int is None:
        value = _key(4, _FIXED64) + struct.pack("<d", point.as_double)
    else:
        value = _key(6, _FIXED64) + struct.pack("<q", int(point.as_int))
    return times + value + encode_attributes(7, point.attributes)


def _histogram_point(point: HistogramPoint) -> bytes:
    counts, bounds = point.bucket_counts, point.explicit_bounds
    return b"".join(
        (
            _fixed64(2, point.start_time_unix_nano),
            _fixed64(3, point.time_unix_nano),
            _fixed64(4, point.count),
            _double(5, point.sum),
            nested(6, struct.pack(f"<{len(counts)}Q", *map(int, counts))),
            nested(7, struct.pack(f"<{len(bounds)}d", *bounds)),
            encode_attributes(9, point.attributes),
            _double(11, point.min),
            _double(12, point.max),
        )
    )


def _attribute(key: str, value: Mapping[str, Any]) -> bytes:
    """Encode an attribute; short text is often the same in the next item."""
    content = value.get("stringValue")
    if content is not None and len(content) <= _OFTEN_THE_SAME:
        return _short_attribute(key, content)
    return _name(key) + _message(2, _any(value))


@functools.lru_cache(256)
def _short_attribute(key: str, content: str) -> bytes:
    return _name(key) + _message(2, _message(1, content.encode()))


@functools.lru_cache(256)
def _name(key: str) -> bytes:
    return _text(1, key)


def _any(value: Mapping[str, Any]) -> bytes:
    for kind, content in value.items():
        return _KINDS[kind](content)
    return b""


def _array(value: Mapping[str, Any]) -> bytes:
    return _message(5, repeated(1, [_any(item) for item in value["values"]]))


# A value has one of these; unlike other fields it is there where it is the default, since that tells which it is.
_KINDS: Final[Mapping[str, Callable[[Any], bytes]]] = {
    "stringValue": lambda value: _message(1, value.encode()),
    "boolValue": lambda value: _key(2, _VARINT) + _varint(int(value)),
    "intValue": lambda value: _key(3, _VARINT) + _varint(int(value) & 0xFFFFFFFFFFFFFFFF),
    "doubleValue": lambda value: _double(4, float(value)),
    "arrayValue": _array,
    "kvlistValue": lambda value: _message(6, encode_attributes(1, value["values"])),
    "bytesValue": lambda value: _message(7, base64.b64decode(value)),
}
_ITEMS: Final[Mapping[type, Callable[[Any], bytes]]] = {
    OTLPSpan: _span,
    OTLPLogRecord: _log_record,
    OTLPMetric: _metric,
}


def _message(number: int, content: bytes) -> bytes:
    size = len(content)
    return _SHORT[number << 3 | _BYTES] + (_SHORT[size] if size < _MOST_SHORT else _encode_varint(size)) + content


def _text(number: int, value: str) -> bytes:
    return _message(number, value.encode()) if value else b""


def _number(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value) if value else b""


def _fixed64(number: int, value: str) -> bytes:
    return _pack_fixed64(number << 3 | _FIXED64, int(value)) if value != "0" else b""


def _fixed32(number: int, value: int) -> bytes:
    return _key(number, _FIXED32) + struct.pack("<I", value) if value else b""


def _double(number: int, value: float) -> bytes:
    return _key(number, _FIXED64) + struct.pack("<d", value)


def _key(number: int, wire: int) -> bytes:
    return _SHORT[number << 3 | wire]


def _varint(value: int) -> bytes:
    if value < _MOST_SHORT:
        return _SHORT[value]
    return _encode_varint(value)


def _encode_varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


# What most lengths and all keys are.
_SHORT: Final = [_encode_varint(value) for value in range(_MOST_SHORT)]
