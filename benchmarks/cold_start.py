"""What an extension adds to a cold start: the simulator's init phase, end to end, with it and without."""

from __future__ import annotations

import time

import anyio

from benchmarks.contestants import Contestant, base_environment
from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator

FUNCTION_INITS_MS = (0, 100, 400)


def cold_start(contestant: Contestant) -> dict[str, float]:
    """Return the milliseconds that init takes longer with the extension, by how long the function's own init takes."""
    return {f"cold_start_{init}_ms": anyio.run(_added, contestant, init) for init in FUNCTION_INITS_MS}


async def _added(contestant: Contestant, init_ms: int) -> float:
    environment = base_environment() | dict(contestant.environment) | {"BENCH_MODE": "telemetry", "BENCH_MARKS": ""}
    spec = ExtensionSpec([*contestant.command], name="bench", environment=environment)
    without = await _init(init_ms, [])
    return await _init(init_ms, [spec]) - without


async def _init(init_ms: int, extensions: list[ExtensionSpec]) -> float:
    function = ScriptedFunction(init_latency=init_ms / 1000)
    started = time.perf_counter()
    async with Simulator(extensions, function) as lambda_:
        await lambda_.ready()
        return (time.perf_counter() - started) * 1e3
