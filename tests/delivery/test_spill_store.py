"""The spill store: what was written is read back, whatever a kill leaves, and the bound holds."""

from __future__ import annotations

import errno
import os
import resource
import signal
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from lambda_extension.delivery._spill import Appended, CorruptRecordError, Record, SpillStore

# Of fork, beside pytest's own threads; the children do nothing but what stands there.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def pieces(number: int, size: int = 10) -> list[bytes]:
    """Make as many as the number says, of so many bytes in all."""
    return [bytes([number]) * size, *[b""] * (number - 1)]


def write(store: SpillStore, number: int, size: int = 10) -> Appended:
    return store.append(f"id{number}", pieces(number, size), sequence=number, content_type="text/x")


def store_in(directory: Path, **settings: Any) -> SpillStore:
    return SpillStore(directory, **{"max_bytes": 10_000, "segment_bytes": 1_000, **settings})


def append(store: SpillStore, number: int, size: int = 10) -> Record:
    outcome = write(store, number, size)
    assert outcome.record is not None
    return outcome.record


def segments(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.spill"))


def test_payloads_survive_in_their_order(tmp_path: Path) -> None:
    store = store_in(tmp_path / "new" / "one")
    assert store.open() == []
    for number in range(1, 31):
        append(store, number, 100)
    again = store_in(tmp_path / "new" / "one")
    found = again.open()
    assert [again.load(record) for record in found] == [pieces(number, 100) for number in range(1, 31)]
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
    (path,) = tmp_path.glob("*.spill")
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
    (path,) = tmp_path.glob("*.spill")
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
    head = struct.pack("<4scIII", b"LXS2", b"P", len(about), 0, zlib.crc32(about))
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
    next(tmp_path.glob("*.spill")).unlink()
    with pytest.raises(CorruptRecordError):
        store.load(record)


def test_the_oldest_segment_makes_room_unless_it_is_being_sent(tmp_path: Path) -> None:
    store = store_in(tmp_path, max_bytes=3_000, segment_bytes=1)
    store.open()
    first, second = append(store, 1, 1_000), append(store, 2, 1_000)
    first.leased = True
    outcome = write(store, 3, 1_000)
    assert outcome.deleted == [second]
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spill")) <= 3_000
    # Nothing makes room for what is longer than the store, and nothing is deleted for it.
    outcome = write(store, 4, 3_000)
    assert (outcome.record, outcome.deleted, outcome.failure) == (None, [], None)
    assert [record.id for record in store_in(tmp_path).open()] == ["id1", "id3"]


def test_what_deleting_cannot_make_room_for_is_not_written(tmp_path: Path) -> None:
    store = store_in(tmp_path, max_bytes=3_000, segment_bytes=1)
    store.open()
    append(store, 1, 1_000).leased = True
    second = append(store, 2, 500)
    outcome = write(store, 3, 2_000)
    assert (outcome.record, outcome.deleted, outcome.failure) == (None, [second], None)


@pytest.mark.parametrize("before", [0, 1])
def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path, before: int) -> None:
    """By the limit of a file's size, which is a full disk as far as a process can tell."""
    child = os.fork()
    if child == 0:  # the limit cannot be raised again
        try:
            store = store_in(tmp_path, max_bytes=100_000, segment_bytes=100_000)
            store.open()
            for number in range(1, before + 1):
                append(store, number)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
            outcome = write(store, 9, 2_000)
            assert outcome.record is None
            assert outcome.failure is not None
            assert outcome.failure.errno == errno.EFBIG
            append(store, 10)
        except BaseException:  # noqa: BLE001 - nothing of the child may go on
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    again = store_in(tmp_path)
    assert [record.id for record in again.open()] == [*(f"id{number}" for number in range(1, before + 1)), "id10"]
    assert again.torn == 0


def mode_of(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


def test_files_are_for_this_user_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "spill").mkdir(mode=0o777)  # somebody was careless
        store = store_in(tmp_path / "spill")
        store.open()
        append(store, 1)
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "spill") == "0o700"
    assert {mode_of(path) for path in (tmp_path / "spill").iterdir()} == {"0o600"}


def test_a_link_in_the_directory_s_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spill").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="spill"):
        store_in(tmp_path / "spill").open()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_or_a_pipe_in_a_file_s_place_is_not_followed_and_stops_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.open()
    append(store, 1)
    store.close()
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "000000000002.spill").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "000000000003.spill")
    again = store_in(tmp_path)
    assert [record.id for record in again.open()] == ["id1"]
    assert again.torn == 2
    outcome = write(again, 2)
    assert outcome.record is None
    assert isinstance(outcome.failure, FileExistsError)
    assert (tmp_path / "target").read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which may give files away")
