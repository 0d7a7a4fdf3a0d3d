"""What each entry point has imported when it registers, which the function waits for, and before it asks for next."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import lambda_extension.delivery
import lambda_extension.processing

# Looks at the modules at the first connection, which is that of register, and ends there.
LOOK = """
import os, sys
def look(event, _):
    if event == "socket.connect":
        print(*sys.modules, flush=True)
        os._exit(0)
sys.addaudithook(look)
"""
MAIN = """
import anyio
async def main():
    {}
anyio.run(main, backend={!r})
"""
MINE = """
class Mine:
    async def init(self, _): pass
"""
PROGRAMS = {
    "open_extension": "from lambda_extension import open_extension|async with open_extension(): pass",
    "open_telemetry": "from lambda_extension import open_telemetry|async with open_telemetry(): pass",
    "run": f"from lambda_extension import run{MINE}|await run(Mine())",
    "run_telemetry": f"from lambda_extension import run_telemetry{MINE}|await run_telemetry(Mine())",
    # The form that the documentation recommends.
    "delivery": "from lambda_extension import delivery, run_telemetry|"
    "await run_telemetry(lambda: delivery.Delivery(delivery.HTTPSink('https://logs.example.com')))",
}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_heavy_is_imported_before_register(name: str, backend: str) -> None:
    head, _, body = PROGRAMS[name].partition("|")
    environment = {**os.environ, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK + head + MAIN.format(body, backend)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    modules = set(done.stdout.split())
    assert "lambda_extension._api._register" in modules
    heavy = {"msgspec", "h11", "httpx", "hypercorn", "tenacity"}
    if backend == "asyncio":  # trio itself needs attrs
        heavy |= {"attr", "attrs"}
    assert not modules & heavy


def test_flush_policies_need_nothing_of_delivery() -> None:
    code = "import lambda_extension.processing as p, sys; p.Adaptive(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "lambda_extension.delivery" not in done.stdout.split()
    assert lambda_extension.delivery.Adaptive is lambda_extension.processing.Adaptive


class Platform(BaseHTTPRequestHandler):
    """Takes a registration and a subscription."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Lambda-Extension-Identifier", "id")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


# The user's code of init has run, and the first event would be asked for.
BEFORE_NEXT = """
    import os, sys
    from lambda_extension import open_telemetry
    async with open_telemetry():
        print(*sys.modules, flush=True)
        os._exit(0)
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_comes_with_an_event_or_is_seldom_asked_for_is_not_imported_before_next(backend: str) -> None:
    with HTTPServer(("127.0.0.1", 0), Platform) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            done = subprocess.run(
                [sys.executable, "-c", MAIN.format(BEFORE_NEXT, backend)],
                env={**os.environ, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}"},
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
            )
        finally:
            server.shutdown()
            serving.join(5)
    modules = {name.removeprefix("lambda_extension.") for name in done.stdout.split()}
    assert {"_api._models", "telemetry._app"} <= modules
    assert not modules & {
        "_api._events",
        "_api._logs",
        "_session._shutdown",
        "logs",
        "telemetry._misfits",
        "telemetry._splitting",
        "telemetry._statistics",
        "telemetry._tolerant",
    }
