"""Delivery: whatever the sink does, every event is accounted for, and nothing raises because of it."""

from __future__ import annotations

import logging
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from sinks_for_tests import REGISTRATION, Clock, ScriptedSink, assert_adds_up, logs, numbers_of

from lambda_extension import ShutdownReason
from lambda_extension.delivery import (
    NDJSON,
    Batching,
    Breaker,
    Delivery,
    JSONArray,
    Retry,
    SinkError,
    Spill,
)

FAST = Retry(attempts=3, initial=0.001, maximum=0.01)


def delivery_to(sink: Any, tmp_path: Path | None = None, clock: Clock | None = None, **settings: Any) -> Delivery:
    spill = None if tmp_path is None else Spill(directory=tmp_path / "spill", segment_bytes=200)
    with clock or nullcontext():
        one = Delivery(sink, **{"spill": spill, "retry": FAST, "batching": Batching(max_items=2), **settings})
    if isinstance(sink, ScriptedSink):
        sink.each = lambda: assert_adds_up(one)
    return one


async def shut_down(delivery: Delivery) -> None:
    await delivery.shutdown(ShutdownReason.SPINDOWN, None)


async def test_events_leave_in_order_and_in_batches() -> None:
    sink = ScriptedSink()
    delivery = delivery_to(sink)
    await delivery.init(REGISTRATION)
    await delivery.flush()
    await delivery.process(logs(1, 2, 3))
    await delivery.process(logs(4))
    await delivery.flush()
    await delivery.process(logs(5))
    await delivery.flush()
    assert [numbers_of(payload) for payload in sink.payloads] == [[1, 2], [3, 4], [5]]
    assert len({payload.id for payload in sink.payloads}) == 3
    figures = delivery.statistics()
    assert (figures.received, figures.delivered, figures.batches, figures.flushes) == (5, 5, 3, 2)
    assert figures.bytes == sum(len(payload.body) for payload in sink.payloads)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("count", [3, 3_000])
async def test_payloads_are_compressed_as_they_say(compression: Any, count: int) -> None:
    sink = ScriptedSink()
    delivery = delivery_to(sink, encoder=NDJSON(compression=compression), batching=Batching())
    await delivery.process(logs(*range(count)))
    await delivery.flush()
    assert [payload.content_encoding for payload in sink.payloads] == [compression]
    assert sink.numbers == list(range(count))


async def test_the_sink_may_know_the_format_and_be_opened() -> None:
    class Lines(ScriptedSink):
        encoder = NDJSON()
        opened = False

        async def open(self) -> None:
            self.opened = True

    sink = Lines()
    delivery = delivery_to(sink)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1))
    await delivery.flush()
    assert sink.opened
    assert sink.payloads[0].content_type == "application/x-ndjson"


async def test_what_cannot_be_encoded_or_comes_to_nothing_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    class Picky:
        content_type = "application/json"
        compression = None

        def encode_event(self, event: Any) -> bytes:
            if event == "bad":
                raise TypeError(event)
            return b"" if event == "dull" else JSONArray().encode_event(event)

        def join(self, pieces: Any) -> bytes:
            return JSONArray().join(pieces)

    sink = ScriptedSink()
    delivery = delivery_to(sink, encoder=Picky())
    await delivery.process([*logs(1), "bad", "dull", *logs(2), "bad"])
    await delivery.flush()
    assert sink.numbers == [1, 2]
    figures = delivery.statistics()
    assert figures.dropped_by_reason == {"unencodable": 2}
    assert figures.filtered_by_name == {"encoder": 1}
    assert_adds_up(delivery)
    assert len([message for message in caplog.messages if "cannot be encoded" in message]) == 1


async def test_a_failure_that_passes_is_tried_again_with_the_same_id() -> None:
    sink = ScriptedSink([SinkError("busy", retry_after=0.0), ConnectionResetError()])
    delivery = delivery_to(sink, breaker=Breaker(failures=5))
    await delivery.process(logs(1))
    await delivery.flush()
    assert sink.numbers == [1]
    assert len({payload.id for payload in sink.attempts}) == 1
    figures = delivery.statistics()
    assert (figures.retries, figures.failures, figures.delivered) == (2, 2, 1)


