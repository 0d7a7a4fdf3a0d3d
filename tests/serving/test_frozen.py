"""A freeze: connections that wait through it, idle or in the middle of a request, are as good as before."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from serving_for_tests import GET

from lambda_extension.serving import ServerName

HERE = Path(__file__).parent
# Half a second at most is all that a request has to arrive here: a freeze is longer.
PROGRAM = """
import sys
import anyio
from lambda_extension.serving._direct import Limits
from serving_for_tests import echo, running, running_direct

async def main():
    limits = Limits(tick=0.1, patience=4)
    async with running_direct(echo, limits) if sys.argv[2] == "direct" else running(echo, "hypercorn") as run:
        print(run.port, flush=True)
        await anyio.sleep_forever()

name = sys.argv[1]
options = {"use_uvloop": True} if name == "uvloop" else {}
anyio.run(main, backend="trio" if name == "trio" else "asyncio", backend_options=options)
"""


def receive(connection: socket.socket) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(65_536)
        assert piece, answer
        answer += piece
    return answer


@pytest.mark.parametrize("backend", ["asyncio", "uvloop", "trio"])
def test_connections_outlive_a_freeze(backend: str, server: ServerName) -> None:
    command = [sys.executable, "-c", PROGRAM, backend, server]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            address = ("127.0.0.1", int(process.stdout.readline()))
            with socket.create_connection(address, 5) as idle, socket.create_connection(address, 5) as midway:
                idle.sendall(GET)
                assert receive(idle).startswith(b"HTTP/1.1 200 ")
                midway.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nha")
                process.send_signal(signal.SIGSTOP)
                time.sleep(1.0)  # time is the subject
                process.send_signal(signal.SIGCONT)
                midway.sendall(b"lf")
                assert receive(midway).startswith(b"HTTP/1.1 200 ")
                idle.sendall(GET)
                assert receive(idle).startswith(b"HTTP/1.1 200 ")
        finally:
            process.kill()
