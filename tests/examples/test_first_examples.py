"""The examples that print, as real processes in the simulator, on both backends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from extension_runs import run_script

EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_stream(anyio_backend: Any) -> None:
    run = await run_script(EXAMPLES / "stream.py", anyio_backend)
    assert run.lines.count("function: order accepted") == 3
    assert [line.split()[-1] for line in run.lines if line.startswith("billed: ")] == run.request_ids


async def test_to_stdout(anyio_backend: Any) -> None:
    run = await run_script(EXAMPLES / "to_stdout/to_stdout.py", anyio_backend)
    events = [event for line in run.lines for event in json.loads(line)]
    assert [event["record"] for event in events if event["type"] == "function"] == ["order accepted"] * 3
    reports = [event["record"]["requestId"] for event in events if event["type"] == "platform.report"]
    assert reports == run.request_ids
    assert {"platform.initStart", "platform.start", "platform.runtimeDone"} <= {event["type"] for event in events}


async def test_per_invocation(anyio_backend: Any) -> None:
    run = await run_script(EXAMPLES / "per_invocation/per_invocation.py", anyio_backend)
    assert len(run.lines) == 4
    assert all(re.fullmatch(r"shipped \d+ events", line) for line in run.lines)


async def test_with_methods(anyio_backend: Any) -> None:
    run = await run_script(EXAMPLES / "with_methods/with_methods.py", anyio_backend)
    assert run.lines[0].startswith("watching ")
    assert run.lines[1:] == ["3 invocations until spindown"]
