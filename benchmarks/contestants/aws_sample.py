"""An extension in the shape of AWS's Python sample: requests, http.server, an unbounded queue."""

# ruff: noqa: A002, E402, PLW0603

from __future__ import annotations

import os
import time

os.write(1, b"up %.6f\n" % time.perf_counter())

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import requests

MODE = os.environ["BENCH_MODE"]
API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}"
marks = [int(mark) for mark in os.environ.get("BENCH_MARKS", "").split(",") if mark]
count = length = 0
events_queue: queue.Queue[dict[str, Any]] = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        for event in json.loads(body):
            events_queue.put(event)

    def log_message(self, format: str, *args: object) -> None:
        pass


def consume(until: str | None = None) -> None:
    """Take events off the queue: for ever, or until the runtimeDone of a request."""
    global count, length
    mark = marks[0] if marks else -1
    while True:
        event = events_queue.get()
        kind = event["type"]
        record = event["record"]
        count += 1
        if kind == "function":
            length += len(record)
        elif kind in {"platform.start", "platform.runtimeDone", "platform.report"}:
            length += len(record["requestId"])
            if kind == "platform.runtimeDone" and record["requestId"] == until:
                return
        if count == mark:
            os.write(1, b"mark %d %d\n" % (count, length))
            del marks[0]
            mark = marks[0] if marks else -1


def main() -> None:
    answer = requests.post(
        f"{API}/2020-01-01/extension/register",
        json={"events": ["INVOKE", "SHUTDOWN"]},
        headers={"Lambda-Extension-Name": "aws-sample"},
        timeout=10,
    )
    headers = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
    if MODE != "idle":
        server = HTTPServer((os.environ.get("BENCH_LISTEN", "127.0.0.1"), 0), Receiver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        subscription: Any = {
            "schemaVersion": "2022-12-13",
            "types": ["platform", "function"],
            "destination": {
                "protocol": "HTTP",
                "URI": f"http://sandbox.localdomain:{server.server_port}",
            },
            "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 100},
        }
        requests.put(f"{API}/2022-07-01/telemetry", json=subscription, headers=headers, timeout=10)
    if MODE == "telemetry":
        threading.Thread(target=consume, daemon=True).start()
    while True:
        event = requests.get(f"{API}/2020-01-01/extension/event/next", headers=headers, timeout=None).json()
        if event["eventType"] == "SHUTDOWN":
            return
        if MODE == "flush":
            consume(until=event["requestId"])


main()
