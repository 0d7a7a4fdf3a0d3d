"""Lives of an OTLP exporter before backends that fail, one by one: `python -m benchmarks.otlp_ends --ends 100`.

Each is ten invocations and a shutdown. It is a fault when an invocation is held beyond the breaker's rule, when the
process has not ended when Lambda would kill it, when a line was acknowledged twice, or when one is nowhere: neither
acknowledged, nor stored for the next process, nor counted as dropped. A request whose answer did not come in time is
sent again under the same id, by which a backend knows it: that is not twice.
"""

from __future__ import annotations

import argparse
import gzip
import http.server
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.corpus import Batch, encode
from benchmarks.fake_lambda import FakeLambda, Pusher

LIMIT = 2.0
# By the rule, a signal whose backend fails three times in a row is left alone. Lines leave with the first invocation,
# its span with the second, in which the platform reports it: so many invocations may wait.
FAILURES = 4
# What an invocation may be held beyond its end by a backend that is left alone, and what the process needs besides.
FREE = 0.5
INVOCATIONS = 10
LINES = 20
LOOPS = ("asyncio", "uvloop", "trio")
POISON = "poison"
_CLOSING = re.compile(
    r"delivery otlp-(\w+) until \w+: received (\d+) .*delivered (\d+) .*buffered (\d+), spilled (\d+), dropped (\d+)"
)


def _too_long(lines: list[str]) -> int:
    return 413 if len(lines) > 5 else 200


# What a backend does with the lines of a request: seconds that it takes, and the status; None never answers.
BACKENDS: dict[str, tuple[float, Callable[[list[str]], int | None]]] = {
    "healthy": (0.0, lambda _: 200),
    "slow": (0.3, lambda _: 200),
    "429": (0.0, lambda _: 429),
    "503": (0.0, lambda _: 503),
    "400 for one line": (0.0, lambda lines: 400 if any(POISON in line for line in lines) else 200),
    "413": (0.0, _too_long),
    "dead": (0.0, lambda _: 0),
    "hanging": (0.0, lambda _: None),
}
# What each is to come to: whether anything gets there, and how much is dropped.
_TAKES = frozenset({"healthy", "slow", "400 for one line", "413"})


@attrs.define(kw_only=True)
class Life:
    """What came of one life; seconds.

    Attributes:
        held: What each invocation was held beyond its end.
        took: From SHUTDOWN to the end of the process.
        faults: What should not have been.
    """

    held: list[float] = attrs.field(factory=list)
    took: float = 0.0
    faults: list[str] = attrs.field(factory=list)


@contextmanager
def backend(pause: float, behave: Callable[[list[str]], int | None]) -> Iterator[tuple[str, dict[str, set[str]]]]:
    """Serve OTLP/JSON; give the URL, and for each line that was acknowledged the ids of the requests that had it."""
    acknowledged: dict[str, set[str]] = {}
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            lines = lines_of(json.loads(body))
            over.wait(pause)
            status = behave(lines)
            if status is None:
                over.wait(60)
            if not status:
                self.close_connection = True
                return
            if status == 200:
                for line in lines:
                    acknowledged.setdefault(line, set()).add(self.headers["Idempotency-Key"])
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # an extension that has ended leaves broken connections

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", acknowledged
        finally:
            over.set()
            server.shutdown()
            thread.join()


def lines_of(request: dict[str, Any]) -> list[str]:
    """Give the lines of the function in a request for logs; of another there are none."""
    return [
        record["body"]["stringValue"]
        for resource in request.get("resourceLogs", ())
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
        if "eventName" not in record
    ]


