"""Lines to one backend, reports to another: the example as a real process, through time-outs, kills and faults."""

from __future__ import annotations

import ast
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from sinks_for_tests import ScriptedSink, assert_adds_up

from http_servers import QuietHandler, running
from lambda_extension import Environment, run_telemetry
from lambda_extension.delivery import NDJSON, Breaker, Delivery, Payload, Spill
from lambda_extension.processing import EndOfInvocation
from lambda_extension.records import only
from lambda_extension.simulator import ExtensionSpec, InvocationResult, ScriptedFunction, Simulator
from script_backends import command_on

EXAMPLE = Path(__file__).parents[2] / "examples/two_backends/two_backends.py"
INVOCATIONS = 200
TIMEOUTS = {30, 60, 155}
# By the exit code of the runtime, 137 being that of a function which is out of memory.
KILLS = {90: 1, 120: 137, 180: 1}
ENVIRONMENTS = 1 + len(TIMEOUTS) + len(KILLS)
# While a backend is down, so is an environment: what was for it goes through the spill store.
OUTAGES = {"logs": range(45, 75), "reports": range(105, 135)}


@attrs.define(eq=False)
class Backend:
    """An HTTP server that disturbs, and what it was sent.

    Attributes:
        down: Whether every request is refused.
        seen: Bodies of all requests, those that were refused included.
        taken: The bodies that were taken, by the payload's id, repetitions included.
        faults: How often what went wrong.
    """

    url: str = ""
    down: bool = False
    seen: list[bytes] = attrs.field(factory=list)
    taken: dict[str, list[bytes]] = attrs.field(factory=dict)
    faults: Counter[str] = attrs.field(factory=Counter)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    @property
    def items(self) -> list[dict[str, Any]]:
        """What is there, when each payload is taken once."""
        return [item for bodies in self.taken.values() for item in json.loads(bodies[0])]

    def next_fault(self, body: bytes) -> str:
        """Every second request goes well, unless the backend is down."""
        with self.lock:
            turn = len(self.seen)
            self.seen.append(body)
            fault = "503" if self.down else ("", "503", "", "reset", "", "answer lost", "", "slow")[turn % 8]
            self.faults[fault] += 1
            return fault

    def take(self, payload_id: str, body: bytes) -> None:
        with self.lock:
            self.taken.setdefault(payload_id, []).append(body)


@contextmanager
def serving() -> Iterator[Backend]:
    backend = Backend()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.read_body()
            fault = backend.next_fault(body)
            if fault == "slow":
                time.sleep(0.2)  # it is slow
            if fault not in {"503", "reset"}:
                backend.take(self.headers["Idempotency-Key"], body)
            if fault in {"reset", "answer lost"}:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            self.answer(503 if fault == "503" else 200)

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # an extension that was killed leaves broken connections

    with running(Server(("127.0.0.1", 0), Handler)) as server:
        backend.url = f"http://127.0.0.1:{server.server_port}/"
        yield backend


def function() -> ScriptedFunction:
    """Lines of text and of JSON, some with addresses, some below INFO; in the log format JSON both are as on Lambda."""

    def turn(number: int) -> ScriptedFunction:
        address = f"ann.{number}+x@mail.example.com"
        lines = [
            f"line-{number}-a of nobody's level, for <{address}>",
            f"INFO:orders:line-{number}-b accepted for {address}",
            f"DEBUG:orders:debug-{number}-a of {address}",
            json.dumps({"level": "WARN", "message": f"line-{number}-c", "order": {"mail": [address], address: 1}}),
            json.dumps({"level": "debug", "message": f"debug-{number}-b", "mail": address}),
        ]
        return ScriptedFunction(log_lines=lines, never_answers=number in TIMEOUTS, exit_code=KILLS.get(number))

    turns = [turn(number) for number in range(INVOCATIONS)]
    return attrs.evolve(turns[0], then=turns[1:])


Figures = dict[str, Any]
WORDS = re.compile(r"\b(received|recovered|delivered|buffered|spilled|dropped|filtered) (\d+)")


