"""A bounded store of batches in files, which survives a kill. Plain blocking code, for one thread at a time.

A segment is a file of records, `<number>.spill`. A record is a head (magic, state, lengths, checksum), a JSON object
that describes the batch, the lengths of its events, and the events as they were encoded: writing one costs neither
compression nor joining. Its state is one byte, overwritten in place when the batch has been acknowledged; a segment
without pending records is deleted. Nothing is synced: a kill loses no written page.

The directory is opened once, after a look at whose it is, and every file is named relative to it: whoever puts another
directory or a link in its place changes nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, final

import attrs
import msgspec

from lambda_extension._validators import whole

_MAGIC = b"LXS2"
_HEAD = struct.Struct("<4scIII")  # magic, state, length of the description, length of the rest, checksum of both
_STATE_OFFSET = len(_MAGIC)
_PENDING, _DONE = b"P", b"D"
_LOCK = "lock"
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
_Natural = Annotated[int, msgspec.Meta(ge=0)]


class CorruptRecordError(Exception):
    """What a record holds is not what was written."""


class _Description(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    items: _Natural
    sequence: _Natural
    content_type: str


@attrs.define(eq=False, kw_only=True)
class Record:
    """A batch in the store.

    Attributes:
        sequence: Its place in the order of all batches.
        items: Events in it.
        content_type: The format of its events.
        leased: Whether it is being sent: its segment is then not deleted to make room.
    """

    id: str
    sequence: int
    items: int
    content_type: str
    segment: Segment = attrs.field(repr=False)
    offset: int
    length: int
    leased: bool = False


class Appended(NamedTuple):
    """What became of a batch that was to be written.

    Attributes:
        deleted: Records that were deleted to make room.
        record: Its record; None when it was not written.
        failure: Why it was not written: the file system's error, or None when there was no room.
    """

    deleted: list[Record]
    record: Record | None = None
    failure: OSError | None = None


@attrs.define(eq=False, kw_only=True)
class Segment:
    """A file of records."""

    number: int
    name: str
    size: int = 0
    pending: list[Record] = attrs.field(factory=list, repr=False)


@final
@attrs.frozen(kw_only=True)
class Spill:
    """Where batches go when memory is full, or when the environment ends while the backend is down.

    Attributes:
        directory: Where; None is a directory of this extension's and this delivery's name in the temporary directory,
            `/tmp` on Lambda, which a reset of the environment keeps. It is made for this user alone, and belongs to
            one process at a time.
        max_bytes: Bytes that the files may take up; the oldest segment is deleted, and counted, to make room.
        segment_bytes: Bytes after which a new segment is begun.
        durable: Whether each batch of the platform is written before it is acknowledged, so that no kill of the
            process loses it. It then travels as a payload of its own. Records that are held back, such as the report of
            an invocation whose end has not been told, are in memory only.
    """

    directory: str | os.PathLike[str] | None = None
    max_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=whole(1))
    segment_bytes: int = attrs.field(default=2 * 1024 * 1024, validator=whole(1))
    durable: bool = False


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
        self._fd = self._file = self._lock = -1

    def open(self) -> list[Record]:
        """Read what an earlier process left, in the order in which it was written.

        What cannot be read for certain is skipped and counted in `torn`. Segments found are not added to.

        Raises:
            OSError: The directory cannot be made or read, is a link or another user's, or another process has it.
        """
        self._directory.parent.mkdir(parents=True, exist_ok=True)
        # Whose it is, if it is there, is looked at once it is open: until then it may be replaced.
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)
        try:
            return self._read_all()
        except BaseException:  # raised again; the descriptor must not stay open
            self.close()
            raise

    def _read_all(self) -> list[Record]:
        if os.fstat(self._fd).st_uid != os.geteuid():
            msg = f"{self._directory} belongs to another user"
            raise PermissionError(msg)
        os.fchmod(self._fd, 0o700)
        self._lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600, dir_fd=self._fd)
        # Of the process, so that a store which it forgot to close does not stand in its own way.
        fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in sorted(os.listdir(self._fd)):  # noqa: PTH208 - a path may have come to lead elsewhere
            stem, _, suffix = name.partition(".")
            if suffix == "spill" and stem.isascii() and stem.isdigit():
                self._read_segment(Segment(number=int(stem), name=name))
        self._segments.sort(key=lambda segment: segment.number)
        return [record for segment in self._segments for record in segment.pending]

    def _read_segment(self, segment: Segment) -> None:
        """Find the records of a file. What is no file of this user's, or longer than all may be, is left alone."""
        try:
            fd = os.open(segment.name, os.O_RDONLY | os.O_NONBLOCK | _NO_LINK, dir_fd=self._fd)
        except OSError:
            self.torn += 1
            return
        with os.fdopen(fd, "rb") as file:
            about = os.fstat(fd)
            sound = stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid() and about.st_size <= self._max_bytes
            content = file.read(self._max_bytes) if sound else None
        if content is None:
            self.torn += 1
            return
        segment.size = len(content)
        segment.pending = list(self._scan(segment, content))
        if segment.pending:
            self._segments.append(segment)
        else:
            os.unlink(segment.name, dir_fd=self._fd)

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
            about, done, start, end = found
            if not done and _split(content[start:end], about.items) is not None:
                yield Record(
                    id=about.id,
                    sequence=about.sequence,
                    items=about.items,
                    content_type=about.content_type,
                    segment=segment,
                    offset=offset,
                    length=end - offset,
                )
            offset = end

    def append(self, batch_id: str, pieces: Sequence[bytes], *, sequence: int, content_type: str) -> Appended:
        """Write a batch; if the file system refuses, nothing of it remains."""
        about = msgspec.json.encode(
            _Description(id=batch_id, items=len(pieces), sequence=sequence, content_type=content_type)
        )
        rest = b"".join([array("I", map(len, pieces)).tobytes(), *pieces])
        checksum = zlib.crc32(rest, zlib.crc32(about))
        content = _HEAD.pack(_MAGIC, _PENDING, len(about), len(rest), checksum) + about + rest
        deleted: list[Record] = []
        try:
            if not self._make_room(len(content), deleted):
                return Appended(deleted=deleted)
            segment = self._writable(len(content))
            offset = segment.size
            try:
                self._check_place()
                _write(self._file, content)
            except OSError:
                self._undo(segment)
                raise
        except OSError as error:
            return Appended(deleted=deleted, failure=error)
        segment.size += len(content)
        record = Record(
            id=batch_id,
            sequence=sequence,
            items=len(pieces),
            content_type=content_type,
            segment=segment,
            offset=offset,
            length=len(content),
        )
        segment.pending.append(record)
        return Appended(record=record, deleted=deleted)

    def load(self, record: Record) -> list[bytes]:
        """Read the events of a batch back.

        Raises:
            CorruptRecordError: It is not what was written, or is gone.
        """
        try:
            fd = os.open(record.segment.name, os.O_RDONLY | _NO_LINK, dir_fd=self._fd)
            try:
                content = os.pread(fd, record.length, record.offset)
            finally:
                os.close(fd)
        except OSError as error:
            raise CorruptRecordError(str(error)) from error
        found = _read(content, 0)
        pieces = None if found is None or found[0].id != record.id else _split(content[found[2] :], found[0].items)
        if pieces is not None:
            return pieces
        msg = f"the record at {record.offset} of {record.segment.name} is damaged"
        raise CorruptRecordError(msg)

    def remove(self, record: Record) -> None:
        """Note on disk that a record is done with; delete its segment with its last record. Safe to call again."""
        segment = record.segment
        if record not in segment.pending:
            return
        segment.pending.remove(record)
        if not segment.pending:
            self._delete(segment)
            return
        fd = os.open(segment.name, os.O_WRONLY | _NO_LINK, dir_fd=self._fd)
        try:
            os.pwrite(fd, _DONE, record.offset + _STATE_OFFSET)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Let go of the directory, so that another process may have it. What is stored stays."""
        for fd in (self._file, self._lock, self._fd):
            if fd >= 0:
                os.close(fd)
        self._file = self._lock = self._fd = -1

    def _check_place(self) -> None:
        """See that the directory is still where the next process will look for it."""
        try:
            there = self._directory.lstat()
        except FileNotFoundError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._fd)):
            msg = f"{self._directory} has been taken away or replaced"
            raise FileNotFoundError(msg)

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
            segment = Segment(number=number, name=f"{number:012d}.spill")
            self._end_growth()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | _NO_LINK
            self._file = os.open(segment.name, flags, 0o600, dir_fd=self._fd)
            self._growing = segment
            self._segments.append(segment)
        return segment

    def _undo(self, segment: Segment) -> None:
        """Take back a half-written record, and with that write no more to a segment that may be torn."""
        if segment.pending:
            os.ftruncate(self._file, segment.size)
            self._end_growth()
        else:
            self._delete(segment)

    def _delete(self, segment: Segment) -> None:
        segment.pending.clear()
        self._segments.remove(segment)
        if segment is self._growing:
            self._end_growth()
        with contextlib.suppress(FileNotFoundError):  # somebody has tidied up
            os.unlink(segment.name, dir_fd=self._fd)

    def _end_growth(self) -> None:
        self._growing = None
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def _write(fd: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _read(content: bytes, offset: int) -> tuple[_Description, bool, int, int] | None:
    """Read the record at an offset: description, whether it is done, where its events begin, and its end.

    None unless all of it is sound.
    """
    if len(content) - offset < _HEAD.size:
        return None
    magic, state, described, length, checksum = _HEAD.unpack_from(content, offset)
    start = offset + _HEAD.size
    end = start + described + length
    if magic != _MAGIC or end > len(content) or zlib.crc32(memoryview(content)[start:end]) != checksum:
        return None
    try:
        about = msgspec.json.decode(content[start : start + described], type=_Description)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return about, state == _DONE, start + described, end


def _split(rest: bytes, items: int) -> list[bytes] | None:
    """Give the events that follow their lengths; None when the lengths do not add up."""
    lengths = array("I")
    head = items * lengths.itemsize
    if len(rest) < head:
        return None
    lengths.frombytes(rest[:head])
    if head + sum(lengths) != len(rest):
        return None
    pieces = []
    for length in lengths:
        pieces.append(rest[head : head + length])
        head += length
    return pieces
