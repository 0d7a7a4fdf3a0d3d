"""Delivery as a whole: in the simulator with freezes, through outages, through kills, and at a shutdown."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest
from benchmarks.backend import backend
from benchmarks.flush_policies import LINES, measure
from sinks_for_tests import REGISTRATION, logs

from lambda_extension import ShutdownReason
from lambda_extension.delivery import Batching, Delivery, HTTPSink, Spill

ROOT = Path(__file__).parents[2]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # of the simulator; that of the extension is `runs_on`


@pytest.mark.parametrize("runs_on", ["asyncio", "trio"])
async def test_at_the_end_of_an_invocation_everything_has_left_before_the_freeze(runs_on: str) -> None:
    outcome = await measure("EndOfInvocation()", 100, runs_on=runs_on)
    assert outcome.succeeded == 100
    assert set(outcome.in_time) == {outcome.expected}
    assert outcome.delivered == 100 * LINES
    assert outcome.twice == 0
    assert outcome.exit_code == 0


def slow(_: int) -> tuple[float, int]:
    return 0.1, 200


async def test_policies_that_do_not_hold_cost_less_and_lose_nothing_in_the_end() -> None:
    for policy in ("Every(0.5)", "OnSize(max_items=100)", "Continuous()"):
        outcome = await measure(policy, 40, behave=slow)
        assert outcome.succeeded == 40, policy
        assert outcome.delivered == 40 * LINES, outcome.said
        assert outcome.exit_code == 0
        # Who does not wait for the backend is seldom there after it.
        assert outcome.in_time.count(outcome.expected) < 20, policy


async def test_the_adaptive_policy_holds_rare_invocations_only() -> None:
    outcome = await measure("Adaptive()", 40, behave=slow)
    # The first ten are rare for all that it knows; the tenth makes them frequent.
    assert set(outcome.in_time[:9]) == {outcome.expected}
    assert outcome.in_time[10:].count(outcome.expected) < 15
    assert outcome.delivered == 40 * LINES
    assert outcome.exit_code == 0


@pytest.mark.parametrize("policy", ["EndOfInvocation()", "Continuous()"])
async def test_a_backend_that_is_slow_refuses_breaks_and_dies_loses_nothing_and_fails_no_function(policy: str) -> None:
    began = time.monotonic()

    def behave(number: int) -> tuple[float, int]:
        if 1.0 < time.monotonic() - began < 3.0:
            return 0.0, 0  # dead: every connection breaks
        return [(0.3, 200), (0.0, 429), (0.0, 500), (0.0, 0), (0.0, 200)][number % 5]

    outcome = await measure(policy, 80, behave=behave)
    assert outcome.succeeded == 80
    received, delivered, spilled, dropped = (
        int(re.search(rf"{name} (\d+)", outcome.said)[1])  # type: ignore[index]  # or fail
        for name in ("received", "delivered", "spilled", "dropped")
    )
    # Where this machine is busy, the shutdown's time may be over before the backend is well again: then it is on disk.
    assert (received, dropped) == (delivered + spilled, 0), outcome.said
    assert spilled or outcome.delivered == 80 * LINES, outcome.said
    assert outcome.exit_code == 0
    # The limit of a flush is 2 s, the deadline of an invocation 20: what hangs takes as long as that.
    assert max(outcome.overheads_ms) < 10_000
    if policy == "Continuous()":
        assert outcome.in_time.count(outcome.expected) < 40


# Once everything is imported, forks processes that take in events, store each at once, send, and are killed at random.
KILLED = """
import os, random, signal, sys, time
from lambda_extension import Registration
from lambda_extension.delivery import Delivery, HTTPSink, NDJSON, Spill
from lambda_extension.telemetry import FunctionLog
import anyio, httpx, tenacity
import anyio._backends._asyncio
url, directory, kills, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
registration = Registration(extension_id="1", extension_name="killed", function_name="f", function_version="1")

async def deliver(run, stored):
    async with HTTPSink(url, encoder=NDJSON()) as sink:
        delivery = Delivery(sink, spill=Spill(directory=directory), max_buffered_bytes=1)
        await delivery.init(registration)
        for number in range(1_000_000 if run < kills else 1):
            name = f"{run}-{number}"
            await delivery.process([FunctionLog(time="", record=name)])
            os.write(stored, name.encode() + b"\\n")
            if number % 3 == 2 or run == kills:
                await delivery.flush()

for run in range(kills + 1):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        anyio.run(deliver, run, write)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stored:
        # Most are killed at their work, some as they start.
        if chance.random() < 0.9:
            print(stored.readline().strip())
        if run < kills:
            time.sleep(chance.uniform(0.0, 0.04))
            os.kill(child, signal.SIGKILL)
        for line in stored:
            if line.endswith("\\n"):
                print(line.strip())
    os.waitpid(child, 0)
"""


def test_two_hundred_kills_lose_nothing_that_was_stored_and_repeat_only_what_was_in_flight(tmp_path: Path) -> None:
    kills, seed = 200, random.randrange(1_000_000)
    with backend() as state:
        command = [sys.executable, "-c", KILLED, state.url, str(tmp_path), str(kills), str(seed)]
        # Measured for coverage, two hundred processes would take minutes.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True, env=environment)
    stored = set(done.stdout.split())
    assert len(stored) > kills, f"seed {seed}"
    missing = stored - state.arrivals.keys()
    assert not missing, f"seed {seed}: {len(missing)} of {len(stored)} are missing"
    assert {len(ids) for ids in state.holders.values()} == {1}, f"seed {seed}: an event travelled under two ids"
    repeated = sum(count - 1 for count in state.payloads.values())
    assert repeated <= kills, f"seed {seed}: {repeated} payloads twice"


@pytest.mark.parametrize(("max_items", "fits"), [(10_000, True), (1_000, False)])
async def test_a_shutdown_with_100_000_events_delivers_or_stores_them_all_in_time(
    max_items: int, fits: bool, tmp_path: Path
) -> None:
    with backend(lambda _: (0.05, 200), keep=False) as state:
        async with HTTPSink(state.url) as sink:
            delivery = Delivery(
                sink,
                batching=Batching(max_items=max_items, max_bytes=4 * 1024 * 1024),
                spill=Spill(directory=tmp_path),
                max_buffered_bytes=64 * 1024 * 1024,
            )
            await delivery.init(REGISTRATION)
            await delivery.process(logs(*range(100_000)))
            with anyio.move_on_after(2.0) as deadline:
                await delivery.shutdown(ShutdownReason.SPINDOWN, None)
    figures = delivery.statistics()
    assert not deadline.cancelled_caught
    assert (figures.received, figures.buffered, figures.dropped) == (100_000, 0, 0)
    assert figures.delivered + figures.spilled == 100_000
    if not fits:
        assert 0 < figures.spilled < 100_000
