"""The examples that deliver, as real processes in the simulator, against backends on loopback."""

from __future__ import annotations

import functools
import json
import re
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from test_example_sinks import function_lines, run_as_extension

from extension_runs import backend_of, run_script
from http_servers import QuietHandler, running, serving
from lambda_extension.simulator import ExtensionSpec, FunctionContext, ScriptedFunction, Simulator
from script_backends import command_on
from waiting import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"


@attrs.define(eq=False)
class Backend:
    """What was sent to a backend that takes everything."""

    url: str = ""
    bodies: list[bytes] = attrs.field(factory=list)
    headers: list[Any] = attrs.field(factory=list)
    arrived: threading.Event = attrs.field(factory=threading.Event)

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for body in self.bodies for line in body.splitlines()]


@pytest.fixture
def backend() -> Iterator[Backend]:
    there = Backend()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            there.bodies.append(self.read_body())
            there.headers.append(self.headers)
            there.arrived.set()
            self.answer(body=b"{}")

    with serving(Handler) as there.url:
        yield there


async def test_end_of_invocation_delivers_before_the_freeze(backend: Backend, anyio_backend: Any) -> None:
    """What the function logged is at the backend when the invocation is over, though the environment then freezes."""
    script = EXAMPLES / "end_of_invocation/end_of_invocation.py"
    command = command_on(backend_of(anyio_backend), script)
    function = ScriptedFunction(log_lines=["INFO order of jo@example.com accepted", "DEBUG order"])
    with anyio.fail_after(60):
        async with Simulator(
            [ExtensionSpec(command, name=script.name)],
            function,
            freeze=True,
            timeout=20,
            init_timeout=30,
            environment={"LOGS_URL": backend.url},
        ) as lambda_:
            for count in range(1, 4):
                assert (await lambda_.invoke()).status == "success"
                await lambda_.wait_for_frozen()
                lines = [each["body"] for each in backend.objects() if each["source"] == "function"]
                assert sum("order of" in line for line in lines) == count
            shutdown = await lambda_.shutdown()
    assert shutdown.exit_codes[script.name] == 0
    assert lambda_.record.findings == []
    assert "jo@example.com" not in b"".join(backend.bodies).decode()
    assert sum(each["source"] == "report" for each in backend.objects()) == 3


async def test_audit_has_one_entry_for_each_invocation_whatever_became_of_it(
    backend: Backend, anyio_backend: Any
) -> None:
    script = EXAMPLES / "audit/audit.py"
    command = command_on(backend_of(anyio_backend), script)
    turns = [ScriptedFunction(error_type="OrderError"), ScriptedFunction(never_answers=True), ScriptedFunction()]
    function = ScriptedFunction(log_lines=["not for the audit"], then=turns)
    with anyio.fail_after(60):
        async with Simulator(
            [ExtensionSpec(command, name=script.name)],
            function,
            timeout=3,
            init_timeout=30,
            environment={"AUDIT_URL": backend.url},
        ) as lambda_:
            results = [await lambda_.invoke() for _ in range(5)]
            await lambda_.shutdown()
    assert [result.status for result in results] == ["success", "error", "timeout", "success", "success"]
    entries = backend.objects()
    assert {entry["source"] for entry in entries} == {"report"}
    assert {entry["attributes"]["auditVersion"] for entry in entries} == {1}
    outcomes = {entry["requestId"]: entry["outcome"] for entry in entries}
    assert len(entries) == len(outcomes) == 5
    expected = ["success", "error", "timeout", "success", "success"]
    assert [outcomes[result.request_id] for result in results] == expected


