"""What the HTTP server alone costs per request: hypercorn, plain h11, the direct one; under an app that only answers.

`python -m benchmarks.server` prints a table; docs/benchmarks.md says what follows from it.
"""

from __future__ import annotations

import functools
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.abc
import h11

from lambda_extension.serving._serve import serve_app
from lambda_extension.serving._socket import listen_on

SIZES = {"20 events": 4_500, "1,000 events": 220_000, "4,000 events": 890_000}
BACKENDS = ("asyncio", "uvloop", "trio")


async def app(_: Any, receive: Any, send: Any) -> None:
    """Read the body; answer 200."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def plain(stream: anyio.abc.ByteStream) -> None:
    """Serve one connection with h11 alone."""
    connection = h11.Connection(h11.SERVER)
    async with stream:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                try:
                    connection.receive_data(await stream.receive(1 << 18))
                except anyio.EndOfStream:
                    return
            elif isinstance(event, h11.EndOfMessage):
                answer = connection.send(h11.Response(status_code=200, headers=[("content-length", "0")])) or b""
                await stream.send(answer + (connection.send(h11.EndOfMessage()) or b""))
                connection.start_next_cycle()


async def serve(kind: Any) -> None:
    """Serve until killed; the first line of output is the port."""
    if kind == "h11":
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        print(listener.extra(anyio.abc.SocketAttribute.local_port), flush=True)
        await listener.serve(plain)
        return
    sock = listen_on("127.0.0.1")
    print(sock.getsockname()[1], flush=True)
    async with anyio.create_task_group() as tasks:
        await tasks.start(functools.partial(serve_app, app, sock, server=kind, shutdown_trigger=anyio.sleep_forever))


def measure(kind: str, backend: str, size: int) -> float:
    """Return the median time of a request in microseconds."""
    request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size
    request += b"x" * size
    command = [sys.executable, "-m", "benchmarks.server", "serve", kind, backend]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            times = []
            for _ in range(300):
                started = time.perf_counter()
                connection.sendall(request)
                answer = b""
                while b"\r\n\r\n" not in answer:
                    answer += connection.recv(65_536)
                times.append(time.perf_counter() - started)
        process.kill()
    return statistics.median(times[50:]) * 1e6


def lines() -> Iterator[str]:
    """Give the lines of the table as they are measured."""
    yield "| µs per request | " + " | ".join(SIZES) + " |"
    yield "|---|" + "---|" * len(SIZES)
    for backend in BACKENDS:
        for kind in ("hypercorn", "h11", "direct"):
            figures = [measure(kind, backend, size) for size in SIZES.values()]
            yield f"| {kind} on {backend} | " + " | ".join(f"{figure:.0f}" for figure in figures) + " |"


def main() -> None:
    for line in lines():
        print(line, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        name = sys.argv[3]
        options = {"use_uvloop": True} if name == "uvloop" else {}
        anyio.run(serve, sys.argv[2], backend="trio" if name == "trio" else "asyncio", backend_options=options)
    else:
        main()
