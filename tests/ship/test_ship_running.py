"""The ready-made extension run: beside a function in the simulator, as a process and inside this one."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from http_servers import QuietHandler, serving
from lambda_extension.delivery import sinks
from lambda_extension.ship._configuration import ConfigurationError, read
from lambda_extension.ship._destinations import KINDS, kind_of
from lambda_extension.ship._running import processors, ship
from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator

PREFIX = "LAMBDA_EXTENSION_"
LINES = [
    "order 17 of jane@shop.example",
    json.dumps({"level": "DEBUG", "message": "not wanted"}),
    json.dumps({"level": "ERROR", "message": "card 4111 1111 1111 1111", "code": "k-4711"}),
]
FUNCTION = ScriptedFunction(log_lines=LINES)


class Backend:
    """What takes anything that is posted to it; answers with `status`."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.answer = b""
        self.url = ""

    def bodies(self, path: str) -> str:
        return "\n".join(body.decode() for place, _, body in self.requests if place == path)


@pytest.fixture
def backend() -> Iterator[Backend]:
    told = Backend()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            told.requests.append((self.path, dict(self.headers), self.read_body()))
            self.answer(told.status, told.answer)

    with serving(Handler) as told.url:
        yield told


@pytest.fixture(autouse=True)
def own_spill_directory(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def process(**variables: str) -> ExtensionSpec:
    given = {PREFIX + name: text for name, text in {"NAME": "ship", **variables}.items()}
    return ExtensionSpec([sys.executable, "-m", "lambda_extension", "ship"], name="ship", environment=given)


def inside(**variables: str) -> ExtensionSpec:
    """Run it inside of this process, on the backend of the test."""
    given = {PREFIX + name: text for name, text in {"NAME": "ship", **variables}.items()}

    async def extension(environment: Any) -> None:
        await ship({**environment, **given})

    return ExtensionSpec(extension, name="ship")


async def test_several_destinations_each_get_what_they_want(backend: Backend) -> None:
    spec = inside(
        DESTINATIONS="loki,http,otlp",
        LOKI_URL=backend.url,
        LOKI_LABELS="app=shop",
        LOKI_AUTHORIZATION="Bearer 4711",
        HTTP_URL=f"{backend.url}/reports",
        HTTP_SOURCES="report",
        HTTP_HEADERS="X-Key=4711",
        OTLP_URL=backend.url,
        OTLP_SIGNALS="traces,logs",
        LEVEL="INFO",
        REDACT="email,card",
        REDACT_PATTERN=r"k-(?P<secret>\d+)",
    )
    async with Simulator(extensions=[spec], function=FUNCTION) as lambda_:
        assert (await lambda_.invoke({})).status == "success"
    assert {path for path, _, _ in backend.requests} == {
        *("/loki/api/v1/push", "/reports", "/v1/traces", "/v1/logs"),
    }
    for path in ("/loki/api/v1/push", "/v1/logs"):
        told = backend.bodies(path)
        assert "order 17 of [redacted]" in told
        assert "card [redacted]" in told
        assert "k-[redacted]" in told
        assert "not wanted" not in told
    told = backend.bodies("/loki/api/v1/push")
    assert '"stream":{"app":"shop","source":"function"}' in told
    reports = [json.loads(line) for line in backend.bodies("/reports").splitlines() if line]
    assert [report["source"] for report in reports] == ["report"]
    headers = {path: sent for path, sent, _ in backend.requests}
    assert headers["/loki/api/v1/push"]["Authorization"] == "Bearer 4711"
    assert headers["/reports"]["X-Key"] == "4711"


@pytest.mark.parametrize("sources", ["extension,report", "report"])
async def test_lines_of_extensions_come_where_somebody_wants_them(backend: Backend, sources: str) -> None:
    # What it says of a variable that it does not know is such a line.
    spec = process(DESTINATIONS="http", HTTP_URL=f"{backend.url}/all", HTTP_SOURCES=sources, SKY="blue")
    async with Simulator(extensions=[spec], function=FUNCTION) as lambda_:
        await lambda_.invoke({})
    told = [json.loads(line) for line in backend.bodies("/all").splitlines() if line]
    assert {each["source"] for each in told} == set(sources.split(","))
    assert [each["body"] for each in told if each["source"] == "extension"][:1] == (
        [f"{PREFIX}SKY is no variable of this extension"] if "extension" in sources else []
    )


@pytest.mark.parametrize("destination", [name for name, kind in KINDS.items() if kind.make is not None])
async def test_every_destination_can_be_made_of_its_variables(destination: str) -> None:
    kind = kind_of(destination)
    assert kind is not None
    prefix = f"{PREFIX}{destination.upper().replace('-', '_')}_"
    needed = {prefix + each.name: each.trial or "" for each in kind.variables if each.required}
    configuration = read({f"{PREFIX}DESTINATIONS": destination, f"{PREFIX}SPILL": "off", **needed})
    (made,) = await processors(configuration, {})
    assert getattr(made, "name") == destination  # noqa: B009 - it is any object


def test_every_sink_of_the_library_is_a_destination() -> None:
    made = {str(kind.make.args[0]) for kind in KINDS.values() if isinstance(kind.make, functools.partial)}
    there = {name for name in dir(sinks) if name.islower() or name.endswith("Sink")}
    # Loki has a default of its own; the others are what `embedded_metrics` and `syslog` make.
    assert there - made - {"annotations"} == {"loki", "OutputSink", "SyslogSink"}


async def test_a_dead_backend_costs_telemetry_and_not_the_function(backend: Backend) -> None:
    backend.status = 503
    async with Simulator(extensions=[process(DESTINATIONS="http", HTTP_URL=backend.url)], function=FUNCTION) as lambda_:
        results = [await lambda_.invoke({}) for _ in range(3)]
    assert [result.status for result in results] == ["success"] * 3
    said = [str(entry.detail["text"]) for entry in lambda_.record.find("output", who="ship")]
    assert any("failures" in line for line in said)


async def test_a_wrong_configuration_fails_the_init_and_says_how_to_mend_it() -> None:
    async with Simulator(extensions=[process(DESTINATIONS="loki", POLICY="sometimes")], function=FUNCTION) as lambda_:
        result = await lambda_.invoke({})
    assert result.error_type == "Extension.InitError"
    told = lambda_.record.find("state", "InitError", who="ship")[0].detail
    assert told["error_type"] == "Extension.ConfigurationError"
    said = [str(entry.detail["text"]) for entry in lambda_.record.find("output", who="ship")]
    assert said[:2] == str(told["message"]).splitlines()
    assert said[0].startswith(
        f"{PREFIX}POLICY must be adaptive, end-of-invocation, every:SECONDS, on-size or continuous"
    )
    assert said[1].startswith(f"{PREFIX}LOKI_URL is not set: it must be a URL")


async def test_lambda_is_told_of_a_wrong_configuration_on_each_backend() -> None:
    async with Simulator(extensions=[inside(DESTINATIONS="pigeon")], function=FUNCTION) as lambda_:
        assert (await lambda_.invoke({})).error_type == "Extension.InitError"
    told = str(lambda_.record.find("state", "InitError", who="ship")[0].detail["message"])
    assert told.startswith(f"{PREFIX}DESTINATIONS has 'pigeon', which is no destination")


async def test_a_share_of_the_invocations_and_no_spill(backend: Backend) -> None:
    spec = inside(
        DESTINATIONS="http", HTTP_URL=f"{backend.url}/some", SAMPLE="0", SOURCES="function,report", SPILL="off"
    )
    async with Simulator(extensions=[spec], function=FUNCTION) as lambda_:
        await lambda_.invoke({})
    told = [json.loads(line) for line in backend.bodies("/some").splitlines() if line]
    assert [each["source"] for each in told] == ["report"]


async def test_odd_variables_are_said_and_cost_nothing(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    spec = inside(DESTINATIONS="http", HTTP_URL=backend.url, SKY="blue")
    async with Simulator(extensions=[spec], function=FUNCTION) as lambda_:
        assert (await lambda_.invoke({})).status == "success"
    said = [record.message for record in caplog.records if record.name == "lambda_extension.ship"]
    assert said == [f"{PREFIX}SKY is no variable of this extension"]


async def test_what_a_launcher_has_registered_is_not_registered_again() -> None:
    script = """
import http.server, os, threading
from lambda_extension import early
calls = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        calls.append(self.headers["Lambda-Extension-Name"])
        self.send_error(403)
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{server.server_port}"
early.register(name="of-the-launcher", account_id=True)
from lambda_extension.ship._main import main
try:
    main()
except Exception as error:
    print(type(error).__name__, *calls)
"""
    done = await anyio.run_process([sys.executable, "-c", script])
    assert done.stdout.decode().split() == ["RegistrationError", "of-the-launcher"]


@pytest.mark.parametrize("module", [["lambda_extension", "ship"], ["lambda_extension.ship"]])
async def test_it_says_that_it_was_not_started_by_lambda(module: list[str]) -> None:
    command = [sys.executable, "-m", *module]
    bare = {name: text for name, text in os.environ.items() if name != "AWS_LAMBDA_RUNTIME_API"}
    variables = {**bare, f"{PREFIX}DESTINATIONS": "http", f"{PREFIX}HTTP_URL": "http://127.0.0.1:9"}
    done = await anyio.run_process(command, env=variables, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("AWS_LAMBDA_RUNTIME_API is not set")
    assert done.stderr.decode().count("\n") == 1


async def problems(**variables: str) -> list[str]:
    given = {PREFIX + name: text for name, text in variables.items() if not name.startswith("OTEL")}
    given |= {name: text for name, text in variables.items() if name.startswith("OTEL")}
    with pytest.raises(ConfigurationError) as raised:
        await processors(read(given), given)
    return list(raised.value.problems)


async def test_secrets_that_cannot_be_had_are_named_by_their_variables() -> None:
    told = await problems(DESTINATIONS="splunk,loki", SPLUNK_URL="ssm:/url", SPLUNK_TOKEN="ssm:/t", LOKI_URL="ssm:/url")
    assert told == [
        f"{PREFIX}{name}: ssm:/{parameter} cannot be read: AWS_REGION is not set"
        for name, parameter in (("SPLUNK_URL", "url"), ("SPLUNK_TOKEN", "t"), ("LOKI_URL", "url"))
    ]


KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-1"}


async def test_secrets_go_where_their_variables_say(backend: Backend) -> None:
    backend.answer = json.dumps({"Parameter": {"Value": "4711"}}).encode()
    variables = {**KEYS, "AWS_ENDPOINT_URL": backend.url}
    spec = inside(DESTINATIONS="loki", LOKI_URL=f"{backend.url}/push", LOKI_AUTHORIZATION="ssm:/token")
    async with Simulator(extensions=[spec], function=FUNCTION, environment=variables) as lambda_:
        assert (await lambda_.invoke({})).status == "success"
    headers = {path: sent for path, sent, _ in backend.requests}
    assert headers["/push"]["Authorization"] == "4711"


async def test_a_secret_that_its_variable_cannot_have_is_an_error_without_it(backend: Backend) -> None:
    backend.answer = json.dumps({"Parameter": {"Value": "canary4711"}}).encode()
    given = {f"{PREFIX}DESTINATIONS": "loki", f"{PREFIX}LOKI_URL": "ssm:/url"}
    with pytest.raises(ConfigurationError) as raised:
        await processors(read(given), {**KEYS, "AWS_ENDPOINT_URL": backend.url})
    assert raised.value.problems == (f"what {PREFIX}LOKI_URL refers to must be a URL such as https://logs.example.com",)


async def test_what_opentelemetrys_variables_say_wrongly_is_named() -> None:
    (told,) = await problems(DESTINATIONS="otlp", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert told.startswith("the destination otlp cannot be made: OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported")


async def test_it_does_not_receive_what_it_sends() -> None:
    (told,) = await problems(
        DESTINATIONS="otlp", OTLP_RECEIVE="4318", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318"
    )
    assert told == f"{PREFIX}OTLP_RECEIVE=4318 would receive what it sends: set {PREFIX}OTLP_URL"


async def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats", None)
    (told,) = await problems(DESTINATIONS="jetstream", JETSTREAM_URL="nats://h", JETSTREAM_SUBJECT="s")
    assert told == (
        f"{PREFIX}DESTINATIONS has jetstream, which needs nats: package it by --ship jetstream, or install "
        "lambda-extension[nats]"
    )


# Looks at the modules at the first connection, which is that of register, and ends there.
LOOK = """
import os, runpy, sys
def look(event, _):
    if event == "socket.connect":
        print(*sys.modules, flush=True)
        os._exit(0)
sys.addaudithook(look)
sys.argv = ["ship", "ship"]
runpy.run_module("lambda_extension", run_name="__main__")
"""


def test_nothing_is_imported_before_register() -> None:
    variables = {**os.environ, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", LOOK], env=variables, check=True, capture_output=True, text=True)
    modules = set(done.stdout.split())
    assert "lambda_extension.early" in modules
    heavy = {
        "anyio",
        "attr",
        "asyncio",
        "httpx",
        "msgspec",
        "click",
        "lambda_extension.cli",
        "lambda_extension.processing",
    }
    assert not modules & heavy


def test_only_the_sinks_that_are_asked_for_are_imported_and_no_commands() -> None:
    script = """
import anyio, sys
from lambda_extension.ship._configuration import read
from lambda_extension.ship._running import processors
variables = {"LAMBDA_EXTENSION_DESTINATIONS": "loki", "LAMBDA_EXTENSION_LOKI_URL": "https://h"}
anyio.run(processors, read(variables), variables)
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    modules = set(done.stdout.split())
    assert {name.rpartition(".")[2] for name in modules if name.startswith("lambda_extension.delivery.sinks._")} == {
        "_fields",
        "_loki",
    }
    absent = {"otel", "cli", "simulator", "packaging", "ship._secrets"}
    assert not modules & {*(f"lambda_extension.{room}" for room in absent), "boto3", "click", "httpx", "nats", "rich"}
