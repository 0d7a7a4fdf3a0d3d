"""Durable acknowledgement: what the platform was answered for is on disk before, and survives any kill."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from benchmarks.durable import measure
from benchmarks.kills import kill
from sinks_for_tests import REGISTRATION, ScriptedSink, assert_adds_up, logs, numbers_of

from fake_lambda import FakeLambda, log
from lambda_extension import ShutdownReason, TelemetryProcessor, run_telemetry
from lambda_extension.delivery import Batching, Delivery, Spill
from lambda_extension.delivery._batches import Buffer
from lambda_extension.delivery._spill import SpillStore
from lambda_extension.records import Holding, LineSettings, only, without
from lambda_extension.telemetry import decode
from waiting import eventually

TIME = "2026-03-01T10:00:00.000Z"


@pytest.mark.parametrize("backend", ["asyncio", "uvloop", "trio"])
def test_no_kill_loses_what_was_taken_in(backend: str, tmp_path: Path) -> None:
    kills, seed = 25, int.from_bytes(os.urandom(3))
    survived = kill(backend, kills, durable=True, seed=seed, directory=tmp_path)
    assert survived.taken > kills
    assert (survived.lost, survived.doubled) == (0, 0), f"seed {seed}"
    assert list(tmp_path.glob("*.spill")) == []


async def test_what_is_taken_in_is_on_disk_at_once_and_gone_when_it_is_delivered(tmp_path: Path) -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink, spill=Spill(directory=tmp_path, durable=True))
    sink.each = lambda: assert_adds_up(delivery)
    await delivery.init(REGISTRATION)
    for number in range(3):
        await delivery.process(logs(number))
    (segment,) = tmp_path.glob("*.spill")  # noqa: ASYNC240 - once, in a test
    assert all(f'"record":"{number}"'.encode() in segment.read_bytes() for number in range(3))
    figures = delivery.statistics()
    assert (figures.buffered, figures.spilled) == (3, 0)
    await delivery.flush()
    assert [numbers_of(payload) for payload in sink.payloads] == [[0], [1], [2]]
    assert not segment.exists()


def counting(monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> list[None]:
    """Have a method counted: the list that is given has an item for each call."""
    calls: list[None] = []
    method = getattr(kind, name)

    def counted(*args: Any, **settings: Any) -> Any:
        calls.append(None)
        return method(*args, **settings)

    monkeypatch.setattr(kind, name, counted)
    return calls


async def test_a_disk_that_refuses_is_tried_once_for_each_batch_that_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for each that it has refused before: it would hold up the platform for ever longer."""
    delivery = Delivery(ScriptedSink(), spill=Spill(directory=tmp_path / "spill", durable=True))
    await delivery.init(REGISTRATION)
    shutil.rmtree(tmp_path / "spill")
    tries = counting(monkeypatch, SpillStore, "append")
    for number in range(20):
        await delivery.process(logs(number))
    assert len(tries) == 20
    assert delivery.statistics().buffered == 20
    (tmp_path / "spill").mkdir()  # another one: it is no longer the store's
    await delivery.store_what_is_left()
    assert len(tries) == 40