async def test_a_connection_that_broke_is_tried_again_at_once() -> None:
    sink = ScriptedSink([ConnectionResetError("stale")])
    delivery = delivery_to(sink, retry=Retry(initial=60.0, maximum=60.0))
    await delivery.process(logs(1))
    with anyio.fail_after(5):
        await delivery.flush()
    assert sink.numbers == [1]


async def test_a_time_out_because_of_a_freeze_is_tried_again_at_once_and_is_no_failure() -> None:
    clock = Clock()

    async def freeze() -> None:
        clock.now += 3600
        raise TimeoutError

    sink = ScriptedSink([freeze])
    delivery = delivery_to(sink, clock=clock, breaker=Breaker(failures=1), retry=Retry(initial=60, maximum=60))
    await delivery.process(logs(1))
    with anyio.fail_after(5):
        await delivery.flush()
    assert sink.numbers == [1]
    assert delivery.statistics().failures == 0


async def test_a_retry_never_goes_past_the_deadline_and_the_sink_is_left_alone_as_it_asked() -> None:
    clock = Clock()
    sink = ScriptedSink([SinkError("slow down", retry_after=5.0)])
    delivery = delivery_to(sink, clock=clock, retry=Retry(maximum=10.0))
    await delivery.process(logs(1))
    with anyio.fail_after(4):  # the deadline, which five seconds are past
        await delivery.flush()
        await delivery.flush()
    assert len(sink.attempts) == 1
    clock.now += 6
    await delivery.flush()
    assert sink.numbers == [1]


async def test_a_longer_wait_than_the_longest_ends_the_flush() -> None:
    sink = ScriptedSink([SinkError("come back tomorrow", retry_after=86_400.0)])
    delivery = delivery_to(sink)
    await delivery.process(logs(1))
    await delivery.flush()
    assert len(sink.attempts) == 1
    assert delivery.statistics().buffered == 1


async def test_what_is_not_retryable_is_kept_but_not_repeated() -> None:
    sink = ScriptedSink([SinkError("who are you", retryable=False)])
    delivery = delivery_to(sink)
    await delivery.process(logs(1, 2, 3))
    await delivery.flush()
    assert len(sink.attempts) == 1
    await delivery.flush()
    assert sink.numbers == [1, 2, 3]


async def test_a_rejected_payload_is_dropped_and_the_next_one_sent() -> None:
    sink = ScriptedSink([SinkError("nonsense", keep=False)])
    delivery = delivery_to(sink)
    await delivery.process(logs(1, 2, 3))
    await delivery.flush()
    assert sink.numbers == [3]
    assert delivery.statistics().dropped_by_reason == {"rejected": 2}


async def test_without_a_task_in_the_background_a_flush_probes_by_itself() -> None:
    clock = Clock()
    sink = ScriptedSink()
    delivery = delivery_to(sink, clock=clock, breaker=Breaker(failures=3, cooldown=10.0, max_cooldown=30.0))
    sink.script = [OSError(), OSError(), OSError()]
    await delivery.process(logs(4))
    await delivery.flush()
    clock.now += 10
    await delivery.flush()
    assert sink.numbers == [4]


async def test_a_flush_while_a_probe_is_under_way_returns_at_once_and_a_second_probe_is_not_made() -> None:
    clock = Clock()
    sink = ScriptedSink([OSError()])
    delivery = delivery_to(sink, clock=clock, breaker=Breaker(failures=1, cooldown=1.0))
    await delivery.process(logs(1))
    await delivery.flush()
    answer = anyio.Event()
    sink.always = answer.wait
    clock.now += 1
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(delivery.flush)
        tasks.start_soon(delivery.flush)
        await anyio.wait_all_tasks_blocked()
        answer.set()
    assert len(sink.attempts) == 2
    assert sink.numbers == [1]


