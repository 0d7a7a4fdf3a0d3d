"""A body that is not what AWS documents, event by event, so that one misfit costs no other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, final

import msgspec

from lambda_extension._exceptions import DecodeError
from lambda_extension.telemetry._events import UnknownEvent
from lambda_extension.telemetry._splitting import ODD_EVENT, UNREADABLE, Effort, NotAnArrayError, members, split
from lambda_extension.telemetry._tolerant import MisfitError, read_struct, read_text

EventT = TypeVar("EventT")

# Why an event is unknown that may hold others.
_TOO_ODD = "too much in one body is odd"
_RAW_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


@final
class TolerantDecoder(Generic[EventT]):
    """Decodes what `EventDecoder` could not in one pass.

    Args:
        one: Decodes one event.
        kinds: The types of events by the name that the platform gives them.
    """

    def __init__(self, one: msgspec.json.Decoder[EventT], kinds: Mapping[str, type[msgspec.Struct]]) -> None:
        self._one = one
        self._kinds = kinds

    def decode(self, body: bytes | bytearray | memoryview) -> list[EventT | UnknownEvent]:
        """Decode a batch; see `EventDecoder.decode`.

        Raises:
            DecodeError: The body is not a JSON array; the message holds nothing of it.
        """
        try:
            return list(self._decode_each(map(bytes, _RAW_ARRAY.decode(body)), Effort()))
        except UNREADABLE as error:
            reason = str(error)
        try:
            effort = Effort()
            return list(self._decode_each(split(bytes(body), effort), effort))
        except NotAnArrayError:
            msg = f"not a JSON array of events: {reason} (the body has {len(body)} bytes)"
            raise DecodeError(msg) from None

    def _decode_each(self, pieces: Iterator[bytes], effort: Effort) -> Iterator[EventT | UnknownEvent]:
        for piece in pieces:
            if effort.left <= 0:
                yield UnknownEvent(raw=b",".join([piece, *pieces]), reason=_TOO_ODD)
                return
            yield self._decode_one(piece, effort)

    def _decode_one(self, raw: bytes, effort: Effort) -> EventT | UnknownEvent:
        try:
            return self._one.decode(raw)
        except UNREADABLE as error:
            reason = str(error)
        effort.take(ODD_EVENT)
        given = members(raw, effort)
        kind, time = _text(given.get("type")), _text(given.get("time"))
        known = None if kind is None else self._kinds.get(kind)
        if known is not None:
            try:
                event: EventT = read_struct(known, raw, effort)
                if effort.left > 0:
                    return event
                reason = _TOO_ODD
            except MisfitError as error:
                reason = str(error)
        return UnknownEvent(raw=raw, type=kind, time=time, reason=reason)


def _text(raw: bytes | None) -> str | None:
    """Read a string, and nothing else."""
    try:
        return read_text(raw) if raw is not None and raw[:1] == b'"' else None
    except MisfitError:
        return None
