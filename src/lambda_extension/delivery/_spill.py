"""A bounded store of payloads in files, which survives a kill. Plain blocking code: it runs in worker threads.

A segment is a file of records, `<number>.spill`. A record is a head (magic, state, lengths, checksum), a JSON object
that describes the payload, and the body. Its state is one byte, overwritten in place when the payload has been
acknowledged; a segment without pending records is deleted. Nothing is synced: a kill loses no written page.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import final

import attrs
import msgspec

from lambda_extension.delivery._sinks import Payload

_MAGIC = b"LXS1"
_HEAD = struct.Struct("<4scIII")  # magic, state, length of the description, length of the body, checksum of both
_STATE_OFFSET = len(_MAGIC)
_PENDING, _DONE = b"P", b"D"


class CorruptRecordError(Exception):
    """What a record holds is not what was written."""


class _Description(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    items: int
    sequence: int
    content_type: str
    content_encoding: str | None = None


@attrs.define(eq=False, kw_only=True)
class Record:
    """A payload in the store.

    Attributes:
        sequence: Its place in the order of all batches.
        items: Events in it.
        leased: Whether it is being sent: its segment is then not deleted to make room.
    """

    id: str
    sequence: int
    items: int
    segment: Segment = attrs.field(repr=False)
    offset: int
    length: int
    leased: bool = False


@attrs.frozen(kw_only=True)
class Appended:
    """What became of a payload that was to be written.

    Attributes:
        record: Its record; None when it was not written.
        deleted: Records that were deleted to make room.
        failure: Why it was not written: the file system's error, or None when there was no room.
    """

    record: Record | None = None
    deleted: list[Record] = attrs.field(factory=list)
    failure: OSError | None = None


@attrs.define(eq=False, kw_only=True)
class Segment:
    """A file of records."""

    number: int
    path: Path
    size: int = 0
    pending: list[Record] = attrs.field(factory=list, repr=False)


@final
@attrs.frozen(kw_only=True)
class Spill:
    """Where payloads go when memory is full, or when the environment ends while the backend is down.

    Attributes:
        directory: Where; None is a directory of this extension's name in the temporary directory, `/tmp` on Lambda,
            which a reset of the environment keeps. Two extensions must not share one.
        max_bytes: Bytes that the files may take up; the oldest segment is deleted, and counted, to make room.
        segment_bytes: Bytes after which a new segment is begun.
    """

    directory: str | os.PathLike[str] | None = None
    max_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=attrs.validators.ge(1))
    segment_bytes: int = attrs.field(default=2 * 1024 * 1024, validator=attrs.validators.ge(1))


@final
class SpillStore:
    """The store. Every method blocks on the file system; one thread at a time may use it.

    Attributes:
        torn: Records found incomplete or damaged when the store was opened.
    """

    def __init__(self, directory: Path, *, max_bytes: int, segment_bytes: int) -> None:
        self.torn = 0
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._segments: list[Segment] = []
        self._growing: Segment | None = None

    def open(self) -> list[Record]:
        """Read what an earlier process left, in the order in which it was written.

        What cannot be read for certain is skipped and counted in `torn`. Segments found are not added to.

        Raises:
            OSError: The directory cannot be made or read.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(self._directory.glob("*.spill")):
            if not path.stem.isdigit():
                continue
            segment = Segment(number=int(path.stem), path=path)
            content = path.read_bytes()
            segment.size = len(content)
            segment.pending = list(self._scan(segment, content))
            if segment.pending:
                self._segments.append(segment)
            else:
                path.unlink()
        self._segments.sort(key=lambda segment: segment.number)
        return [record for segment in self._segments for record in segment.pending]

    def _scan(self, segment: Segment, content: bytes) -> Iterator[Record]:
        offset = 0
        while offset < len(content):
            found = _read(content, offset)
            if found is None:
                self.torn += 1
                offset = content.find(_MAGIC, offset + 1)
                if offset < 0:
                    return
                continue
            about, done, end = found
            if not done:
                yield Record(
                    id=about.id,
                    sequence=about.sequence,
                    items=about.items,
                    segment=segment,
                    offset=offset,
                    length=end - offset,
                )
            offset = end

    def append(self, payload: Payload, sequence: int) -> Appended:
        """Write a payload; if the file system refuses, nothing of it remains."""
        about = msgspec.json.encode(
            _Description(
                id=payload.id,
                items=payload.items,
                sequence=sequence,
                content_type=payload.content_type,
                content_encoding=payload.content_encoding,
            )
        )
        checksum = zlib.crc32(payload.body, zlib.crc32(about))
        head = _HEAD.pack(_MAGIC, _PENDING, len(about), len(payload.body), checksum)
        length = len(head) + len(about) + len(payload.body)
        deleted: list[Record] = []
        try:
            if not self._make_room(length, deleted):
                return Appended(deleted=deleted)
            segment = self._writable(length)
            offset = segment.size
            try:
                with segment.path.open("ab") as file:
                    file.writelines((head, about, payload.body))
            except OSError:
                self._undo(segment)
                raise
        except OSError as error:
            return Appended(deleted=deleted, failure=error)
        segment.size += length
        record = Record(
            id=payload.id,
            sequence=sequence,
            items=payload.items,
            segment=segment,
            offset=offset,
            length=length,
        )
        segment.pending.append(record)
        return Appended(record=record, deleted=deleted)

    def load(self, record: Record) -> Payload:
        """Read a payload back.

        Raises:
            CorruptRecordError: It is not what was written, or is gone.
        """
        try:
            with record.segment.path.open("rb") as file:
                file.seek(record.offset)
                content = file.read(record.length)
        except OSError as error:
            raise CorruptRecordError(str(error)) from error
        found = _read(content, 0)
        if found is None or found[0].id != record.id:
            msg = f"the record at {record.offset} of {record.segment.path} is damaged"
            raise CorruptRecordError(msg)
        about, _, end = found
        return Payload(
            id=about.id,
            body=content[end - _body_length(content) : end],
            items=about.items,
            content_type=about.content_type,
            content_encoding=about.content_encoding,
        )

    def remove(self, record: Record) -> None:
        """Note on disk that a record is done with; delete its segment with its last record. Safe to call again."""
        segment = record.segment
        if record not in segment.pending:
            return
        segment.pending.remove(record)
        if not segment.pending:
            self._delete(segment)
            return
        with segment.path.open("r+b") as file:
            file.seek(record.offset + _STATE_OFFSET)
            file.write(_DONE)

    def _make_room(self, length: int, deleted: list[Record]) -> bool:
        """Delete the oldest segments until `length` bytes fit; one whose record is being sent stays."""
        total = sum(segment.size for segment in self._segments)
        for segment in list(self._segments):
            if length > self._max_bytes or total + length <= self._max_bytes:
                break
            if not any(record.leased for record in segment.pending):
                total -= segment.size
                deleted += segment.pending
                self._delete(segment)
        return total + length <= self._max_bytes

    def _writable(self, length: int) -> Segment:
        segment = self._growing
        if segment is None or segment.size + length > self._segment_bytes:
            number = max((segment.number for segment in self._segments), default=0) + 1
            segment = self._growing = Segment(number=number, path=self._directory / f"{number:012d}.spill")
            self._segments.append(segment)
        return segment

    def _undo(self, segment: Segment) -> None:
        """Take back a half-written record, and with that write no more to a segment that may be torn."""
        self._growing = None
        if segment.pending:
            os.truncate(segment.path, segment.size)
        else:
            self._delete(segment)

    def _delete(self, segment: Segment) -> None:
        segment.pending.clear()
        segment.path.unlink(missing_ok=True)
        self._segments.remove(segment)
        if segment is self._growing:
            self._growing = None


def _body_length(content: bytes) -> int:
    return int(_HEAD.unpack_from(content)[3])


def _read(content: bytes, offset: int) -> tuple[_Description, bool, int] | None:
    """Read the record at an offset: description, whether it is done, and its end; None unless all of it is sound."""
    if len(content) - offset < _HEAD.size:
        return None
    magic, state, described, body, checksum = _HEAD.unpack_from(content, offset)
    start = offset + _HEAD.size
    end = start + described + body
    if magic != _MAGIC or end > len(content) or zlib.crc32(memoryview(content)[start:end]) != checksum:
        return None
    try:
        about = msgspec.json.decode(content[start : start + described], type=_Description)
    except msgspec.DecodeError:
        return None
    return about, state == _DONE, end
