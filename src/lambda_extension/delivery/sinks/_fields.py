"""What formats have in common: a record's message, and its fields by the names that a backend knows. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from lambda_extension.records import InvocationReport, LogRecord, Record
from lambda_extension.records._record import encode_json, portable


def message_of(record: Record) -> str:
    """Give the message as text: the body, or the JSON that it is; of a report, one sentence."""
    if isinstance(record, InvocationReport):
        return f"invocation {record.request_id}: {record.outcome}"
    body = record.body
    if type(body) is str:
        return body if body.isascii() else str(portable(body))
    return "" if body is None else encode_json(body).decode()


def fields_of(record: Record) -> dict[str, Any]:
    """Give everything but message and time: what is known of the invocation, level, source, type, attributes.

    Names are those of `record.encode()`; the dict is the caller's own.
    """
    if isinstance(record, InvocationReport):
        fields: dict[str, Any] = msgspec.json.decode(record.encode())
        del fields["timestamp"]
        return fields
    return {
        "source": record.source,
        "type": record.type,
        **_level(record),
        **record.context.fields,
        **({"attributes": record.attributes} if record.attributes else {}),
    }


def _level(record: LogRecord) -> dict[str, Any]:
    level = record.level
    if level is None:
        return {} if record.severity_text is None else {"level": record.severity_text}
    return {"level": level, "severityNumber": record.severity_number}


def milliseconds_of(record: Record) -> int | None:
    """Give the time in milliseconds since the epoch."""
    nanoseconds = record.time_unix_nano
    return None if nanoseconds is None else nanoseconds // 1_000_000


def cut(text: str, limit: int) -> str:
    """Cut a text to so many bytes of UTF-8, an ellipsis included."""
    if len(text) * 4 <= limit:
        return text
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) <= limit else encoded[: max(limit - 3, 0)].decode("utf-8", "ignore") + "…"


def text_of(value: Any) -> str:
    """Give a value as the text that a backend of strings stores."""
    if type(value) is str:
        return str(portable(value))
    return encode_json(value).decode()


def without_unknown(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is None."""
    return {key: value for key, value in fields.items() if value is not None}


def flat(fields: dict[str, Any], prefix: str = "") -> dict[str, str | int | float]:
    """Give nested objects as fields with dotted names; numbers and booleans stay what they are, all else is text."""
    found: dict[str, str | int | float] = {}
    for key, value in fields.items():
        if type(value) is dict and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, int | float) else text_of(value)
    return found
