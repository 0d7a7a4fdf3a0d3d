"""Shutdowns with a busy sink: in time, and with nothing lost. `nox -s soak` does it for ten minutes."""

from __future__ import annotations

import contextvars
import random
import subprocess
import sys

import pytest
import sniffio
from benchmarks.soak import BACKENDS, SERVERS, SINKS, Outcome, shut_down_once

from lambda_extension._threads import in_daemon_thread


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_extension_with_a_busy_sink_ends_with_every_event_delivered_or_spilled(backend: str, server: str) -> None:
    """Whether in time is for the soak to say: this machine may be doing anything else."""
    outcome = Outcome()
    # Each sink once; `nox -s soak` tries all combinations.
    kind = list(SINKS)[2 * BACKENDS.index(backend) + SERVERS.index(server)]
    shut_down_once(kind, backend, server, random.Random(1), outcome, limit=30.0)
    assert outcome.acknowledged > 0
    assert (outcome.killed, outcome.unsaid, outcome.lost) == (0, 0, 0)


async def test_a_function_in_a_thread_gives_what_it_gives_and_raises_what_it_raises() -> None:
    assert await in_daemon_thread(lambda number: number + 1, 1) == 2

    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await in_daemon_thread(fail)


async def test_a_function_in_a_thread_sees_the_context_of_its_caller() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")
    variable.set("caller")

    def work() -> str:
        seen = variable.get()
        variable.set("thread")
        with pytest.raises(sniffio.AsyncLibraryNotFoundError):  # as in anyio's own threads
            sniffio.current_async_library()
        return seen

    assert await in_daemon_thread(work) == "caller"
    assert variable.get() == "caller"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_interpreter_ends_without_a_thread_that_hangs(backend: str) -> None:
    script = f"""
import time, anyio
from lambda_extension._threads import in_daemon_thread
async def main():
    with anyio.move_on_after(0.1):
        await in_daemon_thread(time.sleep, 600)
anyio.run(main, backend={backend!r})
"""
    subprocess.run([sys.executable, "-c", script], timeout=20, check=True)