async def test_logs_to_metrics(anyio_backend: Any) -> None:
    async def orders(event: Any, context: FunctionContext) -> None:
        context.log(json.dumps({"level": "INFO", "message": "order accepted", "orderTotal": event}))
        context.log(json.dumps({"level": "ERROR", "message": "no stamp at hand"}))

    script = EXAMPLES / "logs_to_metrics/logs_to_metrics.py"
    run = await run_script(script, anyio_backend, orders, payloads=[10, 20.5, 1])
    metrics: Counter[str] = Counter()
    for line in run.lines:
        told = json.loads(line)
        (directive,) = told["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Orders"
        assert directive["Dimensions"] == [["functionName"]]
        assert told["functionName"] == "test_function"
        for metric in directive["Metrics"]:
            metrics[metric["Name"]] += told[metric["Name"]]
    assert metrics == {"orders": 3, "orderTotal": 31.5, "linesInfo": 3, "linesError": 3}


async def test_a_policy_of_ones_own_flushes_once_in_its_time(backend: Backend, anyio_backend: Any) -> None:
    script = EXAMPLES / "policy/at_most_every.py"
    await run_script(script, anyio_backend, environment={"LOGS_URL": backend.url}, invocations=6)
    # The first invocation at its end, and all that came later at the shutdown.
    first, *rest = [json.loads(body) for body in backend.bodies]
    assert sum(event["type"] == "platform.runtimeDone" for event in first) == 1
    events = [event for body in rest for event in body]
    assert sum(event["type"] == "platform.runtimeDone" for event in events) == 5
    assert len(rest) == 1


async def test_json_lines_as_an_extension_delivers_each_line_once(backend: Backend, anyio_backend: Any) -> None:
    environment = {"LOGS_URL": backend.url, "LOGS_TOKEN": "t"}
    expected = await run_as_extension(EXAMPLES / "sinks/json_lines.py", environment, anyio_backend)
    assert function_lines(backend.bodies) == Counter(expected)
    assert {headers["Authorization"] for headers in backend.headers} == {"Bearer t"}
    assert {headers["Content-Encoding"] for headers in backend.headers} == {"gzip"}


async def test_an_api_key_as_an_extension_delivers_each_line_once(backend: Backend, anyio_backend: Any) -> None:
    environment = {"DD_LOGS_URL": f"{backend.url}/api/v2/logs", "DD_API_KEY": "k"}
    expected = await run_as_extension(EXAMPLES / "sinks/api_key.py", environment, anyio_backend)
    logs = [log for body in backend.bodies for log in json.loads(body)]
    assert Counter(log["message"] for log in logs if log["message"].startswith("order")) == Counter(expected)
    assert {log["ddtags"].split(",")[0] for log in logs} == {"team:orders"}
    assert {headers["DD-API-KEY"] for headers in backend.headers} == {"k"}


async def test_elastic_as_an_extension_delivers_each_line_once(backend: Backend, anyio_backend: Any) -> None:
    environment = {
        "ELASTIC_URL": backend.url,
        "ELASTIC_INDEX": "logs-lambda-default",
        "ELASTIC_AUTHORIZATION": "ApiKey k",
    }
    expected = await run_as_extension(EXAMPLES / "sinks/elastic.py", environment, anyio_backend)
    actions, documents = backend.objects()[::2], backend.objects()[1::2]
    assert len({action["create"]["_id"] for action in actions}) == len(documents)
    lines = [document["message"] for document in documents if "message" in document]
    assert Counter(line for line in lines if line.startswith("order")) == Counter(expected)
    assert {headers["Authorization"] for headers in backend.headers} == {"ApiKey k"}


async def test_syslog_as_an_extension_delivers_each_line_once(anyio_backend: Any) -> None:
    received: list[bytes] = []
    opened, read = [], []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            opened.append(self)
            received.extend(iter(functools.partial(self.rfile.read1, 65536), b""))
            read.append(self)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with running(Server(("127.0.0.1", 0), Handler)) as server:
        environment = {"SYSLOG_HOST": "127.0.0.1", "SYSLOG_PORT": str(server.server_address[1]), "SYSLOG_TLS": "0"}
        expected = await run_as_extension(EXAMPLES / "sinks/to_syslog.py", environment, anyio_backend)
        await eventually(lambda: opened and len(read) == len(opened))
    lines = re.findall(r"order \d (?:accepted|shipped)", b"".join(received).decode())
    assert Counter(lines) == Counter(expected)
