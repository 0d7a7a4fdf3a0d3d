"""The figures of docs/explanation/guarantees.md, but for the soak's: `python -m benchmarks.guarantees`."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from benchmarks.kills import kill
from benchmarks.soak import BACKENDS, SERVERS

HOSTILE = Path(__file__).parents[1] / "tests" / "serving" / "hostile.py"
CONNECTIONS = 6_000
KILLS = 200


def main() -> None:
    """Attack each server on each event loop, kill on each event loop, and print what came of it."""
    print("| Event loop, server | Hostile connections | Good requests tried | answered | Bytes logged |")
    print("|---|---|---|---|---|")
    for backend in BACKENDS:
        for server in SERVERS:
            command = [sys.executable, str(HOSTILE), backend, server, str(CONNECTIONS)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            counts = json.loads(done.stdout)
            logged = len(done.stderr.encode())
            print(f"| {backend}, {server} | {CONNECTIONS:,} | {counts['tried']:,} | {counts['good']:,} | {logged:,} |")
    print("\n| Event loop, `Spill` | Kills | Events taken in | lost | sent under two ids |")
    print("|---|---|---|---|---|")
    for backend in BACKENDS:
        for durable in (True, False):
            survived = kill(backend, KILLS, durable=durable, seed=random.randrange(1_000_000))
            name = "`durable=True`" if durable else "default"
            print(f"| {backend}, {name} | {KILLS} | {survived.taken:,} | {survived.lost:,} | {survived.doubled} |")


if __name__ == "__main__":
    main()
