"""Received = delivered + buffered + spilled + dropped: always, whatever goes wrong and whenever it is cut off."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from hypothesis import given, settings, strategies as st
from sinks_for_tests import REGISTRATION, Clock, ScriptedSink, assert_adds_up, logs, numbers_of

from lambda_extension import ShutdownReason
from lambda_extension.delivery import Batching, Breaker, Delivery, Retry, SinkError, Spill

FAILURES = [
    None,
    None,
    OSError("down"),
    ConnectionResetError("reset"),
    SinkError("busy", retry_after=0.0),
    SinkError("later", retry_after=1.0),
    SinkError("nonsense", keep=False),
    SinkError("who", retryable=False),
    ValueError("a bug"),
    "hang",
]
STEPS = st.one_of(
    st.tuples(st.just("process"), st.integers(1, 12)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("cut"), st.integers(0, 12)),
    st.tuples(st.just("cut process"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.integers(1, 30)),
    st.tuples(st.just("damage"), st.integers(0, 200)),
    st.tuples(st.just("restart"), st.just(0)),
)


class World:
    """One delivery after the other over the same files, each watched at every await of its sink."""

    def __init__(self, directory: Path, script: list[Any]) -> None:
        self.directory = directory
        self.clock = Clock()
        self.sink = ScriptedSink([anyio.sleep_forever if step == "hang" else step for step in script])
        self.next = 0
        self.delivery: Delivery

    async def start(self) -> None:
        with self.clock:
            self.delivery = self.make()
        self.sink.each = lambda: assert_adds_up(self.delivery)
        await self.delivery.init(REGISTRATION)

    def make(self) -> Delivery:
        return Delivery(
            self.sink,
            batching=Batching(max_items=3),
            retry=Retry(attempts=2, initial=1e-6, maximum=1e-3),
            breaker=Breaker(failures=2, cooldown=5.0, max_cooldown=10.0),
            spill=Spill(directory=self.directory, max_bytes=900, segment_bytes=500),
            max_buffered_bytes=400,
            send_timeout=0.001,
        )

    async def step(self, kind: str, number: int) -> None:
        if kind == "process":
            await self.delivery.process(self.events(number))
        elif kind == "flush":
            await self.delivery.flush()
        elif kind.startswith("cut"):
            async with anyio.create_task_group() as tasks:
                if kind == "cut":
                    tasks.start_soon(self.delivery.flush)
                else:
                    tasks.start_soon(self.delivery.process, self.events(6))
                for _ in range(number):
                    await anyio.lowlevel.checkpoint()
                    assert_adds_up(self.delivery)
                tasks.cancel_scope.cancel()
        elif kind == "wait":
            self.clock.now += number
        elif kind == "damage":
            for path in self.directory.glob("*.spill"):
                content = bytearray(path.read_bytes())
                content[number % len(content)] ^= 0xFF
                path.write_bytes(content)
                break
        else:
            await self.delivery.shutdown(ShutdownReason.SPINDOWN, None)
            assert_adds_up(self.delivery)
            await self.start()

    def events(self, count: int) -> Any:
        self.next += count
        return logs(*range(self.next - count, self.next))


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25), st.lists(st.sampled_from(FAILURES), max_size=20))
def test_every_event_is_in_exactly_one_place(steps: list[tuple[str, int]], script: list[Any]) -> None:
    async def run(directory: Path) -> None:
        world = World(directory, script)
        await world.start()
        for kind, number in steps:
            await world.step(kind, number)
            assert_adds_up(world.delivery)
        # No event is delivered in two batches.
        by_event: dict[int, set[str]] = {}
        for payload in world.sink.payloads:
            for event in numbers_of(payload):
                by_event.setdefault(event, set()).add(payload.id)
        assert all(len(ids) == 1 for ids in by_event.values())

    for backend in ("asyncio", "trio"):
        with tempfile.TemporaryDirectory() as directory:
            anyio.run(run, Path(directory), backend=backend)