async def test_a_probe_with_nothing_to_send_leaves_the_breaker_as_it_is() -> None:
    clock = Clock()
    sink = ScriptedSink([SinkError("nonsense", keep=False), OSError()])
    delivery = delivery_to(sink, clock=clock, breaker=Breaker(failures=1, cooldown=1.0), max_buffered_bytes=1)
    await delivery.process(logs(1))
    await delivery.flush()
    assert sink.attempts == []  # no room at all: dropped
    delivery._breaker.failed()
    clock.now += 1
    await delivery.flush()
    assert delivery._breaker.is_open


async def test_without_a_store_the_oldest_is_dropped_when_memory_is_full() -> None:
    sink = ScriptedSink()
    delivery = delivery_to(sink, max_buffered_bytes=200)
    await delivery.process(logs(*range(10)))
    assert delivery.statistics().dropped_by_reason == {"memory": 8}
    await delivery.flush()
    assert sink.numbers == [8, 9]


async def test_what_memory_does_not_hold_is_spilled_and_leaves_first(tmp_path: Path) -> None:
    sink = ScriptedSink()
    delivery = delivery_to(sink, tmp_path, max_buffered_bytes=200)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(*range(10)))
    assert_adds_up(delivery)
    assert delivery.statistics().spilled == 8
    await delivery.flush()
    assert sink.numbers == list(range(10))
    assert list((tmp_path / "spill").glob("*.spill")) == []
    assert delivery.statistics().spilled_in_all == 8


async def test_a_batch_that_was_being_sent_keeps_its_place_before_those_spilled_meanwhile(tmp_path: Path) -> None:
    sink = ScriptedSink()
    delivery = delivery_to(sink, tmp_path, max_buffered_bytes=200)
    await delivery.init(REGISTRATION)

    async def fail_late() -> None:
        await delivery.process(logs(3, 4, 5, 6))
        raise OSError

    sink.script = [fail_late]
    await delivery.process(logs(1, 2))
    await delivery.flush()
    await delivery.flush()
    assert delivery.statistics().spilled_in_all > 0
    assert sink.numbers == [1, 2, 3, 4, 5, 6]


async def test_a_shutdown_stores_what_a_dead_sink_does_not_take_and_the_next_process_sends_it_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sink = ScriptedSink()
    sink.always = OSError()
    delivery = delivery_to(sink, tmp_path)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1, 2, 3))
    await shut_down(delivery)
    figures = delivery.statistics()
    assert (figures.spilled, figures.buffered) == (3, 0)
    assert "spilled 3" in caplog.text
    ids = {payload.id for payload in sink.attempts}

    sink = ScriptedSink()
    delivery = delivery_to(sink, tmp_path)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(4))
    await delivery.flush()
    await shut_down(delivery)
    assert sink.numbers == [1, 2, 3, 4]
    assert ids < {payload.id for payload in sink.payloads}
    figures = delivery.statistics()
    assert (figures.received, figures.recovered, figures.delivered, figures.spilled) == (4, 3, 4, 0)
    assert list((tmp_path / "spill").glob("*.spill")) == []


async def test_a_shutdown_tries_even_a_sink_that_was_left_alone(tmp_path: Path) -> None:
    sink = ScriptedSink([OSError()])
    delivery = delivery_to(sink, tmp_path, breaker=Breaker(failures=1))
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1, 2, 3))
    await delivery.flush()
    await shut_down(delivery)
    assert sink.numbers == [1, 2, 3]


async def test_a_shutdown_is_over_before_its_deadline_and_stores_the_rest(tmp_path: Path) -> None:
    sink = ScriptedSink()
    sink.always = partial(anyio.sleep, 60)
    delivery = delivery_to(sink, tmp_path)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(*range(100)))
    with anyio.fail_after(2):
        await shut_down(delivery)
    assert delivery.statistics().spilled == 100


async def test_without_a_store_a_shutdown_says_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    sink = ScriptedSink()
    sink.always = OSError()
    delivery = delivery_to(sink)
    delivery.record_overhead(0.25)
    await delivery.process(logs(1))
    await shut_down(delivery)
    (record,) = [record for record in caplog.records if "delivery until spindown" in record.getMessage()]
    assert record.levelno == logging.WARNING
    assert "buffered 1" in record.getMessage()
    assert "1 invocations held 250.0 ms" in record.getMessage()


