"""What the dependencies alone cost: the time and memory of a Python that imports them and ends.

`python -m benchmarks.dependencies` prints a table; docs/benchmarks.md says what follows from it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

from benchmarks.contestants import HERE, interpreter

SOURCE = HERE.parents[1] / "src"
ROUNDS = 25
FLOOR = "import http.client, http.server, json, threading"
LOOP = "anyio.run(anyio.sleep, 0)"
SAMPLE = f"{FLOOR}; import queue, requests"
REGISTER = "import anyio; from lambda_extension import open_telemetry"
EVENTS = f"{REGISTER}; from lambda_extension.telemetry import FunctionLog"
# As many as a session with telemetry has, each of four fields.
CLASSES = "[attrs.make_class('C', list('abcd'), frozen=True, kw_only=True) for _ in range(13)]"
SESSION = f"{EVENTS}; import lambda_extension._session._holding"
STEPS = {
    "nothing": "pass",
    "the floor's imports": FLOOR,
    "the AWS sample's imports": SAMPLE,
    "anyio, its loop on asyncio": f"import anyio; {LOOP}",
    "this library until it has registered": f"{REGISTER}; {LOOP}",
    "the same, event types (msgspec)": f"{EVENTS}; {LOOP}",
    "the same, attrs": f"{EVENTS}; import attrs; {LOOP}",
    "the same, 13 classes of attrs": f"{EVENTS}; import attrs; {CLASSES}; {LOOP}",
    "the same, httptools": f"{EVENTS}; import attrs, httptools; {CLASSES}; {LOOP}",
    "this library until it asks for the first event": f"{SESSION}; {LOOP}",
    "the same, h11 and hypercorn": f"{SESSION}; import hypercorn.asyncio; {LOOP}",
    "the same, httpx": f"{SESSION}; import hypercorn.asyncio, httpx, httpcore; {LOOP}",
    "anyio, its loop, hypercorn": f"import anyio, hypercorn.asyncio; {LOOP}",
}


def measure(code: str) -> tuple[float, float]:
    """Return the least milliseconds of a few runs, and the MiB resident at most."""
    command = [str(interpreter()), "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    least, resident = float("inf"), 0.0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        least = min(least, time.perf_counter() - started)
        resident = usage.ru_maxrss / 1024
    return least * 1000, resident


def lines() -> Iterator[str]:
    """Give the lines of the table as they are measured."""
    floor_ms, floor_mib = measure(FLOOR)
    yield from ("| | ms | MiB |", "|---|---|---|")
    for name, code in STEPS.items():
        ms, mib = measure(code)
        yield f"| {name} | {ms:.0f} ({ms / floor_ms:.2f}) | {mib:.1f} ({mib / floor_mib:.2f}) |"


def main() -> None:
    for line in lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()