def closing_figures(output: list[str]) -> dict[str, list[Figures]]:
    """Read the lines that the deliveries logged at the end of each environment."""
    found: dict[str, list[Figures]] = {"logs": [], "reports": []}
    for line in output:
        if match := re.match(r"delivery (logs|reports) until \w+: (.*)", line):
            figures: Figures = {word: int(count) for word, count in WORDS.findall(match[2])}
            by_name = re.search(r"filtered \d+ \((.*)\);", match[2])
            listed = by_name[1].split(", ") if by_name else []
            figures["by_name"] = {name: int(count) for name, _, count in (each.rpartition(" ") for each in listed)}
            found[match[1]].append(figures)
    return found


async def run_example(backends: Mapping[str, Backend], runs_on: str) -> tuple[list[InvocationResult], list[str]]:
    """Run the example through all invocations; it must end in time and break no rule."""
    environment = {f"{name.upper()}_URL": backend.url for name, backend in backends.items()}
    command = command_on(runs_on, EXAMPLE)
    async with Simulator(
        [ExtensionSpec(command, name=EXAMPLE.name)],
        function(),
        freeze=True,
        timeout=30,
        init_timeout=30,
        log_format="JSON",
        environment=environment,
    ) as lambda_:
        results = []
        for number in range(INVOCATIONS):
            for name, backend in backends.items():
                backend.down = number in OUTAGES[name]
            results.append(await lambda_.invoke(timeout=0.5 if number in TIMEOUTS else None))
        shutdown = await lambda_.shutdown()
        output = [str(entry.detail["text"]) for entry in lambda_.record.find("output", who=EXAMPLE.name)]
    assert shutdown.late == ()
    assert shutdown.exit_codes[EXAMPLE.name] == 0
    return results, output


def expected_outcome(number: int) -> str:
    if number in TIMEOUTS:
        return "timeout"
    return {None: "success", 1: "failure", 137: "out_of_memory"}[KILLS.get(number)]


def assert_sums_add_up(closing: list[Figures], backend: Backend) -> None:
    """Of each environment, and of all of them together: nothing is lost, nothing is counted twice."""
    assert len(closing) == ENVIRONMENTS
    left = 0
    for figures in closing:
        parts = ("delivered", "buffered", "spilled", "dropped", "filtered")
        assert figures["received"] == sum(figures[part] for part in parts), figures
        assert figures["dropped"] == figures["buffered"] == 0
        assert figures["filtered"] == sum(figures["by_name"].values())
        assert figures["recovered"] == left  # what one environment stored, the next one finds
        left = figures["spilled"]
    assert left == 0
    assert sum(figures["delivered"] for figures in closing) == len(backend.items)


def assert_disturbed(backend: Backend, closing: list[Figures]) -> None:
    """What this test is about has happened."""
    assert set(backend.faults) == {"", "503", "reset", "answer lost", "slow"}
    assert any(figures["recovered"] for figures in closing)
    assert any(len(bodies) > 1 for bodies in backend.taken.values())


