"""At a shutdown, what is left is on disk before the last flush, which may hang."""

from __future__ import annotations

from pathlib import Path

import anyio
from sinks_for_tests import ScriptedSink

from fake_lambda import FakeLambda, log
from lambda_extension import run_telemetry
from lambda_extension.delivery import Delivery, EndOfInvocation, Payload, Spill


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
