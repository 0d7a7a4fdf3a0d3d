#!/usr/bin/env python3
"""An extension on http.client and http.server only, as a real executable."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import socket
import sys
import threading
from pathlib import Path


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with Path(os.environ["TELEMETRY_OUT"]).open("a", encoding="utf-8") as out:
            out.writelines(json.dumps(event) + "\n" for event in events)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def call(method: str, path: str, headers: dict[str, str], body: object = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    answer = response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    connection.close()
    return answer


def sandbox() -> str:
    try:
        return socket.gethostbyname("sandbox.localdomain")
    except OSError:
        return "127.0.0.1"


server = http.server.ThreadingHTTPServer((sandbox(), 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
name = Path(sys.argv[0]).name
_status, answered, _body = call(
    "POST", "/2020-01-01/extension/register", {"Lambda-Extension-Name": name}, {"events": ["INVOKE", "SHUTDOWN"]}
)
me = {"Lambda-Extension-Identifier": answered["lambda-extension-identifier"]}
call(
    "PUT",
    "/2022-07-01/telemetry",
    me,
    {
        "schemaVersion": "2022-12-13",
        "types": ["platform", "function"],
        "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{server.server_port}"},
        "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
    },
)
while True:
    event = json.loads(call("GET", "/2020-01-01/extension/event/next", me)[2])
    print("got", event["eventType"], flush=True)  # noqa: T201 - its log
    if event["eventType"] == "SHUTDOWN":
        sys.exit(0)
