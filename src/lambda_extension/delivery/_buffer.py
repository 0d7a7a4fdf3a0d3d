"""What waits in memory: encoded events, gathered into batches. Pure: no I/O, no clock of its own."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from uuid import uuid4

import attrs


@attrs.frozen(kw_only=True)
class Batching:
    """How events are gathered into payloads; whichever limit is reached first closes a batch.

    Attributes:
        max_items: Events.
        max_bytes: Bytes of the encoded body, before compression; an event longer than that travels alone.
        max_age: Seconds between the first and the last event's arrival; None for no limit.
    """

    max_items: int = attrs.field(default=10_000, validator=attrs.validators.ge(1))
    max_bytes: int = attrs.field(default=1024 * 1024, validator=attrs.validators.ge(1))
    max_age: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))


# What joins two encoded events, and what frames them, is at most this.
_SEPARATOR = 1
_FRAME = 2


@attrs.define(eq=False, kw_only=True)
class Chunk:
    """A batch in memory.

    Attributes:
        sequence: Its place in the order of all batches.
        born: When its first event came.
        pieces: The encoded events.
        size: Bytes of the body that they make.
        leased: Whether it is being sent, so that nobody else may take it away.
    """

    sequence: int
    born: float
    pieces: list[bytes] = attrs.field(factory=list)
    size: int = _FRAME
    leased: bool = False
    id: str = attrs.field(factory=lambda: uuid4().hex)

    @property
    def items(self) -> int:
        """Number of events."""
        return len(self.pieces)


class Buffer:
    """Batches in the order of their events. The last may be open; sealed ones never change.

    Attributes:
        items: Events in all batches.
        size: Bytes in all batches.
        sequence: The place of the last batch that was begun.
    """

    def __init__(self, batching: Batching) -> None:
        self.items = 0
        self.size = 0
        self.sequence = 0
        self._batching = batching
        self._chunks: deque[Chunk] = deque()
        self._open: Chunk | None = None

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self._chunks)

    def __len__(self) -> int:
        return len(self._chunks)

    def add(self, piece: bytes, now: float) -> None:
        """Add an encoded event to the open batch, or to a new one if it does not fit."""
        cost = len(piece) + _SEPARATOR
        chunk = self._open
        if chunk is None or not self._fits(chunk, cost, now):
            self.sequence += 1
            chunk = self._open = Chunk(sequence=self.sequence, born=now)
            self._chunks.append(chunk)
        chunk.pieces.append(piece)
        chunk.size += cost
        self.items += 1
        self.size += cost

    def _fits(self, chunk: Chunk, cost: int, now: float) -> bool:
        batching = self._batching
        max_age = math.inf if batching.max_age is None else batching.max_age
        return (
            chunk.items < batching.max_items and chunk.size + cost <= batching.max_bytes and now - chunk.born <= max_age
        )

    def seal(self) -> None:
        """Close the open batch."""
        self._open = None

    def oldest(self) -> Chunk | None:
        """Give the oldest batch that is not being sent, sealed; None when there is none."""
        chunk = next((chunk for chunk in self._chunks if not chunk.leased), None)
        if chunk is self._open:
            self._open = None
        return chunk

    def remove(self, chunk: Chunk) -> None:
        """Take a batch out for good."""
        self._chunks.remove(chunk)
        self.items -= chunk.items
        self.size -= chunk.size - _FRAME
