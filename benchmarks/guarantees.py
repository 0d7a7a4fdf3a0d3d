"""The figures of docs/explanation/guarantees.md, but for the soak's.

`python -m benchmarks.guarantees [--write-docs]` prints them, and puts them into the page.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.kills import kill
from benchmarks.pages import DOCS, machine, measured, renew
from benchmarks.soak import BACKENDS, SERVERS

HOSTILE = Path(__file__).parents[1] / "tests" / "serving" / "hostile.py"
CONNECTIONS = 6_000
KILLS = 200


def hostile() -> Iterator[str]:
    """Attack each server on each event loop, and give the lines of the table as they are measured."""
    yield "| Event loop, server | Hostile connections | Good requests tried | answered | Bytes logged |"
    yield "|---|---|---|---|---|"
    for backend in BACKENDS:
        for server in SERVERS:
            command = [sys.executable, str(HOSTILE), backend, server, str(CONNECTIONS)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            counts = json.loads(done.stdout)
            logged = len(done.stderr.encode())
            yield f"| {backend}, {server} | {CONNECTIONS:,} | {counts['tried']:,} | {counts['good']:,} | {logged:,} |"


def kills() -> Iterator[str]:
    """Kill on each event loop, and give the lines of the table as they are measured."""
    yield "| Event loop, `Spill` | Kills | Events taken in | lost | sent under two ids |"
    yield "|---|---|---|---|---|"
    for backend in BACKENDS:
        for durable in (True, False):
            survived = kill(backend, KILLS, durable=durable, seed=random.randrange(1_000_000))
            name = "`durable=True`" if durable else "default"
            yield f"| {backend}, {name} | {KILLS} | {survived.taken:,} | {survived.lost:,} | {survived.doubled} |"


def main() -> None:
    """Print both tables, and put them into the page if asked to."""
    sections = {}
    for name, lines in (("hostile", hostile()), ("kills", kills())):
        said = [measured(machine()), ""]
        print("\n".join(said))
        for line in lines:
            print(line, flush=True)
            said.append(line)
        print()
        sections[name] = "\n".join(said)
    if "--write-docs" in sys.argv[1:]:
        renew(DOCS / "explanation" / "guarantees.md", sections)


if __name__ == "__main__":
    main()
