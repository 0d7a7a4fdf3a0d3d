"""The measurements: each runs one contestant once; the caller interleaves and takes medians."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
import uuid
from collections import defaultdict

from benchmarks.contestants import Contestant, base_environment, interpreter
from benchmarks.corpus import Batch, Kind, batches, invocation
from benchmarks.fake_lambda import Pusher
from benchmarks.process import MIB, Running, run
from benchmarks.quota import quota

Figures = dict[str, float]


def startup(contestant: Contestant) -> Figures:
    """Return milliseconds from process start to each call, and the memory when it idles."""
    with run(contestant, "telemetry") as running:
        running.lambda_.wait_next()
        cpu = running.cpu_seconds()
        found = running.lambda_.milestones
        figures = {
            "register_ms": (found.registered - running.started) * 1e3,
            "subscribe_ms": (found.subscribed - running.started) * 1e3,
            "next_ms": (found.first_next - running.started) * 1e3,
            "startup_cpu_ms": cpu * 1e3,
        }
        if running.up is not None:
            figures["up_ms"] = (running.up - running.started) * 1e3
        # What is imported or opened behind the call of next counts too.
        time.sleep(0.3)
        figures["idle_mib"] = running.memory()[0] / MIB
    return figures


def life(contestant: Contestant) -> Figures:
    """Return what a whole life with one batch takes, which is sent as soon as the extension has subscribed."""
    batch = batches(20, kind="mixed" if contestant.json_records else "text")[0]
    with run(contestant, "telemetry", marks=[batch.events] if contestant.counts else None) as running:
        with Pusher(running.lambda_.wait_subscribed()) as pusher:
            first = pusher.push(batch)
            acknowledged = time.perf_counter()
            running.lambda_.wait_next()
            if contestant.counts:
                running.wait_mark(batch.events)
        cpu, peak = running.end()
    return {
        "life_first_ack_ms": first * 1e3,
        "life_start_to_ack_ms": (acknowledged - running.started) * 1e3,
        "life_cpu_ms": cpu * 1e3,
        "life_peak_mib": peak / MIB,
    }


def small(contestant: Contestant, *, share: float = 0.1) -> Figures:
    """Return milliseconds from process start to each call under a processor quota.

    Raises:
        NoQuotaError: No quota can be set here.
    """
    with quota(share) as group, run(contestant, "telemetry", group=group) as running:
        running.lambda_.wait_next(timeout=60)
        found = running.lambda_.milestones
        figures = {
            "quota_register_ms": (found.registered - running.started) * 1e3,
            "quota_next_ms": (found.first_next - running.started) * 1e3,
        }
        running.process.kill()
        running.over = True
        running.process.wait()
    return figures


def throughput(contestant: Contestant, kind: Kind, plan: dict[int, int]) -> Figures:
    """Return events and MB a second to user code, acknowledgement latency and CPU, per batch size.

    Args:
        contestant: What to run.
        kind: Which corpus.
        plan: Batch size in events -> number of batches.
    """
    prepared = {size: batches(size, kind=kind) for size in plan}
    warm_up = batches(20, kind=kind)
    marks, total = [], 50 * 20
    marks.append(total)
    for size, repeats in plan.items():
        total += size * repeats
        marks.append(total)
    figures: Figures = {}
    with run(contestant, "telemetry", marks=marks) as running, _pusher(running) as pusher:
        for number in range(50):
            pusher.push(warm_up[number % len(warm_up)])
        running.wait_mark(marks[0])
        for (size, repeats), mark in zip(plan.items(), marks[1:], strict=True):
            figures |= _stream(running, pusher, prepared[size], repeats, mark, f"{kind}_{size}_")
        figures[f"{kind}_peak_mib"] = running.memory()[1] / MIB
    return figures


def _stream(running: Running, pusher: Pusher, prepared: list[Batch], repeats: int, mark: int, prefix: str) -> Figures:
    cpu = running.cpu_seconds()
    latencies = []
    sent = 0
    started = time.perf_counter()
    for number in range(repeats):
        batch = prepared[number % len(prepared)]
        latencies.append(pusher.push(batch))
        sent += batch.body_bytes
    took = running.wait_mark(mark) - started
    cpu = running.cpu_seconds() - cpu
    count = repeats * prepared[0].events
    latencies.sort()
    return {
        f"{prefix}events_per_s": count / took,
        f"{prefix}mb_per_s": sent / took / 1e6,
        f"{prefix}batches_per_s": repeats / took,
        f"{prefix}ack_p50_us": statistics.median(latencies) * 1e6,
        f"{prefix}ack_p99_us": latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))] * 1e6,
        f"{prefix}cpu_s_per_million": cpu / count * 1e6,
        f"{prefix}rss_mib": running.memory()[0] / MIB,
    }


def invocations(contestant: Contestant, count: int) -> Figures:
    """Return microseconds from INVOKE to the next call: idle, and waiting for its runtimeDone."""
    figures: Figures = {}
    with run(contestant, "idle") as running:
        running.lambda_.wait_next()
        taken = []
        for _ in range(count):
            sent = running.lambda_.invoke(str(uuid.uuid4()))
            taken.append(running.lambda_.wait_next() - sent)
        figures |= _spread("invoke_idle", taken[count // 10 :])
        figures["idle_extension_mib"] = running.memory()[0] / MIB
    if "flush" in contestant.modes:
        with run(contestant, "flush") as running, _pusher(running) as pusher:
            taken = []
            for _ in range(count):
                request_id = str(uuid.uuid4())
                batch = invocation(request_id)
                sent = running.lambda_.invoke(request_id)
                pusher.push(batch)
                taken.append(running.lambda_.wait_next() - sent)
            figures |= _spread("invoke_flush", taken[count // 10 :])
    return figures


def _spread(name: str, seconds: list[float]) -> Figures:
    ordered = sorted(seconds)
    return {
        f"{name}_p50_us": statistics.median(ordered) * 1e6,
        f"{name}_p99_us": ordered[int(len(ordered) * 0.99)] * 1e6,
    }


def flood(contestant: Contestant, *, size: int = 4000, limit: int = 60, buffered: int | None = None) -> Figures:
    """Return peak memory over idle while user code stalls, until a batch is not taken."""
    prepared = batches(size, kind="mixed" if contestant.json_records else "text")
    extra = {} if buffered is None else {"BENCH_BUFFERED": str(buffered)}
    with run(contestant, "stall", extra=extra) as running, _pusher(running) as pusher:
        time.sleep(0.1)
        idle = running.memory()[0]
        accepted = 0
        with contextlib.suppress(TimeoutError):
            for number in range(limit):
                pusher.push(prepared[number % len(prepared)], timeout=1.0)
                accepted += 1
        peak = running.memory()[1]
    return {
        "flood_idle_mib": idle / MIB,
        "flood_over_idle_mib": (peak - idle) / MIB,
        "flood_accepted": accepted,
    }


def growth(contestant: Contestant, counts: list[int], *, size: int = 1000) -> Figures:
    """Return CPU per event and resident memory after 10^n events of one process."""
    kind: Kind = "mixed" if contestant.json_records else "text"
    prepared = batches(size, kind=kind)
    repeats = [count // size for count in counts]
    marks, total = [], 0
    for number in repeats:
        total += number * size
        marks.append(total)
    figures: Figures = {}
    with run(contestant, "telemetry", marks=marks) as running, _pusher(running) as pusher:
        for count, number, mark in zip(counts, repeats, marks, strict=True):
            found = _stream(running, pusher, prepared, number, mark, "")
            figures[f"growth_{count}_cpu_us_per_event"] = found["cpu_s_per_million"]
            figures[f"growth_{count}_rss_mib"] = found["rss_mib"]
    return figures


def imports() -> dict[str, dict[str, float]]:
    """Return milliseconds of import time by package, for what an extension may import."""
    before_register = "import anyio._backends._asyncio, lambda_extension._session._open"
    before_next = f"{before_register}, lambda_extension._session._holding, lambda_extension.telemetry._app"
    steps = {
        "before register": before_register,
        "and an event type": f"{before_register}, lambda_extension.telemetry._events",
        "before next": before_next,
        "and hypercorn's server": f"{before_next}, hypercorn.config, hypercorn.asyncio",
    }
    return {title: _import_times(code) for title, code in steps.items()}


def _import_times(code: str) -> dict[str, float]:
    runs = []
    for _ in range(5):
        done = subprocess.run(
            [str(interpreter()), "-X", "importtime", "-c", code],
            env=base_environment(), capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        found: dict[str, float] = defaultdict(float)
        for line in done.stderr.splitlines():
            own, _, name = line.removeprefix("import time:").split("|")
            if own.strip().isdigit():
                found[name.strip().split(".")[0]] += int(own) / 1e3
        runs.append(found)
    names = set().union(*runs)
    medians = {name: statistics.median(found.get(name, 0.0) for found in runs) for name in names}
    return dict(sorted(medians.items(), key=lambda item: -item[1]))


def _pusher(running: Running) -> Pusher:
    """Wait until the extension is ready; return a connection to where it wants its telemetry."""
    running.lambda_.wait_next()
    if running.lambda_.destination is None:
        raise RuntimeError("the extension has not subscribed")
    return Pusher(running.lambda_.destination)
