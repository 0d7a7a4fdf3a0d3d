"""Bytes to events and back. Pure: no I/O, no state."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec

from lambda_extension._exceptions import DecodeError
from lambda_extension.telemetry._events import KnownEvent, TelemetryEvent, UnknownEvent

EventT = TypeVar("EventT")

_RAW_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class EventDecoder(Generic[EventT]):
    """Decodes JSON arrays of one tagged union of events; what does not fit becomes an `UnknownEvent`."""

    def __init__(self, union: Any) -> None:
        self._event: Any = union
        self._events: Any = list[union]

    # Made at their first use: analysing all those types is a good part of start-up.
    @cached_property
    def _batch(self) -> msgspec.json.Decoder[list[EventT]]:
        return msgspec.json.Decoder(self._events)

    @cached_property
    def _one(self) -> msgspec.json.Decoder[EventT]:
        return msgspec.json.Decoder(self._event, strict=False)

    def decode(self, body: bytes | bytearray | memoryview) -> list[EventT | UnknownEvent]:
        """Decode a batch in one typed pass; only if that fails, event by event, so that one misfit costs no other.

        Raises:
            DecodeError: The body is not a JSON array; the message says what is wrong and where.
        """
        try:
            return self._batch.decode(body)  # type: ignore[return-value]  # a list of fewer kinds
        except _UNREADABLE:
            pass
        try:
            pieces = _RAW_ARRAY.decode(body)
        except _UNREADABLE as error:
            msg = f"not a JSON array of events: {error} (the body of {len(body)} bytes starts {bytes(body[:60])!r})"
            raise DecodeError(msg) from error
        return [self._decode_one(bytes(piece)) for piece in pieces]

    def _decode_one(self, raw: bytes) -> EventT | UnknownEvent:
        try:
            return self._one.decode(raw)
        except _UNREADABLE as error:
            return unknown_event(raw, str(error))


def unknown_event(raw: bytes, reason: str) -> UnknownEvent:
    """Make the generic event, with whatever of type and time can be read."""
    try:
        event = msgspec.json.decode(raw)
    except _UNREADABLE:
        event = None
    kind, time = (event.get("type"), event.get("time")) if isinstance(event, dict) else (None, None)
    return UnknownEvent(
        raw=raw,
        type=kind if isinstance(kind, str) else None,
        time=time if isinstance(time, str) else None,
        reason=reason,
    )


_DECODER: EventDecoder[KnownEvent] = EventDecoder(KnownEvent)


def decode(body: bytes | bytearray | memoryview) -> list[TelemetryEvent]:
    """Decode the body of a Telemetry API request: a JSON array of events.

    Never loses an event: one that is unknown, or does not have the documented shape, is an `UnknownEvent` in its place.

    Raises:
        DecodeError: The body is not a JSON array.
    """
    return _DECODER.decode(body)


def encode(events: Iterable[TelemetryEvent]) -> bytes:
    """Encode events as the JSON array that `decode` reads back to the same events."""
    raw = [msgspec.Raw(event.raw) if isinstance(event, UnknownEvent) else event for event in events]
    return msgspec.json.encode(raw)
