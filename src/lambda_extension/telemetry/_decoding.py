"""Bytes to events and back. Pure: no I/O, no state."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

import msgspec

from lambda_extension.telemetry._events import KnownEvent, TelemetryEvent, UnknownEvent

if TYPE_CHECKING:
    from lambda_extension.telemetry._misfits import TolerantDecoder

EventT = TypeVar("EventT")


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
    def _tolerant(self) -> TolerantDecoder[EventT]:
        # Who is sent what AWS documents never needs it.
        from lambda_extension.telemetry._misfits import TolerantDecoder

        kinds = {kind.type: kind for kind in get_args(self._event)}
        return TolerantDecoder(msgspec.json.Decoder(self._event), kinds)

    def decode(self, body: bytes | bytearray | memoryview) -> list[EventT | UnknownEvent]:
        """Decode a batch in one typed pass; only if that fails, event by event, so that one misfit costs no other.

        Where so much is odd that the event loop would wait for long, the rest of the body is one `UnknownEvent`.

        Raises:
            DecodeError: The body is not a JSON array; the message holds nothing of it.
        """
        try:
            return self._batch.decode(body)  # type: ignore[return-value]  # a list of fewer kinds
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        return self._tolerant.decode(body)


_DECODER: EventDecoder[KnownEvent] = EventDecoder(KnownEvent)


def decode(body: bytes | bytearray | memoryview) -> list[TelemetryEvent]:
    """Decode the body of a Telemetry API request: a JSON array of events.

    Never loses an event: one that is unknown, lacks its identity, or is no JSON, is an `UnknownEvent` in its place, and
    what else is odd or missing in an event is left at its default. One misfit costs its neighbours nothing.

    Raises:
        DecodeError: The body is not a JSON array.
    """
    return _DECODER.decode(body)


def encode(events: Iterable[TelemetryEvent]) -> bytes:
    """Encode events as a JSON array, in UTF-8, that `decode` reads back to the same events.

    The exceptions are an `UnknownEvent` that came as what is no JSON, for which its `json` stands, and a record that is
    nested more deeply than can be written here, of which only that is said.
    """
    events = list(events)
    try:
        return msgspec.json.encode(
            [msgspec.Raw(event.json) if type(event) is UnknownEvent else event for event in events]
        )
    except RecursionError:
        return b"[" + b",".join(map(encode_event, events)) + b"]"


def encode_event(event: Any) -> bytes:
    """Encode one event as `encode` does, or anything else that msgspec knows."""
    if type(event) is UnknownEvent:
        return event.json
    try:
        return msgspec.json.encode(event)
    except RecursionError:  # what was read in a shallow stack may be too deep for another
        return UnknownEvent(raw=b"nested too deeply to be written", type=getattr(event, "type", None)).json
