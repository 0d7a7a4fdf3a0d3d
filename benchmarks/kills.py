"""Kill a process that delivers, again and again, at random moments: what of that it had taken in arrives in the end?

`python -m benchmarks.kills BACKEND DIRECTORY KILLS SEED durable|plain` forks the processes and says what they say:
"taken RUN-NUMBER" for each batch of two events, "sent ID EVENT" for each event. `kill` runs that and counts.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import attrs
import tenacity  # noqa: F401 - imported once, and not by each of the processes

from lambda_extension import Registration
from lambda_extension.delivery import Delivery, Payload, Spill
from lambda_extension.telemetry import FunctionLog

PARTS = "ab"


@attrs.frozen
class Survived:
    """What came of some kills.

    Attributes:
        taken: Events that had been taken in, which is when the platform would be answered.
        lost: How many of them were never sent.
        doubled: How many of those that were sent went under two ids, so that no backend can tell.
    """

    taken: int
    lost: int
    doubled: int


class Out:
    """A sink that writes to a pipe."""

    def __init__(self, out: int) -> None:
        self._out = out

    async def send(self, payload: Payload) -> None:
        """Write one line for each event."""
        await anyio.lowlevel.checkpoint()
        for piece in payload.pieces:
            os.write(self._out, b"sent " + payload.id.encode() + b" " + piece + b"\n")


async def deliver(out: int, directory: str, run: int, batches: int, *, durable: bool, last: bool) -> None:
    """Take in batches, say so, and send now and then."""
    delivery = Delivery(Out(out), spill=Spill(directory=directory, durable=durable, segment_bytes=2_000))
    await delivery.init(
        Registration(extension_id="1", extension_name="killed", function_name="f", function_version="1")
    )
    for number in range(batches):
        await delivery.process([FunctionLog(time="", record=f"{run}-{number}-{part}") for part in PARTS])
        os.write(out, b"taken %d-%d\n" % (run, number))
        if number % 7 == 6 or last:
            await delivery.flush()


def fork(backend: str, directory: str, kills: int, seed: int, *, durable: bool) -> None:
    """Start the processes one after the other, and kill all but the last."""
    chance = random.Random(seed)
    options = {"use_uvloop": True} if backend == "uvloop" else {}
    # What this imports, the processes have from the start.
    anyio.run(anyio.lowlevel.checkpoint, backend=backend.replace("uvloop", "asyncio"), backend_options=options)
    for run in range(kills + 1):
        last = run == kills
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            work = partial(deliver, write, directory, run, 1 if last else 1_000_000, durable=durable, last=last)
            anyio.run(work, backend=backend.replace("uvloop", "asyncio"), backend_options=options)
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as lines:
            if not last:
                print(lines.readline().decode(), end="")
                time.sleep(chance.uniform(0.0, 0.02))
                os.kill(child, signal.SIGKILL)
            for line in lines:
                if line.endswith(b"\n"):
                    print(line.decode(), end="")
        os.waitpid(child, 0)


def kill(backend: str, kills: int, *, durable: bool, seed: int, directory: Path | None = None) -> Survived:
    """Kill so many processes, and count what became of the events that they had taken in."""
    with tempfile.TemporaryDirectory() as own:
        # Measured for coverage, the processes would take minutes.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        command = [sys.executable, "-m", "benchmarks.kills", backend, str(directory or own), str(kills), str(seed)]
        said = subprocess.run(
            [*command, "durable" if durable else "plain"],
            stdout=subprocess.PIPE,
            text=True,
            timeout=100,
            check=True,
            env=environment,
            cwd=Path(__file__).parents[1],
        ).stdout
    taken, holders = set(), defaultdict[str, set[str]](set)
    for line in said.splitlines():
        word, *rest = line.split(" ", 2)
        if word == "taken":
            taken |= {f"{rest[0]}-{part}" for part in PARTS}
        else:
            holders[json.loads(rest[1])["record"]].add(rest[0])
    return Survived(len(taken), len(taken - holders.keys()), sum(len(ids) > 1 for ids in holders.values()))


if __name__ == "__main__":
    fork(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), durable=sys.argv[5] == "durable")
