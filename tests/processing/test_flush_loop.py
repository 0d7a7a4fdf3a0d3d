"""The flush loop in virtual time: single situations, and a model of everything at once."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import anyio
import attrs
import pytest
from hypothesis import given, settings, strategies as st

from lambda_extension._budget import BACKGROUND_FLUSH_LIMIT, INVOCATION_MARGIN
from lambda_extension.processing import (
    Adaptive,
    Continuous,
    Decision,
    EndOfInvocation,
    Every,
    FlushPolicy,
    FlushSchedule,
    OnSize,
)
from lambda_extension.processing._flushing import FlushLoop
from virtual_time import EPOCH, backend, freeze, use_virtual_wall_clock

HANG = math.inf
# What a timer may be late by: the least time between two ticks.
TICK = 0.051


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return backend(request.param)


@attrs.define
class Item:
    """Telemetry that waits. `since` is on the clock that stands still while a flush runs."""

    size: int
    since: float


class Processor:
    """Flushes with the durations that it is told, and watches over what no loop may do."""

    def __init__(self, durations: list[float], longest_wait: Callable[[list[Item]], float] = lambda _: HANG) -> None:
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.cut = 0
        self.buffer: list[Item] = []
        self.busy = 0.0
        self.sending: Callable[[], Awaitable[None]] = self.sleep
        self._durations = iter(durations)
        self._longest_wait = longest_wait

    @property
    def running(self) -> bool:
        return len(self.begun) > len(self.ended)

    def free_time(self) -> float:
        """Tell how long no flush was running, in all."""
        assert not self.running
        return anyio.current_time() - self.busy

    def arrive(self, size: int) -> None:
        # While a flush runs the clock stands at its beginning.
        since = self.begun[-1] - self.busy if self.running else self.free_time()
        self.buffer.append(Item(size, since))

    async def flush(self) -> None:
        self.check_waits()
        assert not self.running, "two flushes at once"
        self.begun.append(anyio.current_time())
        taken, done = list(self.buffer), False
        try:
            await self.sending()
            done = True
        finally:
            self.ended.append(anyio.current_time())
            self.busy += self.ended[-1] - self.begun[-1]
            if done:
                del self.buffer[: len(taken)]
            else:
                self.cut += 1
                for item in taken:
                    item.since = self.free_time()

    async def sleep(self) -> None:
        began = anyio.current_time()
        try:
            await anyio.sleep(next(self._durations, 0.0))
        finally:
            assert anyio.current_time() - began <= BACKGROUND_FLUSH_LIMIT + 2

    def check_waits(self) -> None:
        """Hold nothing waits longer than its policy says while the loop is free."""
        longest = self._longest_wait(self.buffer)
        for item in self.buffer:
            assert self.free_time() - item.since <= longest + TICK


@attrs.define
class Counted:
    """A policy's state that counts the flushes of which it is told."""

    schedule: FlushSchedule
    started: int = 0

    def invocation_started(self, now: float, deadline: float) -> Decision:
        return self.schedule.invocation_started(now, deadline)

    def buffered(self, now: float, *, items: int, size: int) -> bool:
        return self.schedule.buffered(now, items=items, size=size)

    def next_tick(self, now: float) -> float | None:
        return self.schedule.next_tick(now)

    def flush_started(self, now: float) -> None:
        self.started += 1
        self.schedule.flush_started(now)


def looped(processor: Processor, policy: FlushPolicy) -> FlushLoop:
    use_virtual_wall_clock()
    return FlushLoop(processor.flush, policy.begin(EPOCH + anyio.current_time()))


@attrs.define
class Running:
    """A loop with its tasks, beside a block."""

    loop: FlushLoop
    timer: bool = False
    tasks: anyio.abc.TaskGroup = attrs.field(factory=anyio.create_task_group)

    async def __aenter__(self) -> FlushLoop:
        await self.tasks.__aenter__()
        for function in (self.loop.run, self.loop.watch, *((self.loop.tick,) if self.timer else ())):
            self.tasks.start_soon(function)
        return self.loop

    async def __aexit__(self, *exc_info: object) -> None:
        self.tasks.cancel_scope.cancel()
        await self.tasks.__aexit__(*exc_info)  # type: ignore[arg-type]  # as they came


