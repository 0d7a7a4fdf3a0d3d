"""A contestant's process under measurement: pinned, timed, weighed, and ended."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import queue
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import attrs

from benchmarks.contestants import Contestant, Mode, base_environment
from benchmarks.fake_lambda import FakeLambda

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MIB = 1024 * 1024


@attrs.define(kw_only=True)
class Running:
    """A started contestant and the fake Lambda that it talks to."""

    lambda_: FakeLambda
    process: subprocess.Popen[str]
    started: float
    marks: queue.SimpleQueue[tuple[int, float]]
    up: float | None = None
    over: bool = False

    def wait_mark(self, count: int, timeout: float = 60.0) -> float:
        """Block until user code has seen `count` events; return when it had, in seconds.

        Raises:
            TimeoutError: It has not within `timeout` seconds.
        """
        try:
            seen, when = self.marks.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"user code has not seen {count} events within {timeout} s") from None
        if seen != count:
            raise RuntimeError(f"user code reported {seen} events instead of {count}")
        return when

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process has used, all threads together."""
        # The kernel's clock id for another process: ~pid above the low three bits, 2 for CPU time.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def end(self, timeout: float = 10.0) -> tuple[float, int]:
        """Shut the environment down and wait for the process's end; return its CPU seconds and peak memory in bytes.

        Raises:
            TimeoutError: It has not ended within `timeout` seconds.
        """
        self.over = True
        self.lambda_.shut_down()
        limit = time.monotonic() + timeout
        peak = 0
        while time.monotonic() < limit:
            with contextlib.suppress(KeyError):  # it has no memory any more
                peak = max(peak, self.memory()[1])
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_utime + usage.ru_stime, peak
            time.sleep(0.005)
        raise TimeoutError(f"the process has not ended within {timeout} s")

    def memory(self) -> tuple[int, int]:
        """Return resident memory now and at its peak, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = {
            line.split(":")[0]: int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("Vm")
        }
        return found["VmRSS"], found["VmHWM"]


@contextlib.contextmanager
def run(
    contestant: Contestant,
    mode: Mode,
    *,
    marks: list[int] | None = None,
    extra: Mapping[str, str] | None = None,
    group: Path | None = None,
) -> Iterator[Running]:
    """Start a contestant against a fake Lambda of its own; on leaving shut it down, then kill it.

    The contestant runs on the last core, the fake Lambda on the first, where we may choose; and in a control group,
    where `group` is the file that takes its processes.
    """
    with FakeLambda() as fake, tempfile.TemporaryFile("w+") as complaints:
        environment = (
            base_environment()
            | dict(contestant.environment)
            | {
                "AWS_LAMBDA_RUNTIME_API": fake.address,
                "BENCH_MODE": mode,
                "BENCH_MARKS": ",".join(map(str, marks or [])),
                "BENCH_PORT": str(_free_port()),
                "BENCH_URL": sink(),
                **(extra or {}),
            }
        )
        started, process = spawn(contestant.command, environment, complaints, group)
        running = Running(lambda_=fake, process=process, started=started, marks=queue.SimpleQueue())
        reader = threading.Thread(target=_read, args=(running,), daemon=True)
        reader.start()
        try:
            yield running
            with contextlib.suppress(Exception):
                if not running.over:
                    fake.shut_down()
                    # Nothing is measured any more: no need to see it drain.
                    process.wait(0.3)
        except Exception as error:
            complaints.seek(0)
            error.add_note(f"{contestant.name} in mode {mode} wrote: {complaints.read()[-2000:]}")
            raise
        finally:
            process.kill()
            process.wait()
            reader.join(1)
            if process.stdout is not None:
                process.stdout.close()


def spawn(
    command: tuple[str, ...], environment: dict[str, str], complaints: IO[str], group: Path | None = None
) -> tuple[float, subprocess.Popen[str]]:
    """Start a program on the last core, and return when that was, and it; its standard output is a pipe.

    Args:
        command: Its command line.
        environment: All its variables.
        complaints: What takes its standard error.
        group: The file that takes the processes of its control group, if it is to be in one.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    # The child inherits this thread's affinity; a wrapper like taskset would count as start-up.
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[-1]})
    # In the child, so that it is in the group from its first instruction on.
    join = None if group is None else functools.partial(group.write_text, "0")
    try:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            preexec_fn=join,  # noqa: PLW1509 - one write
        )
    finally:
        if len(cores) > 1:
            os.sched_setaffinity(0, cores)
    return started, process


def _read(running: Running) -> None:
    assert running.process.stdout is not None
    for line in running.process.stdout:
        now = time.perf_counter()
        word, _, rest = line.partition(" ")
        if word == "mark":
            running.marks.put((int(rest.split()[0]), now))
        elif word == "up":
            running.up = float(rest)


@functools.cache
def sink() -> str:
    """Serve a backend that takes whatever is sent to it, from the first time on; return its URL."""

    class Taker(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response_only(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    threading.Thread(target=server.serve_forever, daemon=True, name="backend").start()
    return f"http://127.0.0.1:{server.server_port}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