@pytest.mark.parametrize("runs_on", ["asyncio", "trio"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # of the simulator; the extension's is `runs_on`
async def test_every_line_once_at_one_backend_every_report_at_the_other(runs_on: str) -> None:
    with serving() as logs, serving() as reports:
        with anyio.fail_after(110):
            results, output = await run_example({"logs": logs, "reports": reports}, runs_on)
    closing = closing_figures(output)
    # What comes again is the same payload, under the same id.
    for backend in (logs, reports):
        assert all(len(set(bodies)) == 1 for bodies in backend.taken.values())
    wanted = {
        name: result.request_id
        for result in results
        for line in result.logs
        for name in re.findall(r"\bline-\d+-\w", line)
    }
    assert len(wanted) == 3 * INVOCATIONS
    found = [(re.findall(r"\bline-\d+-\w", json.dumps(item)), item["requestId"]) for item in logs.items]
    assert Counter((*names, request_id) for names, request_id in found) == Counter(wanted.items())
    outcomes = sorted((item["requestId"], item["outcome"]) for item in reports.items)
    assert outcomes == sorted((result.request_id, expected_outcome(number)) for number, result in enumerate(results))

    assert sum(item["coldStart"] for item in reports.items) == ENVIRONMENTS

    assert {item["source"] for item in logs.items} == {"function"}
    assert {item["source"] for item in reports.items} == {"report"}
    for body in (*logs.seen, *reports.seen):  # those that were refused as well
        assert b"example.com" not in body
        assert b"debug-" not in body
    redacted = Counter(re.findall(r"\[redacted\]", json.dumps(logs.items)))
    assert redacted.total() == 4 * INVOCATIONS

    assert_sums_add_up(closing["logs"], logs)
    assert_sums_add_up(closing["reports"], reports)
    assert sum(figures["by_name"]["at_least(INFO)"] for figures in closing["logs"]) == 2 * INVOCATIONS
    assert_disturbed(logs, closing["logs"])
    assert_disturbed(reports, closing["reports"])


def test_the_example_is_fifteen_lines_at_most() -> None:
    source = EXAMPLE.read_text()
    docstring = ast.parse(source).body[0]
    code = source.splitlines()[docstring.end_lineno :]
    assert len([line for line in code if line.strip()]) <= 15


class Hanging:
    """A sink that never comes back, from opening or from sending."""

    def __init__(self, hangs_in: str) -> None:
        self.hangs_in = hangs_in
        self.began = anyio.Event()
        self.now = 0

    async def _come(self, place: str) -> None:
        if place == self.hangs_in:
            self.now += 1
            self.began.set()
            try:
                await anyio.sleep_forever()
            finally:
                self.now -= 1

    async def open(self) -> None:
        await self._come("open")

    async def send(self, payload: Payload) -> None:
        await self._come("send")


@pytest.mark.parametrize("hangs_in", ["open", "send"])
async def test_a_sink_that_hangs_costs_the_one_beside_it_nothing(hangs_in: str, tmp_path: Path) -> None:
    hanging = Hanging(hangs_in)

    async def while_the_other_hangs() -> None:
        with anyio.fail_after(5):
            await hanging.began.wait()
        assert hanging.now

    good = ScriptedSink([while_the_other_hangs])
    made: dict[str, Delivery] = {}

    def deliveries() -> list[Delivery]:
        for name, sink in (("hangs", hanging), ("good", good)):
            made[name] = Delivery(
                sink,
                name=name,
                transforms=[only(source="function")],
                encoder=NDJSON(),
                breaker=Breaker(failures=1, cooldown=3600),
                spill=Spill(directory=tmp_path / name),
            )
        return list(made.values())

    async def extension(environment: Mapping[str, str]) -> None:
        variables = Environment.from_mapping(environment)
        await run_telemetry(deliveries, flush=EndOfInvocation(), name="extension", environment=variables)

    def lines() -> list[str]:
        return [json.loads(line)["body"] for each in good.payloads for line in each.body.splitlines()]

    turns = [ScriptedFunction(log_lines=[f"line {number}"]) for number in range(5)]
    function = attrs.evolve(turns[0], then=turns[1:])
    async with Simulator([extension], function, timeout=20) as lambda_:
        for number in range(5):
            assert (await lambda_.invoke()).status == "success"
            assert lines() == [f"line {each}" for each in range(number + 1)]  # before the function is frozen
        await lambda_.shutdown()
    figures = {name: delivery.statistics() for name, delivery in made.items()}
    assert good.script == []
    assert hanging.now == 0
    assert (figures["good"].delivered, figures["good"].failures, figures["good"].cut_flushes) == (5, 0, 0)
    assert (figures["hangs"].delivered, figures["hangs"].dropped, figures["hangs"].spilled) == (0, 0, 5)
    for delivery in made.values():
        assert_adds_up(delivery)
    assert b"line 4" in b"".join(file.read_bytes() for file in (tmp_path / "hangs").iterdir() if file.is_file())
    assert b"line" not in b"".join(file.read_bytes() for file in (tmp_path / "good").iterdir() if file.is_file())
