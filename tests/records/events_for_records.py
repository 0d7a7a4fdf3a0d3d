"""Events as the platform sends them, short to write."""

from __future__ import annotations

from typing import Any

import msgspec

from lambda_extension import Environment
from lambda_extension.records import Correlator, InvocationReport, LogRecord
from lambda_extension.telemetry import TelemetryEvent, decode

A = "aaaaaaaa-0000-4000-8000-000000000001"
B = "bbbbbbbb-0000-4000-8000-000000000002"
C = "cccccccc-0000-4000-8000-000000000003"
TRACE = "Root=1-67c2d4a0-aabbccddeeff001122334455;Parent=0102030405060708;Sampled=1"
ON_DEMAND = Environment.from_mapping(
    {
        "AWS_LAMBDA_FUNCTION_NAME": "orders",
        "AWS_LAMBDA_FUNCTION_VERSION": "12",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_REGION": "eu-west-1",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    }
)
MANAGED = Environment.from_mapping({"AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"})


def events(*raw: dict[str, Any]) -> list[TelemetryEvent]:
    """Decode events as if they came in one batch."""
    return decode(msgspec.json.encode(raw))


def at(milliseconds: int) -> str:
    """Give a time so long after ten o'clock."""
    return f"2026-03-01T10:{milliseconds // 60000:02}:{milliseconds // 1000 % 60:02}.{milliseconds % 1000:03}Z"


def start(request_id: str, ms: int = 0, **record: Any) -> dict[str, Any]:
    return {"time": at(ms), "type": "platform.start", "record": {"requestId": request_id, **record}}


def line(record: Any, ms: int = 0, source: str = "function") -> dict[str, Any]:
    return {"time": at(ms), "type": source, "record": record}


def done(request_id: str, ms: int = 0, status: str = "success", **record: Any) -> dict[str, Any]:
    return {
        "time": at(ms),
        "type": "platform.runtimeDone",
        "record": {"requestId": request_id, "status": status, **record},
    }


def report(request_id: str, ms: int = 0, status: str = "success", **record: Any) -> dict[str, Any]:
    told = {"requestId": request_id, "status": status, "metrics": {"durationMs": 1.5}, **record}
    return {"time": at(ms), "type": "platform.report", "record": told}


def dropped(records: int = 1, size: int = 10, ms: int = 0) -> dict[str, Any]:
    lost = {"reason": "slow", "droppedRecords": records, "droppedBytes": size}
    return {"time": at(ms), "type": "platform.logsDropped", "record": lost}


def correlator(environment: Environment = ON_DEMAND, **options: Any) -> Correlator:
    return Correlator(environment, **options)


def lines_of(records: list[Any]) -> list[tuple[Any, str | None]]:
    """Give body and request id of what the function and extensions wrote."""
    return [
        (each.body, each.request_id) for each in records if isinstance(each, LogRecord) and each.source != "platform"
    ]


def reports_of(records: list[Any]) -> list[InvocationReport]:
    return [each for each in records if isinstance(each, InvocationReport)]
