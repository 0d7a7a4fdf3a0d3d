"""The platform as it is: each test is one thing that real extensions met."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from simulator_kit import API, Calls, collecting, kinds, listening, script, subscriber

from lambda_extension._budget import wall_clock
from lambda_extension.simulator import (
    ClockJump,
    EventFault,
    Function,
    FunctionContext,
    KillFault,
    OutOfMemory,
    Record,
    RouteFault,
    ScriptedFunction,
    Simulator,
)
from lambda_extension.simulator._apis._routes import Routes
from lambda_extension.simulator._platform._listeners import listeners

BOOTSTRAP = """
import http.client, json, os
base = "/2018-06-01/runtime/invocation/"
while True:
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request("GET", base + "next")
    answer = api.getresponse()
    event = json.loads(answer.read())
    headers = {key.lower(): value for key, value in answer.getheaders()}
    if event == "die":
        os._exit(137)
    said = json.dumps({"headers": headers, "environment": dict(os.environ)})
    api.request("POST", base + headers["lambda-runtime-aws-request-id"] + "/response", said)
    api.getresponse().read()
"""

# An extension that writes each event that it gets to the file that OUT names.
NOTING = """
import http.client, json, os, pathlib, sys, time
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, headers, body=None):
    api.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = api.getresponse()
    return answer, answer.read()
name = pathlib.Path(sys.argv[0]).name
answer, _ = call("POST", "register", {"Lambda-Extension-Name": name}, json.dumps({"events": ["INVOKE", "SHUTDOWN"]}))
me = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
with open(os.environ["OUT"], "a") as out:
    while True:
        event = json.loads(call("GET", "event/next", me)[1])
        print(json.dumps({**event, "now": time.time() * 1000}), file=out, flush=True)
        if event["eventType"] == "SHUTDOWN":
            break
"""


def noted(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("mode", ["on-demand", "snap-start"])
async def test_an_extension_may_subscribe_from_two_of_its_parts(mode: Any) -> None:
    seen: dict[str, list[Any]] = {"one": [], "two": []}
    answers: list[tuple[int, str]] = []

    async def twice(environment: Mapping[str, str]) -> None:
        async with (
            Calls(environment, "twice") as calls,
            listening(collecting(seen["one"])) as one,
            listening(collecting(seen["two"])) as two,
        ):
            await calls.register("SHUTDOWN")
            for port, types in ((one, "platform"), (two, "function"), (one, "platform")):
                answer = await calls.subscribe(port, types)
                answers.append((answer.status_code, answer.text))
            await calls.until_shutdown()

    async with Simulator([twice], ScriptedFunction(log_lines=["a line"]), mode=mode) as lambda_:
        await lambda_.invoke()
    assert answers == [(200, '"OK"')] * 3
    assert kinds(seen["one"]).count("platform.report") == 1
    assert [event["record"] for event in seen["two"]] == ["a line"]
    # The repeat of the very same subscription has changed nothing.
    assert len(lambda_.record.events("platform.telemetrySubscription")) == 2


async def test_logs_subscription_is_told_to_subscribers_of_the_logs_api_alone() -> None:
    logs: list[Any] = []
    telemetry: list[Any] = []
    extensions = [subscriber("logs", logs, api="logs"), subscriber("telemetry", telemetry)]
    async with Simulator(extensions) as lambda_:
        await lambda_.invoke()
    assert "platform.logsSubscription" in kinds(logs)
    assert "platform.telemetrySubscription" not in kinds(logs)
    assert "platform.logsSubscription" not in kinds(telemetry)
    assert kinds(telemetry).count("platform.telemetrySubscription") == 1


PRINTING = """
import http.client, http.server, json, os, socket, threading
try:
    host = socket.gethostbyname("sandbox.localdomain")
