"""Many invocations, many at once, and long times that pass at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing

from lambda_extension import ShutdownReason, open_extension, open_telemetry
from lambda_extension._environment import Environment
from lambda_extension.simulator import ExtensionSpec, FunctionContext, ScriptedFunction, Simulator
from lambda_extension.simulator._platform._participants import Participant, max_memory_mb
from lambda_extension.simulator._platform._processes import GroupProcess
from lambda_extension.telemetry import FunctionLog

STREAM = Path(__file__).parents[2] / "examples/stream.py"

TEN_THOUSAND = """
import json, sys
from pathlib import Path
import anyio
from lambda_extension.simulator import ExtensionSpec, FunctionContext, ScriptedFunction, Simulator

def resident():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024

async def main():
    spec = ExtensionSpec([sys.executable, sys.argv[1]], name="stream.py")
    async with Simulator([spec], ScriptedFunction(log_lines=["a line"]), timeout=60, record_limit=2000) as lambda_:
        found = []
        for count in (2000, 8000):
            bad = 0
            for _ in range(count):
                bad += (await lambda_.invoke()).status != "success"
            found.append({"resident_mib": resident(), "bad": bad})
        report = await lambda_.shutdown()
    print(json.dumps({"found": found, "exit_code": report.exit_codes["stream.py"],
                      "reports": lambda_.record.counts["event", "platform.report"], "kept": len(lambda_.record)}))

anyio.run(main)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_ten_thousand_invocations_leave_memory_flat() -> None:
    command = [sys.executable, "-c", TEN_THOUSAND, str(STREAM)]
    # What coverage keeps is not the simulator's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True, env=environment)
    found = json.loads(done.stdout.splitlines()[-1])
    early, late = found["found"]
    assert (early["bad"], late["bad"]) == (0, 0)
    assert found["reports"] == 10_000
    assert found["kept"] == 2_000
    assert found["exit_code"] == 0
    # 8,000 invocations more; a kilobyte kept of each would be eight.
    assert late["resident_mib"] - early["resident_mib"] <= 6, found


async def test_sixty_four_concurrent_invocations_on_managed_instances() -> None:
    lines: list[str] = []
    at_once = most = 0
    full = anyio.Event()

    async def extension(environment: Mapping[str, str]) -> None:
        async with open_telemetry(name="extension", environment=Environment.from_mapping(environment)) as telemetry:
            async for event in telemetry:
                if isinstance(event, FunctionLog):
                    lines.append(str(event.message))

    async def function(event: Any, context: FunctionContext) -> Any:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        context.log(f"line {event}")
        if at_once == 64:
            full.set()
        await full.wait()
        at_once -= 1
        return event

    async with Simulator([extension], function, mode="managed-instances", concurrency=64, timeout=30) as lambda_:
        results = await lambda_.invoke_many(256, payload=1)
        await lambda_.shutdown()
    assert [result.status for result in results] == ["success"] * 256
    assert most == 64
    assert len(lines) == 256


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": trio.testing.MockClock(autojump_threshold=0.01)})])
async def test_a_fifteen_minute_timeout_takes_no_time_with_an_autojump_clock() -> None:
    reasons: list[ShutdownReason] = []

    async def extension(environment: Mapping[str, str]) -> None:
        async with (
            lambda_.http_client() as http,
            open_extension(
                name="extension", environment=Environment.from_mapping(environment), http_client=http
            ) as session,
        ):
            async for _ in session:
                pass
            assert session.shutdown is not None
            reasons.append(session.shutdown.reason)

    function = ScriptedFunction(never_answers=True, then=[ScriptedFunction()])
    async with Simulator([extension], function, timeout=900) as lambda_:
        result = await lambda_.invoke()
        assert result.status == "timeout"
        assert result.duration_ms == pytest.approx(900_000, rel=0.01)
    assert ShutdownReason.TIMEOUT in reasons


async def test_the_memory_of_processes_is_measured() -> None:
    spec = ExtensionSpec([sys.executable, str(STREAM)], name="stream.py")
    async with Simulator([spec], timeout=20, memory_mb=512) as lambda_:
        await lambda_.invoke()
        (report,) = lambda_.record.events("platform.report")
    assert 10 < report["metrics"]["maxMemoryUsedMB"] <= 512


async def test_memory_that_cannot_be_measured_any_more_is_a_stand_in() -> None:
    process = await GroupProcess.start(["/bin/sh", "-c", "exit 0"], {})
    assert await process.run(lambda _: None) == 0
    assert max_memory_mb([Participant(name="gone", process=process)]) == 64
