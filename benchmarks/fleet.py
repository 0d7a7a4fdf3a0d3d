"""What a thousand environments are to a collector: `python -m benchmarks.fleet [ENVIRONMENTS]`.

Each environment is a `Delivery` with a connection of its own, all in this process; the collector is rotel, a process of
its own, which takes OTLP over HTTP and throws it away. Every environment sends what one invocation logs, five times.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import random
import resource
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec

from lambda_extension import Registration, ShutdownReason
from lambda_extension.delivery import Compression, Delivery, HTTPSink
from lambda_extension.telemetry import FunctionLog

INVOCATIONS = 5
LINES = 20
LINE = "2026-03-01T10:00:00.000Z\t{}\tINFO\tan order of three things was taken, number {}"
AT_ONCE = 50


class OTLPLogs:
    """Log records of OTLP/JSON, with nothing but time and text."""

    content_type = "application/json"
    compression: Compression = "gzip"

    def encode_event(self, event: Any) -> bytes:
        return msgspec.json.encode({"timeUnixNano": str(time.time_ns()), "body": {"stringValue": event.record}})

    def join(self, pieces: Sequence[bytes]) -> bytes:
        return b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[' + b",".join(pieces) + b"]}]}]}"


@contextmanager
def collector(folder: str) -> Generator[tuple[str, int]]:
    """Run rotel; give its URL and its process id."""
    found = importlib.util.find_spec("rotel")
    if found is None or found.origin is None:
        sys.exit("rotel is not installed: it is in the dependency group `tests`")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, unused = one.getsockname()[1], other.getsockname()[1]
    command = [str(Path(found.origin).with_name("rotel-agent")), "start", "--exporter", "blackhole"]
    command += ["--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{unused}"]
    command += ["--pid-file", f"{folder}/pid"]
    environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1/logs", process.pid
    finally:
        process.terminate()
        process.wait(10)


def used_by(pid: int) -> tuple[float, float, int]:
    """Give a process's processor seconds, its resident MiB, and how many sockets it has open."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    sockets = sum("socket:" in str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir())
    return seconds, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20, sockets


async def invoke(delivery: Delivery, limiter: anyio.Semaphore) -> None:
    """Take in what one invocation logs, and send it."""
    async with limiter:
        request_id = uuid.uuid4()
        await delivery.process(
            [FunctionLog(record=LINE.format(request_id, random.getrandbits(48))) for _ in range(LINES)]
        )
        await delivery.flush()


async def measure(url: str, pid: int, environments: int) -> None:
    """Run all environments, and print what came of it."""
    about = Registration(extension_id="1", extension_name="x", function_name="f", function_version="1")
    fleet = [
        Delivery(HTTPSink(url, encoder=OTLPLogs()), name=f"e{number}", spill=None) for number in range(environments)
    ]
    for delivery in fleet:
        await delivery.init(about)
    before, idle, few = used_by(pid)
    limiter = anyio.Semaphore(AT_ONCE)
    began = time.perf_counter()
    for _ in range(INVOCATIONS):
        random.shuffle(fleet)
        async with anyio.create_task_group() as tasks:
            for delivery in fleet:
                tasks.start_soon(invoke, delivery, limiter)
    took = time.perf_counter() - began
    after, resident, sockets = used_by(pid)
    figures = [delivery.statistics() for delivery in fleet]
    delivered, size = sum(each.delivered for each in figures), sum(each.bytes for each in figures)
    requests = sum(each.batches for each in figures)
    for delivery in fleet:
        await delivery.shutdown(ShutdownReason.SPINDOWN, None)
    print(f"{environments} environments, {INVOCATIONS} invocations of {LINES} lines each, in {took:.1f} s")
    print(f"requests {requests}, lines {delivered} of {environments * INVOCATIONS * LINES}, bytes {size}")
    print(f"  a request: {delivered / requests:.0f} lines, {size / requests:.0f} bytes compressed")
    print(
        f"collector: {sockets - few} connections, {(after - before) / requests * 1e6:.0f} µs of a core for a request,"
    )
    each = (resident - idle) * 1024 / (sockets - few)
    print(f"  {idle:.0f} MiB idle, {resident:.0f} MiB then, {each:.0f} KiB a connection")


def main() -> None:
    """Measure, with as many environments as asked for."""
    logging.basicConfig(level=logging.WARNING)  # a thousand closing lines are for nobody
    environments = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, environments + 500), hard), hard))
    with tempfile.TemporaryDirectory() as folder, collector(folder) as (url, pid):
        anyio.run(measure, url, pid, environments)


if __name__ == "__main__":
    main()