except OSError:
    host = "127.0.0.1"

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(os.environ["OUT"], "a") as out:
            print(json.dumps([event["type"] for event in events]), file=out)
        print("got", len(events), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer((host, 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, headers, body=None):
    api.request(method, path, body, headers)
    answer = api.getresponse()
    answer.read()
    return answer
body = json.dumps({"events": ["SHUTDOWN"]})
answer = call("POST", "/2020-01-01/extension/register", {"Lambda-Extension-Name": "printing"}, body)
me = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
body = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "extension"],
    "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{server.server_port}"},
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": int(os.environ["TIMEOUT_MS"])},
}
call("PUT", "/2022-07-01/telemetry", me, json.dumps(body))
call("GET", "/2020-01-01/extension/event/next", me)
threading.Event().wait(0.5)
"""


async def test_the_flush_at_shutdown_ends(tmp_path: Path) -> None:
    out = tmp_path / "out"
    printing = script(tmp_path / "printing", PRINTING)
    environment = {"OUT": str(out), "TIMEOUT_MS": "30000"}
    async with Simulator([printing], environment=environment, timeout=9) as lambda_:
        await lambda_.invoke()
        assert (await lambda_.shutdown()).exit_codes["printing"] == 0
    # What was buffered when shutdown began has come in one batch; what the extension then wrote waits for its time.
    (batch,) = noted(out)
    assert batch[-1] == "platform.report"
    assert lambda_.record.findings == []


async def test_a_bootstrap_is_told_its_handler_and_what_runs(tmp_path: Path) -> None:
    bootstrap = script(tmp_path / "bootstrap", BOOTSTRAP)
    async with Simulator(function=bootstrap, about=Function(handler="main.handle"), timeout=10) as lambda_:
        told = (await lambda_.invoke()).payload["environment"]
    assert told["_HANDLER"] == "main.handle"
    assert told["AWS_EXECUTION_ENV"] == "AWS_Lambda_provided.al2023"


async def test_a_python_handler_runs_as_this_python(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text("import os\ndef handler(event, context):\n    return dict(os.environ)\n")
    environment = {"PYTHONPATH": str(tmp_path)}
    async with Simulator(function="told:handler", environment=environment, timeout=10) as lambda_:
        told = (await lambda_.invoke()).payload
    assert told["_HANDLER"] == "told.handler"
    assert told["AWS_EXECUTION_ENV"] == f"AWS_Lambda_python3.{sys.version_info.minor}"


async def test_managed_instances_log_in_json() -> None:
    async with Simulator(mode="managed-instances") as lambda_:
        assert lambda_.settings.log_format == "JSON"
        assert lambda_.settings.extension_environment("x")["AWS_LAMBDA_LOG_FORMAT"] == "JSON"
    with pytest.raises(ValueError, match="log in JSON"):
        Simulator(mode="managed-instances", log_format="Text")


async def test_the_metadata_endpoint_tells_the_zone_to_who_has_the_token() -> None:
    async with Simulator() as lambda_, lambda_.http_client() as http:
        variables = lambda_.settings.extension_environment(lambda_.api)
        assert variables["AWS_LAMBDA_METADATA_API"] == lambda_.api
        headers = {"Authorization": f"Bearer {variables['AWS_LAMBDA_METADATA_TOKEN']}"}
        path = "/2026-01-15/metadata/execution-environment"
        answer = await http.get(path, headers=headers)
        refused = await http.get(path)
        absent = await http.get("/2021-04-23/credentials")
    assert answer.json() == {"AvailabilityZoneID": "us-east-1-az1"}
    assert "max-age=" in answer.headers["Cache-Control"]
    assert (refused.status_code, absent.status_code) == (401, 404)


async def test_snap_start_functions_fetch_their_credentials() -> None:
    async with Simulator(mode="snap-start") as lambda_, lambda_.http_client() as http:
        variables = lambda_.settings.extension_environment(lambda_.api)
        headers = {"Authorization": variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]}
        answer = await http.get(variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers=headers)
    assert set(answer.json()) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}


async def test_answers_are_compact_and_dated() -> None:
    async def idle(_: object) -> None:
        await anyio.sleep_forever()

    async with Simulator([idle], init_timeout=2) as lambda_, lambda_.http_client() as http:
        await lambda_.wait_for(lambda record: bool(record.find("process", "start")))
        refused = await http.post(f"{API}/register", headers={"Lambda-Extension-Name": "idle"})
        body = {"events": ["INVOKE"]}
        answer = await http.post(f"{API}/register", headers={"Lambda-Extension-Name": "idle"}, json=body)
    for each in (refused, answer):
        assert b", " not in each.content
        assert b'": ' not in each.content
        assert abs(parsedate_to_datetime(each.headers["Date"]).timestamp() - time.time()) < 60


@pytest.mark.parametrize("real", [True, False])
async def test_the_span_of_the_function_is_the_parent_of_what_it_does(real: bool, tmp_path: Path) -> None:
    async def handler(event: Any, context: FunctionContext) -> Any:
        return {"headers": {"lambda-runtime-trace-id": context.trace_header}}

    seen: list[Any] = []
    header = "Root=1-67c2d4a0-aabbccddeeff001122334455;Parent=0102030405060708;Sampled=1"
    function = script(tmp_path / "bootstrap", BOOTSTRAP) if real else handler
    async with Simulator([subscriber("x", seen)], function, timeout=10) as lambda_:
        result = await lambda_.invoke(trace_header=header)
    traced = {
        event["type"]: event["record"]["tracing"]
        for event in seen
        if event["type"] in {"platform.start", "platform.runtimeDone", "platform.report"}
    }
    assert len(traced) == 3
    (span_id,) = {tracing["spanId"] for tracing in traced.values()}
    assert {tracing["value"] for tracing in traced.values()} == {header}
    assert result.payload["headers"]["lambda-runtime-trace-id"] == header.replace("0102030405060708", span_id)


async def test_a_trace_that_is_not_sampled_has_no_span() -> None:
    async def handler(event: Any, context: FunctionContext) -> Any:
        return context.trace_header

    header = "Root=1-2-3;Parent=0102030405060708;Sampled=0"
    async with Simulator(function=handler) as lambda_:
        assert (await lambda_.invoke(trace_header=header)).payload == header
    (start,) = lambda_.record.events("platform.start")
    assert "spanId" not in start["tracing"]


async def test_on_managed_instances_the_report_alone_tells_of_a_trace_and_only_of_a_sampled_one() -> None:
    header = "Root=1-67c2d4a0-aabbccddeeff001122334455;Parent=0102030405060708;Sampled="
    async with Simulator(mode="managed-instances") as lambda_:
        for sampled in "10":
            await lambda_.invoke(trace_header=header + sampled)
    assert [start.get("tracing") for start in lambda_.record.events("platform.start")] == [None, None]
    traced, untraced = lambda_.record.events("platform.report")
    assert traced["tracing"]["value"] == header + "1"
    assert "tracing" not in untraced


async def test_with_tracing_each_invocation_begins_a_trace_of_its_own() -> None:
    async with Simulator(tracing=True) as lambda_:
        await lambda_.invoke()
        await lambda_.invoke()
        await lambda_.invoke(trace_header="Root=mine")
    values = [start["tracing"]["value"] for start in lambda_.record.events("platform.start")]
    assert len(set(values)) == 3
    assert all(value.endswith(";Sampled=1") for value in values[:2])
    assert values[2] == "Root=mine"


async def test_a_jump_of_the_clock_moves_no_real_process(tmp_path: Path) -> None:
    out, virtual = tmp_path / "out", []

    async def inside(environment: Mapping[str, str]) -> None:
        async with Calls(environment, "inside") as calls:
            await calls.register("INVOKE", "SHUTDOWN")
            while True:
                event = await calls.next()
                virtual.append((event["deadlineMs"], wall_clock.get()() * 1000))
                if event["eventType"] == "SHUTDOWN":
                    return

    real = script(tmp_path / "real", NOTING)
    faults = [ClockJump(seconds=7200, nth=1)]
    async with Simulator([real, inside], environment={"OUT": str(out)}, faults=faults, timeout=9) as lambda_:
        assert (await lambda_.invoke()).status == "success"
        await lambda_.freeze_for(3600)
        assert (await lambda_.invoke()).status == "success"
        await lambda_.shutdown()
    events = noted(out)
    assert [event["eventType"] for event in events] == ["INVOKE", "INVOKE", "SHUTDOWN"]
    assert all(event["deadlineMs"] - event["now"] < 9_001 for event in events)
    # Who runs in this process has the clock that jumps, and its deadlines on it.
    assert all(0 < deadline - now < 9_001 for deadline, now in virtual)
    assert virtual[0][0] - events[0]["deadlineMs"] == pytest.approx(7_200_000, abs=1_000)
    assert virtual[1][0] - events[1]["deadlineMs"] == pytest.approx(10_800_000, abs=1_000)
    assert lambda_.record.findings == []


async def test_telemetry_has_the_time_of_who_gets_it(tmp_path: Path) -> None:
    out, seen = tmp_path / "out", []  # type: ignore[var-annotated]
    real = Path(__file__).parent / "stdlib_extension.py"
    faults = [ClockJump(seconds=7200, nth=1)]
    extensions = [real, subscriber("inside", seen)]
    async with Simulator(extensions, environment={"TELEMETRY_OUT": str(out)}, faults=faults, timeout=9) as lambda_:
        await lambda_.invoke()
    (host,) = [event for event in noted(out) if event["type"] == "platform.runtimeDone"]
    (jumped,) = [event for event in seen if event["type"] == "platform.runtimeDone"]
    assert jumped["time"] > host["time"]
    for event in (host, jumped):
        assert event["record"]["spans"][0]["start"][:16] == event["time"][:16]


async def test_the_wall_clock_of_this_library_is_the_simulation_s() -> None:
    found: list[bool] = []

    async def extension(environment: Mapping[str, str]) -> None:
        found.append(wall_clock.get() == lambda_.clock.time)
        async with Calls(environment, "extension") as calls:
            await calls.register("SHUTDOWN")
            await calls.until_shutdown()

    async with Simulator([extension]) as lambda_:
        await lambda_.ready()
    assert found == [True]
    assert wall_clock.get() is time.time


@pytest.mark.parametrize("how", ["fault", "script", "process"])
async def test_a_kill_for_want_of_memory_looks_like_one(how: str, tmp_path: Path) -> None:
    seen: list[Any] = []
    function: Any = ScriptedFunction(latency=0.1)
    if how == "script":
        function = ScriptedFunction(exit_code=137, then=[ScriptedFunction()])
    elif how == "process":
        function = script(tmp_path / "bootstrap", BOOTSTRAP)
    faults = [OutOfMemory()] if how == "fault" else []
    async with Simulator([subscriber("x", seen)], function, faults=faults, memory_mb=256, timeout=9) as lambda_:
        result = await lambda_.invoke("die")
        assert (result.status, result.error_type) == ("error", "Runtime.OutOfMemory")
        assert (await lambda_.invoke("live")).status == "success"
    report = next(event["record"] for event in seen if event["type"] == "platform.report")
    assert (report["status"], report["errorType"]) == ("error", "Runtime.OutOfMemory")
    assert report["metrics"]["maxMemoryUsedMB"] == report["metrics"]["memorySizeMB"] == 256
    assert lambda_.record.findings == []


async def test_the_runtime_can_be_killed_during_init() -> None:
    faults = [KillFault(participant="runtime", phase="init")]
    async with Simulator(function=ScriptedFunction(init_latency=1), faults=faults) as lambda_:
        await lambda_.ready()
        (first,) = lambda_.record.events("platform.initReport")
        assert (first["status"], first["errorType"]) == ("error", "Runtime.ExitError")
    assert lambda_.record.findings == []


@pytest.mark.parametrize("schema", ["2020-08-15", "2021-03-18"])
async def test_a_crash_is_a_fault_to_subscribers_of_the_logs_api(schema: str) -> None:
    seen: list[Any] = []

    async def logs(environment: Mapping[str, str]) -> None:
        async with Calls(environment, "logs") as calls, listening(collecting(seen)) as port:
            await calls.register("SHUTDOWN")
            await calls.subscribe(port, api="logs", schemaVersion=schema)
            await calls.until_shutdown()

    async with Simulator([logs], ScriptedFunction(exit_code=1)) as lambda_:
        await lambda_.invoke()
    assert kinds(seen).count("platform.fault") == 1
    assert kinds(seen).count("platform.runtimeDone") == (schema == "2021-03-18")


async def test_managed_instances_run_out_of_memory_too() -> None:
    faults = [OutOfMemory()]
    async with Simulator(function=ScriptedFunction(latency=1), faults=faults, mode="managed-instances") as lambda_:
        result = await lambda_.invoke()
    assert (result.status, result.error_type) == ("error", "Runtime.OutOfMemory")


async def test_a_test_sends_telemetry_of_its_own() -> None:
    seen: list[Any] = []
    odd: list[Any] = [
        {"type": "platform.future", "record": {"a": [1]}},
        {"time": "2026-01-01T00:00:00Z", "type": "platform.start", "record": None},
        {"type": 3},
        {"type": "extension", "record": "not subscribed to"},
        "no object at all",
    ]
    async with Simulator([subscriber("x", seen)]) as lambda_:
        await lambda_.ready()
        for event in odd:
            lambda_.inject(event)
        await lambda_.invoke()
        await lambda_.shutdown()
        with pytest.raises(RuntimeError, match="no environment lives"):
            lambda_.inject({})
    injected = [event for event in seen if not isinstance(event, dict) or event.get("type") in {"platform.future", 3}]
    assert injected[0]["record"] == {"a": [1]}
    assert "time" in injected[0]
    assert injected[1]["type"] == 3
    assert injected[2] == odd[4]
    assert odd[1] in seen
    assert odd[3]["record"] not in [event["record"] for event in seen if isinstance(event, dict) and "record" in event]


async def test_an_injected_event_reaches_the_logs_api_as_it_is() -> None:
    seen: list[Any] = []
    async with Simulator([subscriber("x", seen, api="logs")]) as lambda_:
        await lambda_.ready()
        lambda_.inject({"type": "platform.future", "record": 1})
    assert "platform.future" in kinds(seen)


async def test_a_script_goes_on_after_a_reset() -> None:
    function = ScriptedFunction(never_answers=True, then=[ScriptedFunction(response="works")])
    async with Simulator(function=function, timeout=0.2) as lambda_:
        first, second, third = [await lambda_.invoke() for _ in range(3)]
    assert [first.status, second.status, third.status] == ["timeout", "success", "success"]
    assert second.payload == third.payload == "works"
    assert [event["phase"] for event in lambda_.record.events("platform.initStart")] == ["init", "invoke"]


async def test_an_init_that_fails_is_a_turn_of_the_script() -> None:
    function = ScriptedFunction(init_error_type="Function.Broken", then=[ScriptedFunction(response="works")])
    async with Simulator(function=function) as lambda_:
        assert (await lambda_.invoke()).payload == "works"


async def test_events_of_one_type_are_suppressed_or_come_late() -> None:
    seen: list[Any] = []
    faults = [
        EventFault(type="platform.runtimeDone", nth=1),
        EventFault(type="platform.report", action="delay", seconds=0.2, nth=1),
    ]
    async with Simulator([subscriber("x", seen)], faults=faults) as lambda_:
        first, second = await lambda_.invoke(), await lambda_.invoke()

        def late(_: Record) -> bool:
            return [event["record"]["requestId"] for event in seen if event["type"] == "platform.report"] == [
                second.request_id,
                first.request_id,
            ]

        await lambda_.wait_for(late)
    done = [event["record"]["requestId"] for event in seen if event["type"] == "platform.runtimeDone"]
    assert done == [second.request_id]
    reports = [event for event in seen if event["type"] == "platform.report"]
    assert reports[1]["time"] <= reports[0]["time"]  # when it was created


def test_a_fault_for_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody is called 'typo' here; there are runtime, x"):
        Simulator([subscriber("x", [])], faults=[KillFault(participant="typo")])
    with pytest.raises(ValueError, match="'lunch' is no route"):
        Simulator(faults=[RouteFault(route="lunch")])


async def test_waits_for_phases_and_for_the_freeze() -> None:
    async with Simulator([subscriber("x", [], events=("INVOKE", "SHUTDOWN"))], freeze=True) as lambda_:
        await lambda_.wait_for_phase("init-end")
        await lambda_.wait_for_frozen()
        await lambda_.invoke_many(2)
        await lambda_.wait_for_phase("invoke-end", nth=2)
        await lambda_.wait_for_frozen()
        with pytest.raises(TimeoutError):
            await lambda_.wait_for_phase("shutdown-start", within=0.01)
        await lambda_.shutdown()
        await lambda_.wait_for_phase("shutdown-end")


async def test_bytes_are_a_payload_as_they_are() -> None:
    async with Simulator() as lambda_:
        result = await lambda_.invoke(b'{"a" :1}')
    assert result.response == b'{"a" :1}'
    assert result.payload == {"a": 1}


async def test_a_call_whose_caller_leaves_half_way_is_answered_all_the_same() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    async with Simulator() as lambda_:
        await lambda_.ready()
        messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"{", "more_body": True}]
        scope = {"type": "http", "method": "POST", "path": f"{API}/register", "headers": []}
        await Routes(lambda_._platform)(scope, receive, send)
    assert sent[0]["status"] == 403


async def test_the_apis_listen_on_loopback_alone(tmp_path: Path) -> None:
    async with Simulator([script(tmp_path / "x", NOTING)], environment={"OUT": str(tmp_path / "out")}) as lambda_:
        await lambda_.ready()
        port = int(lambda_.api.rpartition(":")[2])
        found = listeners(port)
    assert found in ({"127.0.0.1"}, set())  # nothing where the system does not tell