async def test_what_comes_while_a_flush_runs_is_flushed_after_it() -> None:
    processor = Processor([1.0])
    async with Running(looped(processor, Continuous())) as loop:
        loop.arrived(1, 1)
        await anyio.sleep(0.5)
        loop.arrived(1, 1)
        await anyio.sleep(1.0)
        assert processor.begun == [0.0, 1.0]


async def test_a_flush_that_did_not_begin_disarms_no_age() -> None:
    processor = Processor([5.0])
    async with Running(looped(processor, OnSize(max_items=2, max_age=10.0)), timer=True) as loop:
        loop.arrived(2, 1)
        await anyio.sleep(1.0)
        loop.want()  # it cannot begin, since the first is running
        await anyio.sleep(5.0)
        assert processor.begun == [0.0, 5.0]
        loop.arrived(1, 1)
        await anyio.sleep(10.1)
        assert processor.begun == [0.0, 5.0, pytest.approx(16.0)]


async def test_a_flush_in_the_background_that_hangs_is_cut_off_and_the_next_one_runs() -> None:
    processor = Processor([HANG])
    async with Running(looped(processor, Continuous())) as loop:
        loop.arrived(1, 1)
        # Arrivals, more often than the limit's waits, do not put the end off.
        for _ in range(80):
            await anyio.sleep(0.5)
            loop.arrived(1, 1)
        assert processor.cut == 1
        assert processor.ended[0] == pytest.approx(BACKGROUND_FLUSH_LIMIT, abs=1.1)
        assert len(processor.begun) > 2


async def test_a_freeze_does_not_use_up_the_limit_of_a_flush() -> None:
    """All timers come due at once after a thaw, those of the freeze too: the answer may be there already as well."""
    processor = Processor([])
    answered = anyio.Event()
    processor.sending = answered.wait
    async with Running(looped(processor, Continuous())) as loop:
        loop.arrived(1, 1)
        await anyio.sleep(0.5)
        for _ in range(5):
            freeze(3600.0)
            await anyio.sleep(1.0)
        answered.set()
        await anyio.sleep(0.1)
        assert processor.cut == 0
        assert len(processor.ended) == 1


async def test_what_a_cut_flush_has_not_sent_counts_as_come_again() -> None:
    processor = Processor([HANG, 0.0])
    async with Running(looped(processor, OnSize(max_items=2))) as loop:
        loop.arrived(2, 1)
        await anyio.sleep(0.1)
        await loop.hold(anyio.current_time())  # cuts nothing: the flush was running before
        assert processor.cut == 0
        await anyio.sleep(BACKGROUND_FLUSH_LIMIT + 2)
        assert processor.cut == 1
        assert len(processor.begun) == 2


async def test_holding_waits_for_a_flush_of_its_own_and_cuts_it_at_its_limit() -> None:
    processor = Processor([0.3, HANG])
    async with Running(looped(processor, EndOfInvocation())) as loop:
        loop.want()
        await anyio.sleep(0.1)
        await loop.hold(anyio.current_time() + 0.5)
        assert processor.ended == [pytest.approx(0.3), pytest.approx(0.6)]
        assert processor.cut == 1


async def test_holding_does_not_cut_a_flush_of_others_and_wants_its_own_still() -> None:
    processor = Processor([2.0])
    async with Running(looped(processor, EndOfInvocation())) as loop:
        loop.want()
        await anyio.sleep(0.1)
        await loop.hold(anyio.current_time() + 0.5)
        assert anyio.current_time() == pytest.approx(0.6)
        assert processor.running
        await anyio.sleep(2)
        assert processor.begun == [0.0, pytest.approx(2.0)]


async def test_the_last_flush_waits_for_a_running_one_then_cuts_it_and_begins() -> None:
    processor = Processor([HANG, HANG])
    async with Running(looped(processor, Continuous())) as loop:
        loop.arrived(1, 1)
        await anyio.sleep(0.1)
        await loop.last(cut_at=1.0, until=1.5)
        assert processor.begun == [0.0, pytest.approx(1.0)]
        assert processor.ended == [pytest.approx(1.0), pytest.approx(1.5)]


async def test_the_last_flush_begins_even_when_its_time_is_over() -> None:
    processor = Processor([])
    async with Running(looped(processor, Continuous())) as loop:
        await anyio.sleep(1.0)
        await loop.last(cut_at=0.5, until=0.5)
        assert processor.begun == [1.0]


