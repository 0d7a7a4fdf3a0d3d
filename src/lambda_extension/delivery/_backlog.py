"""What waits to be sent, in memory and on disk, and the account of it. Every event is in one place at every await."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, final

import anyio
import anyio.to_thread

from lambda_extension._budget import NOTING_LIMIT
from lambda_extension.delivery._accounts import Accounts, Complaints, logger
from lambda_extension.delivery._batches import Batch, Batching, Buffer
from lambda_extension.delivery._spill import CorruptRecordError, Record, Spill, SpillStore

T = TypeVar("T")

# What is shorter is written on the spot: a thread would cost more.
WORTH_A_THREAD = 64 * 1024


@final
class Backlog:
    """Batches until they are delivered or dropped: in memory, in the spill store, or in both.

    Args:
        batching: How events are gathered.
        content_type: The format of the events; what an earlier process left in another one is of no use.
        accounts: Counts what becomes of them.
        complaints: Says what is wrong with the store.
    """

    def __init__(self, batching: Batching, content_type: str, accounts: Accounts, complaints: Complaints) -> None:
        self._buffer = Buffer(batching)
        self._content_type = content_type
        self._accounts = accounts
        self._complaints = complaints
        self._store: SpillStore | None = None
        # One task moves batches or uses the store at a time.
        self._storing = anyio.Lock()
        self._one_thread = anyio.CapacityLimiter(1)

    @property
    def items(self) -> int:
        """Events in memory."""
        return self._buffer.items

    @property
    def waiting_bytes(self) -> int:
        """Bytes in memory and on disk, each batch once."""
        return sum(batch.size if batch.record is None else batch.record.length for batch in self._buffer)

    @property
    def last(self) -> int:
        """The place of the last batch that was begun."""
        return self._buffer.sequence

    def __bool__(self) -> bool:
        return len(self._buffer) > 0

    def add(self, piece: bytes, now: float) -> None:
        """Take in an encoded event."""
        self._buffer.add(piece, now)
        self._accounts.received += 1

    def seal(self) -> None:
        """Close the batch that is being gathered."""
        self._buffer.seal()

    def redraw_ids(self) -> None:
        """Forget every id: this environment was restored from a snapshot, and others have the same."""
        for batch in self._buffer:
            batch.redraw_id()

    async def open_store(self, spill: Spill, name: str) -> None:
        """Open the spill store, and take in what an earlier process left. A failure costs a warning, nothing else."""
        # Not by `tempfile`: its import takes longer than all else here; what cannot be used is told below.
        temporary = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - the store sees to it that it is nobody else's
        directory = Path(spill.directory or Path(temporary) / f"lambda-extension-{name}")
        store = SpillStore(directory, max_bytes=spill.max_bytes, segment_bytes=spill.segment_bytes)
        try:
            found = await anyio.to_thread.run_sync(store.open, limiter=self._one_thread)
        except OSError:
            self._complaints.say("store", "the spill store %s cannot be used", directory)
            return
        self._store = store
        accounts = self._accounts
        batches = []
        for record in found:
            batches.append(
                Batch(sequence=record.sequence, pieces=None, items=record.items, record=record, known_id=record.id)
            )
            accounts.recovered += record.items
            accounts.received += record.items
            accounts.spilled += record.items
        self._buffer.recover(batches)
        accounts.torn_records += store.torn
        if found or store.torn:
            logger.info("found %d events of an earlier process, and %d torn records", accounts.recovered, store.torn)

    async def lease(self, last: float) -> Batch | None:
        """Give the oldest batch, wherever it is, once nobody moves it; None when there is none up to `last`."""
        async with self._storing:
            batch = self._buffer.oldest()
            if batch is None or batch.sequence > last:
                return None
            _lease(batch, True)
            return batch

    def release(self, batch: Batch) -> None:
        """Give a leased batch back; if it has been delivered or dropped, nothing happens."""
        _lease(batch, False)

    async def load(self, batch: Batch) -> list[bytes]:
        """Give the events of a leased batch, from wherever they are.

        Raises:
            CorruptRecordError: The store does not have them any more.
        """
        if batch.pieces is not None:
            return batch.pieces
        assert self._store is not None
        assert batch.record is not None
        if batch.record.content_type != self._content_type:
            msg = "an earlier process encoded it in another format"
            raise CorruptRecordError(msg)
        async with self._storing:
            return await self._on_disk(self._store.load, batch.record, size=batch.record.length)

    async def delivered(self, batch: Batch, size: int) -> None:
        """Count a leased batch as delivered, and take it off the disk."""
        self._take_out(batch)
        self._accounts.delivered += batch.items
        self._accounts.batches += 1
        self._accounts.bytes += size
        await self._note_done(batch)

    async def drop(self, reason: str, batch: Batch) -> None:
        """Count a leased batch as lost, and take it off the disk."""
        self._drop_now(reason, batch)
        await self._note_done(batch)

    async def split(
        self, batch: Batch, parts: Iterable[Sequence[bytes]], *, delivered: int = 0, rejected: int = 0
    ) -> list[Batch]:
        """Put some batches, leased, in the place of a leased one. They are on disk before it is taken off, if it was.

        Args:
            batch: The whole.
            parts: The events of each part.
            delivered: How many events of the whole are in no part since they have been delivered.
            rejected: And how many since the sink will never take them.
        """
        # Not to be cut off half way: what has been delivered would be sent again.
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + NOTING_LIMIT):
            async with self._storing:
                made = [batch.part(pieces) for pieces in parts]
                for part in made:
                    part.leased = True
                if batch.pieces is None:
                    self._accounts.spilled -= batch.items
                self._buffer.replace(batch, made)
                self._accounts.delivered += delivered
                if rejected:
                    self._accounts.drop("rejected", rejected)
                if batch.record is not None:
                    for part in made:
                        await self._write(part)
            await self._note_done(batch)
            return made
        raise TimeoutError  # pragma: no cover - the disk hangs; the whole is where it was

    async def write_all(self, *, latest: bool = False, on_the_spot: bool = False) -> None:
        """Write to disk what is in memory alone; it stays in memory too, until it is delivered or room is needed.

        Args:
            latest: Only what has come since the last call, or since one at which the disk refused.
            on_the_spot: Without a thread, however much it is: on a busy machine, to hand over to one and back takes
                many times as long as to write.
        """
        if self._store is None:
            return
        async with self._storing:
            # Not before: more may have come while the lock was waited for, and what is written must not change.
            self._buffer.seal()
            for batch in self._buffer.in_memory_alone(latest=latest):
                # A disk that refuses one now refuses the others too, and there may be thousands.
                if await self._write(batch, on_the_spot=on_the_spot) == "spill_failed" and latest:
                    break

    def leave_to_disk(self) -> None:
        """Let go of the memory of what is on disk: that is where a later process finds it."""
        for batch in list(self._buffer):
            if batch.record is not None and batch.pieces is not None and not batch.leased:
                self._evict(batch)

    async def make_room(self, max_bytes: int) -> None:
        """Move the oldest batches out of memory until no more than so many bytes are left, or those being sent."""
        while self._buffer.size > max_bytes:
            async with self._storing:
                batch = self._buffer.oldest(in_memory=True)
                if batch is None:
                    return  # pragma: no cover - nothing is there but what is being sent
                if batch.record is None:
                    reason = await self._write(batch)
                    if reason is not None:
                        self._drop_now(reason, batch)
                        continue
                self._evict(batch)

    def close(self) -> None:
        """Let go of the spill store; what is in it stays."""
        if self._store is not None:
            self._store.close()

    async def _write(self, batch: Batch, *, on_the_spot: bool = False) -> str | None:
        """Write a batch to disk, and say why if that cannot be."""
        if self._store is None:
            return "memory"
        assert batch.pieces is not None
        append = functools.partial(self._store.append, sequence=batch.sequence, content_type=self._content_type)
        outcome = await self._on_disk(append, batch.id, batch.pieces, size=0 if on_the_spot else batch.size)
        if outcome.deleted:
            self._deleted(outcome.deleted)
        if outcome.record is not None:
            batch.record = outcome.record
            batch.record.leased = batch.leased
            self._complaints.over("write")
            return None
        if outcome.failure is None:
            return "spill_full"
        self._complaints.say("write", "the spill store cannot be written to: %s", outcome.failure)
        return "spill_failed"

    def _deleted(self, records: Iterable[Record]) -> None:
        """Note that the store has deleted records, thousands at once, to make room for another."""
        gone = set(records)
        lost = {}
        for batch in self._buffer:
            if batch.record in gone:
                batch.record = None
                if batch.pieces is None:
                    lost[batch] = batch.items
        self._buffer.discard(lost)
        items = sum(lost.values())
        if items:
            self._accounts.spilled -= items
            self._accounts.drop("spill_full", items)

    def _evict(self, batch: Batch) -> None:
        self._buffer.evict(batch)
        self._accounts.spilled += batch.items
        self._accounts.spilled_in_all += batch.items

    def _drop_now(self, reason: str, batch: Batch) -> None:
        self._take_out(batch)
        self._accounts.drop(reason, batch.items)

    def _take_out(self, batch: Batch) -> None:
        if batch.pieces is None:
            self._accounts.spilled -= batch.items
        self._buffer.remove(batch)

    async def _note_done(self, batch: Batch) -> None:
        """Take a batch off the disk; not to be cancelled, lest a later process send it a second time."""
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + NOTING_LIMIT):
            # Behind whoever may be writing this very batch: only then is it known to be on disk.
            async with self._storing:
                record, batch.record = batch.record, None
                if record is None:
                    return
                assert self._store is not None
                try:
                    await self._on_disk(self._store.remove, record, size=0)
                except OSError:
                    self._complaints.say("remove", "a batch that was delivered cannot be taken off the spill store")

    async def _on_disk(self, function: Callable[..., T], *args: Any, size: int) -> T:
        if size < WORTH_A_THREAD:
            return function(*args)
        return await anyio.to_thread.run_sync(functools.partial(function, *args), limiter=self._one_thread)


def _lease(batch: Batch, leased: bool) -> None:
    batch.leased = leased
    if batch.record is not None:
        batch.record.leased = leased


def halves(pieces: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    """Cut a batch in two."""
    middle = len(pieces) // 2
    return pieces[:middle], pieces[middle:]
