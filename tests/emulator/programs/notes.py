"""What an extension under test leaves for the test: one JSON value per line, in OUTPUT/<extension>.jsonl."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from lambda_extension.telemetry import TelemetryEvent, UnknownEvent

name = Path(sys.argv[0]).name
_out = Path(os.environ["OUTPUT"], f"{name}.jsonl").open("a", encoding="utf-8")  # noqa: SIM115 - open as long as the process


def note(**what: Any) -> None:
    _out.write(json.dumps({"at": time.time() * 1000, **what}) + "\n")
    _out.flush()


def note_event(event: TelemetryEvent) -> None:
    record = msgspec.to_builtins(None if isinstance(event, UnknownEvent) else event.record)
    note(event=type(event).__name__, time=event.time, record=record)


def memory_kib() -> int:
    found = re.search(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])