def test_another_user_s_directory_and_files_are_left_alone(tmp_path: Path) -> None:
    store = store_in(tmp_path / "spill")
    store.open()
    append(store, 1)
    store.close()
    os.chown(tmp_path / "spill" / "000000000001.spill", 12345, -1)
    again = store_in(tmp_path / "spill")
    assert again.open() == []
    assert again.torn == 1
    again.close()
    os.chown(tmp_path / "spill", 12345, -1)
    with pytest.raises(PermissionError, match="another user"):
        store_in(tmp_path / "spill").open()


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """Mount a small file system, where this machine lets us: that needs root."""
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("needs root, and a machine that lets it mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_file_system_that_may_only_be_read_is_said(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro"), pytest.raises(OSError, match="Read-only"):
        store_in(tmp_path / "disk" / "spill").open()
    with mounted(tmp_path / "other", "ro"), pytest.raises(OSError, match="Read-only"):
        store_in(tmp_path / "other").open()


def test_a_full_disk_takes_what_fits_and_loses_nothing_of_it(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k"):
        store = store_in(tmp_path / "disk" / "spill", max_bytes=1_000_000)
        store.open()
        outcomes = [write(store, number, 10_000) for number in range(1, 10)]
        store.close()
        taken = [outcome.record.id for outcome in outcomes if outcome.record is not None]
        failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
        assert 0 < len(taken) < 9
        assert {failure.errno for failure in failures} == {errno.ENOSPC}
        again = store_in(tmp_path / "disk" / "spill", max_bytes=1_000_000)
        assert [record.id for record in again.open()] == taken
        assert again.torn == 0
        again.close()


@pytest.mark.parametrize("instead", ["nothing", "a directory", "a link"])
def test_a_directory_that_is_replaced_while_it_is_used_takes_no_more(tmp_path: Path, instead: str) -> None:
    store = store_in(tmp_path / "spill")
    store.open()
    first = append(store, 1)
    (tmp_path / "spill").rename(tmp_path / "moved")
    if instead == "a directory":
        (tmp_path / "spill").mkdir()
    elif instead == "a link":
        (tmp_path / "spill").symlink_to(tmp_path / "moved")
    outcome = write(store, 2)
    assert outcome.record is None
    assert isinstance(outcome.failure, FileNotFoundError)
    # What was written before is still there for this process.
    assert store.load(first) == pieces(1)


def test_a_second_process_cannot_have_the_directory_and_a_dead_one_does_not_keep_it(tmp_path: Path) -> None:
    held, hold = os.pipe()
    child = os.fork()
    if child == 0:
        store = store_in(tmp_path)
        store.open()
        append(store, 1)
        os.write(hold, b"x")
        signal.pause()
    os.read(held, 1)
    try:
        with pytest.raises(BlockingIOError):
            store_in(tmp_path).open()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(held)
        os.close(hold)
    assert [record.id for record in store_in(tmp_path).open()] == ["id1"]


@given(st.data())
def test_whatever_a_file_holds_it_is_read_or_skipped(data: st.DataObject) -> None:
    """Flipped bits, huge lengths, cuts, repetitions, and plain garbage: what is given back is what was written."""
    with tempfile.TemporaryDirectory() as directory:
        store = store_in(Path(directory))
        store.open()
        written = {append(store, number).id: pieces(number) for number in (1, 2, 3)}
        store.close()
        (path,) = Path(directory).glob("*.spill")
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(content)))
            change = data.draw(st.sampled_from(["flip", "cut", "insert", "length"]))
            if change == "flip" and place < len(content):
                content[place] ^= 1 << data.draw(st.integers(0, 7))
            elif change == "cut":
                del content[place:]
            elif change == "insert":
                content[place:place] = data.draw(st.binary(max_size=40))
            else:
                content[place : place + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(content)
        again = store_in(Path(directory))
        for record in again.open():
            assert again.load(record) == written[record.id]
        again.close()


@pytest.mark.parametrize("items", [-1, 2, 3, 2**70])
def test_a_sound_record_whose_lengths_do_not_add_up_is_skipped(tmp_path: Path, items: int) -> None:
    about = b'{"id": "x", "items": %d, "sequence": 1, "content_type": "t"}' % items
    rest = struct.pack("=II", 2, 2) + b"abc"
    head = struct.pack("<4scIII", b"LXS2", b"P", len(about), len(rest), zlib.crc32(rest, zlib.crc32(about)))
    (tmp_path / "000000000001.spill").write_bytes(head + about + rest)
    assert store_in(tmp_path).open() == []


def test_a_file_longer_than_the_store_may_be_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "000000000001.spill").write_bytes(b"x" * 20_000)
    store = store_in(tmp_path)
    assert store.open() == []
    assert store.torn == 1


def test_recovered_segments_are_not_added_to(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.open()
    append(store, 1)
    again = store_in(tmp_path)
    again.open()
    append(again, 2)
    assert len(segments(tmp_path)) == 2
