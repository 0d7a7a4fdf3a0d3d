"""Extensions with methods on a fake session in virtual time: what is cut off, when, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from fake_session import FakeSession

from lambda_extension import Extension, InvokeEvent, ShutdownReason
from lambda_extension._budget import INVOCATION_MARGIN, error_phases, shutdown_phases
from lambda_extension.processing._extension import run_hooks
from lambda_extension.processing._hooks import hooks_of
from virtual_time import backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return backend(request.param)


class Slow(Extension):
    def __init__(self, handler_takes: float = 0.0, shutdown_takes: float = 0.0) -> None:
        self.handler_takes = handler_takes
        self.shutdown_takes = shutdown_takes
        self.ended: list[float] = []
        self.shut_down: list[float] = []
        self.reason: ShutdownReason | None = None
        self.error: Exception | None = None

    async def handle_invoke(self, event: InvokeEvent) -> None:
        try:
            await anyio.sleep(self.handler_takes)
        finally:
            self.ended.append(anyio.current_time())

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        self.reason, self.error = reason, error
        try:
            await anyio.sleep(self.shutdown_takes)
        finally:
            self.shut_down.append(anyio.current_time())


@asynccontextmanager
async def running(extension: object) -> AsyncIterator[FakeSession]:
    """Run an extension beside the block; the run has to end by itself."""
    fake = FakeSession()
    async with fake as session, anyio.create_task_group() as tasks:
        tasks.start_soon(run_hooks, session, hooks_of(extension, Extension))
        await anyio.sleep(0.0)
        yield fake


async def test_a_slow_handler_is_let_go_of_before_the_function_times_out(caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow(60.0)
    async with running(slow) as session:
        session.invoke("r1", 3.0)
        await anyio.sleep(4.0)
        assert slow.ended == [pytest.approx(3.0 - INVOCATION_MARGIN)]
        assert session.asked[1:] == slow.ended
        session.shut_down()
    assert "handle_invoke of request r1 was cut off, 0.1 s before the invocation's deadline" in caplog.text
    assert slow.reason is ShutdownReason.SPINDOWN


async def test_a_signal_leaves_a_handler_its_share_and_the_hook_the_rest() -> None:
    slow = Slow(math.inf, math.inf)
    async with running(slow) as session:
        session.invoke("r1", 600.0)
        await anyio.sleep(1.0)
        phases = shutdown_phases(3.0)
        session.shut_down()
    assert slow.ended == [pytest.approx(phases.flush)]
    assert slow.shut_down == [pytest.approx(phases.hook)]


async def test_an_invocation_that_came_with_the_signal_is_cut_off_too() -> None:
    slow = Slow(1.5)
    async with running(slow) as session:
        session.invoke("r1", 600.0)
        session.invoke("r2", 600.0)
        await anyio.sleep(0.1)
        session.shut_down(3.0)
    assert slow.ended == [pytest.approx(1.5), pytest.approx(1.5 + 0.75 * 1.3)]
    assert slow.reason is ShutdownReason.SPINDOWN


async def test_an_error_in_the_background_stops_the_extension_and_reaches_the_hook() -> None:
    class Failing(Slow):
        async def background(self) -> None:
            await anyio.sleep(1.0)
            raise KeyError("background")

    failing = Failing(60.0)
    with pytest.raises(ExceptionGroup) as caught:
        async with running(failing) as session:
            session.invoke("r1", 600.0)
    assert caught.group_contains(KeyError, match="background", depth=1)
    assert failing.ended == [1.0]
    assert failing.reason is ShutdownReason.EXTENSION_ERROR
    assert isinstance(failing.error, KeyError)


async def test_a_hook_after_an_error_is_cut_off_within_its_share(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Slow):
        async def init(self, client: object) -> None:
            raise KeyError("init")

    failing = Failing(0.0, math.inf)
    with pytest.raises(ExceptionGroup) as caught:
        async with running(failing):
            until = error_phases().hook
    assert caught.group_contains(KeyError, match="init", depth=1)
    assert failing.shut_down == [pytest.approx(until)]
    assert "shutdown was cut off" in caplog.text


async def test_after_an_error_during_a_shutdown_what_is_left_of_it_is_the_limit() -> None:
    class Failing(Slow):
        async def background(self) -> None:
            await anyio.sleep(1.0)
            raise KeyError("background")

    failing = Failing(5.0, math.inf)
    with pytest.raises(ExceptionGroup):
        async with running(failing) as session:
            session.invoke("r1", 600.0)
            await anyio.sleep(0.5)
            session.shut_down(2.0)
            await anyio.sleep(0.5)
            until = error_phases(2.5).hook
    assert failing.shut_down == [pytest.approx(until)]
