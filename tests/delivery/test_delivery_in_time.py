"""Delivery where time passes, on a clock that jumps: pauses and limits are exact, and take no time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from sinks_for_tests import ScriptedSink, assert_adds_up, logs

from lambda_extension import ShutdownReason
from lambda_extension.delivery import Batching, Breaker, Delivery, Retry
from virtual_time import backend, use_virtual_wall_clock


@pytest.fixture(autouse=True)
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import what a delivery needs at once: a clock that jumps does not wait for threads."""

    async def at_once(function: Callable[..., Any], *args: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return function(*args)

    monkeypatch.setattr("lambda_extension.delivery._sending.in_daemon_thread", at_once)


def in_time(name: str, body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        use_virtual_wall_clock()
        await body()

    runs_on, options = backend(name)
    anyio.run(main, backend=runs_on, backend_options=options)


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_dead_sink_costs_nothing_after_the_first_failures_and_is_probed_in_the_background(name: str) -> None:
    async def body() -> None:
        sink = ScriptedSink()
        sink.always = ConnectionRefusedError()
        delivery = Delivery(
            sink,
            spill=None,
            retry=Retry(attempts=3, initial=0.001, maximum=0.01),
            batching=Batching(max_items=2),
            breaker=Breaker(failures=3, cooldown=10.0, max_cooldown=30.0),
        )
        await delivery.process(logs(1, 2, 3))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(delivery.background)
            await delivery.flush()
            assert len(sink.attempts) == 3
            opened = anyio.current_time()
            await delivery.flush()
            assert anyio.current_time() == opened
            # Two tries per probe, and twice the pause after each that fails.
            for pause, attempts in [(9, 3), (2, 5), (18, 5), (3, 7), (28, 7), (3, 9), (28, 9), (3, 11)]:
                await anyio.sleep(pause - 0.1)
                began = anyio.current_time()
                await delivery.flush()
                assert anyio.current_time() == began
                await anyio.sleep(0.1)
                assert len(sink.attempts) == attempts
            sink.always = None
            await anyio.sleep(30)
            await delivery.flush()
            await anyio.sleep(0.1)
            assert delivery.statistics().delivered == 3
            tasks.cancel_scope.cancel()
        assert sink.numbers == [1, 2, 3]

    in_time(name, body)


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_flush_that_is_cut_off_keeps_what_did_not_leave_and_counts_as_a_failure(name: str) -> None:
    async def body() -> None:
        sink = ScriptedSink([None])
        sink.always = partial(anyio.sleep, 60)
        delivery = Delivery(sink, spill=None, batching=Batching(max_items=2), breaker=Breaker(failures=2))
        await delivery.process(logs(1, 2, 3, 4))
        for _ in range(2):
            with anyio.move_on_after(0.5):
                await delivery.flush()
            assert_adds_up(delivery)
        assert anyio.current_time() == 1.0
        figures = delivery.statistics()
        assert (figures.delivered, figures.buffered, figures.cut_flushes) == (2, 2, 2)
        await delivery.flush()
        assert anyio.current_time() == 1.0
        assert len({payload.id for payload in sink.attempts}) == 2

    in_time(name, body)


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_send_that_takes_too_long_is_a_failure(name: str) -> None:
    async def body() -> None:
        sink = ScriptedSink([partial(anyio.sleep, 60)])
        delivery = Delivery(sink, spill=None, send_timeout=0.5, retry=Retry(initial=0.001, maximum=0.01))
        await delivery.process(logs(1))
        await delivery.flush()
        assert 0.5 < anyio.current_time() < 0.6
        assert sink.numbers == [1]
        assert delivery.statistics().failures == 1

    in_time(name, body)


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_sink_that_hangs_as_it_is_closed_is_left_before_the_deadline(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(ScriptedSink):
        hung = False

        async def aclose(self) -> None:
            self.hung = True
            await anyio.sleep_forever()

    sink = Stubborn()

    async def body() -> None:
        with anyio.fail_after(0.3):
            await Delivery(sink, spill=None, name="hangs").shutdown(ShutdownReason.SPINDOWN, None)

    caplog.set_level(logging.INFO)
    in_time(name, body)
    assert sink.hung
    assert "delivery hangs until spindown" in caplog.text
