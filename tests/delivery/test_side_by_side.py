"""Several deliveries, transforms, partial answers, ids, and what a sink does when it is opened and closed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from sinks_for_tests import REGISTRATION, Clock, ScriptedSink, assert_adds_up, logs, numbers_of

from lambda_extension import ShutdownReason
from lambda_extension.delivery import (
    NDJSON,
    Batching,
    Breaker,
    Delivery,
    JSONArray,
    Limits,
    Payload,
    Retry,
    SinkError,
    Spill,
)
from lambda_extension.records import named, only
from lambda_extension.telemetry import FunctionLog, PlatformRestoreStart, RestoreStartRecord
from waiting import eventually

FAST = Retry(attempts=3, initial=0.001, maximum=0.01)


async def shut_down(delivery: Delivery) -> None:
    await delivery.shutdown(ShutdownReason.SPINDOWN, None)


# Several


def test_two_that_would_share_a_directory_are_refused_at_construction(tmp_path: Path) -> None:
    first = Delivery(ScriptedSink(), spill=Spill(directory=tmp_path / "one"))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="two deliveries would spill to"):
        Delivery(ScriptedSink(), spill=Spill(directory=tmp_path / "link" / "one"))
    Delivery(ScriptedSink(), spill=Spill(directory=tmp_path / "two"))
    Delivery(ScriptedSink(), spill=None)
    named = Delivery(ScriptedSink(), name="logs")
    with pytest.raises(ValueError, match="default directory for logs"):
        Delivery(ScriptedSink(), name="logs")
    other = Delivery(ScriptedSink(), name="reports")
    assert (named.name, other.name, first.name) == ("logs", "reports", None)


async def test_a_directory_is_free_again_after_a_shutdown_or_once_nobody_has_the_delivery(tmp_path: Path) -> None:
    spill = Spill(directory=tmp_path)
    delivery = Delivery(ScriptedSink(), spill=spill)
    await shut_down(delivery)
    delivery = Delivery(ScriptedSink(), spill=spill)
    del delivery
    Delivery(ScriptedSink(), spill=spill)


@pytest.mark.parametrize("name", ["", "a b", "../x", "x/y"])
def test_a_name_that_is_no_part_of_a_path_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a delivery's name"):
        Delivery(ScriptedSink(), name=name)


async def test_what_transforms_leave_out_is_filtered_by_name_and_is_no_loss(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    sink = ScriptedSink()

    def no_odd_ones(record: Any) -> Any:
        return None if int(record.body) % 2 else record

    delivery = Delivery(sink, name="logs", transforms=[no_odd_ones, only(source="function")], spill=None)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1, 2, 3, 4, 5))
    await delivery.flush()
    figures = delivery.statistics()
    assert (figures.received, figures.delivered, figures.filtered, figures.dropped) == (5, 2, 3, 0)
    assert figures.filtered_by_name == {"no_odd_ones": 3}
    assert b'"body":"2"' in sink.payloads[0].body
    await shut_down(delivery)
    (line,) = [record for record in caplog.records if "until spindown" in record.getMessage()]
    assert (line.levelno, line.name) == (logging.INFO, "lambda_extension.delivery")
    assert line.getMessage().startswith("delivery logs until spindown: received 5")
    assert "filtered 3 (no_odd_ones 3)" in line.getMessage()


async def test_an_encoder_may_want_records_without_any_transform() -> None:
    class Bodies:
        content_type = "text/plain"
        compression = None
        records = True

        def encode_event(self, record: Any) -> bytes:
            return str(record.body).encode()

        def join(self, pieces: Sequence[bytes]) -> bytes:
            return b"|".join(pieces)

    sink = ScriptedSink()
    delivery = Delivery(sink, encoder=Bodies(), spill=None)
    await delivery.process(logs(1, 2))
    await shut_down(delivery)
    assert [payload.body for payload in sink.payloads] == [b"1|2"]


def test_the_closing_line_is_seen_where_logging_is_not_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        anyio.run(shut_down, Delivery(ScriptedSink(), spill=None))
    finally:
        root.handlers = handlers
    assert capsys.readouterr().err.startswith("delivery until spindown: received 0")


# Limits and partial answers


async def test_the_stricter_of_the_limits_of_sink_and_encoder_holds() -> None:
    class Narrow(ScriptedSink):
        limits = Limits(items=3, event_bytes=100)

    class Arrays:
        content_type = "application/json"
        compression = None
        limits = Limits(bytes=150, event_bytes=1_000)

        def encode_event(self, event: Any) -> bytes:
            return JSONArray().encode_event(event)

        def join(self, pieces: Sequence[bytes]) -> bytes:
            return b"  [" + b" , ".join(pieces) + b"]"  # longer than a separator and a frame

    sink = Narrow()
    delivery = Delivery(sink, encoder=Arrays(), spill=None)
    await delivery.process([*logs(*range(10)), FunctionLog(time="", record="x" * 200)])
    await delivery.flush()
    assert sink.numbers == list(range(10))
    assert max(len(payload.body) for payload in sink.payloads) <= 150
    assert delivery.statistics().dropped_by_reason == {"too_large": 1}
    assert_adds_up(delivery)


async def test_one_event_whose_payload_is_too_long_is_dropped() -> None:
    class Narrow(ScriptedSink):
        limits = Limits(bytes=20)

    sink = Narrow()
    delivery = Delivery(sink, spill=None)
    await delivery.process(logs(1))
    await delivery.flush()
    assert sink.attempts == []
    assert delivery.statistics().dropped_by_reason == {"too_large": 1}


@pytest.mark.parametrize("on_disk", [False, True])
async def test_only_what_was_refused_goes_again(tmp_path: Path, on_disk: bool) -> None:
    sink = ScriptedSink(
        [
            SinkError("throttled", refused=[1, 3, 99], rejected=[4]),
            SinkError("throttled", refused=[0, 1]),  # nothing of it was taken: a failure like any other
            SinkError("throttled", rejected=[1]),
        ]
    )
    delivery = Delivery(
        sink,
        spill=Spill(directory=tmp_path),
        retry=FAST,
        breaker=Breaker(failures=10),
        batching=Batching(max_items=5),
        max_buffered_bytes=1 if on_disk else 10_000,
    )
    sink.each = lambda: assert_adds_up(delivery)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(0, 1, 2, 3, 4, 5))
    await delivery.flush()
    assert [numbers_of(payload) for payload in sink.attempts] == [[0, 1, 2, 3, 4], [1, 3], [1, 3], [5]]
    figures = delivery.statistics()
    assert (figures.delivered, figures.dropped_by_reason) == (4, {"rejected": 2})
    assert_adds_up(delivery)
    first, second, third, _ = [payload.id for payload in sink.attempts]
    assert first != second == third
    assert list(tmp_path.glob("*.spill")) == []  # noqa: ASYNC240 - once, in a test


async def test_what_is_left_of_a_stored_batch_is_stored_before_the_whole_is_taken_off(tmp_path: Path) -> None:
    sink = ScriptedSink([SinkError("throttled", refused=[1])])
    sink.always = OSError()
    delivery = Delivery(sink, spill=Spill(directory=tmp_path), retry=FAST, max_buffered_bytes=1)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(0, 1, 2))
    await delivery.flush()
    # As after a kill: nobody has shut down the first.
    del delivery
    sink = ScriptedSink()
    sink_after = Delivery(sink, spill=Spill(directory=tmp_path))
    await sink_after.init(REGISTRATION)
    await sink_after.flush()
    assert sink.numbers == [1]


async def test_halves_of_a_stored_batch_keep_their_order(tmp_path: Path) -> None:
    sink = ScriptedSink([SinkError("long", too_large=True), SinkError("long", too_large=True)])
    delivery = Delivery(sink, spill=Spill(directory=tmp_path), batching=Batching(max_items=4), max_buffered_bytes=1)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(*range(8)))
    await delivery.flush()
    assert sink.numbers == list(range(8))
    assert [len(numbers_of(payload)) for payload in sink.payloads] == [1, 1, 2, 4]


# Ids


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of fork, beside pytest's own threads
def test_ids_are_of_their_own_in_processes_with_copied_state() -> None:
    """A fork copies an interpreter as a snapshot does: what was gathered before gets its id afterwards."""
    read, write = os.pipe()

    class Telling(ScriptedSink):
        async def send(self, payload: Payload) -> None:
            os.write(write, f"{payload.id}\n".encode())

    delivery = Delivery(Telling(), spill=None)
    anyio.run(delivery.process, logs(1))
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                anyio.run(delivery.flush)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as ids:
        assert len(set(ids)) == 3


async def test_an_id_made_before_a_snapshot_is_not_used_after_it() -> None:
    sink = ScriptedSink([OSError(), OSError(), OSError()])
    delivery = Delivery(sink, spill=None, retry=FAST)
    await delivery.process(logs(1))
    await delivery.flush()
    record = RestoreStartRecord(runtime_version=None, runtime_version_arn=None)
    await delivery.process([PlatformRestoreStart(time="", record=record)])
    await shut_down(delivery)
    ids = [payload.id for payload in sink.attempts]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert sink.payloads[0].body == sink.attempts[0].body


# Opening and closing


class Opened(ScriptedSink):
    """A sink whose `open` does what it is told."""

    def __init__(self, *opens: Any) -> None:
        super().__init__()
        self.opens = list(opens)
        self.opened = 0
        self.closed = False

    async def open(self) -> None:
        self.opened += 1
        step = self.opens.pop(0) if self.opens else None
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            await step()

    async def aclose(self) -> None:
        self.closed = True


async def test_nothing_of_the_sink_is_awaited_before_there_is_something_to_send() -> None:
    sink = Opened()
    delivery = Delivery(sink, spill=None)
    await delivery.init(REGISTRATION)
    await delivery.flush()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(delivery.background)
        await anyio.wait_all_tasks_blocked()
        assert sink.opened == 0
        await delivery.process(logs(1))
        await eventually(lambda: sink.opened == 1)
        tasks.cancel_scope.cancel()
    await delivery.flush()
    assert (sink.opened, sink.numbers, sink.closed) == (1, [1], False)
    await shut_down(delivery)
    assert sink.closed


@pytest.mark.parametrize("error", [OSError("dns"), RuntimeError("canary"), ExceptionGroup("several", [ValueError()])])
async def test_an_open_that_raises_counts_as_a_failed_send_and_is_tried_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Opened(error, error)
    delivery = Delivery(sink, spill=None)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1))
    await delivery.flush()
    await delivery.flush()
    assert delivery.statistics().failures == 2
    assert sink.attempts == []
    await delivery.flush()
    assert sink.numbers == [1]
    (said,) = caplog.messages
    assert said == f"delivery: the sink cannot be opened ({type(error).__name__}); what is for it is kept"
    await shut_down(delivery)


async def test_an_open_that_hangs_costs_a_flush_its_limit_and_soon_nothing() -> None:
    sink = Opened(*[anyio.sleep_forever] * 9)
    delivery = Delivery(sink, spill=None, breaker=Breaker(failures=2), send_timeout=0.02)
    await delivery.process(logs(1))
    with anyio.fail_after(5):
        await delivery.flush()
        await delivery.flush()
        opened = sink.opened
        await delivery.flush()
    assert sink.opened == opened <= 2
    assert delivery.statistics().buffered == 1


async def test_the_first_flush_waits_for_an_open_that_is_under_way() -> None:
    go = anyio.Event()
    sink = Opened(go.wait)
    delivery = Delivery(sink, spill=None)
    await delivery.process(logs(1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(delivery.background)
        await eventually(lambda: sink.opened == 1)
        tasks.start_soon(delivery.flush)
        await anyio.wait_all_tasks_blocked()
        assert sink.attempts == []
        go.set()
        await eventually(lambda: sink.numbers == [1])
        tasks.cancel_scope.cancel()
    assert sink.opened == 1


async def test_a_sink_that_cannot_be_closed_is_said(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(ScriptedSink):
        async def aclose(self) -> None:
            raise OSError

    await shut_down(Delivery(Stubborn(), spill=None))
    assert "delivery: the sink cannot be closed" in caplog.messages


# The end


class SlowArray:
    """Joining a batch takes as long as compressing a large one on a small function."""

    content_type = "application/json"
    compression = None

    def encode_event(self, event: Any) -> bytes:
        return JSONArray().encode_event(event)

    def join(self, pieces: Sequence[bytes]) -> bytes:
        time.sleep(0.25)  # it is slow
        return JSONArray().join(pieces)


@pytest.mark.parametrize("left", [0.0, 0.05, 0.6])
@pytest.mark.parametrize("error", [None, ValueError("a bug")])
async def test_a_shutdown_with_a_slow_encoder_loses_nothing_however_little_time_is_left(
    tmp_path: Path, left: float, error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink, encoder=SlowArray(), batching=Batching(max_items=1), spill=Spill(directory=tmp_path))
    await delivery.init(REGISTRATION)
    await delivery.process(logs(*range(13)))
    reason = ShutdownReason.SPINDOWN if error is None else ShutdownReason.EXTENSION_ERROR
    with anyio.move_on_after(left):
        await delivery.shutdown(reason, error)
    figures = delivery.statistics()
    assert figures.delivered + figures.spilled == 13
    assert (figures.buffered, figures.dropped) == (0, 0)
    assert f"delivery until {reason}: received 13" in caplog.text
    after = ScriptedSink()
    delivery = Delivery(after, spill=Spill(directory=tmp_path))
    await delivery.init(REGISTRATION)
    await delivery.flush()
    assert sink.numbers + after.numbers == list(range(13))


async def test_a_batch_is_encoded_once_however_often_it_is_sent() -> None:
    joined = []

    class Counting(SlowArray):
        def join(self, pieces: Sequence[bytes]) -> bytes:
            joined.append(len(pieces))
            return JSONArray().join(pieces)

    sink = ScriptedSink([OSError(), OSError(), OSError()])
    delivery = Delivery(sink, encoder=Counting(), spill=None, retry=FAST, breaker=Breaker(failures=9))
    await delivery.process(logs(1, 2))
    await delivery.flush()
    await delivery.flush()
    assert (len(sink.attempts), joined) == (4, [2])


async def test_one_sentence_per_outage_and_the_traceback_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sink = ScriptedSink([ValueError("canary"), None, ValueError("canary")])
    delivery = Delivery(sink, spill=None, retry=Retry(attempts=1))
    for _ in range(4):
        await delivery.process(logs(1))
        await delivery.flush()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        "delivery: the sink does not take payloads (ValueError); they are kept"
    ] * 2
    assert all(record.exc_info is None for record in warnings)
    debug = [record for record in caplog.records if record.levelno == logging.DEBUG and "delivery" in record.name]
    assert all(record.exc_info is not None for record in debug)
    await anyio.lowlevel.checkpoint()


# Hostile surroundings


async def test_a_clock_that_is_set_back_by_a_day_stops_nothing(tmp_path: Path) -> None:
    clock = Clock()
    sink = ScriptedSink([OSError()])
    with clock:
        delivery = Delivery(
            sink,
            spill=Spill(directory=tmp_path),
            breaker=Breaker(failures=1, cooldown=60.0),
            batching=Batching(max_age=1.0),
        )
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1))
    await delivery.flush()
    clock.now -= 86_400
    await delivery.process(logs(2))
    await delivery.flush()
    assert sink.numbers == [1, 2]
    await shut_down(delivery)


async def test_what_an_earlier_process_encoded_in_another_format_is_of_no_use(tmp_path: Path) -> None:
    delivery = Delivery(ScriptedSink(), spill=Spill(directory=tmp_path), max_buffered_bytes=1)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1, 2))
    del delivery
    sink = ScriptedSink()
    delivery = Delivery(sink, spill=Spill(directory=tmp_path), encoder=NDJSON())
    await delivery.init(REGISTRATION)
    await delivery.process(logs(3))
    await delivery.flush()
    assert sink.numbers == [3]
    assert delivery.statistics().dropped_by_reason == {"corrupt": 2}


async def test_what_comes_before_init_leaves_after_what_was_stored(tmp_path: Path) -> None:
    delivery = Delivery(ScriptedSink(), spill=Spill(directory=tmp_path), max_buffered_bytes=1)
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1))
    await delivery.process(logs(2))
    del delivery
    sink = ScriptedSink()
    delivery = Delivery(sink, spill=Spill(directory=tmp_path))
    await delivery.process(logs(3))
    await delivery.init(REGISTRATION)
    await delivery.process(logs(4))
    await delivery.flush()
    assert sink.numbers == [1, 2, 3, 4]


async def test_memory_that_is_full_of_what_is_being_sent_holds_nothing_up(tmp_path: Path) -> None:
    async def take_in_meanwhile() -> None:
        await delivery.process([FunctionLog(time="", record="x" * 1000)])

    sink = ScriptedSink([take_in_meanwhile])
    delivery = Delivery(sink, spill=None, max_buffered_bytes=100)
    await delivery.process([FunctionLog(time="", record="1" * 20)])
    sink.each = lambda: assert_adds_up(delivery)
    await delivery.flush()
    figures = delivery.statistics()
    assert (figures.delivered, figures.dropped_by_reason) == (1, {"memory": 1})
    # One alone that is too long for memory is being sent: there is nothing to make room with.
    sink.script = [lambda: delivery.process([])]
    delivery = Delivery(sink, spill=None, max_buffered_bytes=10_000)
    await delivery.process([FunctionLog(time="", record="1" * 5_000)])
    await delivery.flush()
    assert delivery.statistics().delivered == 1


async def test_work_in_the_background_waits_for_the_cool_down() -> None:
    clock = Clock()
    sink = ScriptedSink([OSError()])
    with clock:
        delivery = Delivery(sink, spill=None, breaker=Breaker(failures=1))
    await delivery.process(logs(1))
    await delivery.flush()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(delivery.background)
        await delivery.process(logs(2))
        await anyio.wait_all_tasks_blocked()
        assert len(sink.attempts) == 1
        clock.now += 10
        await delivery.process(logs(3))
        await eventually(lambda: sink.numbers == [1, 2, 3])
        tasks.cancel_scope.cancel()


async def test_a_transform_that_fails_is_counted_and_its_record_is_dropped_only_where_it_is_to_be() -> None:
    """Also where two have the same name."""

    def fail(record: Any) -> Any:
        raise KeyError(record)

    strict = named(fail, on_failure="drop")
    delivery = Delivery(ScriptedSink(), transforms=[fail, only(source="function"), fail, strict], spill=None)
    await delivery.process(logs(1, 2))
    kept = Delivery(ScriptedSink(), transforms=[fail, fail], spill=None)
    await kept.process(logs(1, 2))
    await kept.process(logs(3))
    figures, others = delivery.statistics(), kept.statistics()
    assert (figures.received, figures.dropped_by_reason) == (2, {"transform_failed": 2})
    assert (others.received, others.buffered, others.dropped) == (3, 3, 0)
    assert (figures.transform_failures, others.transform_failures) == ({"fail": 6}, {"fail": 6})
    assert "; transforms failed 6 times (fail 6);" in str(figures)
    assert "transforms" not in str(Delivery(ScriptedSink(), spill=None).statistics())
