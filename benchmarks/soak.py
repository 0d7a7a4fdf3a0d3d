"""Shutdowns of an extension with a busy sink, one after the other: `python -m benchmarks.soak --seconds 600`.

Each time an extension is started, takes in telemetry while its sink is slow, flaky, dead, all of that, stuck in a
thread, or of a name whose look-up hangs, and is told to shut down at a random moment, with connections open. Lambda
would kill it two seconds later; so does this. What had been acknowledged must then have been delivered or spilled.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from benchmarks.backend import Behaviour, backend
from benchmarks.corpus import batches
from benchmarks.fake_lambda import FakeLambda, Pusher
from benchmarks.pages import DOCS, machine, measured, renew
from lambda_extension.delivery._spill import SpillStore

LIMIT = 2.0
# On a machine that is busy with other things, lateness says little of the extension; this means that it hangs.
HANGS = 15.0
_EVENTS = 400
_BATCHES = batches(_EVENTS, kind="text")
_ANOTHER = batches(1, kind="text")[0]  # on a connection that stays open
BACKENDS = ("asyncio", "uvloop", "trio")
SERVERS = ("hypercorn", "direct")
SINKS: dict[str, Callable[[random.Random], Behaviour]] = {
    "slow": lambda _: lambda _: (0.3, 200),
    "flaky": lambda chance: lambda _: (0.0, chance.choice([200, 500, 0])),
    "dead": lambda _: lambda _: (0.0, 0),
    "mixed": lambda chance: lambda _: (chance.choice([0.0, 0.2, 2.0]), chance.choice([200, 429, 500, 0])),
    "stuck": lambda _: lambda _: (0.0, 200),
    "nameless": lambda _: lambda _: (0.0, 200),
}
_FIGURES = re.compile(r"received (\d+) .*delivered (\d+) .*buffered (\d+), spilled (\d+), dropped (\d+)")


@attrs.define(kw_only=True)
class Outcome:
    """What came of some shutdowns.

    Attributes:
        took: Seconds from SHUTDOWN to the end of the process.
        late: How many took longer than Lambda's two seconds.
        killed: How many had to be killed.
        unsaid: How many did not write their closing line.
        acknowledged: Events that were acknowledged.
        lost: Events of those that are neither at the backend nor on disk, or that the closing line does not tell so.
    """

    took: list[float] = attrs.field(factory=list)
    late: int = 0
    killed: int = 0
    unsaid: int = 0
    acknowledged: int = 0
    lost: int = 0

    def add(self, other: Outcome) -> None:
        """Count another's too."""
        self.took += other.took
        self.late += other.late
        self.killed += other.killed
        self.unsaid += other.unsaid
        self.acknowledged += other.acknowledged
        self.lost += other.lost


def shut_down_once(
    kind: str, backend_name: str, server: str, chance: random.Random, outcome: Outcome, *, limit: float = LIMIT
) -> None:
    """Start an extension, feed it, shut it down, and add to an outcome what came of it."""
    with (
        tempfile.TemporaryDirectory() as spill,
        backend(SINKS[kind](chance), keep=False) as other,
        FakeLambda() as fake,
    ):
        environment = {
            # As in a layer, which has the bytecode: to compile takes longer than all else, and holds up the event loop.
            **{name: os.environ[name] for name in os.environ if not name.startswith(("COV", "PYTHONDONTWRITE"))},
            "AWS_LAMBDA_RUNTIME_API": fake.address,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "BUSY": kind,
            "BUSY_URL": "http://backend.test/" if kind == "nameless" else other.url,
            "BUSY_SPILL": spill,
            "BUSY_BACKEND": backend_name,
            "BUSY_SERVER": server,
        }
        command = [sys.executable, str(Path(__file__).parent / "contestants" / "busy.py")]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        sent = 0
        with Pusher(fake.wait_subscribed()) as pusher, Pusher(fake.wait_subscribed()) as idle:
            fake.wait_next()
            for batch in itertools.islice(itertools.cycle(_BATCHES), chance.randrange(1, 12)):
                pusher.push(batch)
                sent += _EVENTS
            idle.push(_ANOTHER)
            sent += _ANOTHER.events
            time.sleep(chance.uniform(0.0, 0.3))
            began = fake.shut_down()
            try:
                _, said = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                outcome.killed += 1
                process.kill()
                _, said = process.communicate()
            outcome.took.append(time.perf_counter() - began)
            outcome.late += outcome.took[-1] > LIMIT
        left = SpillStore(Path(spill), max_bytes=1 << 30, segment_bytes=1 << 20).open()
        there = {record.id: record.items for record in left} | other.sizes
    outcome.acknowledged += sent
    figures = _FIGURES.search(said)
    if figures is None:
        outcome.unsaid += 1
        outcome.lost += max(sent - sum(there.values()), 0)
        return
    received, _, buffered, _, dropped = map(int, figures.groups())
    outcome.lost += max(sent - received + buffered + dropped, sent - sum(there.values()), 0)


