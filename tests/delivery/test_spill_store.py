"""The spill store: what was written is read back, whatever a kill leaves, and the bound holds."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, Self

import pytest

from lambda_extension.delivery import Payload
from lambda_extension.delivery._spill import CorruptRecordError, Record, SpillStore


def payload(number: int, size: int = 10) -> Payload:
    body = bytes([number]) * size
    return Payload(id=f"id{number}", body=body, items=number, content_type="text/x", content_encoding="gzip")


def store_in(directory: Path, **settings: Any) -> SpillStore:
    return SpillStore(directory, **{"max_bytes": 10_000, "segment_bytes": 1_000, **settings})


def append(store: SpillStore, number: int, size: int = 10) -> Record:
    outcome = store.append(payload(number, size), number)
    assert outcome.record is not None
    return outcome.record


def segments(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_payloads_survive_in_their_order(tmp_path: Path) -> None:
    store = store_in(tmp_path / "new" / "one")
    assert store.open() == []
    for number in range(1, 31):
        append(store, number, 100)
    again = store_in(tmp_path / "new" / "one")
    found = again.open()
    assert [again.load(record) for record in found] == [payload(number, 100) for number in range(1, 31)]
    assert [record.sequence for record in found] == list(range(1, 31))
    assert again.torn == 0
    assert len(segments(tmp_path / "new" / "one")) > 1


def test_what_is_removed_does_not_come_back_and_empty_segments_go(tmp_path: Path) -> None:
    store = store_in(tmp_path, segment_bytes=250)
    store.open()
    records = [append(store, number) for number in range(1, 5)]
    assert len(segments(tmp_path)) == 2
    store.remove(records[0])
    store.remove(records[0])
    assert [record.id for record in store_in(tmp_path).open()] == ["id2", "id3", "id4"]
    for record in records[1:]:
        store.remove(record)
    assert segments(tmp_path) == []
    # The segment that was being written to is gone too: the next begins anew.
    append(store, 5)
    assert [record.id for record in store_in(tmp_path).open()] == ["id5"]


def test_a_torn_tail_is_skipped_and_counted_at_every_length(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.open()
    first = append(store, 1)
    append(store, 2)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in range(first.length, len(whole)):
        path.write_bytes(whole[:length])
        again = store_in(tmp_path)
        assert [record.id for record in again.open()] == ["id1"], length
        assert again.torn == (length > first.length)


@pytest.mark.parametrize("state_too", [False, True])
def test_a_damaged_record_costs_only_itself(tmp_path: Path, state_too: bool) -> None:
    store = store_in(tmp_path)
    store.open()
    records = [append(store, number) for number in (1, 2, 3)]
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[records[1].offset + records[1].length - 1] ^= 1
    if state_too:
        content[records[1].offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptRecordError, match="damaged"):
        store.load(records[1])
    again = store_in(tmp_path)
    assert [record.id for record in again.open()] == ["id1", "id3"]
    assert again.torn == 1


def test_a_record_of_another_format_is_skipped(tmp_path: Path) -> None:
    about = b'{"other": 1}'
    head = struct.pack("<4scIII", b"LXS1", b"P", len(about), 0, zlib.crc32(about))
    (tmp_path / "000000000001.spill").write_bytes(head + about)
    (tmp_path / "note.spill").write_text("not a segment")
    store = store_in(tmp_path)
    assert store.open() == []
    assert store.torn == 1
    assert segments(tmp_path) == ["note.spill"]


def test_a_file_that_is_gone_is_a_corrupt_record(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.open()
    record = append(store, 1)
    next(tmp_path.iterdir()).unlink()
    with pytest.raises(CorruptRecordError):
        store.load(record)


def test_the_oldest_segment_makes_room_unless_it_is_being_sent(tmp_path: Path) -> None:
    store = store_in(tmp_path, max_bytes=3_000, segment_bytes=1)
    store.open()
    first, second = append(store, 1, 1_000), append(store, 2, 1_000)
    first.leased = True
    outcome = store.append(payload(3, 1_000), 3)
    assert outcome.deleted == [second]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3_000
    # Nothing makes room for what is longer than the store, and nothing is deleted for it.
    outcome = store.append(payload(4, 3_000), 4)
    assert (outcome.record, outcome.deleted, outcome.failure) == (None, [], None)
    assert [record.id for record in store_in(tmp_path).open()] == ["id1", "id3"]


def test_what_deleting_cannot_make_room_for_is_not_written(tmp_path: Path) -> None:
    store = store_in(tmp_path, max_bytes=3_000, segment_bytes=1)
    store.open()
    append(store, 1, 1_000).leased = True
    second = append(store, 2, 500)
    outcome = store.append(payload(3, 2_000), 3)
    assert (outcome.record, outcome.deleted, outcome.failure) == (None, [second], None)


@pytest.mark.parametrize("before", [0, 1])
def test_a_write_that_fails_leaves_nothing(tmp_path: Path, before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_in(tmp_path)
    store.open()
    for number in range(before):
        append(store, number)
    real = Path.open

    class Full:
        def __init__(self, path: Path) -> None:
            self.file = real(path, "ab")

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def writelines(self, lines: Any) -> None:
            self.file.write(b"half")
            raise OSError(28, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, mode: Full(path))
        outcome = store.append(payload(9), 9)
    assert outcome.record is None
    assert isinstance(outcome.failure, OSError)
    append(store, 10)
    again = store_in(tmp_path)
    assert [record.id for record in again.open()] == [*(f"id{number}" for number in range(before)), "id10"]
    assert again.torn == 0


def test_recovered_segments_are_not_added_to(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.open()
    append(store, 1)
    again = store_in(tmp_path)
    again.open()
    append(again, 2)
    assert len(segments(tmp_path)) == 2
