"""Whole runs at random, in virtual time: whatever hangs, fails or is late, Lambda's deadlines and the sums hold."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Sequence
from typing import Any

import anyio
import attrs
import pytest
from fake_session import FakeSession
from hypothesis import HealthCheck, example, given, settings, strategies as st

from fake_lambda import log, runtime_done
from lambda_extension import ShutdownReason, TelemetryProcessor
from lambda_extension._budget import INVOCATION_MARGIN, SHUTDOWN_MARGIN
from lambda_extension.processing import Adaptive, Continuous, EndOfInvocation, Every, FlushPolicy, OnSize
from lambda_extension.processing._processor import checked_processors, run_processors
from lambda_extension.telemetry import TelemetryEvent
from virtual_time import backend

HANG = math.inf


@attrs.define(slots=False)
class Whimsical(TelemetryProcessor):
    """Each call takes the next of its durations; a negative one fails after as long."""

    name: str
    processing: list[float]
    flushing: list[float]
    ending: list[float]
    taken: int = 0
    flushes: list[float] = attrs.field(factory=list)
    running: int = 0
    ended: float | None = None

    async def process(self, events: Sequence[TelemetryEvent]) -> None:
        await self._take(self.processing)
        self.taken += len(events)

    async def flush(self) -> None:
        assert not self.running
        self.running += 1
        self.flushes.append(anyio.current_time())
        try:
            await self._take(self.flushing)
        finally:
            self.running -= 1

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        assert not self.running
        self.ended = anyio.current_time()
        await self._take(self.ending)

    async def _take(self, durations: list[float]) -> None:
        duration = durations.pop(0) if durations else 0.0
        await anyio.sleep(abs(duration))
        if duration < 0:
            raise KeyError(duration)


durations = st.lists(st.one_of(st.floats(0.0, 3.0), st.floats(-3.0, -0.001), st.just(HANG)), max_size=6)
hooks = st.lists(st.one_of(st.floats(0.0, 3.0), st.just(HANG)), max_size=1)
processors = st.lists(st.tuples(durations, durations, hooks), min_size=1, max_size=3)
# An invocation: its time-out, how long the function takes, the lines it writes, whether its end is told.
invocations = st.lists(
    st.tuples(st.floats(0.2, 30.0), st.floats(0.0, 5.0), st.integers(0, 20), st.booleans()), max_size=8
)
POLICIES: list[FlushPolicy] = [
    Continuous(),
    EndOfInvocation(share=1.0, limit=5.0, interval=1.0),
    Every(2.0),
    OnSize(max_items=5, max_age=3.0),
    Adaptive(period=4.0, window=2),
]


@given(
    made=processors,
    plan=invocations,
    policy=st.sampled_from(POLICIES),
    sees_ends=st.booleans(),
    budget=st.floats(0.5, 2.0),
    on=st.sampled_from(["asyncio", "trio"]),
)
@example(  # the flush that is cut off for the last one is the fifth failure in a row
    made=[([], [-1.0, HANG, -1.0, HANG, HANG], [])],
    plan=[(17.0, 0.0, 0, False), (23.0, 0.0, 0, False), (24.0, 0.0, 0, False)],
    policy=POLICIES[1],
    sees_ends=True,
    budget=1.0,
    on="asyncio",
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_hangs_or_fails_deadlines_and_sums_hold(
    made: list[tuple[list[float], list[float], list[float]]],
    plan: list[tuple[float, float, int, bool]],
    policy: FlushPolicy,
    sees_ends: bool,
    budget: float,
    on: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.clear()
    # Copies: hypothesis shows the lists as they were drawn.
    whimsical = [
        Whimsical(f"p{index}", list(processing), list(flushing), list(ending))
        for index, (processing, flushing, ending) in enumerate(made)
    ]
    sent, rest, shut_down_at, over_at = 0, 0, 0.0, 0.0

    async def platform(fake: FakeSession) -> None:
        nonlocal sent, shut_down_at
        for number, (timeout, takes, lines, told) in enumerate(plan):
            began = anyio.current_time()
            fake.invoke(f"r{number}", timeout)
            await anyio.sleep(min(takes, timeout))
            events: list[dict[str, Any]] = [log("x")] * lines + ([runtime_done(f"r{number}")] if told else [])
            fake.send(json.dumps(events).encode())
            sent += len(events)
            # The platform goes on once the function and the extension are done, and that is before the deadline.
            with anyio.fail_after(began + timeout - INVOCATION_MARGIN / 2 + 1e-6 - anyio.current_time()):
                await fake.wait_asked(number + 2)
        shut_down_at = anyio.current_time()
        fake.shut_down(budget)

    async def main() -> None:
        nonlocal over_at, rest
        fake = FakeSession(sees_ends=sees_ends)
        async with fake as session, anyio.create_task_group() as tasks:
            tasks.start_soon(platform, fake)
            try:
                await run_processors(session, checked_processors(whimsical), policy, degrade=True)
            finally:  # the session may have cut it off
                over_at = anyio.current_time()
                rest = fake.left_over()

    with caplog.at_level(logging.WARNING):
        runs_on, options = backend(on)
        anyio.run(main, backend=runs_on, backend_options=options)
    assert over_at <= shut_down_at + max(budget - SHUTDOWN_MARGIN, 0.0) + 1e-6
    for one in whimsical:
        assert one.ended is not None, "the hook was not called"
        assert not one.running
        assert one.flushes[-1] >= shut_down_at, "there was no last flush"
        lost = sum(
            int(count)
            for pattern in (rf"{one.name} was too slow: (\d+) events", rf"{one.name}: \d+ errors, (\d+) events dropped")
            for count in re.findall(pattern, caplog.text)
        )
        assert one.taken + lost + rest == sent