def invocation(number: int) -> Batch:
    """Make what the platform sends of an invocation up to its end, with the report of the one before."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    words = ["line", POISON if number == 2 else "line"]
    metrics = {"durationMs": 1.0, "billedDurationMs": 1, "memorySizeMB": 128, "maxMemoryUsedMB": 64}
    before = {"requestId": f"r{number - 1}", "status": "success", "metrics": metrics}
    events: list[dict[str, Any]] = [
        *([{"time": now, "type": "platform.report", "record": before}] if number else []),
        {"time": now, "type": "platform.start", "record": {"requestId": f"r{number}", "version": "1"}},
        *({"time": now, "type": "function", "record": f"{words[n == 7]} {number} {n}"} for n in range(LINES)),
        {"time": now, "type": "platform.runtimeDone", "record": {"requestId": f"r{number}", "status": "success"}},
    ]
    return encode(events)


def live(kind: str, loop: str, *, limit: float = LIMIT) -> Life:
    """Run one life, and see what was wrong with it."""
    life = Life()
    with (
        tempfile.TemporaryDirectory() as temporary,
        backend(*BACKENDS[kind]) as (url, acknowledged),
        FakeLambda() as fake,
    ):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("COV", "OTEL_"))},
            "AWS_LAMBDA_RUNTIME_API": fake.address,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_FUNCTION_NAME": "ends",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "EXPORTING_LOOP": loop,
            "TMPDIR": temporary,
        }
        command = [sys.executable, str(Path(__file__).parent / "contestants" / "exporting.py")]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        with Pusher(fake.wait_subscribed()) as pusher:
            fake.wait_next()
            for number in range(INVOCATIONS):
                fake.invoke(f"r{number}")
                pusher.push(invocation(number))
                done = time.perf_counter()
                life.held.append(fake.wait_next(timeout=30) - done)
            began = fake.shut_down()
            try:
                _, said = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                life.faults.append("killed")
                process.kill()
                _, said = process.communicate()
            life.took = time.perf_counter() - began
    _judge(life, kind, said, acknowledged)
    return life


def _judge(life: Life, kind: str, said: str, acknowledged: dict[str, set[str]]) -> None:
    waited = [seconds for seconds in life.held if seconds > FREE]
    # A backend that takes what it gets is waited for, within the policy's limit, for as long as it needs.
    if len(waited) > FAILURES and kind not in _TAKES:
        life.faults.append(f"{len(waited)} invocations held: {waited}")
    twice = [line for line, ids in acknowledged.items() if len(ids) > 1]
    if twice:
        life.faults.append(f"twice: {twice}")
    closing = {name: tuple(map(int, figures)) for name, *figures in _CLOSING.findall(said)}
    if closing.keys() != {"traces", "logs", "metrics"}:
        life.faults.append(f"said nothing of some: {said[-500:]}")
        return
    for name, (received, delivered, buffered, spilled, dropped) in closing.items():
        if received != delivered + spilled + dropped or buffered:
            life.faults.append(f"{name} do not add up: {closing[name]}")
    received, delivered, _, spilled, dropped = closing["logs"]
    wanted = INVOCATIONS * (LINES + 3) - 1
    lost = int(kind == "400 for one line")
    if received != wanted or dropped != lost or (kind in _TAKES) != (spilled == 0):
        life.faults.append(f"of {wanted} records: {closing['logs']}")
    # Those of the platform are not told apart here: there are three for each invocation, but for the last.
    if delivered != len(acknowledged) + (3 * INVOCATIONS - 1 if kind in _TAKES else 0):
        life.faults.append(f"{delivered} delivered, {len(acknowledged)} lines at the backend")


def main() -> int:
    """Run so many lives, print what came of them, and fail if there was any fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ends", type=int, default=100)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds after which an end is late")
    options = parser.parse_args()
    lives: dict[str, list[Life]] = {}
    for kind, loop in itertools.islice(itertools.cycle(itertools.product(BACKENDS, LOOPS)), options.ends):
        lives.setdefault(kind, []).append(life := live(kind, loop, limit=options.limit))
        for fault in life.faults:
            print(f"{kind}, {loop}: {fault}")
    print("| Backend | lives | longest hold | invocations held | longest end | faults |\n|---|---|---|---|---|---|")
    for kind, each in lives.items():
        holds = [max(life.held) for life in each]
        waiting = max(sum(seconds > FREE for seconds in life.held) for life in each)
        faults = sum(len(life.faults) for life in each)
        print(
            f"| {kind} | {len(each)} | {max(holds) * 1e3:.0f} ms | {waiting} "
            f"| {max(life.took for life in each) * 1e3:.0f} ms | {faults} |"
        )
    return int(any(life.faults for each in lives.values() for life in each))


if __name__ == "__main__":
    sys.exit(main())
