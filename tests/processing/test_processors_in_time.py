"""Processors on a fake session in virtual time: who waits for whom, and what a shutdown leaves to each."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
import pytest
from fake_session import FakeSession

from fake_lambda import log, runtime_done
from lambda_extension import ShutdownReason, TelemetryProcessor
from lambda_extension._budget import (
    CROWDED_LIMIT,
    DEGRADED_PAUSE,
    INVOCATION_MARGIN,
    REQUESTS_END,
    SHUTDOWN_MARGIN,
    error_phases,
    shutdown_phases,
)
from lambda_extension.processing import (
    Action,
    Adaptive,
    Continuous,
    Decision,
    EndOfInvocation,
    Every,
    FlushPolicy,
    FlushSchedule,
    OnSize,
)
from lambda_extension.processing._processor import checked_processors, run_processors
from lambda_extension.telemetry import TelemetryEvent
from virtual_time import EPOCH, backend, freeze

HANG = math.inf
END = EndOfInvocation(share=0.5, limit=1.0)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return backend(request.param)


@attrs.define(slots=False)
class Timed(TelemetryProcessor):
    """Takes its time, and writes down when each method began and ended."""

    name: str = "timed"
    event_takes: float = 0.0
    flush_takes: float = 0.0
    shutdown_takes: float = 0.0
    began: dict[str, list[float]] = attrs.field(factory=dict)
    ended: dict[str, list[float]] = attrs.field(factory=dict)
    events: list[Any] = attrs.field(factory=list)
    flushed: list[int] = attrs.field(factory=list)
    overheads: list[float] = attrs.field(factory=list)
    reason: ShutdownReason | None = None
    errors: Counter[str] = attrs.field(factory=Counter)

    async def process(self, events: Sequence[TelemetryEvent]) -> None:
        with self.timing("process"):
            for event in events:
                await anyio.sleep(self.event_takes)
                self.events.append(event.record)

    async def flush(self) -> None:
        taken = len(self.events)
        with self.timing("flush"):
            await anyio.sleep(self.flush_takes)
            self.flushed.append(taken)

    def record_overhead(self, seconds: float) -> None:
        self.overheads.append(seconds)

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        self.reason = reason
        with self.timing("shutdown"):
            await anyio.sleep(self.shutdown_takes)

    def timing(self, what: str) -> Any:
        return Timing(self, what)


@attrs.define
class Timing:
    processor: Timed
    what: str

    def __enter__(self) -> None:
        self.processor.began.setdefault(self.what, []).append(anyio.current_time())
        if self.processor.errors[self.what] > 0:
            self.processor.errors[self.what] -= 1
            raise KeyError(self.what)

    def __exit__(self, *exc_info: object) -> None:
        self.processor.ended.setdefault(self.what, []).append(anyio.current_time())


@asynccontextmanager
async def running(
    *processors: object, policy: FlushPolicy | None = None, degrade: bool = False, **options: Any
) -> AsyncIterator[FakeSession]:
    """Run processors beside the block; the run has to end by itself."""
    fake = FakeSession(**options)
    async with fake as session, anyio.create_task_group() as tasks:

        async def run() -> None:
            await run_processors(session, checked_processors(list(processors)), policy, degrade=degrade)

        tasks.start_soon(run)
        await anyio.sleep(0.0)
        yield fake


def body(*events: dict[str, Any]) -> bytes:
    return json.dumps(events).encode()


def lines(count: int) -> bytes:
    return body(*(log(str(number)) for number in range(count)))


# The budget of a shutdown


async def test_a_slow_process_starves_neither_the_last_flush_nor_the_hook(caplog: pytest.LogCaptureFixture) -> None:
    slow = Timed(event_takes=0.05)
    async with running(slow, policy=END) as session:
        for _ in range(20):
            session.send(lines(10))
        phases = shutdown_phases(2.0)
        session.shut_down()
        await anyio.sleep(1.5)
        waiting = [session.telemetry.receive.statistics().current_buffer_used]
    assert slow.ended["process"][-1] == pytest.approx(phases.drain)
    assert slow.began["flush"][-1] == pytest.approx(phases.drain)
    assert slow.reason is ShutdownReason.SPINDOWN
    # Of the batch at hand nobody knows how much was taken in: it counts whole, as does the one that was next. The rest
    # has not left the session's stream, and is counted by the session.
    assert 20 <= len(slow.events) < 30
    assert "timed was too slow: 20 events were left over" in caplog.text
    assert waiting == [16]


async def test_what_is_left_is_stored_before_the_last_flush() -> None:
    calls: list[tuple[str, float]] = []

    class Storing(TelemetryProcessor):
        async def flush(self) -> None:
            calls.append(("flush", anyio.current_time()))
            await anyio.sleep(HANG)

        async def store_what_is_left(self) -> None:
            calls.append(("store", anyio.current_time()))
            await anyio.sleep(HANG)  # a disk that hangs costs the share of the last flush, and no more

        async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
            calls.append(("shutdown", anyio.current_time()))

    async with running(Storing(), policy=END) as session:
        session.send(lines(3))
        await anyio.sleep(1.0)
        phases = shutdown_phases(anyio.current_time() + 2.0)
        session.shut_down()
    assert [name for name, _ in calls] == ["flush", "store", "flush", "shutdown"]
    assert calls[1][1] < phases.drain
    assert calls[2][1] == pytest.approx(phases.flush)


async def test_everything_hangs_and_everything_has_its_share(caplog: pytest.LogCaptureFixture) -> None:
    hanging = Timed(event_takes=HANG, flush_takes=HANG, shutdown_takes=HANG)
    async with running(hanging, policy=Continuous()) as session:
        session.invoke("r")
        session.send(lines(3))
        await anyio.sleep(1.0)
        phases = shutdown_phases(anyio.current_time() + 2.0)
        session.shut_down()
    assert hanging.ended["process"] == [pytest.approx(phases.drain)]
    # The one that was running until the drain's end, and the last.
    assert hanging.began["flush"] == [0.0, pytest.approx(phases.drain)]
    assert hanging.ended["flush"] == [pytest.approx(phases.drain), pytest.approx(phases.flush)]
    assert hanging.began["shutdown"] == [pytest.approx(phases.flush)]
    assert hanging.ended["shutdown"] == [pytest.approx(phases.hook)]
    assert "3 events were left over" in caplog.text
    assert "shutdown was cut off after 0.4 s" in caplog.text


@pytest.mark.parametrize("takes", [1.75, 1.9])
async def test_the_hook_is_called_though_the_time_was_over_before_its_turn(takes: float) -> None:
    """As on a machine that hardly gets to this process: every timer is late."""

    class Slow(Timed):
        async def flush(self) -> None:
            if "flush" not in self.began:
                freeze(takes)
            await super().flush()

    slow = Slow(flush_takes=HANG, shutdown_takes=HANG)
    async with running(slow, policy=END) as session:
        session.shut_down()
    # On trio, the last flush may begin before it is seen that there is no time for it, and get no further.
    assert slow.ended["flush"] == [pytest.approx(takes)] * len(slow.ended["flush"])
    assert slow.began["shutdown"] == [pytest.approx(takes)]
    # Within a part of the margin, and where that is over too, up to its first wait.
    assert slow.ended["shutdown"] == [pytest.approx(max(2.0 - SHUTDOWN_MARGIN + REQUESTS_END, takes))]
    assert slow.reason is ShutdownReason.SPINDOWN


async def test_the_hook_is_called_though_a_shutdown_is_cancelled() -> None:
    """By a second signal, or by whoever runs the extension."""
    hanging = Timed(flush_takes=HANG)
    with anyio.CancelScope() as scope:
        async with running(hanging, policy=END) as session:
            session.shut_down()
            await anyio.sleep(0.5)
            scope.cancel()
    assert hanging.ended["shutdown"] == [pytest.approx(0.5)]


async def test_no_hook_is_called_where_nothing_shuts_down() -> None:
    """Whoever cancels what runs an extension wants it to end, and the environment has not said that it does."""
    idle = Timed()
    with anyio.CancelScope() as scope:
        async with running(idle, policy=END):
            await anyio.sleep(0.5)
            scope.cancel()
    assert "shutdown" not in idle.began


async def test_what_a_phase_leaves_over_goes_to_the_next() -> None:
    quick = Timed(shutdown_takes=1.6)
    async with running(quick) as session:
        session.shut_down()
    assert quick.ended["shutdown"] == [pytest.approx(1.6)]


async def test_a_shutdown_during_a_held_invocation_lets_go_of_it() -> None:
    """As a signal has it; the platform itself sends SHUTDOWN only to who asks."""
    processor = Timed()
    async with running(processor, policy=END) as session:
        session.invoke("r", 600.0)
        session.send(lines(1))
        await anyio.sleep(1.0)
        session.shut_down()
        await anyio.sleep(0.5)
        assert processor.flushed[-1] == 1
        assert processor.reason is not None


async def test_an_invocation_that_came_with_the_signal_is_not_held() -> None:
    processor = Timed()
    async with running(processor, policy=END) as session:
        session.invoke("r1", 600.0)
        session.invoke("r2", 600.0)
        session.shut_down()
    assert anyio.current_time() < 0.5
    assert processor.reason is not None


# Holding an invocation


async def test_an_invocation_ends_by_type_and_request_id_alone() -> None:
    odd = {"type": "platform.runtimeDone", "record": {"requestId": "r1", "metrics": "none", "spans": 3}}
    processor = Timed()
    async with running(processor, policy=END) as session:
        session.invoke("r1", 600.0)
        # None of these is this invocation's end.
        for record in ({"requestId": 5}, {}, "r1", {"requestId": "r0"}):
            session.send(body({"type": "platform.runtimeDone", "record": record}))
        session.send(b'[{"type":"platform.start","time":"x","record":{"requestId":"r1"}}]')
        await anyio.sleep(1.0)
        assert len(session.asked) == 1
        session.send(body(odd))
        await anyio.sleep(0.1)
        assert session.asked == [0.0, 1.0]
        assert processor.flushed[-1] == 6
        session.shut_down()


async def test_where_no_end_can_come_no_flush_waits_for_it() -> None:
    processor = Timed(flush_takes=0.5)
    async with running(processor, policy=END, sees_ends=False) as session:
        session.invoke("r", 600.0)
        await anyio.sleep(0.1)
        assert session.asked == [0.0, 0.0]
        session.shut_down()
    # Nothing is known about how long the function took.
    assert processor.overheads == [0.0]


async def test_without_something_to_flush_nothing_waits() -> None:
    class OnlyProcess(TelemetryProcessor):
        async def process(self, events: Sequence[TelemetryEvent]) -> None:
            """Take in."""

    async with running(OnlyProcess(), policy=END) as session:
        session.invoke("r", 600.0)
        session.send(lines(1))
        await anyio.sleep(0.1)
        assert session.asked == [0.0, 0.0]
        session.shut_down()


async def test_a_process_that_is_slow_after_the_end_holds_no_longer_than_a_flush_may() -> None:
    processor = Timed(event_takes=HANG)
    async with running(processor, policy=END) as session:
        session.invoke("r", 100.0)
        session.send(lines(1))
        await anyio.sleep(2.0)
        session.send(body(runtime_done("r")))
        await anyio.sleep(2.0)
        assert session.asked == [0.0, pytest.approx(3.0, abs=0.1)]
        session.shut_down()


async def test_nothing_holds_an_invocation_beyond_its_margin() -> None:
    processor = Timed(flush_takes=HANG)
    async with running(processor, policy=EndOfInvocation(share=1.0, limit=60.0)) as session:
        session.invoke("r1", 5.0)
        await anyio.sleep(6.0)
        assert session.asked[1] <= 5.0 - INVOCATION_MARGIN / 2
        session.shut_down()


async def test_an_end_that_never_comes_holds_for_the_share_only() -> None:
    processor = Timed()
    async with running(processor, policy=EndOfInvocation(share=0.25, limit=60.0)) as session:
        session.send(lines(1))
        session.invoke("r1", 8.0)
        await anyio.sleep(3.0)
        assert session.asked == [0.0, pytest.approx(2.0)]
        assert processor.flushed == [1]
        session.shut_down()


async def test_a_long_invocation_is_flushed_in_between() -> None:
    processor = Timed()
    async with running(processor, policy=EndOfInvocation(share=1.0, interval=10.0)) as session:
        session.send(lines(1))
        session.invoke("r1", 600.0)
        await anyio.sleep(25.0)
        assert processor.began["flush"] == [pytest.approx(10.0), pytest.approx(20.0)]
        assert session.asked == [0.0]
        session.shut_down()


async def test_on_managed_instances_a_timer_flushes() -> None:
    processor = Timed()
    async with running(processor, policy=EndOfInvocation(interval=10.0), managed_instance=True) as session:
        session.send(lines(1))
        await anyio.sleep(25.0)
        assert processor.began["flush"] == [pytest.approx(10.0), pytest.approx(20.0)]
        session.shut_down()


async def test_a_policy_of_one_s_own_may_wait_without_ticks() -> None:
    class Waiting:
        def begin(self, now: float) -> FlushSchedule:
            return self

        def invocation_started(self, now: float, deadline: float) -> Decision:
            assert deadline == pytest.approx(now + 600.0)
            return Decision(action=Action.FLUSH_AT_END, wait=5.0)

        def buffered(self, now: float, *, items: int, size: int) -> bool:
            return False

        def next_tick(self, now: float) -> float | None:
            return None

        def flush_started(self, now: float) -> None:
            """Nothing depends on it."""

    processor = Timed(flush_takes=2.0)
    async with running(processor, policy=Waiting()) as session:
        session.invoke("r1", 600.0)
        await anyio.sleep(10.0)
        # Without a limit, the flush runs in the background.
        assert session.asked == [0.0, pytest.approx(5.0)]
        assert processor.ended["flush"] == [pytest.approx(7.0)]
        session.shut_down()


async def test_what_was_cut_off_leaves_with_the_next_flush() -> None:
    processor = Timed(flush_takes=HANG)
    async with running(processor, policy=END) as session:
        for request_id in ("r1", "r2"):
            session.invoke(request_id, 100.0)
            session.send(body(log("a"), runtime_done(request_id)))
            await anyio.sleep(5.0)
            processor.flush_takes = 0.0
        assert session.asked == [0.0, pytest.approx(1.0), pytest.approx(5.0)]
        assert processor.flushed == [4]
        session.shut_down()
    assert processor.overheads == [pytest.approx(1.0), 0.0]


async def test_by_size_flushes_what_has_come_since_the_last() -> None:
    processor = Timed()
    async with running(processor, policy=OnSize(max_items=3)) as session:
        session.send(lines(2))
        await anyio.sleep(1.0)
        assert processor.flushed == []
        session.send(lines(1))
        await anyio.sleep(1.0)
        session.send(lines(2))
        await anyio.sleep(1.0)
        assert processor.flushed == [3]
        session.shut_down()


async def test_the_overhead_is_the_time_after_the_end() -> None:
    processor = Timed(flush_takes=0.25)
    async with running(processor, policy=END) as session:
        session.invoke("r", 100.0)
        await anyio.sleep(5.0)
        # A time that cannot be read counts as now.
        session.send(body(runtime_done("r") | {"time": "noon"}))
        await anyio.sleep(1.0)
        session.shut_down()
    assert processor.overheads == [pytest.approx(0.25)]


@pytest.mark.parametrize("policy", [Continuous(), OnSize(max_items=1, max_age=1.0)])
async def test_what_comes_while_a_flush_runs_leaves_after_it(policy: FlushPolicy) -> None:
    processor = Timed(flush_takes=0.5)
    async with running(processor, policy=policy, managed_instance=True) as session:
        session.send(lines(1))
        await anyio.sleep(0.1)
        session.send(lines(1))
        await anyio.sleep(1.0)
        assert processor.flushed == [1, 2]
        session.shut_down()


async def test_by_age_means_since_it_came() -> None:
    processor = Timed()
    async with running(processor, policy=OnSize(max_age=0.25), managed_instance=True) as session:
        await anyio.sleep(3.9)
        session.send(lines(1))
        await anyio.sleep(1.0)
        assert processor.began["flush"] == [pytest.approx(4.15)]
        session.shut_down()


async def test_a_period_flushes_beside_the_function_and_holds_until_that_is_done() -> None:
    processor = Timed(flush_takes=0.2)
    async with running(processor, policy=Every(2.0)) as session:
        session.invoke("r1")
        await anyio.sleep(3.0)
        session.invoke("r2")
        await anyio.sleep(1.0)
        assert session.asked == [0.0, 0.0, pytest.approx(3.2)]
        session.shut_down()


# Several processors


async def test_one_that_hangs_costs_the_others_a_moment_once(caplog: pytest.LogCaptureFixture) -> None:
    stuck, well = Timed("stuck", event_takes=HANG), Timed("well")
    async with running(stuck, well, policy=END) as session:
        for _ in range(30):
            session.send(lines(1))
        await anyio.sleep(2 * CROWDED_LIMIT)
        assert len(well.events) == 30
        # The others of an invocation, too, are flushed before it is let go.
        session.invoke("r", 100.0)
        began = anyio.current_time()
        session.send(body(runtime_done("r")))
        await anyio.sleep(5.0)
        assert session.asked[-1] <= began + 1.0 + INVOCATION_MARGIN
        assert well.flushed[-1] == 31
        session.shut_down()
    assert caplog.text.count("stuck takes in nothing") == 1
    # One in its hands and eight that waited were left over, the others dropped.
    assert "stuck was too slow: 9 events were left over" in caplog.text
    assert "stuck: 0 errors, 22 events dropped" in caplog.text
    assert well.flushed[-1] == 31
    assert "well" not in caplog.text


async def test_one_that_was_crowded_gets_telemetry_again_once_it_takes_it() -> None:
    slow, well = Timed("slow", event_takes=3.0), Timed("well")
    async with running(slow, well, policy=END) as session:
        for _ in range(12):
            session.send(lines(1))
        await anyio.sleep(60.0)
        slow.event_takes = 0.0
        before = len(slow.events)
        session.send(lines(5))
        await anyio.sleep(1.0)
        assert len(slow.events) == before + 5
        session.shut_down()


async def test_flushes_run_side_by_side_in_one_budget() -> None:
    hanging, slow, quick = Timed("hanging", flush_takes=HANG), Timed("slow", flush_takes=0.4), Timed("quick")
    async with running(hanging, slow, quick, policy=END) as session:
        session.invoke("r", 100.0)
        session.send(body(runtime_done("r")))
        await anyio.sleep(3.0)
        assert session.asked == [0.0, pytest.approx(1.0)]
        assert slow.flushed == [1]
        phases = shutdown_phases(anyio.current_time() + 2.0)
        session.shut_down()
    assert hanging.ended["flush"][-1] == pytest.approx(phases.flush)
    assert slow.ended["flush"][-1] < phases.flush
    assert [one.reason for one in (hanging, slow, quick)] == [ShutdownReason.SPINDOWN] * 3


async def test_each_processor_has_a_schedule_of_its_own() -> None:
    one, other = Timed("one"), Timed("other", flush_takes=1.0)
    async with running(one, other, policy=Continuous()) as session:
        session.send(lines(1))
        await anyio.sleep(0.1)
        session.send(lines(1))
        await anyio.sleep(2.0)
        assert one.flushed == [1, 2]
        assert other.ended["flush"] == [1.0, 2.0]
        session.shut_down()


async def test_each_processor_has_a_list_of_its_own() -> None:
    class Greedy(Timed):
        async def process(self, events: Sequence[TelemetryEvent]) -> None:
            assert isinstance(events, list)
            events.clear()

    well = Timed("well")
    async with running(Greedy("greedy"), well) as session:
        session.send(lines(3))
        await anyio.sleep(1.0)
        session.shut_down()
    assert len(well.events) == 3


async def test_hooks_that_fail_together_are_raised_together() -> None:
    one, other = Timed("one"), Timed("other")
    one.errors["shutdown"] = other.errors["shutdown"] = 1
    with pytest.raises(ExceptionGroup) as caught:
        async with running(one, other) as session:
            session.shut_down()
    assert caught.group_contains(ExceptionGroup, match="several processors failed")


# Errors


async def test_by_default_the_first_error_ends_all() -> None:
    failing, well = Timed("failing"), Timed("well")
    failing.errors["flush"] = 1
    with pytest.raises(ExceptionGroup) as caught:
        async with running(failing, well, policy=Continuous()) as session:
            session.send(lines(1))
    assert caught.group_contains(KeyError, match="flush", depth=1)
    assert failing.reason is well.reason is ShutdownReason.EXTENSION_ERROR


async def test_the_hook_after_an_error_has_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    failing = Timed(shutdown_takes=HANG)
    failing.errors["process"] = 1
    with pytest.raises(ExceptionGroup):
        async with running(failing) as session:
            until = error_phases().hook
            session.send(lines(1))
    assert failing.ended["shutdown"] == [pytest.approx(until)]
    assert "shutdown was cut off" in caplog.text


async def test_degraded_a_failure_costs_telemetry_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    failing, well = Timed("failing"), Timed("well")
    failing.errors.update(process=2, flush=1)
    async with running(failing, well, policy=Continuous(), degrade=True) as session:
        for _ in range(4):
            session.send(lines(10))
            await anyio.sleep(1.0)
        assert len(failing.events) == 20
        assert len(well.events) == 40
        assert failing.flushed[-1] == 20
        session.shut_down()
    said = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage().split(";")[0] for record in said] == [
        "process of failing failed",
        "flush of failing failed",
    ]
    assert "failing: 3 errors, 20 events dropped by them" in caplog.text
    assert failing.reason is ShutdownReason.SPINDOWN


async def test_degraded_whoever_keeps_failing_is_left_alone_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    failing = Timed("failing")
    failing.errors["process"] = 6
    async with running(failing, policy=Adaptive(), degrade=True) as session:
        for _ in range(7):
            session.send(lines(1))
            await anyio.sleep(1.0)
        assert len(failing.began["process"]) == 5
        # Left alone, it holds no invocation either.
        session.invoke("r", 100.0)
        await anyio.sleep(1.0)
        assert len(session.asked) == 2
        assert "flush" not in failing.began
        # Of what comes after the pause one failure is enough to be left alone again.
        await anyio.sleep(DEGRADED_PAUSE)
        session.send(lines(1))
        await anyio.sleep(1.0)
        session.send(lines(1))
        await anyio.sleep(1.0)
        assert len(failing.began["process"]) == 6
        await anyio.sleep(DEGRADED_PAUSE)
        session.send(lines(2))
        await anyio.sleep(1.0)
        assert len(failing.events) == 2
        session.shut_down()
    assert caplog.text.count("failing is left alone for 60 s") == 2
    assert "failing: 6 errors, 9 events dropped by them" in caplog.text


async def test_degraded_a_flush_that_is_cut_off_again_and_again_counts_too() -> None:
    hanging = Timed(flush_takes=HANG)
    async with running(hanging, policy=END, degrade=True) as session:
        for number in range(8):
            session.invoke(str(number), 100.0)
            session.send(body(runtime_done(str(number))))
            await anyio.sleep(2.0)
        assert len(hanging.began["flush"]) == 5
        hanging.flush_takes = 0.0
        session.shut_down()
    # Its last chance; what came while it was left alone is not in it.
    assert hanging.flushed == [5]


async def test_degraded_what_is_left_is_stored_however_often_the_flush_has_failed() -> None:
    stored: list[int] = []

    class Storing(Timed):
        async def store_what_is_left(self) -> None:
            stored.append(len(self.began["flush"]))

    hanging = Storing(flush_takes=HANG)
    async with running(hanging, policy=END, degrade=True) as session:
        for number in range(6):
            session.invoke(str(number), 100.0)
            session.send(body(runtime_done(str(number))))
            await anyio.sleep(2.0)
        assert len(hanging.began["flush"]) == 5  # and then it is left alone
        session.shut_down()
    assert stored == [5]
    assert len(hanging.began["flush"]) == 6


async def test_degraded_the_end_of_a_background_task_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Timed):
        async def background(self) -> None:
            raise KeyError("background")

    failing = Failing("failing")
    async with running(failing, policy=Continuous(), degrade=True) as session:
        session.send(lines(1))
        await anyio.sleep(1.0)
        assert failing.flushed[-1] == 1
        session.shut_down()
    assert "background of failing failed" in caplog.text


async def test_degraded_one_bad_event_costs_no_other() -> None:
    class OneByOne(TelemetryProcessor):
        def __init__(self) -> None:
            self.events: list[Any] = []

        async def process_event(self, event: TelemetryEvent) -> None:
            self.events.append(int(event.record))  # type: ignore[arg-type]  # lines here

    one_by_one = OneByOne()
    async with running(one_by_one, degrade=True) as session:
        session.send(body(log("1"), log("two"), log("3")))
        await anyio.sleep(1.0)
        session.shut_down()
    assert one_by_one.events == [1, 3]


async def test_degraded_an_error_of_counting_ends_nothing_either(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Timed):
        def record_overhead(self, seconds: float) -> None:
            raise KeyError(seconds)

    async with running(Failing("failing"), policy=Continuous(), degrade=True) as session:
        session.invoke("r1")
        session.invoke("r2")
        await anyio.sleep(1.0)
        assert len(session.asked) == 3
        session.shut_down()
    assert caplog.text.count("record_overhead of failing failed") == 1


async def test_a_background_task_ends_with_the_run() -> None:
    class Working(Timed):
        async def background(self) -> None:
            with self.timing("background"):
                await anyio.sleep_forever()

    working = Working()
    async with running(working) as session:
        session.shut_down()
    assert working.ended["background"] == working.began["shutdown"]


async def test_a_wall_clock_that_is_set_back_leaves_nobody_alone_for_ever() -> None:
    from lambda_extension._budget import wall_clock
    from lambda_extension.processing._degrading import Guard

    now = [EPOCH]
    wall_clock.set(lambda: now[0])
    guard = Guard("x", degrade=True)

    async def fail() -> None:
        raise KeyError

    for _ in range(5):
        assert not await guard.call(fail, what="process", events=1)
    assert not await guard.call(anyio.sleep, 0, what="process", events=1)
    now[0] -= 100
    assert await guard.call(anyio.sleep, 0, what="process", events=1)
    assert guard.dropped == 6
