"""Values in OTLP's shape: attributes, times, ids; clamped to what its wire format can carry. Pure."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

# OTLP's data model in its JSON form: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
AnyValue: TypeAlias = dict[str, Any]
KeyValue: TypeAlias = dict[str, Any]

# Deeper nesting is what backends refuse a whole request for; from here on a value is its JSON text.
_DEEPEST: Final = 20
_INT64: Final = 2**63
# Fixed 64-bit nanoseconds since the epoch; zero means unknown, and what is beyond the year 2262 overflows in backends.
_LATEST: Final = 2**63 - 1


class Limits(msgspec.Struct, frozen=True):
    """How much of attributes is kept.

    Attributes:
        length: Characters that a text may have, inside of values too; what is longer is cut.
        count: How many there may be; what is beyond is left out, and counted.
    """

    length: int | None = None
    count: int | None = None


def attributes(values: Mapping[str, Any], limit: int | None = None) -> list[KeyValue]:
    """Return attributes; those that are None are left out.

    Args:
        values: Values by name.
        limit: Characters that a text may have, inside of values too; what is longer is cut.
    """
    return [
        {"key": text(name), "value": any_value(value, limit=limit)}
        for name, value in values.items()
        if value is not None
    ]


def any_value(value: Any, depth: int = 0, *, limit: int | None = None) -> AnyValue:
    """Return any value that JSON can hold, and bytes."""
    if isinstance(value, str):
        return {"stringValue": text(value if limit is None else value[:limit])}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        # As text, since JSON's readers do not keep more than 53 bits; beyond 64 bits it is no number to OTLP.
        return {"intValue" if -_INT64 <= value < _INT64 else "stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _unusual(value)}
    if value is None:
        return {}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if depth >= _DEEPEST:
        return {"stringValue": text(_json(value))}
    if isinstance(value, Mapping):
        pairs = [
            {"key": text(str(key)), "value": any_value(item, depth + 1, limit=limit)} for key, item in value.items()
        ]
        return {"kvlistValue": {"values": pairs}}
    if isinstance(value, list | tuple):
        return {"arrayValue": {"values": [any_value(item, depth + 1, limit=limit) for item in value]}}
    return {"stringValue": text(str(value))}


def text(value: str) -> str:
    """Return text that UTF-8 can carry: a half of a surrogate pair is replaced."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


def nanoseconds(value: int | None) -> int:
    """Return a time that OTLP can carry; 0, which means unknown, for one that it cannot."""
    return value if value is not None and 0 < value <= _LATEST else 0


def _unusual(value: float) -> str:
    """Return what JSON has for numbers that it does not have, by the rules of Protobuf's JSON mapping."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except (UnicodeEncodeError, TypeError, OverflowError, RecursionError):
        return str(type(value).__name__)
