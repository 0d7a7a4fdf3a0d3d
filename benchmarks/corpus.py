"""Telemetry batches, encoded once: what a busy function sends, in a fixed proportion."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import uuid
from typing import Any, Literal

import attrs

Kind = Literal["mixed", "text"]

# Of 20 events 13 are text lines, 5 JSON log records, 2 platform events (by turns).
_JSON_AT = frozenset({2, 6, 10, 14, 18})
_PLATFORM_AT = frozenset({0, 19})
_WORDS = [
    "order",
    "accepted",
    "payment",
    "declined",
    "retry",
    "customer",
    "basket",
    "shipped",
    "invoice",
    "queue",
    "worker",
    "cache",
    "miss",
    "hit",
    "connection",
    "timeout",
    "upstream",
    "latency",
    "request",
    "response",
    "handler",
    "database",
    "transaction",
    "commit",
    "rollback",
    "überwiesen",
]


@attrs.frozen(kw_only=True)
class Batch:
    """One HTTP request of the Telemetry API, ready to send.

    Attributes:
        request: Head and body.
        events: Number of events in it.
        body_bytes: Size of the body in bytes.
    """

    request: bytes
    events: int
    body_bytes: int


def batches(size: int, *, kind: Kind, variants: int = 4) -> list[Batch]:
    """Return batches of `size` events, no two alike: a repeated one may be taken for a retry."""
    return [encode(events(size, kind=kind, seed=seed)) for seed in range(variants)]


def encode(batch: list[dict[str, Any]]) -> Batch:
    """Return the request that the platform would send for these events."""
    body = json.dumps(batch, separators=(",", ":"), ensure_ascii=False).encode()
    sequence = base64.b64encode(hashlib.sha256(body).digest()).decode()
    head = (
        "POST / HTTP/1.1\r\nHost: sandbox.localdomain\r\nUser-Agent: Go-http-client/1.1\r\n"
        f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n"
        f"Sequence-Id: {sequence}\r\n\r\n"
    )
    return Batch(request=head.encode() + body, events=len(batch), body_bytes=len(body))


def events(count: int, *, kind: Kind, seed: int = 0) -> list[dict[str, Any]]:
    """Return `count` events; of kind `text` JSON log records are strings (schema 2022-07-01)."""
    source = random.Random(seed)
    made = []
    request_id = _request_id(source)
    for index in range(count):
        position = index % 20
        if position in _PLATFORM_AT:
            stage = (index // 10) % 3
            record: Any = _platform(stage, request_id)
            name = ("platform.start", "platform.runtimeDone", "platform.report")[stage]
            if stage == 2:
                request_id = _request_id(source)
        else:
            name = "function"
            record = _json_record(source, request_id) if position in _JSON_AT else _line(source, request_id)
            if kind == "text" and isinstance(record, dict):
                record = json.dumps(record)
        made.append(
            {
                "time": f"2026-03-01T10:00:{index // 1000 % 60:02}.{index % 1000:03}Z",
                "type": name,
                "record": record,
            }
        )
    return made


def invocation(request_id: str, *, lines: int = 10) -> Batch:
    """Return the batch that one invocation causes, its runtimeDone last."""
    source = random.Random(request_id)
    made = [_event("platform.start", _platform(0, request_id))]
    made += [_event("function", _line(source, request_id)) for _ in range(lines)]
    made.append(_event("platform.runtimeDone", _platform(1, request_id)))
    return encode(made)


def _event(name: str, record: Any) -> dict[str, Any]:
    return {"time": "2026-03-01T10:00:00.120Z", "type": name, "record": record}


def _request_id(source: random.Random) -> str:
    return str(uuid.UUID(int=source.getrandbits(128), version=4))


def _line(source: random.Random, request_id: str) -> str:
    words = " ".join(source.choices(_WORDS, k=source.randint(3, 9)))
    return f"2026-03-01T10:00:00.120Z\t{request_id}\tINFO\t{words}"


def _json_record(source: random.Random, request_id: str) -> dict[str, Any]:
    return {
        "timestamp": "2026-03-01T10:00:00.120Z",
        "level": source.choice(("INFO", "INFO", "WARN", "ERROR")),
        "requestId": request_id,
        "message": " ".join(source.choices(_WORDS, k=5)),
        "order": {
            "id": source.randrange(10**6),
            "total": source.randrange(10**5) / 100,
            "items": source.randrange(9),
        },
    }


def _platform(stage: int, request_id: str) -> dict[str, Any]:
    tracing = {
        "spanId": "53995c3f42cd8ad8",
        "type": "X-Amzn-Trace-Id",
        "value": "Root=1-67c2d4a0-aabbccddeeff001122334455;Parent=0102030405060708;Sampled=1",
    }
    if stage == 0:
        return {"requestId": request_id, "version": "12", "tracing": tracing}
    if stage == 1:
        return {
            "requestId": request_id,
            "status": "success",
            "metrics": {"durationMs": 203.5, "producedBytes": 412},
            "spans": [
                {
                    "name": "responseLatency",
                    "start": "2026-03-01T10:00:00.701Z",
                    "durationMs": 190.1,
                },
                {
                    "name": "responseDuration",
                    "start": "2026-03-01T10:00:00.891Z",
                    "durationMs": 0.2,
                },
            ],
            "tracing": tracing,
        }
    return {
        "requestId": request_id,
        "status": "success",
        "metrics": {
            "durationMs": 255.1,
            "billedDurationMs": 256,
            "memorySizeMB": 512,
            "maxMemoryUsedMB": 91,
        },
        "tracing": tracing,
    }