async def test_a_flush_that_cannot_be_cancelled_keeps_the_last_from_beginning_beside_it() -> None:
    begun = []

    async def stubborn() -> None:
        begun.append(anyio.current_time())
        with anyio.CancelScope(shield=True):
            await anyio.sleep(3)

    use_virtual_wall_clock()
    async with Running(FlushLoop(stubborn, Continuous().begin(EPOCH))) as loop:
        loop.want()
        await anyio.sleep(0.1)
        await loop.last(cut_at=1.0, until=1.5)
        assert anyio.current_time() == pytest.approx(1.5)
        assert begun == [0.0]


async def test_a_policy_that_is_always_due_leaves_the_event_loop_to_others() -> None:
    processor = Processor([])
    async with Running(looped(processor, EndOfInvocation(interval=1e-9)), timer=True):
        await anyio.sleep(1.0)
    assert 15 < len(processor.begun) < 25


# What the model does at a moment: telemetry comes, an invocation is held, a flush is wanted at its start.
Step = tuple[float, str, float]
POLICIES: list[tuple[FlushPolicy, bool, Callable[[list[Item]], float]]] = [
    (Continuous(), False, lambda _: 0.0),
    (Continuous(), True, lambda _: 0.0),
    (OnSize(max_items=3, max_bytes=50, max_age=None), False, lambda items: 0.0 if len(items) > 3 else HANG),
    (OnSize(max_items=10**6, max_bytes=50, max_age=2.0), True, lambda _: 2.0),
    (EndOfInvocation(interval=1.5), True, lambda _: 1.5),
    (Every(2.5), True, lambda _: 2.5),
    (Adaptive(period=3.0), True, lambda _: 3.0),
]
moments = st.floats(0.0, 20.0).map(lambda moment: round(moment, 2))
steps = st.one_of(
    st.tuples(moments, st.just("arrive"), st.floats(1, 60)),
    st.tuples(moments, st.just("hold"), st.floats(0.0, 3.0)),
    st.tuples(moments, st.just("want"), st.just(0.0)),
)


@given(
    chosen=st.sampled_from(POLICIES),
    plan=st.lists(steps, max_size=25).map(sorted),
    durations=st.lists(st.one_of(st.floats(0.0, 4.0), st.just(HANG)), max_size=12),
    end=st.floats(0.0, 100.0),
    budget=st.floats(0.0, 2.0),
    on=st.sampled_from(["asyncio", "trio"]),
)
@settings(max_examples=300, deadline=None)
def test_whatever_happens_nothing_is_late_nothing_doubles_and_the_last_flush_begins(
    chosen: tuple[FlushPolicy, bool, Callable[[list[Item]], float]],
    plan: list[Step],
    durations: list[float],
    end: float,
    budget: float,
    on: str,
) -> None:
    policy, timer, longest_wait = chosen

    async def hold(loop: FlushLoop, processor: Processor, until: float) -> None:
        began, before = anyio.current_time(), len(processor.begun)
        await loop.hold(until)
        now = anyio.current_time()
        assert now <= max(until, began) + INVOCATION_MARGIN
        assert not [ended for ended in processor.ended[before:] if ended < now], "held on after the flush had ended"

    async def sleep_until(moment: float) -> None:
        await anyio.sleep(max(moment - anyio.current_time(), 0.0))

    async def main() -> None:
        processor = Processor(durations, longest_wait)
        use_virtual_wall_clock()
        schedule = Counted(policy.begin(EPOCH + anyio.current_time()))
        async with Running(FlushLoop(processor.flush, schedule), timer=timer) as loop:
            for moment, what, amount in plan:
                if moment > end:
                    break
                await sleep_until(moment)
                if what == "arrive":
                    processor.arrive(int(amount))
                    loop.arrived(1, int(amount))
                elif what == "hold":
                    # One at a time, as invocations are; what was to happen meanwhile comes late.
                    await hold(loop, processor, anyio.current_time() + amount)
                else:
                    loop.want()
            await sleep_until(end)
            if not processor.running:
                processor.check_waits()
            began, before = anyio.current_time(), len(processor.begun)
            await loop.last(cut_at=began + budget / 2, until=began + budget)
            assert anyio.current_time() <= began + budget + INVOCATION_MARGIN
            assert len(processor.begun) == before + 1
            assert not processor.running
            await anyio.sleep(100)
            assert len(processor.begun) == before + 1 == schedule.started

    runs_on, options = backend(on)
    anyio.run(main, backend=runs_on, backend_options=options)
