"""What the conformance suite cannot show: modes, formats, faults and failures that only the simulator has."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest

from lambda_extension import TelemetrySubscription, open_extension, open_telemetry
from lambda_extension._environment import Environment
from lambda_extension.simulator import (
    ClockJump,
    DeliveryFault,
    DeliverySettings,
    ExtensionSpec,
    Fault,
    Flood,
    Function,
    FunctionContext,
    KillFault,
    RouteFault,
    ScriptedFunction,
    Simulator,
)
from lambda_extension.simulator._platform._processes import GroupProcess
from lambda_extension.simulator._settings import Mode
from lambda_extension.telemetry import TelemetryEvent
from waiting import eventually

API = "/2020-01-01/extension"
Extension = Callable[[Mapping[str, str]], Awaitable[None]]


class Raw:
    """An extension's calls, one by one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        base = f"http://{environment['AWS_LAMBDA_RUNTIME_API']}"
        self.http = httpx.AsyncClient(base_url=base, timeout=None, trust_env=False)
        self.me: dict[str, str] = {}

    async def register(self, name: str, *events: str) -> httpx.Response:
        headers = {"Lambda-Extension-Name": name, "Lambda-Extension-Accept-Feature": "accountId"}
        answer = await self.http.post(f"{API}/register", headers=headers, json={"events": events})
        self.me = {"Lambda-Extension-Identifier": answer.headers.get("Lambda-Extension-Identifier", "")}
        return answer

    async def subscribe(self, api: str, **changes: Any) -> httpx.Response:
        path, version = {
            "telemetry": ("/2022-07-01/telemetry", "2022-12-13"),
            "logs": ("/2020-08-15/logs", "2021-03-18"),
        }[api]
        body = {
            "schemaVersion": version,
            "types": ["platform", "function", "extension"],
            "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
            **changes,
        }
        return await self.http.put(path, headers=self.me, json=body)

    async def next(self) -> Any:
        return (await self.http.get(f"{API}/event/next", headers=self.me)).json()

    async def until_shutdown(self) -> None:
        while (await self.next())["eventType"] == "INVOKE":
            pass


def streaming(seen: list[TelemetryEvent], **subscription: Any) -> Extension:
    """Make an extension of this library that keeps the telemetry it gets."""

    async def stream(environment: Mapping[str, str]) -> None:
        async with open_telemetry(
            TelemetrySubscription(**subscription), name="stream", environment=Environment.from_mapping(environment)
        ) as telemetry:
            async for event in telemetry:
                seen.append(event)

    return stream


def types(seen: list[TelemetryEvent]) -> list[str | None]:
    return [event.type for event in seen]


def records(seen: list[TelemetryEvent], kind: str) -> list[Any]:
    return [event.record for event in seen if event.type == kind]


async def bystander(environment: Mapping[str, str]) -> None:
    async with open_extension(name="bystander", environment=Environment.from_mapping(environment)) as extension:
        async for _ in extension:
            pass


async def test_snap_start_restores_before_the_first_invocation_only() -> None:
    seen: list[TelemetryEvent] = []
    async with Simulator([streaming(seen)], mode="snap-start") as lambda_:
        assert (await lambda_.invoke()).status == "success"
        assert (await lambda_.invoke()).status == "success"
    kinds = types(seen)
    first = kinds.index("platform.start")
    restore = ["platform.restoreStart", "platform.restoreRuntimeDone", "platform.restoreReport"]
    assert kinds[first - 3 : first] == restore
    assert kinds.count("platform.restoreStart") == 1
    assert "initDurationMs" not in str(records(seen, "platform.report")[0])


async def test_provisioned_concurrency_inits_ahead_and_may_wait_for_its_first_invocation() -> None:
    seen: list[TelemetryEvent] = []
    kinds: list[str] = []

    async def stream(environment: Mapping[str, str]) -> None:
        kinds.append(environment["AWS_LAMBDA_INITIALIZATION_TYPE"])
        await streaming(seen)(environment)

    async with Simulator([stream], mode="provisioned-concurrency") as lambda_:
        await lambda_.ready()
        await lambda_.freeze_for(600)
        assert (await lambda_.invoke()).status == "success"
    assert kinds == ["provisioned-concurrency"]
    for kind in ("platform.initStart", "platform.initReport"):
        (init,) = records(seen, kind)
        assert (init.initialization_type, init.phase) == ("provisioned-concurrency", "init")
    times = {event.type: event.timestamp for event in seen}
    initialised, started = times["platform.initReport"], times["platform.start"]
    assert initialised is not None
    assert started is not None
    assert (started - initialised).total_seconds() >= 600


