"""run_telemetry on the whole library but for the platform: real sockets, real order, no time."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fake_lambda import FakeLambda, error, log, report, runtime_done, start
from lambda_extension import (
    InitializationType,
    InvokeEvent,
    Registration,
    ShutdownReason,
    SubscriptionError,
    TelemetryProcessor,
    TelemetrySubscription,
    run_telemetry,
)
from lambda_extension.delivery import Continuous, EndOfInvocation, Every
from lambda_extension.telemetry import FunctionLog, ReceiverSettings, TelemetryEvent


def settings(platform: FakeLambda) -> dict[str, Any]:
    return {"name": "x", "environment": platform.environment, "http_client": platform.http}


class Recorder(TelemetryProcessor):
    """A processor that writes down what is called; `buffer` is what no flush has taken yet."""

    def __init__(self, *, fail: str = "", also: str = "") -> None:
        self.seen: list[Any] = []
        self.buffer: list[Any] = []
        self.flushed: list[list[Any]] = []
        self.overheads: list[float] = []
        self.failing = {fail, also}
        self._changed = anyio.Event()

    async def init(self, registration: Registration) -> None:
        self.seen.append(("init", registration.function_name))
        self._maybe_fail("init")

    async def process(self, events: Sequence[TelemetryEvent]) -> None:
        self.buffer += [event.record for event in events if isinstance(event, FunctionLog)]
        self._maybe_fail("process")

    async def flush(self) -> None:
        self._maybe_fail("flush")
        self.flushed.append(self.buffer)
        self.buffer = []
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def background(self) -> None:
        self._maybe_fail("background")
        await anyio.sleep_forever()

    def record_overhead(self, seconds: float) -> None:
        self.overheads.append(seconds)

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        self.seen.append(("shutdown", reason, type(error)))
        self._maybe_fail("shutdown")

    async def wait_flushed(self, predicate: Callable[[], bool]) -> None:
        """Wait until something is true after a flush."""
        while not predicate():
            await self._changed.wait()

    def _maybe_fail(self, phase: str) -> None:
        if phase in self.failing:
            raise KeyError(phase)


@asynccontextmanager
async def running(processor: object, **options: Any) -> AsyncIterator[FakeLambda]:
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


async def test_what_lambda_says_of_an_invocation_is_told_before_its_telemetry_is_flushed() -> None:
    told: list[InvokeEvent] = []

    class Told(Recorder):
        account_id = True

        def record_invocation(self, event: InvokeEvent) -> None:
            told.append(event)

    recorder = Told()
    async with running([recorder], flush=EndOfInvocation()) as platform:
        platform.invoke("r1")
        await platform.post([start("r1"), runtime_done("r1")])
        await platform.wait_called("event/next", 2)
        assert [(event.request_id, event.invoked_function_arn.rpartition(":")[2]) for event in told] == [
            ("r1", "orders")
        ]
    (register,) = [request for request in platform.requests if request.url.path.endswith("/register")]
    assert register.headers["Lambda-Extension-Accept-Feature"] == "accountId"


async def test_at_the_end_of_an_invocation_all_its_telemetry_has_been_flushed_before_next() -> None:
    recorder = Recorder()
    async with running(recorder, flush=EndOfInvocation()) as platform:
        for number in (1, 2):
            request_id = f"r{number}"
            platform.invoke(request_id)
            # A done of the request before must not end the wait.
            await platform.post([start(request_id), log(f"a{number}"), runtime_done(f"r{number - 1}")])
            await platform.post([log(f"b{number}"), runtime_done(request_id)])
            await platform.wait_called("event/next", number + 1)
            assert recorder.flushed[-1] == [f"a{number}", f"b{number}"]
        await platform.post([report("r1"), report("r2"), log("last")])
    assert recorder.seen == [("init", "orders"), ("shutdown", ShutdownReason.SPINDOWN, type(None))]
    assert recorder.buffer == []
    assert "last" in [record for taken in recorder.flushed for record in taken]
    assert len(recorder.overheads) == 2


async def test_a_done_that_comes_before_its_invocation_is_seen_still() -> None:
    recorder = Recorder()
    async with running(recorder, flush=EndOfInvocation()) as platform:
        await platform.post([runtime_done(f"other{number}") for number in range(150)])
        await platform.post([log("early"), runtime_done("r1")])
        platform.invoke("r1", seconds=600)
        await platform.wait_called("event/next", 2)
        assert recorder.flushed == [["early"]]


async def test_a_period_that_is_not_over_lets_go_at_once_and_the_shutdown_flushes() -> None:
    recorder = Recorder()
    async with running(recorder, flush=Every(60)) as platform:
        platform.invoke("r1", seconds=600)
        await platform.post([log("a")])
        await platform.wait_called("event/next", 2)
        assert recorder.flushed == []
    assert recorder.buffer == []


async def test_on_managed_instances_nothing_is_asked_for_but_the_shutdown() -> None:
    recorder = Recorder()
    environment = {"initialization_type": InitializationType.MANAGED_INSTANCES}
    async with running(recorder, flush=Continuous(), environment=environment) as platform:
        assert platform.calls[0][1] == {"events": ["SHUTDOWN"]}
        await platform.post([log("a")])
        await recorder.wait_flushed(lambda: ["a"] in recorder.flushed)


async def test_without_telemetry_an_invocation_is_not_held() -> None:
    recorder = Recorder()
    answers = {"telemetry": error(202, "Telemetry.NotSupported", "no")}
    async with running(recorder, flush=EndOfInvocation(), answers=answers) as platform:
        platform.invoke("r1", seconds=600)
        await platform.wait_called("event/next", 2)


async def test_without_platform_events_an_invocation_is_not_held(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    async with running(recorder, telemetry=TelemetrySubscription(types=["function"])) as platform:
        platform.invoke("r1", seconds=600)
        await platform.wait_called("event/next", 2)
    assert "the end of an invocation is not seen" in caplog.text


async def test_a_signal_is_a_shutdown() -> None:
    recorder = Recorder()
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:

                async def send_signal() -> None:
                    # While an invocation is held.
                    platform.invoke("r1", seconds=600)
                    await platform.waiting.wait()
                    await platform.post([log("a")])
                    os.kill(os.getpid(), signal.SIGTERM)

                tasks.start_soon(send_signal)
                await run_telemetry(recorder, **settings(platform))
    assert recorder.seen[-1] == ("shutdown", ShutdownReason("SIGTERM"), type(None))
    assert recorder.buffer == []


@pytest.mark.parametrize(
    ("phase", "route"),
    [("init", "init/error"), ("process", "exit/error"), ("flush", "exit/error"), ("background", "/error")],
)
async def test_an_error_is_given_to_shutdown_then_reported_then_raised(phase: str, route: str) -> None:
    class Watching(Recorder):
        async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
            assert not [name for name in platform.names if name.endswith("error")]
            await super().shutdown(reason, error)

    recorder = Watching(fail=phase)
    async with FakeLambda() as platform:

        async def feed() -> None:
            await platform.waiting.wait()
            platform.invoke("r1")
            await platform.post([log("a"), runtime_done("r1")])

        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as tasks:
                if phase in ("process", "flush"):
                    tasks.start_soon(feed)
                await run_telemetry(recorder, flush=Continuous(), **settings(platform))
        assert caught.group_contains(KeyError, match=phase)
        assert platform.names[-1].endswith(route)
        assert sum(name.endswith("error") for name in platform.names) == 1
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

        async def feed() -> None:
            await platform.subscribed.wait()
            await platform.post([log("a")])

        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as tasks:
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


async def test_events_may_come_one_by_one() -> None:
    class OneByOne:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        async def process_event(self, event: TelemetryEvent) -> None:
            self.seen.append(event.record)

    processor = OneByOne()
    async with running(processor) as platform:
        await platform.post([log("a"), log("b")])
        await platform.post([log("c")])
    assert processor.seen == ["a", "b", "c"]


async def test_an_object_may_have_a_flush_alone() -> None:
    class OnlyFlush:
        def __init__(self) -> None:
            self.flushes = 0

        async def flush(self) -> None:
            self.flushes += 1

    processor = OnlyFlush()
    async with running(processor, flush=EndOfInvocation()) as platform:
        platform.invoke("r1")
        await platform.post([log("a"), runtime_done("r1")])
        await platform.wait_called("event/next", 2)
        assert processor.flushes == 1


# Made after register


@pytest.mark.parametrize("kind", ["plain", "async", "list"])
async def test_a_function_makes_the_processors_once_the_extension_has_registered(kind: str) -> None:
    recorders: list[Recorder] = []
    platform: FakeLambda

    def make() -> object:
        assert platform.names[0] == "register"
        assert "event/next" not in platform.names
        recorders.append(Recorder())
        return [recorders[0], Recorder()] if kind == "list" else recorders[0]

    async def make_later() -> object:
        await anyio.lowlevel.checkpoint()
        return make()

    async with FakeLambda() as platform:
        platform.shut_down()
        with anyio.fail_after(5):
            await run_telemetry(make_later if kind == "async" else make, **settings(platform))
    assert recorders[0].seen == [("init", "orders"), ("shutdown", ShutdownReason.SPINDOWN, type(None))]


@pytest.mark.parametrize(
    ("made", "message"), [(object(), "object has none of the methods"), (None, "NoneType has none")]
)
async def test_what_it_makes_is_looked_at_and_an_error_is_one_of_init(made: object, message: str) -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises((TypeError, ValueError), match=message):
            await run_telemetry(lambda: made, **settings(platform))
        assert platform.names[-1] == "init/error"


async def test_a_processor_may_be_callable_for_reasons_of_its_own() -> None:
    class Callable(Recorder):
        def __call__(self) -> None:
            raise AssertionError

    recorder = Callable()
    async with running(recorder):
        pass
    assert recorder.seen[0] == ("init", "orders")


# A start that fails


@pytest.mark.parametrize("failure", ["bind", "subscribe"])
async def test_a_start_that_fails_reaches_the_hook(failure: str) -> None:
    recorder = Recorder()
    async with FakeLambda() as platform:
        options: dict[str, Any] = {}
        if failure == "bind":
            options["receiver"] = ReceiverSettings(host="192.0.2.1")
        else:
            platform.fail("telemetry", error(400, "ValidationError", "no"))
        with anyio.fail_after(5), pytest.raises((OSError, SubscriptionError)) as caught:
            await run_telemetry(recorder, **settings(platform), **options)
        assert platform.names[-1] == "init/error"
    assert recorder.seen == [("shutdown", ShutdownReason.EXTENSION_ERROR, type(caught.value))]


async def test_a_hook_that_fails_after_a_failed_start_hides_no_error(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(fail="shutdown")
    async with FakeLambda() as platform:
        platform.fail("telemetry", error(400, "ValidationError", "no"))
        with anyio.fail_after(5), pytest.raises(SubscriptionError):
            await run_telemetry(recorder, **settings(platform))
        assert platform.names[-1] == "init/error"
    assert "could not start, and its shutdown failed too" in caplog.text