def rounds() -> Iterator[tuple[str, str, str]]:
    """Give sinks, event loops and servers, in all combinations, for ever."""
    return itertools.cycle(itertools.product(SINKS, BACKENDS, SERVERS))


Outcomes: TypeAlias = dict[tuple[str, str], Outcome]


def soak(until: Callable[[int], bool], *, seed: int, limit: float, lanes: int = 1) -> Outcomes:
    """Shut down extensions until a function of their number says so; by event loop and server.

    Args:
        until: Told how many there have been.
        seed: For what is random.
        limit: After so many seconds each is killed.
        lanes: How many at a time.
    """
    numbered = enumerate(rounds())
    outcomes: Outcomes = defaultdict(Outcome)
    one_at_a_time = threading.Lock()

    def lane(_: int) -> None:
        while True:
            with one_at_a_time:
                number, (kind, backend_name, server) = next(numbered)
            if until(number):
                return
            outcome = Outcome()
            shut_down_once(kind, backend_name, server, random.Random(f"{seed} {number}"), outcome, limit=limit)
            with one_at_a_time:
                outcomes[backend_name, server].add(outcome)

    with ThreadPoolExecutor(lanes) as threads:
        list(threads.map(lane, range(lanes)))  # which raises what one of them raised
    return outcomes


def report(outcomes: Outcomes) -> dict[str, Any]:
    """Sum up: how many ended when, and what became of their events."""
    everything = Outcome()
    for outcome in outcomes.values():
        everything.add(outcome)
    took = sorted(everything.took)
    slices = Counter(int(seconds * 10) for seconds in took)
    return {
        "ends": len(took),
        "late": everything.late,
        "killed": everything.killed,
        "unsaid": everything.unsaid,
        "acknowledged": everything.acknowledged,
        "lost": everything.lost,
        **{f"p{share * 100:g}": round(_at(took, share), 3) for share in (0.5, 0.9, 0.99, 0.999)},
        "slowest": round(took[-1], 3),
        "ends_by_tenths_of_a_second": {f"{tenth / 10:.1f}": slices[tenth] for tenth in sorted(slices)},
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def lines(outcomes: Outcomes) -> Iterator[str]:
    """Give a line for each event loop and server."""
    for (backend_name, server), outcome in sorted(outcomes.items()):
        took = sorted(outcome.took)
        yield (
            f"{backend_name} {server}: {len(took)} ends, {outcome.late} late; median {_at(took, 0.5):.2f} s"
            f", slowest {took[-1]:.2f} s; {outcome.acknowledged:,} events acknowledged, {outcome.lost:,} lost"
        )


def _summary(figures: dict[str, Any]) -> str:
    times = f"median {figures['p50']:.2f} s, p99 {figures['p99']:.2f} s, slowest {figures['slowest']:.2f} s"
    return (
        f"all: {figures['ends']} ends, {figures['late']} late, {figures['killed']} killed; {times}; "
        f"{figures['acknowledged']:,} events acknowledged, {figures['lost']:,} lost"
    )


def _at(took: list[float], share: float) -> float:
    """Give the least of some sorted figures that so large a share of them does not exceed."""
    return took[max(math.ceil(share * len(took)), 1) - 1]


def main() -> int:
    """Soak for as long as is asked for, print what came of it, and fail if an event was lost or a shutdown late.

    The last line is JSON.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--ends", type=int, default=sys.maxsize, help="so many shutdowns at most")
    parser.add_argument("--lanes", type=int, default=1, help="so many at a time")
    parser.add_argument(
        "--patient", action="store_true", help=f"fail for lateness after {HANGS:.0f} s only: the machine is busy"
    )
    parser.add_argument("--write-docs", action="store_true", help="put it into docs/explanation/guarantees.md")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args()
    for backend_name, server in zip(BACKENDS, itertools.cycle(SERVERS)):  # so that the bytecode is there
        shut_down_once("slow", backend_name, server, random.Random(0), Outcome(), limit=HANGS)
    where, ends = measured(machine()), time.monotonic() + options.seconds
    outcomes = soak(
        lambda number: number >= options.ends or time.monotonic() > ends,
        seed=options.seed,
        limit=HANGS if options.patient else LIMIT,
        lanes=options.lanes,
    )
    figures = report(outcomes)
    said = [*lines(outcomes), _summary(figures)]
    print(f"seed {options.seed}", *said, sep="\n")
    for tenth, count in figures["ends_by_tenths_of_a_second"].items():
        print(f"{tenth} s: {count}")
    print(json.dumps(figures))
    if options.write_docs:
        section = "\n".join([where, "", "```text", *said, "```"])
        renew(DOCS / "explanation" / "guarantees.md", {"soak": section})
    return int(figures["killed"] + figures["lost"] + figures["unsaid"] > 0)


if __name__ == "__main__":
    sys.exit(main())
