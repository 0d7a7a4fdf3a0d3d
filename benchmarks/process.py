"""A contestant's process under measurement: pinned, timed, weighed, and ended."""

from __future__ import annotations

import contextlib
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
) -> Iterator[Running]:
    """Start a contestant against a fake Lambda of its own; on leaving shut it down, then kill it.

    The contestant runs on the last core, the fake Lambda on the first, where we may choose.
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
                **(extra or {}),
            }
        )
        started, process = _spawn(contestant.command, environment, complaints)
        running = Running(lambda_=fake, process=process, started=started, marks=queue.SimpleQueue())
        reader = threading.Thread(target=_read, args=(running,), daemon=True)
        reader.start()
        try:
            yield running
            with contextlib.suppress(Exception):
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


def _spawn(
    command: tuple[str, ...], environment: dict[str, str], complaints: IO[str]
) -> tuple[float, subprocess.Popen[str]]:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    # The child inherits this thread's affinity; a wrapper like taskset would count as start-up.
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[-1]})
    try:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=complaints, text=True)
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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
