"""What the dependencies alone cost: the processor time and memory of a Python that imports them and ends.

`python -m benchmarks.dependencies` prints a table; docs/benchmarks.md says what follows from it.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator

from benchmarks.contestants import HERE, interpreter

SOURCE = HERE.parents[1] / "src"
ROUNDS = 25
FLOOR = "import http.client, http.server, json, threading"
LOOP = "anyio.run(anyio.sleep, 0)"
SAMPLE = f"{FLOOR}; import queue, requests"
REGISTER = "import anyio; from lambda_extension import open_telemetry"
EVENTS = f"{REGISTER}; from lambda_extension.telemetry import FunctionLog"
# As many as a session with telemetry has before it asks for the first event, each of four fields.
CLASSES = "[attrs.make_class('C', list('abcd'), frozen=True, kw_only=True) for _ in range(7)]"
SESSION = f"{EVENTS}; import lambda_extension._session._holding"
STEPS = {
    "nothing": "pass",
    "the floor's imports": FLOOR,
    "the AWS sample's imports": SAMPLE,
    "anyio, its loop on asyncio": f"import anyio; {LOOP}",
    "this library until it has registered": f"{REGISTER}; {LOOP}",
    "the same, event types (msgspec)": f"{EVENTS}; {LOOP}",
    "the same, attrs": f"{EVENTS}; import attrs; {LOOP}",
    "the same, seven classes of attrs": f"{EVENTS}; import attrs; {CLASSES}; {LOOP}",
    "the same, httptools": f"{EVENTS}; import attrs, httptools; {CLASSES}; {LOOP}",
    "this library until it asks for the first event": f"{SESSION}; {LOOP}",
    "the same, h11 and hypercorn": f"{SESSION}; import hypercorn.asyncio; {LOOP}",
    "the same, httpx": f"{SESSION}; import hypercorn.asyncio, httpx, httpcore; {LOOP}",
    "anyio, its loop, hypercorn": f"import anyio, hypercorn.asyncio; {LOOP}",
}


def measure(code: str) -> tuple[float, float]:
    """Return the least milliseconds of processor time of a few runs, and the MiB resident at most."""
    # It weighs itself: what the kernel says of an ended process counts what it was before it was another program.
    command = [str(interpreter()), "-c", f"{code}\nprint(open('/proc/self/status').read())"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    least, resident = float("inf"), 0.0
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least = min(least, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        resident = int(done.stdout.partition("VmHWM:")[2].split()[0]) / 1024
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
