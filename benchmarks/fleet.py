"""What a thousand environments are to a collector: `python -m benchmarks.fleet [ENVIRONMENTS] [--write-docs]`.

Each environment is a `Delivery` with a connection of its own, all in this process; the collector is rotel, a process of
its own, which takes OTLP over HTTP and throws it away. Every environment sends what one invocation logs, five times.
"""

from __future__ import annotations

import argparse
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
import attrs
import msgspec

from benchmarks.pages import DOCS, machine, measured, renew
from lambda_extension import Registration, ShutdownReason
from lambda_extension.delivery import Compression, Delivery, HTTPSink
from lambda_extension.telemetry import FunctionLog

INVOCATIONS = 5
LINES = 20
LINE = "2026-03-01T10:00:00.000Z\t{}\tINFO\tan order of three things was taken, number {}"
AT_ONCE = 50
TIMES = "\N{MULTIPLICATION SIGN}"
LARGE = 10_000  # environments, of which the page's arithmetic tells
PERIOD = 20  # seconds between two requests of one of them, where not each invocation makes one


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


@attrs.frozen(kw_only=True)
class Costs:
    """What came of a run.

    Attributes:
        took: Seconds.
        requests: That the collector took.
        lines: That arrived.
        size: Bytes sent, compressed.
        connections: That the collector had open in the end.
        seconds: Of a processor that the collector took.
        idle: MiB resident before.
        resident: MiB resident in the end.
    """

    environments: int
    took: float
    requests: int
    lines: int
    size: int
    connections: int
    seconds: float
    idle: float
    resident: float

    @property
    def request_bytes(self) -> float:
        return self.size / self.requests

    @property
    def request_us(self) -> float:
        return self.seconds / self.requests * 1e6

    @property
    def connection_kib(self) -> float:
        return (self.resident - self.idle) * 1024 / self.connections


async def measure(url: str, pid: int, environments: int) -> Costs:
    """Run all environments, and return what came of it."""
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
    for delivery in fleet:
        await delivery.shutdown(ShutdownReason.SPINDOWN, None)
    return Costs(
        environments=environments,
        took=took,
        requests=sum(each.batches for each in figures),
        lines=sum(each.delivered for each in figures),
        size=sum(each.bytes for each in figures),
        connections=sockets - few,
        seconds=after - before,
        idle=idle,
        resident=resident,
    )


def report(costs: Costs) -> str:
    """Return the lines that tell of a run."""
    sent = costs.environments * INVOCATIONS * LINES
    return f"""\
{costs.environments:,} environments, {INVOCATIONS} invocations of {LINES} lines each, in {costs.took:.1f} s
{costs.requests:,} requests, {costs.lines:,} lines of {sent:,}, {costs.size:,} bytes
  a request: {costs.lines / costs.requests:.0f} lines, {costs.request_bytes:.0f} bytes compressed
collector: {costs.connections:,} connections, {costs.request_us:.0f} µs of a core for a request,
  {costs.idle:.0f} MiB idle, {costs.resident:.0f} MiB then, {costs.connection_kib:.0f} KiB a connection"""


def arithmetic(size: float, us: float, kib: float) -> str:
    """Return what a large fleet is to a collector, with functions that are invoked once a second.

    Args:
        size: Bytes of a request.
        us: Microseconds of a core that the collector takes for it.
        kib: KiB that the collector takes for a connection.
    """
    fewer = LARGE // PERIOD
    many, few = f"{LARGE:,} {TIMES}", f"{fewer:,} {TIMES}"
    cores, less = LARGE * round(us) / 1e6, fewer * round(us) / 1e6
    rows = [
        ("", "`EndOfInvocation()`", f"`Every({PERIOD})`"),
        ("---", "---", "---"),
        ("requests a second", f"{many} 1 = {LARGE:,}", f"{LARGE:,} ÷ {PERIOD} = {fewer:,}"),
        ("connections", f"{LARGE:,}", "as many as are in use at once: an idle one is closed after 15 seconds"),
        ("memory for connections", f"{many} {kib:.0f} KiB = {LARGE * round(kib) / 1024:.0f} MiB", "at most the same"),
        (
            "cores for receiving",
            f"{many} {us:.0f} µs = {cores:.2f}",
            f"{few} {us:.0f} µs = {less:.2f}, and more for each request, which holds {PERIOD} times as much",
        ),
        (
            "bytes a second",
            f"{many} {size:.0f} = {LARGE * round(size) / 1e6:.1f} MB",
            "less: longer payloads compress better",
        ),
        (
            "new connections a second",
            "few: they are in use",
            f"up to {fewer:,}, each with a TLS handshake where there is TLS",
        ),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Measure, with as many environments as asked for, print what came of it, and put it into the page if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("environments", type=int, nargs="?", default=1_000)
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/explanation/scale.md")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)  # a thousand closing lines are for nobody
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, options.environments + 500), hard), hard))
    where = measured(machine())
    with tempfile.TemporaryDirectory() as folder, collector(folder) as (url, pid):
        costs = anyio.run(measure, url, pid, options.environments)
    print(report(costs))
    if options.write_docs:
        large = arithmetic(costs.request_bytes, costs.request_us, costs.connection_kib)
        found = f"{where}\n\n```text\n{report(costs)}\n```"
        renew(DOCS / "explanation" / "scale.md", {"fleet": found, "arithmetic": large})


if __name__ == "__main__":
    main()
