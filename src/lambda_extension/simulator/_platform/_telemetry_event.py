"""One telemetry event, and its JSON as a subscriber gets it; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from lambda_extension.simulator._watching._clock import Clock


@attrs.frozen(kw_only=True)
class Event:
    """One telemetry event.

    Attributes:
        time: Epoch seconds, on the simulation's clock.
        offset: How far that clock was ahead of the host's.
        type: What it is.
        record: What it says.
        line: The text, where the record came from a line of output.
        who: The participant that wrote the line; else the platform.
        raw: The whole event, where a test injected it.
    """

    time: float
    offset: float
    type: str
    record: Any
    line: str | None = None
    who: str = "platform"
    raw: Any = None

    @property
    def category(self) -> str:
        """`platform`, `function` or `extension`; whatever else stands before the dot of an odd type."""
        return self.type.partition(".")[0]

    def encode(self, schema_version: str, *, host: bool) -> bytes:
        """Return the event's JSON.

        Args:
            schema_version: Older ones know only lines of text.
            host: Whether the subscriber is a real process, which has the host's clock.
        """
        if self.raw is not None:
            return json.dumps(self.raw, separators=(",", ":")).encode()
        record = self.record
        if self.line is not None and schema_version < "2022-12-13":
            record = self.line
        shift = self.offset if host else 0.0
        if shift and isinstance(record, Mapping) and "spans" in record:
            record = {**record, "spans": [_earlier(span, shift) for span in record["spans"]]}
        event = {"time": Clock.format(self.time - shift), "type": self.type, "record": record}
        return json.dumps(event, separators=(",", ":")).encode()


def _earlier(span: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    return {**span, "start": Clock.format(datetime.fromisoformat(span["start"]).timestamp() - seconds)}