async def test_to_make_room_on_disk_the_batches_are_gone_through_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for each record that is deleted: there may be thousands in a segment."""
    spill = Spill(directory=tmp_path, durable=True, segment_bytes=4_000, max_bytes=8_000)
    delivery = Delivery(ScriptedSink(), spill=spill, max_buffered_bytes=1_000)
    await delivery.init(REGISTRATION)
    rounds = counting(monkeypatch, Buffer, "__iter__")
    for number in range(200):
        await delivery.process(logs(number))
    figures = delivery.statistics()
    assert_adds_up(delivery)
    assert figures.dropped_by_reason.keys() == {"spill_full"}
    assert 0 < len(rounds) <= figures.dropped / 10


def test_room_in_memory_is_made_without_a_look_at_what_is_on_disk() -> None:
    class OnDisk:
        sequence = 1  # whoever asks it for anything else fails

    buffer = Buffer(Batching())
    buffer.recover([OnDisk()] * 3)  # type: ignore[list-item]
    buffer.add(b"{}", 0)
    oldest = buffer.oldest(in_memory=True)
    assert oldest is not None
    assert oldest.pieces == [b"{}"]


async def test_a_kill_costs_a_report_only_what_had_been_told_before_it(tmp_path: Path) -> None:
    def told(*raw: tuple[str, Any]) -> list[Any]:
        return decode(json.dumps([{"time": TIME, "type": kind, "record": record} for kind, record in raw]).encode())

    async def begin(sink: ScriptedSink) -> Delivery:
        delivery = Delivery(
            sink, transforms=[without(source="platform")], spill=Spill(directory=tmp_path, durable=True)
        )
        await delivery.init(REGISTRATION)
        return delivery

    request = {"requestId": "r-1", "status": "success"}
    killed = await begin(ScriptedSink())
    await killed.process(told(("platform.start", request), ("function", "a line"), ("platform.runtimeDone", request)))
    del killed
    sink = ScriptedSink()
    delivery = await begin(sink)
    assert delivery.statistics().recovered == 1  # the line: the report waits, in memory, for the platform's own
    await delivery.process(told(("platform.report", {**request, "metrics": {"durationMs": 1.5}})))
    await delivery.flush()
    await delivery.shutdown(ShutdownReason.SPINDOWN, None)
    records = [json.loads(piece) for payload in sink.payloads for piece in payload.pieces]
    assert [(each["type"], each["requestId"]) for each in records] == [("function", "r-1"), ("report", "r-1")]
    assert "started" not in records[1]


async def test_a_kill_costs_no_more_lines_than_may_be_held_back(tmp_path: Path) -> None:
    """On-demand none is, but after a loss: what was told after it waits until its invocation is known."""

    async def begin() -> Delivery:
        lines = LineSettings(holding=Holding(max_records=2))
        spill = Spill(directory=tmp_path, durable=True)
        delivery = Delivery(ScriptedSink(), transforms=[only(source="function")], lines=lines, spill=spill)
        await delivery.init(REGISTRATION)
        return delivery

    killed = await begin()
    told: list[dict[str, Any]] = [
        {"time": TIME, "type": "platform.start", "record": {"requestId": "r-1"}},
        *({"time": TIME, "type": "function", "record": f"before {number}"} for number in range(5)),
        {"time": TIME, "type": "platform.logsDropped", "record": {"droppedRecords": 1}},
        *({"time": TIME, "type": "function", "record": f"after {number}"} for number in range(5)),
    ]
    await killed.process(decode(json.dumps(told).encode()))
    del killed
    assert (await begin()).statistics().recovered == 5 + 5 - 2


async def test_memory_that_is_on_disk_already_costs_nothing_to_free(tmp_path: Path) -> None:
    sink = ScriptedSink()
    delivery = Delivery(sink, spill=Spill(directory=tmp_path, durable=True), max_buffered_bytes=100)
    await delivery.init(REGISTRATION)
    for number in range(5):
        await delivery.process(logs(number))
        assert_adds_up(delivery)
    assert delivery.statistics().spilled > 0
    await delivery.flush()
    assert sink.numbers == list(range(5))


async def test_a_batch_that_is_written_while_it_is_being_sent_does_not_come_back(tmp_path: Path) -> None:
    """It is long, so that it is written in a thread, and a flush takes it meanwhile."""
    sink = ScriptedSink()
    spill = Spill(directory=tmp_path, durable=True)
    delivery = Delivery(sink, spill=spill, batching=Batching(max_bytes=1_000_000))
    await delivery.init(REGISTRATION)
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(delivery.process, logs(*range(number * 1000, number * 1000 + 1000)))
            tasks.start_soon(delivery.flush)
    await delivery.flush()
    assert sorted(sink.numbers) == list(range(5000))
    assert list(tmp_path.glob("*.spill")) == []  # noqa: ASYNC240 - once, in a test


async def test_what_a_full_store_deletes_stays_in_memory(tmp_path: Path) -> None:
    sink = ScriptedSink()
    spill = Spill(directory=tmp_path, durable=True, max_bytes=400, segment_bytes=1)
    delivery = Delivery(sink, spill=spill)
    await delivery.init(REGISTRATION)
    for number in range(10):
        await delivery.process(logs(number))
    await delivery.flush()
    assert sink.numbers == list(range(10))
    assert delivery.statistics().dropped == 0


async def test_a_disk_that_takes_nothing_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    sink = ScriptedSink()
    delivery = Delivery(sink, spill=Spill(directory=tmp_path / "file" / "spill", durable=True))
    await delivery.init(REGISTRATION)
    await delivery.process(logs(1))
    await delivery.flush()
    assert sink.numbers == [1]
    assert "cannot be used" in caplog.text


async def test_the_platform_is_answered_once_the_events_have_been_taken_in() -> None:
    class Durable(TelemetryProcessor):
        durable = True

        def __init__(self) -> None:
            self.got: list[Any] = []
            self.go = anyio.Event()

        async def process(self, events: Sequence[Any]) -> None:
            self.got += events
            await self.go.wait()

    class Slow(TelemetryProcessor):
        async def process(self, events: Sequence[Any]) -> None:
            await anyio.sleep_forever()

    durable = Durable()
    answered = anyio.Event()
    async with FakeLambda() as platform, anyio.create_task_group() as tasks:

        async def run() -> None:
            # The other one is not waited for: it has promised nothing.
            await run_telemetry(
                [durable, Slow()], name="x", environment=platform.environment, http_client=platform.http
            )

        async def post() -> None:
            await platform.post([log("a")])
            answered.set()

        with anyio.fail_after(10):
            tasks.start_soon(run)
            await platform.waiting.wait()
            tasks.start_soon(post)
            await eventually(lambda: len(durable.got) == 1)
            await anyio.wait_all_tasks_blocked()
            assert not answered.is_set()
            durable.go.set()
            await answered.wait()
            platform.shut_down()


async def test_a_delivery_that_is_durable_says_so(tmp_path: Path) -> None:
    assert Delivery(ScriptedSink(), spill=Spill(directory=tmp_path, durable=True)).durable
    assert not Delivery(ScriptedSink(), spill=None).durable


async def test_the_benchmark_measures_both(anyio_backend: object) -> None:
    assert min([await measure(durable=durable, batches=200) for durable in (False, True)]) > 0
