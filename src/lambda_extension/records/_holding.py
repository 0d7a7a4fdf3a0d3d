"""Lines that wait for their invocation to be known, bounded in number, bytes and time. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any, Literal, TypeAlias

import attrs

from lambda_extension._validators import number, whole
from lambda_extension.records._lines import Reading
from lambda_extension.records._record import encode_json

LineSource: TypeAlias = Literal["function", "extension"]
"""Whose line it is."""


@attrs.frozen(kw_only=True)
class Holding:
    """How much is held until its invocation is known; beyond, the oldest go on without one.

    Attributes:
        max_records: Lines.
        max_bytes: Their bytes, about.
        max_age: Seconds that a line waits, until `Correlator.release` lets it go.
    """

    max_records: int = attrs.field(default=1000, validator=whole(1))
    max_bytes: int = attrs.field(default=1024 * 1024, validator=whole(1))
    max_age: float = attrs.field(default=10.0, validator=number(least=0))


@attrs.define(eq=False)
class Held:
    """A line that has been read, and may have to wait."""

    event: Any
    source: LineSource
    reading: Reading
    born: float = 0.0
    size: int = 0


class Orphans:
    """The lines that wait, the oldest first.

    Attributes:
        size: Their bytes, about.
    """

    def __init__(self, limits: Holding) -> None:
        self.size = 0
        self._limits = limits
        self._lines: deque[Held] = deque()

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, held: Held, now: float) -> list[Held]:
        """Hold a line; give those for which there is no more room, which may be this one itself."""
        record = held.event.record
        held.size = len(record) if type(record) is str else len(encode_json(record))
        held.born = now
        self._lines.append(held)
        self.size += held.size
        over = []
        while len(self._lines) > self._limits.max_records or self.size > self._limits.max_bytes:
            over.append(self._first())
        return over

    def expired(self, now: float) -> list[Held]:
        """Take out what has waited for as long as it may."""
        over = []
        while self._lines and now - self._lines[0].born >= self._limits.max_age:
            over.append(self._first())
        return over

    def named(self, request_id: str) -> list[Held]:
        """Take out what names an invocation."""
        found = [held for held in self._lines if held.reading.request_id == request_id]
        if found:
            self._lines = deque(held for held in self._lines if held.reading.request_id != request_id)
            self.size -= sum(held.size for held in found)
        return found

    def all(self) -> list[Held]:
        """Take out everything."""
        lines, self.size = list(self._lines), 0
        self._lines.clear()
        return lines

    def _first(self) -> Held:
        held = self._lines.popleft()
        self.size -= held.size
        return held
