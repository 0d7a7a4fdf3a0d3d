"""A slow consumer under a producer that is faster than AWS's emulator bears, so on the simulator only."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lambda_extension.simulator import Entry, ExtensionSpec, ScriptedFunction, Simulator
from waiting import eventually

PROGRAM = Path(__file__).parents[1] / "emulator" / "programs" / "slow.py"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # of the test; that of the extension is `backend`


class Account:
    """What the platform emitted for the extension, delivered to it and dropped, as it happens."""

    def __init__(self) -> None:
        self.emitted = self.delivered = self.dropped = 0

    def take(self, entry: Entry) -> None:
        if entry.kind == "event" and entry.what != "extension":
            self.emitted += 1
            if entry.what == "platform.logsDropped":
                self.dropped += entry.detail["record"]["droppedRecords"]
        elif (entry.kind, entry.what) == ("delivery", "delivered"):
            self.delivered += entry.detail["items"]

    def is_settled(self, notes: Path) -> bool:
        """Tell whether nothing is under way any more, and the extension has noted each event that it got."""
        taken = sum('"memory"' in line for line in notes.read_text().splitlines()) - 1  # one is of the start
        return taken == self.delivered == self.emitted - self.dropped


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_slow_consumer_keeps_memory_bounded_and_counts_what_lambda_dropped(tmp_path: Path, backend: str) -> None:
    lines = [f"text fast {number} {'x' * 1000}" for number in range(1000)]
    environment = {"BACKEND": backend, "OUTPUT": str(tmp_path), "TYPES": "function,platform"}
    extension = ExtensionSpec([sys.executable, str(PROGRAM)], name=PROGRAM.name, environment=environment)
    account = Account()
    async with Simulator([extension], ScriptedFunction(log_lines=lines), timeout=30, watch=account.take) as lambda_:
        results = await lambda_.invoke_many(20)
        # The two seconds of shutdown are too few for what a slow consumer still has.
        await eventually(lambda: account.is_settled(tmp_path / "slow.py.jsonl"), within=60)
        report = await lambda_.shutdown()
    notes: list[dict[str, Any]] = [json.loads(line) for line in (tmp_path / "slow.py.jsonl").read_text().splitlines()]
    counts = lambda_.record.counts
    emitted = sum(count for (kind, type_), count in counts.items() if kind == "event" and type_ != "extension")
    memory, arrived = [note["memory"] for note in notes], [note["line"] for note in notes if "line" in note]
    statistics = notes[-1]["statistics"]
    assert [result.status for result in results] == ["success"] * 20
    assert report.exit_codes["slow.py"] == 0
    assert statistics["received_events"] == statistics["delivered_events"]
    assert statistics["buffered_events"] == statistics["rejected_batches"] == 0
    assert statistics["dropped_events"] > 0
    assert statistics["received_events"] + statistics["dropped_events"] == emitted
    assert arrived[:100] == [" ".join(line.split()[:3]) for line in lines[:100]]
    assert max(memory) - memory[0] < 20_000
