"""Events gathered into batches, in one order, whether they wait in memory or on disk. Pure: no I/O, no clock."""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING, final

import attrs

from lambda_extension._validators import number, whole
from lambda_extension.delivery._sinks import Limits, Payload

if TYPE_CHECKING:
    from lambda_extension.delivery._spill import Record


@final
@attrs.frozen(kw_only=True)
class Batching:
    """How events are gathered into payloads; whichever limit is reached first closes a batch.

    Attributes:
        max_items: Events.
        max_bytes: Bytes of the encoded body, before compression; an event longer than that travels alone.
        max_age: Seconds between the first and the last event's arrival; None for no limit.
    """

    max_items: int = attrs.field(default=10_000, validator=whole(1))
    max_bytes: int = attrs.field(default=1024 * 1024, validator=whole(1))
    max_age: float | None = attrs.field(default=None, validator=attrs.validators.optional(number(above=0)))

    def within(self, limits: Limits) -> Batching:
        """Give the same, but for what a backend does not take."""
        return attrs.evolve(
            self,
            max_items=min(self.max_items, limits.items or self.max_items),
            max_bytes=min(self.max_bytes, limits.bytes or self.max_bytes),
        )


# What joins two encoded events, and what frames them, is at least this.
_SEPARATOR = 1
_FRAME = 2


@attrs.define(eq=False, kw_only=True)
class Batch:
    """Events that travel together.

    Attributes:
        sequence: Its place in the order of all batches; the parts of one that was split share it.
        born: When its first event came.
        pieces: The encoded events; None when they are on disk alone.
        items: How many they are.
        size: Bytes of the body that they make.
        leased: Whether it is being sent or moved, so that nobody else may take it away.
        record: Where it is on disk, if it is.
        payload: What is to be sent, encoded and compressed once; None until it is first needed.
        known_id: What `id` gives, once that has been asked for.
    """

    sequence: int
    born: float = 0.0
    pieces: list[bytes] | None = attrs.field(factory=list, repr=False)
    items: int = 0
    size: int = _FRAME
    leased: bool = False
    record: Record | None = None
    payload: Payload | None = None
    known_id: str | None = None

    @property
    def id(self) -> str:
        """Identifies the payload. Drawn when it is first asked for, since a snapshot may be taken until then."""
        if self.known_id is None:
            # From the operating system: any state of this process may have been copied with a snapshot.
            self.known_id = os.urandom(16).hex()
        return self.known_id

    def redraw_id(self) -> None:
        """Forget the id: another environment, restored from the same snapshot, has it too."""
        self.known_id = self.payload = None

    def append(self, piece: bytes) -> None:
        """Add an event."""
        assert self.pieces is not None
        self.pieces.append(piece)
        self.items += 1
        self.size += len(piece) + _SEPARATOR

    def part(self, pieces: Iterable[bytes]) -> Batch:
        """Give a batch of some of the events, in the same place."""
        part = Batch(sequence=self.sequence, born=self.born)
        for piece in pieces:
            part.append(piece)
        return part


class Buffer:
    """All batches, in the order of their events. The last may be open; sealed ones never change.

    Attributes:
        items: Events in memory.
        size: Bytes in memory.
        sequence: The place of the last batch that was begun.
    """

    def __init__(self, batching: Batching) -> None:
        self.items = 0
        self.size = 0
        self.sequence = 0
        self._batching = batching
        self._batches: list[Batch] = []
        # Those of them that are in memory: in an outage of hours, a hundred thousand may stand before them on disk.
        self._in_memory: dict[Batch, None] = {}
        self._open: Batch | None = None

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, piece: bytes, now: float) -> None:
        """Add an encoded event to the open batch, or to a new one if it does not fit."""
        batch = self._open
        if batch is None or not self._fits(batch, len(piece) + _SEPARATOR, now):
            self.sequence += 1
            batch = self._open = Batch(sequence=self.sequence, born=now)
            self._batches.append(batch)
            self._in_memory[batch] = None
        batch.append(piece)
        self.items += 1
        self.size += len(piece) + _SEPARATOR

    def _fits(self, batch: Batch, cost: int, now: float) -> bool:
        batching = self._batching
        max_age = math.inf if batching.max_age is None else batching.max_age
        return (
            batch.items < batching.max_items and batch.size + cost <= batching.max_bytes and now - batch.born <= max_age
        )

    def seal(self) -> None:
        """Close the open batch."""
        self._open = None

    def recover(self, batches: Iterable[Batch]) -> None:
        """Put what an earlier process left on disk before everything else, and count on from there."""
        found = sorted(batches, key=lambda batch: batch.sequence)
        if found:
            last = found[-1].sequence
            for batch in self._batches:
                batch.sequence += last
            self.sequence += last
            self._batches[:0] = found

    def oldest(self, *, in_memory: bool = False) -> Batch | None:
        """Give the oldest batch that nobody has leased, sealed; None when there is none.

        Args:
            in_memory: Pass over those that are on disk alone.
        """
        for batch in self._in_memory if in_memory else self._batches:
            if not batch.leased:
                if batch is self._open:
                    self._open = None
                return batch
        return None

    def in_memory_alone(self, *, latest: bool) -> list[Batch]:
        """Give the batches that are not on disk.

        Args:
            latest: Only those after the last one that is.
        """
        found = []
        for batch in reversed(self._batches):
            if batch.record is None:
                found.append(batch)
            elif latest:
                break
        return found[::-1]

    def evict(self, batch: Batch) -> None:
        """Take the events of a batch that is on disk out of memory."""
        self.items -= batch.items
        self.size -= batch.size - _FRAME
        del self._in_memory[batch]
        batch.pieces = batch.payload = None

    def remove(self, batch: Batch) -> None:
        """Take a batch out for good."""
        self.replace(batch, ())

    def discard(self, gone: Container[Batch]) -> None:
        """Take any number of batches out for good that are on disk alone."""
        self._batches = [batch for batch in self._batches if batch not in gone]

    def replace(self, batch: Batch, parts: Iterable[Batch]) -> None:
        """Put some batches in the place of one."""
        place = self._batches.index(batch)
        found = list(parts)
        self._batches[place : place + 1] = found
        self._in_memory.pop(batch, None)
        if found:
            self._in_memory = {each: None for each in self._batches if each.pieces is not None}
        sign = [(batch, -1), *((part, 1) for part in found)]
        for each, factor in sign:
            if each.pieces is not None:
                self.items += factor * each.items
                self.size += factor * (each.size - _FRAME)
