"""run_telemetry: what is called when, and that nothing holds an invocation longer than allowed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
import pytest

from fake_lambda import FakeLambda, error, log, report, runtime_done, start
from lambda_extension import (
    InitializationType,
    Registration,
    ShutdownReason,
    TelemetryProcessor,
    TelemetrySubscription,
    run_telemetry,
)
from lambda_extension.delivery import Continuous, EndOfInvocation, Every, FlushSchedule, OnSize
from lambda_extension.processing._policies import Action, Decision
from lambda_extension.telemetry import FunctionLog, TelemetryEvent


def settings(platform: FakeLambda) -> dict[str, Any]:
    return {"name": "x", "environment": platform.environment, "http_client": platform.http}


class Recorder(TelemetryProcessor):
    """A processor that writes down what is called; `buffer` is what no flush has taken yet."""

    def __init__(self, *, fail: str = "", also: str = "") -> None:
        self.seen: list[Any] = []
        self.buffer: list[Any] = []
        self.flushed: list[list[Any]] = []
        self.holds: list[float] = []
        self.failing = {fail, also}
        self.flushing = 0
        self.cancelled = 0
        self.pause = 0.0

    async def init(self, registration: Registration) -> None:
        self.seen.append(("init", registration.function_name))
        self._maybe_fail("init")

    async def process(self, events: Sequence[TelemetryEvent]) -> None:
        self.buffer += [event.record for event in events if isinstance(event, FunctionLog)]
        self._maybe_fail("process")

    async def flush(self) -> None:
        assert not self.flushing
        self.flushing += 1
        taken = list(self.buffer)
        try:
            await anyio.sleep(self.pause)
            self._maybe_fail("flush")
            del self.buffer[: len(taken)]
            self.flushed.append(taken)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.flushing -= 1

    async def background(self) -> None:
        self._maybe_fail("background")
        await anyio.sleep_forever()

    def record_overhead(self, seconds: float) -> None:
        self.holds.append(seconds)

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        self.seen.append(("shutdown", reason, type(error)))
        self._maybe_fail("shutdown")

    def _maybe_fail(self, phase: str) -> None:
        if phase in self.failing:
            raise KeyError(phase)


@asynccontextmanager
async def running(processor: object, **options: Any) -> Any:
    """Run a processor beside the block, which then shuts the environment down."""
    environment = options.pop("environment", {})
    async with FakeLambda(**environment) as platform:
        for route, answer in options.pop("answers", {}).items():
            platform.fail(route, answer)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:

                async def run() -> None:
                    await run_telemetry(processor, **settings(platform), **options)

                tasks.start_soon(run)
                await platform.waiting.wait()
                yield platform
                platform.shut_down()


async def next_asked(platform: FakeLambda, count: int) -> None:
    while platform.names.count("event/next") < count:  # noqa: ASYNC110 - other tasks make it true
        await anyio.sleep(0.001)


async def eventually(predicate: Any) -> None:
    while not predicate():  # noqa: ASYNC110 - other tasks make it true
        await anyio.sleep(0.001)


async def test_at_the_end_of_an_invocation_all_its_telemetry_has_been_flushed_before_next() -> None:
    recorder = Recorder()
    async with running(recorder, flush=EndOfInvocation()) as platform:
        for number in (1, 2):
            request_id = f"r{number}"
            platform.invoke(request_id)
            # A done of the request before must not end the wait.
            await platform.post([start(request_id), log(f"a{number}"), runtime_done(f"r{number - 1}")])
            await platform.post([log(f"b{number}"), runtime_done(request_id)])
            await next_asked(platform, number + 1)
            assert recorder.flushed[-1] == [f"a{number}", f"b{number}"]
        await platform.post([report("r1"), report("r2"), log("last")])
    assert recorder.seen == [("init", "orders"), ("shutdown", ShutdownReason.SPINDOWN, type(None))]
    assert recorder.buffer == []
    assert "last" in [record for taken in recorder.flushed for record in taken]
    assert len(recorder.holds) == 2
    assert all(0 <= hold < 3 for hold in recorder.holds)


async def test_a_done_that_comes_before_its_invocation_is_seen_still() -> None:
    recorder = Recorder()
    async with running(recorder, flush=EndOfInvocation()) as platform:
        await platform.post([runtime_done(f"other{number}") for number in range(150)])
        await platform.post([log("early"), runtime_done("r1")])
        platform.invoke("r1")
        with anyio.fail_after(1):
            await next_asked(platform, 2)
        assert recorder.flushed == [["early"]]


async def test_a_done_that_never_comes_holds_for_the_share_only() -> None:
    recorder = Recorder()
    async with running(recorder, flush=EndOfInvocation(share=0.05)) as platform:
        platform.invoke("r1", seconds=4.0)
        await platform.post([log("a")])
        began = time.monotonic()
        await next_asked(platform, 2)
        assert 0.15 < time.monotonic() - began < 1.5
        assert recorder.flushed == [["a"]]


async def test_a_slow_flush_is_cancelled_at_its_limit_and_goes_on_with_the_next() -> None:
    recorder = Recorder()
    async with running(recorder, flush=EndOfInvocation(limit=0.05)) as platform:
        recorder.pause = 5.0
        platform.invoke("r1")
        await platform.post([log("a"), runtime_done("r1")])
        with anyio.fail_after(1):
            await next_asked(platform, 2)
        assert recorder.cancelled == 1
        recorder.pause = 0.0
        platform.invoke("r2")
        await platform.post([log("b"), runtime_done("r2")])
        await next_asked(platform, 3)
        assert recorder.flushed == [["a", "b"]]
        assert recorder.holds[0] >= 0.04


async def test_a_flush_is_cancelled_before_the_invocation_times_out() -> None:
    recorder = Recorder()
    async with running(recorder, flush=EndOfInvocation(limit=60)) as platform:
        recorder.pause = 60.0
        platform.invoke("r1", seconds=0.4)
        await platform.post([runtime_done("r1")])
        began = time.monotonic()
        await next_asked(platform, 2)
        assert time.monotonic() - began < 0.39
        recorder.pause = 0.0


async def test_a_long_invocation_is_flushed_in_between() -> None:
    recorder = Recorder()
    async with running(recorder, flush=EndOfInvocation(interval=0.1)) as platform:
        platform.invoke("r1", seconds=10)
        await platform.post([log("a")])
        await eventually(lambda: ["a"] in recorder.flushed)
        assert platform.names.count("event/next") == 1
        await platform.post([runtime_done("r1")])
        await next_asked(platform, 2)


async def test_a_periodic_flush_runs_beside_the_function_and_holds_until_it_is_done() -> None:
    recorder = Recorder()
    async with running(recorder, flush=Every(0.05)) as platform:
        platform.invoke("r1")
        await next_asked(platform, 2)
        await anyio.sleep(0.06)
        recorder.pause = 0.1
        await platform.post([log("a")])  # its arrival flushes, in the background
        platform.invoke("r2")
        await eventually(lambda: ["a"] in recorder.flushed)
        recorder.pause = 0.0


async def test_a_period_that_is_not_over_lets_go_at_once() -> None:
    recorder = Recorder()
    async with running(recorder, flush=Every(60)) as platform:
        platform.invoke("r1")
        await platform.post([log("a")])
        await next_asked(platform, 2)
        assert recorder.flushed == []
    assert recorder.buffer == []


async def test_continuous_never_holds_and_flushes_one_at_a_time() -> None:
    recorder = Recorder()
    async with running(recorder, flush=Continuous()) as platform:
        recorder.pause = 0.2
        platform.invoke("r1")
        with anyio.fail_after(0.15):
            await next_asked(platform, 2)
        await platform.post([log("a")])
        await platform.post([log("b")])
        recorder.pause = 0.0
        await eventually(lambda: recorder.flushed)
    assert recorder.buffer == []


async def test_by_size_flushes_what_has_come_since_the_last() -> None:
    recorder = Recorder()
    async with running(recorder, flush=OnSize(max_items=3)) as platform:
        await platform.post([log("a"), log("b")])
        await anyio.wait_all_tasks_blocked()
        assert recorder.flushed == []
        await platform.post([log("c")])
        await eventually(lambda: recorder.flushed == [["a", "b", "c"]])


async def test_on_managed_instances_a_timer_flushes() -> None:
    recorder = Recorder()
    environment = {"initialization_type": InitializationType.MANAGED_INSTANCES}
    async with running(recorder, flush=EndOfInvocation(interval=0.05), environment=environment) as platform:
        assert platform.calls[0][1] == {"events": ["SHUTDOWN"]}
        await platform.post([log("a")])
        await eventually(lambda: ["a"] in recorder.flushed)
        await platform.post([log("b")])
        await eventually(lambda: ["b"] in recorder.flushed)


async def test_a_policy_without_ticks_is_asked_again() -> None:
    recorder = Recorder()
    environment = {"initialization_type": InitializationType.MANAGED_INSTANCES}
    async with running(recorder, flush=OnSize(max_age=0.05), environment=environment) as platform:
        await anyio.sleep(0.1)
        await platform.post([log("a")])
        await eventually(lambda: ["a"] in recorder.flushed)


async def test_without_telemetry_an_invocation_is_not_held() -> None:
    recorder = Recorder()
    answers = {"telemetry": error(202, "Telemetry.NotSupported", "no")}
    async with running(recorder, flush=EndOfInvocation(), answers=answers) as platform:
        platform.invoke("r1", seconds=30)
        with anyio.fail_after(1):
            await next_asked(platform, 2)


async def test_without_platform_events_an_invocation_is_not_held(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    async with running(recorder, telemetry=TelemetrySubscription(types=["function"])) as platform:
        platform.invoke("r1", seconds=30)
        with anyio.fail_after(1):
            await next_asked(platform, 2)
    assert "the end of an invocation is not seen" in caplog.text


async def test_a_policy_of_one_s_own_may_wait_without_ticks() -> None:
    class Waiting:
        def begin(self, now: float) -> FlushSchedule:
            return self

        def invocation_started(self, now: float, deadline: float) -> Decision:
            return Decision(action=Action.FLUSH_AT_END, wait=0.05)

        def buffered(self, now: float, *, items: int, size: int) -> bool:
            return False

        def next_tick(self, now: float) -> float | None:
            return None

        def flush_started(self, now: float) -> None:
            pass

    recorder = Recorder()
    async with running(recorder, flush=Waiting()) as platform:
        platform.invoke("r1")
        await next_asked(platform, 2)


async def test_a_time_that_cannot_be_read_counts_as_now() -> None:
    recorder = Recorder()
    async with running(recorder, flush=EndOfInvocation()) as platform:
        platform.invoke("r1")
        await platform.post([runtime_done("r1") | {"time": "noon"}])
        await next_asked(platform, 2)
        assert recorder.holds[0] < 1


async def test_a_shutdown_flushes_at_once_and_cuts_a_flush_that_hangs() -> None:
    recorder = Recorder()
    async with running(recorder, flush=Every(60)) as platform:
        await platform.post([log("a")])
        recorder.pause = 60.0
    assert recorder.cancelled >= 1
    assert recorder.buffer == ["a"]
    assert recorder.seen[-1] == ("shutdown", ShutdownReason.SPINDOWN, type(None))


async def test_a_signal_is_a_shutdown() -> None:
    recorder = Recorder()
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:

                async def send_signal() -> None:
                    await platform.waiting.wait()
                    os.kill(os.getpid(), signal.SIGTERM)

                tasks.start_soon(send_signal)
                await run_telemetry(recorder, **settings(platform))
    assert recorder.seen[-1] == ("shutdown", ShutdownReason("SIGTERM"), type(None))


@pytest.mark.parametrize(
    ("phase", "route"),
    [("init", "init/error"), ("process", "exit/error"), ("flush", "exit/error"), ("background", "/error")],
)
async def test_an_error_is_reported_then_given_to_shutdown_then_raised(phase: str, route: str) -> None:
    recorder = Recorder(fail=phase)
    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as tasks:

                async def feed() -> None:
                    await platform.waiting.wait()
                    platform.invoke("r1")
                    await platform.post([log("a"), runtime_done("r1")])

                if phase in ("process", "flush"):
                    tasks.start_soon(feed)
                await run_telemetry(recorder, flush=Continuous(), **settings(platform))
        assert caught.group_contains(KeyError, match=phase)
        assert platform.names[-1].endswith(route)
    assert recorder.seen[-1] == ("shutdown", ShutdownReason.EXTENSION_ERROR, KeyError)


async def test_two_errors_at_once_are_both_said(caplog: pytest.LogCaptureFixture) -> None:
    class Twice:
        def __init__(self) -> None:
            self.processing = anyio.Event()

        async def background(self) -> None:
            await self.processing.wait()
            raise KeyError("first")

        async def process(self, events: Sequence[TelemetryEvent]) -> None:
            self.processing.set()
            try:
                await anyio.sleep_forever()
            finally:
                raise KeyError("second")

    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as tasks:

                async def feed() -> None:
                    await platform.subscribed.wait()
                    await platform.post([log("a")])

                tasks.start_soon(feed)
                await run_telemetry(Twice(), **settings(platform))
        assert caught.group_contains(KeyError, match="first")
    assert "another error" in caplog.text


async def test_an_error_of_the_shutdown_after_an_error_raises_both() -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
            await run_telemetry(Recorder(fail="init", also="shutdown"), **settings(platform))
    assert caught.group_contains(KeyError, match="init")
    assert caught.group_contains(KeyError, match="shutdown")


async def test_only_the_methods_that_exist_are_called_and_events_may_come_one_by_one() -> None:
    @attrs.define
    class OneByOne:
        seen: list[Any]

        async def process_event(self, event: TelemetryEvent) -> None:
            self.seen.append(event.record)

    class OnlyFlush:
        async def flush(self) -> None:
            pass

    processor = OneByOne([])
    for one in (processor, OnlyFlush()):
        async with running(one, flush=EndOfInvocation()) as platform:
            platform.invoke("r1")
            await platform.post([log("a"), log("b"), runtime_done("r1")])
            await next_asked(platform, 2)
    assert processor.seen[:2] == ["a", "b"]


async def test_an_object_without_any_method_is_refused() -> None:
    with pytest.raises(TypeError, match="object has none of the methods init, process"):
        await run_telemetry(object())
