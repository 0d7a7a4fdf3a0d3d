"""What the deprecated Logs API makes of an event of the Telemetry API; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_KEPT: Final = {
    "platform.start": ("requestId", "version"),
    "platform.report": ("requestId", "metrics", "tracing"),
    "platform.extension": ("name", "state", "events"),
    "platform.logsSubscription": ("name", "state", "types"),
    "platform.logsDropped": ("reason", "droppedRecords", "droppedBytes"),
}
_STATUSES: Final = {"error": "failure"}


def as_logs(type_: str, record: Any, schema_version: str) -> list[tuple[str, Any]]:
    """Return types and records of the events that a subscriber gets: none, one, or two."""
    if type_ in {"function", "extension"}:
        return [(type_, record)]
    if type_ == "platform.runtimeDone":
        return _runtime_done(record, schema_version)
    if type_ not in _KEPT:
        return []
    kept = {name: record[name] for name in _KEPT[type_] if name in record}
    end = [("platform.end", {"requestId": record["requestId"]})] if type_ == "platform.report" else []
    return [*end, (type_, kept)]


def _runtime_done(record: Mapping[str, Any], schema_version: str) -> list[tuple[str, Any]]:
    events: list[tuple[str, Any]] = []
    request_id, status = record["requestId"], record["status"]
    if str(record.get("errorType", "")).startswith("Runtime."):
        events.append(("platform.fault", f"RequestId: {request_id} Process exited before completing request"))
    if schema_version >= "2021-03-18":
        done = {"requestId": request_id, "status": _STATUSES.get(status, status)}
        events.append(("platform.runtimeDone", done))
    return events
