"""What it costs to make records of a batch: processor time per 1,000 lines, from the body to the encoded payload.

`python -m benchmarks.records` prints a table. "plain" decodes typed events and encodes them again; "records" adds the
correlator; "transforms" adds three of them, "gzip" compresses. The last column does what "transforms" does as one
would write it with `json`, `re` and dicts.
"""

from __future__ import annotations

import gzip
import json
import logging
import math
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lambda_extension import Environment
from lambda_extension.delivery import NDJSON
from lambda_extension.records import EMAIL, Correlator, Pipeline, add, at_least, redact
from lambda_extension.telemetry import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LINES = 1000
ROUNDS = 60
REQUEST_ID = "5a0c4c0e-0000-4000-8000-000000000001"
MINUTE = "2026-03-01T10:{:02}"
NAMES = ("plain", "records", "transforms", "gzip", "json and dicts")


def moment(n: int, minute: int) -> str:
    """Give a time of its own for each line of each batch: nothing may remember it."""
    return f"{MINUTE.format(minute)}:{n % 60000 / 1000:06.3f}Z"


def text_line(n: int, minute: int) -> str:
    """Give a line as awslambdaric writes it, and every fourth time one that was printed."""
    if n % 4 == 0:
        return f"order {n} accepted for somebody with something"
    level = "DEBUG" if n % 10 == 0 else "INFO"
    return f"[{level}]\t{moment(n, minute)}\t{REQUEST_ID}\torder {n} accepted for somebody with something"


def json_line(n: int, minute: int) -> dict[str, Any]:
    """Give a line in Lambda's JSON format."""
    return {
        "timestamp": moment(n, minute),
        "level": "DEBUG" if n % 10 == 0 else "INFO",
        "requestId": REQUEST_ID,
        "message": f"order {n} accepted for somebody",
        "order": n,
    }


def body_of(line: Callable[[int, int], Any], minute: int = 0) -> bytes:
    """Give a batch of one invocation."""
    record = {"requestId": REQUEST_ID, "version": "12"}
    start = {"time": moment(0, minute), "type": "platform.start", "record": record}
    lines = [{"time": moment(n, minute), "type": "function", "record": line(n, minute)} for n in range(LINES)]
    return json.dumps([start, *lines]).encode()


ENCODER = NDJSON()


def plain(body: bytes) -> bytes:
    """Decode and encode."""
    return ENCODER.join([ENCODER.encode_event(event) for event in decode(body)])


def records(body: bytes) -> bytes:
    """Decode, correlate, encode."""
    correlator = Correlator(Environment(function_name="orders", region="eu-west-1"))
    return ENCODER.join([record.encode() for record in correlator.take(decode(body))])


PIPELINE = Pipeline([at_least("INFO"), redact(EMAIL), add(team="orders")])


def transforms(body: bytes) -> bytes:
    """Decode, correlate, transform, encode."""
    correlator = Correlator(Environment(function_name="orders", region="eu-west-1"))
    return ENCODER.join([record.encode() for record in PIPELINE.apply(correlator.take(decode(body)))])


def compressed(body: bytes) -> bytes:
    """Do all of that and compress."""
    return gzip.compress(transforms(body), compresslevel=1, mtime=0)


_RUNTIME = re.compile(r"\[([A-Z]+)\]\t(\S+)\t(\S+)\t(.*)", re.DOTALL)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


def by_hand(body: bytes) -> bytes:
    """Do the same with `json`, `re` and dicts."""
    out = []
    request_id = None
    for event in json.loads(body):
        told = event["record"]
        if event["type"] == "platform.start":
            request_id = told["requestId"]
        record = {
            "timestamp": event["time"],
            "source": event["type"].partition(".")[0],
            "type": event["type"],
            "requestId": request_id,
            "functionName": "orders",
            "region": "eu-west-1",
            "coldStart": True,
            "attributes": {"team": "orders"},
        }
        if isinstance(told, str):
            found = _RUNTIME.match(told)
            level, stamp, record["requestId"], message = found.groups() if found else (None, None, request_id, told)
        elif event["type"] == "function":
            level, stamp, message = told.get("level"), told.get("timestamp"), told.get("message")
            own = {
                key: value for key, value in told.items() if key not in {"level", "timestamp", "message", "requestId"}
            }
            record["attributes"].update(own)
        else:
            level, stamp, message = "INFO", None, json.dumps(told)
        number = logging.getLevelNamesMapping().get(level or "", 0)
        if 0 < number < logging.INFO:
            continue
        if stamp is not None:
            record["timestamp"] = datetime.fromisoformat(stamp).isoformat(timespec="milliseconds")
        record |= {"severityText": level, "severityNumber": number, "body": _MAIL.sub("[redacted]", message)}
        for key, value in record["attributes"].items():
            if isinstance(value, str):
                record["attributes"][key] = _MAIL.sub("[redacted]", value)
        out.append(json.dumps(record))
    return "\n".join([*out, ""]).encode()


def milliseconds(work: Callable[[bytes], bytes], bodies: Sequence[bytes]) -> float:
    """Return the least processor time of a few rounds."""
    return by_turns({"it": work}, bodies)["it"]


def by_turns(works: Mapping[str, Callable[[bytes], bytes]], bodies: Sequence[bytes]) -> dict[str, float]:
    """Return the least processor time of each; by turns, so that whatever else runs here hinders all of them alike."""
    taken = dict.fromkeys(works, math.inf)
    for body in bodies:
        for name, work in works.items():
            started = time.process_time_ns()
            work(body)
            taken[name] = min(taken[name], (time.process_time_ns() - started) / 1e6)
    return taken


def measure(rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """Return milliseconds of processor time per 1,000 lines, for text and for JSON."""
    works = dict(zip(NAMES, (plain, records, transforms, compressed, by_hand), strict=True))
    return {
        "text": by_turns(works, [body_of(text_line, minute) for minute in range(rounds)]),
        "json": by_turns(works, [body_of(json_line, minute) for minute in range(rounds)]),
    }


def main() -> None:
    """Print the table, and what it says of the goals."""
    print("| Milliseconds per 1,000 lines |", " | ".join(NAMES), "|")
    print("|---" * (len(NAMES) + 1) + "|")
    for name, taken in measure().items():
        print(f"| {name} |", " | ".join(f"{taken[each]:.2f}" for each in NAMES), "|")
        added = (taken["records"] - taken["plain"]) / taken["plain"]
        print(
            f"{name}: correlating and reading levels adds {added:.1f} x plain (goal: 2.0); "
            f"the whole is {taken['json and dicts'] / taken['transforms']:.1f} x faster than json and dicts (goal: 3.0)"
        )


if __name__ == "__main__":
    main()
