"""The floor: only the standard library, events as plain dicts, no queue, no error handling."""

# ruff: noqa: A002, B023, E402, PLW0603

from __future__ import annotations

import os
import time

os.write(1, b"up %.6f\n" % time.perf_counter())

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

MODE = os.environ["BENCH_MODE"]
API = os.environ["AWS_LAMBDA_RUNTIME_API"]
marks = [int(mark) for mark in os.environ.get("BENCH_MARKS", "").split(",") if mark]
count = length = 0
done: set[str] = set()
arrived = threading.Condition()


def consume(events: list[dict[str, Any]]) -> None:
    global count, length
    mark = marks[0] if marks else -1
    for event in events:
        kind = event["type"]
        record = event["record"]
        count += 1
        if kind == "function":
            length += len(record)
        elif kind in {"platform.start", "platform.runtimeDone", "platform.report"}:
            length += len(record["requestId"])
            if kind == "platform.runtimeDone" and MODE == "flush":
                with arrived:
                    done.add(record["requestId"])
                    arrived.notify()
        if count == mark:
            os.write(1, b"mark %d %d\n" % (count, length))
            del marks[0]
            mark = marks[0] if marks else -1


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        events = json.loads(body)
        if MODE == "stall":
            time.sleep(3600)
        self.send_response_only(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        consume(events)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    connection = http.client.HTTPConnection(API)

    def call(method: str, path: str, body: object = None, **headers: str) -> tuple[bytes, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        return response.read(), response.headers

    _, headers = call(
        "POST",
        "/2020-01-01/extension/register",
        {"events": ["INVOKE", "SHUTDOWN"]},
        Lambda_Extension_Name="floor",
    )
    identifier = headers["Lambda-Extension-Identifier"]
    if MODE != "idle":
        server = HTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        subscription = {
            "schemaVersion": "2022-12-13",
            "types": ["platform", "function"],
            "destination": {
                "protocol": "HTTP",
                "URI": f"http://sandbox.localdomain:{server.server_port}",
            },
            "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 100},
        }
        call("PUT", "/2022-07-01/telemetry", subscription, Lambda_Extension_Identifier=identifier)
    while True:
        body, _ = call("GET", "/2020-01-01/extension/event/next", Lambda_Extension_Identifier=identifier)
        event = json.loads(body)
        if event["eventType"] == "SHUTDOWN":
            return
        if MODE == "flush":
            with arrived:
                arrived.wait_for(lambda: event["requestId"] in done, timeout=5)
                done.discard(event["requestId"])


main()
