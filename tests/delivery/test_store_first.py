"""At a shutdown, what is left is on disk before the last flush, which may hang."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest
from sinks_for_tests import ScriptedSink

from fake_lambda import FakeLambda, log
from lambda_extension import run_telemetry
from lambda_extension.delivery import Batching, Delivery, EndOfInvocation, Payload, Spill
from lambda_extension.delivery._accounts import Accounts, Complaints
from lambda_extension.delivery._backlog import Backlog
from lambda_extension.delivery._spill import SpillStore


class Hanging(ScriptedSink):
    """Looks at the disk when the last flush sends, and never answers."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.stored: list[bool] = []

    async def send(self, payload: Payload) -> None:
        self.stored.append(any(b'"record":"kept"' in path.read_bytes() for path in self.directory.glob("*.spill")))
        await anyio.sleep_forever()


async def test_what_is_left_is_on_disk_before_the_last_flush_sends_it(tmp_path: Path) -> None:
    sink = Hanging(tmp_path)
    async with FakeLambda() as platform, anyio.create_task_group() as tasks:

        async def run() -> None:
            await run_telemetry(
                Delivery(sink, spill=Spill(directory=tmp_path)),
                flush=EndOfInvocation(),
                name="x",
                environment=platform.environment,
                http_client=platform.http,
            )

        tasks.start_soon(run)
        with anyio.fail_after(5):
            await platform.waiting.wait()
            assert await platform.post([log("kept")]) == 200
            platform.shut_down()
    # The early flush sends what has just come; the last one, and the hook, what is on disk by then.
    assert sink.stored == [False, True, True]


async def test_what_comes_while_the_disk_is_waited_for_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is on disk is not added to: what had come later would be gone once it is there alone."""
    writing, going_on = anyio.Event(), threading.Event()
    append = SpillStore.append

    def slow(self: SpillStore, *args: Any, **settings: Any) -> Any:
        anyio.from_thread.run_sync(writing.set)
        assert going_on.wait(5)
        return append(self, *args, **settings)

    monkeypatch.setattr(SpillStore, "append", slow)
    monkeypatch.setattr("lambda_extension.delivery._backlog.WORTH_A_THREAD", 0)
    accounts = Accounts()
    backlog = Backlog(Batching(), "application/json", accounts, Complaints("x"))
    await backlog.open_store(Spill(directory=tmp_path), "x")
    backlog.add(b"1", 0.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backlog.write_all)
        await writing.wait()
        tasks.start_soon(backlog.write_all)
        await anyio.wait_all_tasks_blocked()
        backlog.add(b"2", 0.0)
        going_on.set()
    backlog.add(b"3", 0.0)
    backlog.leave_to_disk()
    backlog.close()
    on_disk = SpillStore(tmp_path, max_bytes=1 << 20, segment_bytes=1 << 20).open()
    assert sum(record.items for record in on_disk) == accounts.spilled == 2
    assert backlog.items == 1