async def test_a_store_that_is_full_drops_the_oldest_and_counts_it(tmp_path: Path) -> None:
    sink = ScriptedSink()
    sink.always = OSError()
    spill = Spill(directory=tmp_path, max_bytes=600, segment_bytes=1)
    delivery = delivery_to(sink, spill=spill, max_buffered_bytes=200)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(*range(20)))
    assert_adds_up(delivery)
    figures = delivery.statistics()
    assert figures.dropped_by_reason["spill_full"] > 0
    assert "spill_full" in str(figures)
    sink.always = None
    await delivery.flush()
    await delivery.flush()
    assert sink.numbers == list(range(20))[-len(sink.numbers) :]
    assert len(sink.numbers) == 20 - figures.dropped


async def test_a_batch_too_long_for_the_store_is_dropped_and_counted(tmp_path: Path) -> None:
    delivery = delivery_to(ScriptedSink(), spill=Spill(directory=tmp_path, max_bytes=10), max_buffered_bytes=1)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1))
    assert delivery.statistics().dropped_by_reason == {"spill_full": 1}


async def test_a_store_that_cannot_be_opened_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "spill").write_text("not a directory")
    sink = ScriptedSink()
    delivery = delivery_to(sink, tmp_path)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1))
    await delivery.flush()
    assert sink.numbers == [1]
    assert "cannot be used" in caplog.text


async def test_a_store_that_cannot_be_written_to_drops_and_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = delivery_to(ScriptedSink(), tmp_path, max_buffered_bytes=1)
    await delivery.init(REGISTRATION)
    shutil.rmtree(tmp_path / "spill")
    await delivery.process(logs(1))
    assert delivery.statistics().dropped_by_reason == {"spill_failed": 1}
    assert "cannot be written to" in caplog.text


async def test_the_store_is_by_default_in_tmp_under_the_extension_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    await Delivery(ScriptedSink()).init(REGISTRATION)
    await Delivery(ScriptedSink(), name="logs").init(REGISTRATION)
    assert (tmp_path / "lambda-extension-test-logs").is_dir()
    assert (tmp_path / "lambda-extension-test").is_dir()


async def test_a_damaged_record_is_dropped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = ScriptedSink()
    delivery = delivery_to(sink, tmp_path, max_buffered_bytes=1)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1, 2, 3))
    first = sorted((tmp_path / "spill").glob("*.spill"))[0]
    first.write_bytes(first.read_bytes()[:-1] + b"!")
    await delivery.flush()
    assert sink.numbers == [3]
    assert delivery.statistics().dropped_by_reason == {"corrupt": 2}
    assert_adds_up(delivery)


async def test_a_rejected_record_leaves_the_store(tmp_path: Path) -> None:
    sink = ScriptedSink([SinkError("nonsense", keep=False)])
    delivery = delivery_to(sink, tmp_path, max_buffered_bytes=1)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1, 2))
    await delivery.flush()
    assert delivery.statistics().dropped_by_reason == {"rejected": 2}
    assert list((tmp_path / "spill").glob("*.spill")) == []


async def test_a_record_that_cannot_be_taken_off_the_disk_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = ScriptedSink()
    spill = Spill(directory=tmp_path / "spill")
    delivery = delivery_to(sink, spill=spill, max_buffered_bytes=1)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1, 2, 3, 4))

    async def take_file_away() -> None:
        next((tmp_path / "spill").glob("*.spill")).rename(tmp_path / "gone")

    sink.script = [take_file_away]
    await delivery.flush()
    assert "cannot be taken off" in caplog.text
    assert_adds_up(delivery)
    assert delivery.statistics().dropped_by_reason == {"corrupt": 2}


async def test_a_missing_package_is_found_out_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(ImportError, match="zstandard"):
        Delivery(ScriptedSink(), encoder=NDJSON(compression="zstd"))


def test_without_tenacity_delivery_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"lambda-extension\[delivery\]"):
        Delivery(ScriptedSink())