@pytest.mark.parametrize(
    ("mode", "timeout", "limit"),
    [
        ("on-demand", 900, 10),
        ("provisioned-concurrency", 3, 130),
        ("provisioned-concurrency", 900, 900),
        ("snap-start", 3, 130),
        ("managed-instances", 300, 300),
    ],
)
def test_the_limit_of_init_is_that_of_the_mode(mode: Mode, timeout: float, limit: float) -> None:
    assert Simulator(mode=mode, timeout=timeout).settings.init_timeout == limit
    assert Simulator(mode=mode, timeout=timeout, init_timeout=1).settings.init_timeout == 1


@pytest.mark.parametrize("answers", [True, False])
async def test_a_runtime_in_restore_next_is_let_go_at_the_restore(
    answers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_extension.simulator._platform._lifecycle._RESTORE_LIMIT", 0.3 if not answers else 10.0)
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(
        f"""#!{sys.executable}
import http.client, os, time
def call(method, path, body=None):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2018-06-01/runtime/" + path, body, {{}})
    return connection.getresponse()
call("GET", "restore/next").read()
if not {answers}:
    call("POST", "restore/error", "{{}}").read()
    time.sleep(5)
while True:
    answer = call("GET", "invocation/next")
    request = answer.headers["Lambda-Runtime-Aws-Request-Id"]
    assert "AWS_ACCESS_KEY_ID" not in os.environ and "AWS_LAMBDA_LOG_GROUP_NAME" not in os.environ
    call("POST", "invocation/" + request + "/response", answer.read()).read()
"""
    )
    bootstrap.chmod(0o755)
    async with Simulator([bystander], bootstrap, mode="snap-start", timeout=2) as lambda_:
        result = await lambda_.invoke({"a": 1})
    assert (result.status == "success") is answers
    (report,) = lambda_.record.events("platform.restoreReport")
    assert (report["status"] == "success") is answers


async def test_json_log_format_gives_objects_where_lines_are_objects() -> None:
    seen: list[TelemetryEvent] = []
    function = ScriptedFunction(log_lines=['{"level": "WARN", "message": "m"}', "text", "[1]"])
    async with Simulator([streaming(seen)], function, log_format="JSON") as lambda_:
        await lambda_.invoke()
    first, second, third = records(seen, "function")
    assert first == {"level": "WARN", "message": "m"}
    assert (second, third) == ("text", "[1]")


async def test_the_oldest_schema_has_lines_even_in_json_log_format() -> None:
    seen: list[TelemetryEvent] = []
    function = ScriptedFunction(log_lines=['{"message": "m"}'])
    async with Simulator([streaming(seen, schema_version="2022-07-01")], function, log_format="JSON") as lambda_:
        await lambda_.invoke()
    assert records(seen, "function") == ['{"message": "m"}']


async def test_where_telemetry_is_not_supported_the_extension_goes_on() -> None:
    seen: list[TelemetryEvent] = []
    async with Simulator([streaming(seen)], telemetry_supported=False) as lambda_:
        assert (await lambda_.invoke()).status == "success"
        assert (await lambda_.shutdown()).exit_codes["stream"] == 0
    assert seen == []


async def test_tcp_gets_one_json_object_a_line() -> None:
    received = bytearray()

    async def over_tcp(environment: Mapping[str, str]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)

        async def take(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                async for chunk in stream:
                    received.extend(chunk)

        raw = Raw(environment)
        async with raw.http, listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, take)
            await raw.register("over_tcp", "SHUTDOWN")
            answer = await raw.subscribe("telemetry", destination={"protocol": "TCP", "port": port})
            assert answer.status_code == 200
            await raw.until_shutdown()
            await eventually(lambda: b'"two"' in received)
            tasks.cancel_scope.cancel()

    async with Simulator([over_tcp], ScriptedFunction(log_lines=["one", "two"])) as lambda_:
        await lambda_.invoke()
    lines = [json.loads(line) for line in received.splitlines()]
    assert [line["record"] for line in lines if line["type"] == "function"] == ["one", "two"]


async def test_a_tcp_connection_that_breaks_is_opened_again() -> None:
    batches: list[bytes] = []

    async def fragile(environment: Mapping[str, str]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)

        async def take(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                batches.append(await stream.receive())

        raw = Raw(environment)
        async with raw.http, listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, take)
            await raw.register("fragile", "INVOKE", "SHUTDOWN")
            await raw.subscribe("telemetry", destination={"protocol": "TCP", "port": port})
            while (await raw.next())["eventType"] == "INVOKE":
                tried = len(lambda_.record.find("delivery"))
                await lambda_.wait_for(lambda record, tried=tried: len(record.find("delivery")) > tried)  # type: ignore[misc]
            tasks.cancel_scope.cancel()

    async with Simulator([fragile], ScriptedFunction(log_lines=["one"])) as lambda_:
        for _ in range(4):
            await lambda_.invoke()
    assert len(batches) >= 2
    assert lambda_.record.find("delivery", "refused")


async def test_the_logs_api_delivers_and_excludes_the_telemetry_api() -> None:
    answers: list[tuple[int, str]] = []
    bodies: list[Any] = []

    async def old(environment: Mapping[str, str]) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            bodies.extend(json.loads(body))
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        from lambda_extension.serving._serve import serve_app
        from lambda_extension.serving._socket import listen_on

        sock, stop = listen_on("127.0.0.1"), anyio.Event()
        uri = f"http://sandbox:{sock.getsockname()[1]}/logs"
        raw = Raw(environment)
        async with raw.http, anyio.create_task_group() as tasks:

            async def serve() -> None:
                await serve_app(app, sock, shutdown_trigger=stop.wait)

            tasks.start_soon(serve)
            await raw.register("old", "SHUTDOWN")
            for api in ("logs", "telemetry", "logs"):
                answer = await raw.subscribe(api, destination={"protocol": "HTTP", "URI": uri, "method": "PUT"})
                answers.append((answer.status_code, answer.text))
            await raw.until_shutdown()
            stop.set()

    async with Simulator([old], ScriptedFunction(log_lines=["one"])) as lambda_:
        await lambda_.invoke()
    assert answers[0] == (200, '"OK"')
    assert answers[1][0] == 400
    assert "subscribed to logs already" in answers[1][1]
    assert answers[2] == (200, '"OK"')
    kinds = [body["type"] for body in bodies]
    assert "platform.logsSubscription" in kinds
    assert "function" in kinds


@pytest.mark.parametrize(
    "changes",
    [
        {"destination": None},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox:1/", "method": "PATCH"}},
        {"destination": {"protocol": "TCP"}},
        {"destination": {"protocol": "UDP"}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox:port/"}},
        {"destination": {"protocol": "HTTP", "URI": 3}},
        {"destination": {"protocol": "HTTP", "URI": "http://sandbox/"}},
        {"buffering": [1]},
        {"types": "platform"},
        {"schemaVersion": 3},
    ],
)
async def test_a_subscription_of_another_shape_is_a_validation_error(changes: dict[str, Any]) -> None:
    async with Simulator() as lambda_, lambda_.http_client() as http:
        del http
        answers: list[httpx.Response] = []

        async def wrong(environment: Mapping[str, str]) -> None:
            raw = Raw(environment)
            async with raw.http:
                await raw.register("wrong", "SHUTDOWN")
                given = {"destination": {"protocol": "HTTP", "URI": "http://sandbox:1/"}, **changes}
                answers.append(await raw.subscribe("telemetry", **given))
                not_json = await raw.http.put("/2022-07-01/telemetry", headers=raw.me, content=b"{")
                no_object = await raw.http.put("/2022-07-01/telemetry", headers=raw.me, content=b"[]")
                answers.extend([not_json, no_object])
                await raw.until_shutdown()

        async with Simulator([wrong]) as other:
            await other.ready()
    assert [(answer.status_code, answer.json()["errorType"]) for answer in answers] == [(400, "ValidationError")] * 3


async def test_a_slow_receiver_loses_events_and_the_counts_add_up() -> None:
    received: list[Any] = []

    async def slow(environment: Mapping[str, str]) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            # The first batch is answered once all that it kept waiting has been written.
            await lambda_.wait_for(lambda record: record.counts["event", "function"] >= count)
            received.extend(json.loads(body))
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        from lambda_extension.serving._serve import serve_app
        from lambda_extension.serving._socket import listen_on

        sock, stop = listen_on("127.0.0.1"), anyio.Event()
        uri = f"http://sandbox.localdomain:{sock.getsockname()[1]}/"
        raw = Raw(environment)
        async with raw.http, anyio.create_task_group() as tasks:

            async def serve() -> None:
                await serve_app(app, sock, shutdown_trigger=stop.wait)

            tasks.start_soon(serve)
            await raw.register("slow", "SHUTDOWN")
            await raw.subscribe(
                "telemetry", types=["platform", "function"], destination={"protocol": "HTTP", "URI": uri}
            )
            await raw.until_shutdown()
            stop.set()

    count = 5000
    async with Simulator([slow], ScriptedFunction(log_lines=[f"line {n}" for n in range(count)])) as lambda_:
        await lambda_.invoke()
        await lambda_.shutdown()
    lines = [event for event in received if event["type"] == "function"]
    dropped = [event["record"] for event in received if event["type"] == "platform.logsDropped"]
    assert 0 < len(lines) < count
    assert sum(record["droppedRecords"] for record in dropped) >= count - len(lines)
    assert all("slower than the logs production rate" in record["reason"] for record in dropped)


@pytest.mark.parametrize(
    "destination", [{"protocol": "HTTP", "URI": "http://sandbox:1/"}, {"protocol": "TCP", "port": 1}]
)
async def test_a_receiver_that_refuses_is_tried_again_and_then_said_to_have_lost(destination: Any) -> None:
    async def deaf(environment: Mapping[str, str]) -> None:
        raw = Raw(environment)
        async with raw.http:
            await raw.register("deaf", "INVOKE", "SHUTDOWN")
            await raw.subscribe("telemetry", destination=destination)
            while (await raw.next())["eventType"] == "INVOKE":
                await lambda_.wait_for(lambda record: record.counts["event", "platform.logsDropped"] > 0)

    seen: list[TelemetryEvent] = []
    delivery = DeliverySettings(retries=2, backoff=0.001)
    async with Simulator([deaf, streaming(seen)], delivery=delivery) as lambda_:
        await lambda_.invoke()
    refused = lambda_.record.find("delivery", "refused", who="deaf")
    assert len(refused) % 3 == 0
    lost = records(seen, "platform.logsDropped")
    assert lost
    assert "could not send events" in lost[0].reason


@pytest.mark.parametrize("action", ["duplicate", "malformed", "unknown-event"])
async def test_delivery_faults_cost_a_good_extension_nothing(action: Any) -> None:
    seen: list[TelemetryEvent] = []
    faults = [DeliveryFault(action=action)]
    delivery = DeliverySettings(backoff=0.001)
    function = ScriptedFunction(log_lines=["one"])
    async with Simulator([streaming(seen)], function, faults=faults, delivery=delivery) as lambda_:
        await lambda_.invoke()
        report = await lambda_.shutdown()
    assert report.exit_codes["stream"] == 0
    if action == "malformed":
        assert seen == []
    else:
        assert records(seen, "function") == ["one"]
    assert ("platform.future" in types(seen)) == (action == "unknown-event")


async def test_route_faults_delay_refuse_and_reset() -> None:
    answers: list[Any] = []

    async def tried(environment: Mapping[str, str]) -> None:
        raw = Raw(environment)
        async with raw.http:
            for _ in range(2):
                try:
                    answers.append((await raw.register("tried", "SHUTDOWN")).status_code)
                except httpx.HTTPError as error:
                    answers.append(type(error).__name__)
            started = anyio.current_time()
            answers.append((await raw.register("tried", "SHUTDOWN")).status_code)
            answers.append(anyio.current_time() - started >= 0.05)
            await raw.until_shutdown()

    faults: list[Fault] = [
        RouteFault(route="register", nth=1, status=500),
        RouteFault(route="register", nth=2, action="reset"),
        RouteFault(route="register", nth=3, action="delay", seconds=0.05),
        KillFault(participant="runtime", phase="invoke", nth=9),
    ]
    async with Simulator([tried], faults=faults) as lambda_:
        assert (await lambda_.invoke()).status == "success"
    assert answers == [500, "RemoteProtocolError", 200, True]


async def test_a_flood_and_a_jump_of_the_clock() -> None:
    seen: list[TelemetryEvent] = []
    faults: list[Fault] = [Flood(per_second=2000, seconds=0.1), ClockJump(seconds=3600, nth=2)]
    async with Simulator([streaming(seen)], ScriptedFunction(latency=0.2), faults=faults) as lambda_:
        before = lambda_.clock.time_ms()
        await lambda_.invoke()
        await lambda_.invoke()
        assert lambda_.clock.time_ms() - before > 3_600_000
    assert len(records(seen, "function")) == 200


async def test_a_freeze_of_hours_lets_the_clock_jump() -> None:
    async with Simulator([bystander]) as lambda_:
        await lambda_.invoke()
        before = lambda_.clock.time()
        await lambda_.freeze_for(7200)
        await lambda_.freeze_for(3600)
        assert lambda_.clock.time() - before >= 10_800
        assert (await lambda_.invoke()).status == "success"
        assert [entry.what for entry in lambda_.record.find("freeze")] == ["freeze", "thaw"]


async def test_a_kill_of_the_runtime_is_a_failure_and_then_a_suppressed_init() -> None:
    faults = [KillFault(participant="runtime", phase="invoke", nth=1)]
    async with Simulator([bystander], ScriptedFunction(latency=1), faults=faults) as lambda_:
        failed = await lambda_.invoke()
        assert (failed.status, failed.error_type) == ("failure", "Runtime.ExitError")
    (start, *_) = lambda_.record.events("platform.initStart")
    assert start["phase"] == "init"


async def test_an_error_of_the_scripted_init_is_named_by_the_invocation() -> None:
    async with Simulator(function=ScriptedFunction(init_error_type="Function.Broken")) as lambda_:
        result = await lambda_.invoke()
    assert (result.status, result.error_type) == ("error", "Function.Broken")
    assert [record["phase"] for record in lambda_.record.events("platform.initStart")] == ["init", "invoke"]


async def test_more_than_ten_extensions_fail_init() -> None:
    extensions = [ExtensionSpec(bystander, name=f"e{number}") for number in range(11)]
    async with Simulator(extensions) as lambda_:
        assert (await lambda_.invoke()).error_type == "Extension.TooManyExtensions"


async def test_an_internal_extension_registers_while_the_function_initialises(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        """
import http.client, json, os, threading

def extension():
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    def call(method, path, headers, body=None):
        api.request(method, "/2020-01-01/extension/" + path, body, headers)
        answer = api.getresponse()
        return answer, answer.read()
    me = {"Lambda-Extension-Name": "inside"}
    refused, why = call("POST", "register", me, json.dumps({"events": ["SHUTDOWN"]}))
    print("refused", refused.status, json.loads(why)["errorType"])
    answer, _ = call("POST", "register", me, json.dumps({"events": ["INVOKE"]}))
    registered.set()
    again, why = call("POST", "register", me, json.dumps({"events": ["INVOKE"]}))
    print("again", again.status, json.loads(why)["errorType"])
    me = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
    while True:
        call("GET", "event/next", me)
        print("inside invoked\\n", end="")  # in one write: two threads share the output

registered = threading.Event()
threading.Thread(target=extension, daemon=True).start()
registered.wait(5)

def handler(event, context):
    print(f"handled {event['x']} for {context.identity.cognito_identity_id}\\n", end="")
    return event
"""
    )
    async with Simulator(
        function="app:handler", environment={"PYTHONPATH": str(tmp_path), "_HIDDEN": "1"}, timeout=10
    ) as lambda_:
        caller = {"cognitoIdentityId": "eu-central-1:1", "cognitoIdentityPoolId": "pool"}
        result = await lambda_.invoke(
            {"x": 1}, trace_header="Root=1-2-3", client_context={"custom": {}}, cognito_identity=caller
        )
        assert result.payload == {"x": 1}
        report = await lambda_.shutdown()
    lines = [entry.detail["text"] for entry in lambda_.record.find("output", who="runtime")]
    assert "refused 403 Extension.InvalidEventType" in lines
    assert "again 403 Extension.InvalidExtensionState" in lines
    assert "handled 1 for eu-central-1:1" in lines
    assert report.budget_ms == 500


async def test_a_handler_in_this_process_sees_its_context_and_its_errors_are_answers() -> None:
    async def handler(event: Any, context: FunctionContext) -> Any:
        if event == "fail":
            raise LookupError("gone")
        return [context.request_id, context.trace_header]

    async with Simulator(function=handler) as lambda_:
        good = await lambda_.invoke("x", trace_header="Root=1")
        bad = await lambda_.invoke("fail")
    request_id, header = good.payload
    assert request_id == good.request_id
    (start, *_) = lambda_.record.events("platform.start")
    assert header == f"Root=1;Parent={start['tracing']['spanId']}"
    assert (bad.status, bad.error_type) == ("error", "LookupError")
    assert bad.payload["errorMessage"] == "gone"


@pytest.mark.parametrize(
    ("turn", "status", "error_type"),
    [
        (ScriptedFunction(response={"a": 1}), "success", None),
        (ScriptedFunction(response_size=100), "success", None),
        (ScriptedFunction(response_size=6 * 1024 * 1024 + 1), "error", "Function.ResponseSizeTooLarge"),
        (ScriptedFunction(error_type="Function.Bad"), "error", "Function.Bad"),
        (ScriptedFunction(exit_code=1), "failure", "Runtime.ExitError"),
        (ScriptedFunction(exit_code=137), "error", "Runtime.OutOfMemory"),
        (ScriptedFunction(never_answers=True), "timeout", "Sandbox.Timeout"),
    ],
)
async def test_what_a_scripted_function_can_do(turn: ScriptedFunction, status: str, error_type: str | None) -> None:
    async with Simulator(function=turn, timeout=0.5) as lambda_:
        result = await lambda_.invoke()
    assert (result.status, result.error_type) == (status, error_type)


async def test_managed_instances_end_with_their_runtime() -> None:
    function = ScriptedFunction(exit_code=1)
    async with Simulator(function=function, mode="managed-instances", timeout=1) as lambda_:
        first = await lambda_.invoke(trace_header="Root=1")
        assert (first.status, first.error_type) == ("failure", "Runtime.ExitError")
        await lambda_.wait_for(lambda record: bool(record.find("phase", "shutdown-end")))
        assert (await lambda_.invoke()).error_type == "Sandbox.Failure"
        report = await lambda_.shutdown()
    assert report.budget_ms == 0


async def test_a_managed_invocation_that_is_late_does_not_end_the_environment() -> None:
    function = ScriptedFunction(never_answers=True)
    async with Simulator(function=function, mode="managed-instances", timeout=0.2) as lambda_:
        result = await lambda_.invoke()
        assert (result.status, result.error_type) == ("timeout", "Sandbox.Timedout")
        assert lambda_.record.find("phase", "shutdown-start") == []


async def test_what_cannot_be_started_says_how_to_mend_it(tmp_path: Path) -> None:
    script = tmp_path / "not-executable"
    script.write_text("#!/bin/sh\n")
    async with Simulator([script]) as lambda_:
        assert (await lambda_.invoke()).error_type == "Extension.LaunchError"
    assert "chmod 755" in lambda_.record.findings[0].fix
    async with Simulator(function=[str(tmp_path / "missing")]) as other:
        assert (await other.invoke()).error_type == "Runtime.InvalidEntrypoint"


async def test_the_exit_code_and_traceback_of_a_callable_are_kept() -> None:
    async def leaves(environment: Mapping[str, str]) -> None:
        raise SystemExit(int(environment["CODE"])) if environment["CODE"].isdigit() else SystemExit("words")

    async def breaks(environment: Mapping[str, str]) -> None:
        raise LookupError("broken")

    for extension, code, expected in [(leaves, "7", 7), (leaves, "x", 1), (breaks, "1", 1)]:
        async with Simulator([ExtensionSpec(extension, environment={"CODE": code})]) as lambda_:
            await lambda_.ready()
        (exit_,) = [entry for entry in lambda_.record.find("process", "exit") if entry.who != "runtime"]
        assert exit_.detail["code"] == expected
    assert any("LookupError: broken" in entry.detail["text"] for entry in lambda_.record.find("output"))


async def test_output_without_end_comes_in_pieces(tmp_path: Path) -> None:
    script = tmp_path / "chatty"
    script.write_text(f"#!{sys.executable}\nimport sys\nprint('x' * 600_000)\nsys.stdout.write('tail')\n")
    script.chmod(0o755)
    async with Simulator([script]) as lambda_:
        await lambda_.ready()
    lines = [entry.detail["text"] for entry in lambda_.record.find("output", who="chatty")]
    assert sum(map(len, lines)) == 600_004
    assert lines[-1] == "tail"
    assert len(lines) > 2


async def test_subscribing_late_and_registering_late_are_refused() -> None:
    answers: list[httpx.Response] = []

    async def late(environment: Mapping[str, str]) -> None:
        raw = Raw(environment)
        async with raw.http:
            answers.append(await raw.register("late", "INVOKE", "SHUTDOWN"))
            await raw.next()
            for api in ("telemetry", "logs"):
                uri = {"protocol": "HTTP", "URI": "http://sandbox:1/"}
                answers.append(await raw.subscribe(api, destination=uri))
            intruder = Raw(environment)
            async with intruder.http:
                answers.append(await intruder.register("intruder", "INVOKE"))
            await raw.until_shutdown()

    about = Function(account_id="111122223333")
    async with Simulator([late], about=about) as lambda_:
        await lambda_.invoke()
        await lambda_.shutdown()
    registered, telemetry, logs, intruder = answers
    assert registered.json()["accountId"] == "111122223333"
    assert telemetry.json()["errorType"] == "Telemetry.SubscriptionClosed"
    assert logs.json()["errorType"] == "Logs.SubscriptionClosed"
    assert intruder.json()["errorType"] == "Extension.RegistrationClosed"
    assert "subscribes-late" in [finding.rule for finding in lambda_.record.findings]


async def test_the_runtime_api_refuses_what_does_not_fit() -> None:
    statuses: list[int] = []

    async def probing(event: Any, context: FunctionContext) -> Any:
        async with lambda_.http_client() as http:
            base = "/2018-06-01/runtime"
            for path in (f"{base}/invocation/other/response", f"{base}/invocation/other/error"):
                statuses.append((await http.post(path)).status_code)
            statuses.append((await http.get(f"{base}/invocation/next")).status_code)
            mine = f"{base}/invocation/{context.request_id}/error"
            headers = {"Lambda-Runtime-Function-Error-Type": "Function.Own"}
            statuses.append((await http.post(mine, headers=headers, content=b"{}")).status_code)
            statuses.append((await http.get(f"{base}/restore/next")).status_code)
            statuses.append((await http.put(f"{base}/invocation/next")).status_code)
            statuses.append((await http.get(f"{base}/nowhere")).status_code)
            statuses.append((await http.post(f"{base}/invocation/x/dance")).status_code)
        await anyio.sleep_forever()

    async with Simulator(function=probing, timeout=0.5) as lambda_:
        await lambda_.invoke()
    assert statuses == [400, 400, 403, 202, 404, 405, 404, 404]


async def test_a_function_that_answers_twice_is_refused_the_second_time() -> None:
    async def doubly(event: Any, context: FunctionContext) -> Any:
        async with lambda_.http_client() as http:
            path = f"/2018-06-01/runtime/invocation/{context.request_id}/response"
            first = await http.post(path, content=b"not json")
            assert (first.status_code, (await http.post(path)).status_code) == (202, 403)
        await anyio.sleep_forever()

    async with Simulator(function=doubly, timeout=0.3) as lambda_:
        result = await lambda_.invoke()
    assert result.payload == b"not json"


async def test_a_response_that_is_too_long_is_not_kept_in_memory() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (4 * 1024 * 1024)

    async def lengthy(event: Any, context: FunctionContext) -> Any:
        async with httpx.AsyncClient(base_url=f"http://{lambda_.api}", trust_env=False) as http:
            path = f"/2018-06-01/runtime/invocation/{context.request_id}/response"
            assert (await http.post(path, content=pieces())).status_code == 413
        await anyio.sleep_forever()

    async with Simulator(function=lengthy, timeout=2) as lambda_:
        assert (await lambda_.invoke()).error_type in {"Function.ResponseSizeTooLarge", "Sandbox.Timeout"}


async def test_a_caller_that_leaves_in_the_middle_disturbs_nobody() -> None:
    async with Simulator() as lambda_:
        host, port = lambda_.api.split(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(b"POST /2020-01-01/extension/register HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert (await lambda_.invoke()).status == "success"


async def test_a_next_whose_state_changed_meanwhile_is_refused() -> None:
    answers: list[httpx.Response] = []

    async def torn(environment: Mapping[str, str]) -> None:
        raw = Raw(environment)
        async with raw.http, anyio.create_task_group() as tasks:
            await raw.register("torn", "INVOKE")

            async def wait() -> None:
                answers.append(await raw.http.get(f"{API}/event/next", headers=raw.me))

            tasks.start_soon(wait)
            await lambda_.wait_for(lambda record: bool(record.find("state", "Ready", who="torn")))
            sandbox = lambda_._platform.sandbox
            assert sandbox is not None
            sandbox.table.extensions["torn"].state = "ExitError"
            sandbox.boxes["torn"].put({"eventType": "INVOKE"})

    async with Simulator([torn]) as lambda_:
        await lambda_.wait_for(lambda record: bool(record.find("process", "exit", who="torn")))
    assert answers[0].json()["errorMessage"].endswith("Concurrent state modification")


async def test_a_signal_to_a_process_that_has_gone_does_nothing() -> None:
    process = await GroupProcess.start([sys.executable, "-c", "pass"], {})
    assert await process.run(lambda line: None) == 0
    process.signal(9)


async def test_the_runtime_may_report_that_its_init_failed(tmp_path: Path) -> None:
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(
        f"""#!{sys.executable}
import http.client, os, time
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
headers = {{"Lambda-Runtime-Function-Error-Type": "Function.NoConfig"}}
api.request("POST", "/2018-06-01/runtime/init/error", "{{}}", headers)
time.sleep(5)
"""
    )
    bootstrap.chmod(0o755)
    async with Simulator(function=bootstrap) as lambda_:
        assert (await lambda_.invoke()).error_type == "Function.NoConfig"


async def test_calls_before_anything_lives_are_container_errors() -> None:
    async with Simulator() as lambda_:
        await lambda_.ready()
        await lambda_.shutdown()
        lambda_._platform.ending = None
        async with lambda_.http_client() as http:
            assert (await http.get(f"{API}/event/next")).status_code == 500


async def test_an_extension_that_never_registers_is_named() -> None:
    async def silent(environment: Mapping[str, str]) -> None:
        await anyio.sleep_forever()

    async with Simulator([bystander, silent], init_timeout=1) as lambda_:
        await lambda_.ready()
    assert [finding.rule for finding in lambda_.record.findings] == ["never-registers"]


async def test_who_works_past_the_deadline_is_named() -> None:
    async def lingering(environment: Mapping[str, str]) -> None:
        async with open_extension(name="lingering", environment=Environment.from_mapping(environment)) as extension:
            async for _ in extension:
                await anyio.sleep(0.6)  # it works past its deadline

    async with Simulator([lingering], timeout=0.3) as lambda_:
        assert (await lambda_.invoke()).status == "timeout"
        assert (await lambda_.invoke()).status == "timeout"
    assert [finding.rule for finding in lambda_.record.findings] == ["exceeds-deadline"]


def test_the_record_tells_a_story_and_keeps_a_bounded_part() -> None:
    async def main() -> None:
        async with Simulator(record_limit=10) as lambda_:
            await lambda_.ready()
            assert "init-start" in lambda_.record.story()
            await lambda_.invoke_many(5)
        assert len(lambda_.record) == len(list(lambda_.record)) == 10
        assert lambda_.record.discarded > 0
        assert "earlier entries left out" in lambda_.record.story(last=3)
        assert lambda_.record.counts["phase", "invoke-end"] == 5
        with pytest.raises(RuntimeError, match="twice"):
            await lambda_.__aenter__()

    anyio.run(main)


def test_an_empty_record_has_nothing_to_tell() -> None:
    from lambda_extension.simulator._watching._clock import Clock
    from lambda_extension.simulator._watching._record import Record

    async def main() -> None:
        assert Record(Clock()).story() == "nothing happened\n"

    anyio.run(main)


def test_two_extensions_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="must differ"):
        Simulator([bystander, bystander])


def test_a_python_handler_without_awslambdaric_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    from lambda_extension.simulator._platform._functions import function_argv

    with pytest.raises(ModuleNotFoundError, match="pip install"):
        function_argv("app:handler")
    assert function_argv(["a", Path("b")]) == (["a", "b"], None)
