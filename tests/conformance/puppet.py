"""The program of every participant: an extension that does what the test says, and a small runtime.

It runs as a real executable on any platform, on the standard library alone. `CONTROL_PORT` is put in by the test; the
connection to it carries one JSON object per line. When it closes, the process ends, so that none is left behind.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTROL_PORT = 0
RUNTIME = "/2018-06-01/runtime/invocation/"

name = Path(sys.argv[0]).name
control = socket.create_connection(("127.0.0.1", CONTROL_PORT))
sending = threading.Lock()


def tell(message: dict[str, Any]) -> None:
    with sending, contextlib.suppress(OSError):
        control.sendall(json.dumps(message).encode() + b"\n")


def call(
    method: str, path: str, headers: dict[str, str], body: bytes, sent: Callable[[], object] = bool
) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        connection.request(method, path, body or None, headers)
        sent()
        response = connection.getresponse()
        return response.status, response.getheaders(), response.read()
    finally:
        connection.close()


def obey(order: dict[str, Any]) -> None:
    answer: dict[str, Any] = {"id": order["id"]}
    if order["do"] == "print":
        for line in order["lines"]:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    elif order["do"] == "leave":
        (tmp / order["name"]).touch()
    elif order["do"] == "exit":
        os._exit(order["code"])
    elif order["do"] == "call":
        try:
            status, headers, body = call(
                order["method"],
                order["path"],
                order["headers"],
                base64.b64decode(order["body"]),
                lambda: tell({"id": order["id"], "sent": True}),
            )
            answer |= {"status": status, "headers": headers, "body": base64.b64encode(body).decode()}
        except (OSError, http.client.HTTPException) as error:
            answer["error"] = repr(error)
    tell(answer)


def listen() -> None:
    for line in control.makefile("rb"):
        threading.Thread(target=obey, args=(json.loads(line),), daemon=True).start()
    os._exit(1)


def terminated(*_: object) -> None:
    tell({"event": "SIGTERM"})
    os._exit(0)


def serve() -> None:
    """Be a runtime: take invocations, do what their payload says."""
    while True:
        status, pairs, body = call("GET", RUNTIME + "next", {}, b"")
        if status != 200:
            os._exit(2)
        headers = {key.lower(): text for key, text in pairs}
        order = json.loads(body or b"null") or {}
        for line in order.get("lines", ()):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        time.sleep(order.get("sleep", 0))  # an invocation takes as long as the test says
        if "exit" in order:
            os._exit(order["exit"])
        request_id = headers["lambda-runtime-aws-request-id"]
        answer = {"requestId": request_id, "pid": os.getpid()}
        answer["trace"] = headers.get("lambda-runtime-trace-id")
        answer["arn"] = headers["lambda-runtime-invoked-function-arn"]
        answer["deadlineMs"] = int(headers["lambda-runtime-deadline-ms"])
        call("POST", f"{RUNTIME}{request_id}/response", {}, json.dumps(answer).encode())


tmp = Path(os.environ.get("TMPDIR", "/tmp"))
seen = sorted(entry.name for entry in tmp.iterdir())
tell({"event": "hello", "name": name, "pid": os.getpid(), "environment": dict(os.environ), "tmp": seen})
if name == "bootstrap":
    signal.signal(signal.SIGTERM, terminated)
    threading.Thread(target=listen, daemon=True).start()
    for _ in range(int(os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1"))):
        threading.Thread(target=serve, daemon=True).start()
    threading.Event().wait()
else:
    listen()
