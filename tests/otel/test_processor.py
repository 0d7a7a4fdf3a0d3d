"""The processor: from events to a real collector, and what becomes of them when the backend does not take them."""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx
import pytest
from converting import HEADER, Converted, done, events, init, line, report, restore, start, values
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otlp_collector import Backend, attribute, collecting, otlp_backend

from lambda_extension import Environment, InvokeEvent, Registration, ShutdownReason, run_telemetry
from lambda_extension.delivery import Payload
from lambda_extension.otel import OpenTelemetryProcessor
from lambda_extension.otel._encoders import Resource
from lambda_extension.otel._exporters import ExporterSink
from lambda_extension.otel._receiving import FunctionTelemetry
from lambda_extension.otel._resource import lambda_resource
from lambda_extension.processing import EndOfInvocation
from lambda_extension.records import named
from lambda_extension.simulator import ExtensionSpec, FunctionContext, Simulator
from lambda_extension.telemetry import TelemetryEvent
from waiting import eventually, listens

REGISTRATION = Registration(
    extension_id="e", extension_name="x", function_name="orders", function_version="7", account_id="111122223333"
)


@pytest.fixture(autouse=True)
def spilling_into_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    # On a busy machine what is to arrive at the end needs longer than Lambda leaves it.
    monkeypatch.setattr("lambda_extension.delivery._delivery.SHUTDOWN_BUDGET", 30.0)


@pytest.fixture
def backend() -> Generator[Backend]:
    with otlp_backend() as served:
        yield served


def processor_for(backend: Backend, *signals: Any, **settings: Any) -> OpenTelemetryProcessor:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, **settings.pop("variables", {})}
    return OpenTelemetryProcessor(signals or ("traces", "logs", "metrics"), variables=variables, **settings)


def invocation(second: float, request_id: str) -> list[TelemetryEvent]:
    return events(
        start(second, request_id),
        line(second + 0.1, f"hello from {request_id}"),
        done(second + 0.5, request_id),
        report(second + 1, request_id),
    )


async def function(event: Any, context: FunctionContext) -> Any:
    context.log(f"handling {event}")
    return event


@pytest.mark.parametrize("protocol", ["http/json", "http/protobuf"])
async def test_a_function_s_life_arrives_at_a_real_collector(backend: Backend, tmp_path: Path, protocol: Any) -> None:
    with collecting(backend, tmp_path) as url:
        processor = OpenTelemetryProcessor(endpoint=url, protocol=protocol, variables={})

        async def extension(variables: Mapping[str, str]) -> None:
            environment = Environment.from_mapping(variables)
            await run_telemetry(processor, flush=EndOfInvocation(), name="otel", environment=environment)

        async with Simulator([ExtensionSpec(extension, name="otel")], function=function) as lambda_:
            for number in range(3):
                assert (await lambda_.invoke(number)).status == "success"
            await lambda_.shutdown()
    # The collector acknowledges before it passes on; it has passed on everything once it has ended.
    counts = processor.statistics()
    assert counts["traces"].delivered == len(backend.spans)
    assert {figures.buffered + figures.spilled + figures.dropped for figures in counts.values()} == {0}
    invokes = [span for span in backend.spans if "/" not in span.name]
    assert len(invokes) == 3
    assert sum(span.name.endswith("/init") for span in backend.spans) == 1
    lines = [record.body.string_value for record in backend.logs]
    assert [f"handling {number}" in lines for number in range(3)] == [True] * 3
    spans_of_lines = {record.span_id for record in backend.logs if record.body.string_value.startswith("handling")}
    assert spans_of_lines == {span.span_id for span in invokes}
    assert {"faas.invocations", "faas.coldstarts", "faas.mem_usage", "faas.init_duration"} <= backend.metrics
    # The platform tells the ARN with an invocation and the account when registering: both are asked for by themselves.
    arn = lambda_.settings.about.arn
    assert {attribute(span, "aws.lambda.invoked_arn") for span in invokes} == {arn}
    assert {attribute(resource, "cloud.account.id") for resource in backend.resources} == {arn.split(":")[4]}


async def test_the_example(backend: Backend) -> None:
    example = Path(__file__).parents[2] / "examples/otlp/otlp.py"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    specification = ExtensionSpec([sys.executable, str(example)], name=example.name, environment=variables)
    async with Simulator([specification], function=function, timeout=20) as lambda_:
        assert (await lambda_.invoke(1)).status == "success"
        report = await lambda_.shutdown()
    assert report.exit_codes[example.name] == 0
    assert [span.name for span in backend.spans if "/" not in span.name]
    assert "handling 1" in [record.body.string_value for record in backend.logs]
    assert "faas.invocations" in backend.metrics


async def test_what_is_not_taken_is_sent_later_once(backend: Backend) -> None:
    processor = processor_for(backend, protocol="http/protobuf")
    await processor.init(REGISTRATION)
    backend.status = 503
    await processor.process(invocation(1, "r1"))
    with anyio.move_on_after(1):
        await processor.flush()
    assert processor.statistics()["traces"].delivered == 0
    backend.status = 200
    await processor.process(invocation(3, "r2"))
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    figures = processor.statistics()
    assert (figures["traces"].delivered, figures["logs"].delivered) == (2, 8)
    assert len(backend.spans) == len({span.span_id for span in backend.spans}) == 2
    assert len(backend.logs) == 8


async def test_one_record_that_the_backend_refuses_costs_the_others_nothing(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.refuses = "poison"
    processor = processor_for(backend, "logs", protocol="http/protobuf")
    await processor.init(REGISTRATION)
    lines = [line(1 + number / 100, "poison" if number == 17 else f"line {number}") for number in range(40)]
    await processor.process(events(start(0.5), *lines))
    await processor.flush()
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    bodies = [record.body.string_value for record in backend.logs]
    assert sorted(body for body in bodies if body.startswith("line")) == sorted(
        f"line {number}" for number in range(40) if number != 17
    )
    figures = processor.statistics()["logs"]
    assert (figures.delivered, figures.dropped_by_reason) == (40, {"rejected": 1})  # with the start
    # Such is all that VictoriaLogs says to JSON: whoever reads the log learns why.
    assert "which are dropped (the backend answered 400 to application/x-protobuf)" in caplog.text


async def test_only_what_is_wanted_is_made(backend: Backend) -> None:
    processor = processor_for(
        backend, protocol="http/protobuf", variables={"OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
    )
    await processor.init(REGISTRATION)
    await processor.process(invocation(1, "r1"))
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    assert list(processor.statistics()) == ["traces"]
    assert len(backend.spans) == 1
    assert backend.logs == []
    off = processor_for(backend, variables={"OTEL_SDK_DISABLED": "true"})
    await off.init(REGISTRATION)
    await off.process(invocation(1, "r1"))
    await off.flush()
    await off.shutdown(ShutdownReason.SPINDOWN, None)
    assert off.statistics() == {}


async def test_a_sampler_that_takes_none_has_no_spans_and_long_values_are_cut(backend: Backend) -> None:
    variables = {"OTEL_TRACES_SAMPLER": "always_off", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5"}
    processor = processor_for(backend, "traces", "logs", protocol="http/protobuf", variables=variables)
    await processor.init(REGISTRATION)
    await processor.process(events(start(1), line(1.5, {"message": "a long message", "note": ["a long note"]})))
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    assert list(processor.statistics()) == ["logs"]
    (own,) = [record for record in backend.logs if record.body.string_value == "a long message"]
    (note,) = [each.value for each in own.attributes if each.key == "note"]
    assert note.array_value.values[0].string_value == "a lon"
    asked = processor_for(backend, "traces", variables=variables, sampled="always")
    assert list(asked.statistics()) == ["traces"]


async def test_metrics_have_an_interval_of_their_own(backend: Backend) -> None:
    processor = processor_for(backend, "metrics", protocol="http/protobuf", metrics_interval=3600.0)
    await processor.init(REGISTRATION)
    await processor.process(invocation(1, "r1"))
    await processor.flush()
    assert processor.statistics()["metrics"].delivered > 0
    sent = len(backend.requests)
    await processor.process(invocation(3, "r2"))
    await processor.flush()
    assert len(backend.requests) == sent
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    assert len(backend.requests) == sent + 1


async def test_after_a_restore_it_is_another_instance(backend: Backend) -> None:
    processor = processor_for(backend, "traces", protocol="http/protobuf")
    await processor.init(REGISTRATION)
    await processor.process(events(*init(0, "snap-start")))
    await processor.flush()
    await processor.process(events(*restore(10)))
    await processor.flush()
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    ids = [
        attribute.value.string_value
        for request in backend.requests
        for resource in request.resource_spans
        for attribute in resource.resource.attributes
        if attribute.key == "service.instance.id"
    ]
    assert len(ids) == len(set(ids)) == 2


async def test_the_console_shows_what_would_be_sent(capsys: pytest.CaptureFixture[str]) -> None:
    processor = OpenTelemetryProcessor(["logs"], variables={"OTEL_LOGS_EXPORTER": "console"})
    await processor.init(REGISTRATION)
    await processor.process(invocation(1, "r1"))
    await processor.flush()
    processor.record_overhead(0.001)
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    (shown,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert "hello from r1" in shown
    assert json.loads(shown)["resourceLogs"]
    assert processor.statistics()["logs"].invocations == 1


# -- the function's own


async def with_function_telemetry(
    processor: OpenTelemetryProcessor, requests: Any, *, flush: bool = True
) -> list[httpx.Response]:
    """Run a processor with its background, send requests, flush and shut down."""
    await processor.init(REGISTRATION)
    answers = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(processor.background)
        async with httpx.AsyncClient(trust_env=False) as client:
            for method, url, headers, content in requests:
                await eventually(partial(listens, urlsplit(url).port or 80))
                answers.append(await client.request(method, url, headers=headers, content=content))
        if flush:
            await processor.flush()
        tasks.cancel_scope.cancel()
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    return answers


def own_spans(*names: str) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for name in names:
        request.resource_spans.add().scope_spans.add().spans.add(name=name, trace_id=b"t" * 16, span_id=b"s" * 8)
    return request


async def test_the_functions_own_telemetry_is_passed_on_in_both_encodings(backend: Backend, free_tcp_port: int) -> None:
    variables = {"OTEL_EXPORTER_OTLP_TIMEOUT": "0"}  # which is no limit
    processor = processor_for(backend, "traces", protocol="http/protobuf", receive=free_tcp_port, variables=variables)
    url = f"http://127.0.0.1:{free_tcp_port}/v1/traces"
    protobuf = {"Content-Type": "application/x-protobuf"}
    zipped = {**protobuf, "Content-Encoding": "gzip"}
    requests = [
        ("POST", url, protobuf, own_spans("one").SerializeToString()),
        ("POST", url, zipped, gzip.compress(own_spans("two", "three").SerializeToString())),
        ("POST", url.replace("traces", "logs"), protobuf, b""),  # which is not exported
    ]
    answers = await with_function_telemetry(processor, requests)
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert sorted(span.name for span in backend.spans) == ["one", "three", "two"]
    assert processor.statistics()["function traces"].delivered == 2


async def test_what_the_function_exports_at_its_very_start_waits_and_is_not_refused(
    backend: Backend, free_tcp_port: int
) -> None:
    """Its init runs beside the extension's, whose background comes last."""
    processor = processor_for(backend, "traces", protocol="http/protobuf", receive=free_tcp_port)
    await processor.init(REGISTRATION)
    answers = []

    async def export() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            body = own_spans("first").SerializeToString()
            answers.append(
                await client.post(f"http://127.0.0.1:{free_tcp_port}/v1/traces", headers=PROTOBUF, content=body)
            )
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(export)
        await anyio.wait_all_tasks_blocked()  # it is connected, and nobody answers
        tasks.start_soon(processor.background)
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    assert [answer.status_code for answer in answers] == [200]
    assert [span.name for span in backend.spans] == ["first"]


async def test_a_port_that_was_listened_on_is_free_after_a_shutdown_without_a_background(
    backend: Backend, free_tcp_port: int
) -> None:
    processor = processor_for(backend, "traces", receive=free_tcp_port)
    await processor.init(REGISTRATION)
    assert listens(free_tcp_port)
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    assert not listens(free_tcp_port)


async def test_what_the_function_exports_after_the_last_flush_leaves_at_the_shutdown(
    backend: Backend, free_tcp_port: int
) -> None:
    processor = processor_for(backend, "traces", protocol="http/protobuf", receive=free_tcp_port)
    url = f"http://127.0.0.1:{free_tcp_port}/v1/traces"
    requests = [("POST", url, PROTOBUF, own_spans(name).SerializeToString()) for name in ("one", "two")]
    await with_function_telemetry(processor, requests, flush=False)
    assert [span.name for span in backend.spans] == ["one", "two"]
    assert processor.statistics()["function traces"].delivered == 2


@pytest.mark.parametrize("kind", ["json", "protobuf"])
async def test_what_is_passed_on_may_get_the_attributes_that_it_lacks(
    backend: Backend, free_tcp_port: int, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console = {"OTEL_TRACES_EXPORTER": "console"} if kind == "json" else {}
    processor = processor_for(
        backend,
        "traces",
        protocol="http/protobuf",
        receive=free_tcp_port,
        receive_resource=True,
        environment=Environment(region="eu-west-1"),
        variables=console,
    )
    url = f"http://127.0.0.1:{free_tcp_port}/v1/traces"
    request = own_spans("one", "two")
    for value in ("service.name", "own"):
        request.resource_spans[0].resource.attributes.add(key=value).value.string_value = "mine"
    body = request.SerializeToString() + b"\x10\x01"  # with a field that nobody knows
    cut = body[:-9]
    if kind == "json":
        mine = [{"key": key, "value": {"stringValue": "mine"}} for key in ("service.name", "own")]
        body = json.dumps({"resourceSpans": [{"resource": {"attributes": mine}, "n": 1}, {"n": 2}]}).encode()
        cut = b'{"resourceSpans": [{"resource": {"attributes": 1}}]}'
    headers = {"Content-Type": "application/json" if kind == "json" else "application/x-protobuf"}
    answers = await with_function_telemetry(
        processor, [("POST", url, headers, body), ("POST", url, headers, cut), ("POST", url, headers, b"")]
    )
    assert [answer.status_code for answer in answers[:2]] == [200, 400]
    if kind == "json":
        (shown,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        first, second = json.loads(shown)["resourceSpans"]
        assert (first["n"], second["n"]) == (1, 2)
        told = [values(each["resource"]["attributes"]) for each in (first, second)]
    else:
        told = [{each.key: each.value.string_value for each in found.attributes} for found in backend.resources]
        assert [span.name for span in backend.spans] == ["one", "two"]
        assert len(backend.resources[0].attributes) == len(told[0])  # none is there twice
    assert [each["faas.name"] for each in told] == ["orders", "orders"]
    assert [each["cloud.region"] for each in told] == ["eu-west-1", "eu-west-1"]
    assert [each["service.name"] for each in told] == ["mine", "orders"]
    assert [each.get("own") for each in told] == ["mine", None]


JSON = {"Content-Type": "application/json"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}
ZIPPED = {**JSON, "Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status"),
    [
        pytest.param("POST", "/v1/profiles", JSON, b"{}", 404, id="signal"),
        pytest.param("POST", "/traces", JSON, b"{}", 404, id="path"),
        pytest.param("GET", "/v1/traces", {}, b"", 405, id="method"),
        pytest.param("POST", "/v1/traces", {"Content-Type": "text/plain"}, b"{}", 415, id="type"),
        pytest.param("POST", "/v1/traces", JSON, b"no JSON", 400, id="no-json"),
        pytest.param("POST", "/v1/traces", JSON, b'{"resourceSpans": 1}', 400, id="no-otlp"),
        pytest.param("POST", "/v1/traces", {**JSON, "Content-Encoding": "br"}, b"{}", 400, id="encoding"),
        pytest.param("POST", "/v1/traces", ZIPPED, b"{}", 400, id="no-gzip"),
        pytest.param("POST", "/v1/traces", ZIPPED, gzip.compress(b"{}")[:-4], 400, id="cut-off"),
        pytest.param("POST", "/v1/traces", ZIPPED, gzip.compress(b" " * 9_000_000), 400, id="bomb"),
        pytest.param("POST", "/v1/traces", JSON, b" " * 9_000_000, 413, id="too-long"),
        pytest.param("POST", "/v1/traces", JSON, b"{}", 200, id="empty"),
        pytest.param("POST", "/v1/traces", PROTOBUF, b"\x0a\x7fcut", 400, id="cut-off-protobuf"),
        pytest.param("POST", "/v1/traces", ZIPPED, gzip.compress(b"{}") * 2, 400, id="two-in-one"),
    ],
)
async def test_what_the_function_may_not_send_is_refused(
    backend: Backend,
    free_tcp_port: int,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    headers: dict[str, str],
    content: bytes,
    status: int,
) -> None:
    processor = processor_for(backend, "traces", receive=free_tcp_port)
    request = (method, f"http://127.0.0.1:{free_tcp_port}{path}", headers, content)
    answers = await with_function_telemetry(processor, [request, request])
    assert [answer.status_code for answer in answers] == [status, status]
    assert caplog.text.count("refused OTLP of the function's") == (status != 200)
    assert processor.statistics().get("function traces", processor.statistics()["traces"]).delivered == 0


async def test_the_functions_own_json_is_put_together(free_tcp_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    processor = OpenTelemetryProcessor(["traces"], receive=free_tcp_port, variables={"OTEL_TRACES_EXPORTER": "console"})
    url = f"http://127.0.0.1:{free_tcp_port}/v1/traces"
    requests = [
        ("POST", url, {"Content-Type": "application/json"}, json.dumps({"resourceSpans": [{"n": n}]}).encode())
        for n in range(3)
    ]
    await with_function_telemetry(processor, requests)
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [each["n"] for text in shown for each in json.loads(text)["resourceSpans"]] == [0, 1, 2]


async def test_what_is_left_is_on_disk_before_the_last_flush_and_sent_once(backend: Backend, tmp_path: Path) -> None:
    processor = processor_for(backend, "traces", "logs", protocol="http/protobuf")
    await processor.init(REGISTRATION)
    await processor.process([*invocation(1, "over"), *events(start(3, "open"), line(3.1, "hello from open"))])
    await processor.store_what_is_left()
    stored = b"".join([await path.read_bytes() async for path in anyio.Path(tmp_path).rglob("*.spill")])
    assert all(text in stored for text in (b"hello from over", b"hello from open"))
    assert not backend.spans
    await processor.flush()
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    assert len(backend.spans) == len({span.span_id for span in backend.spans}) > 0
    assert [figures.delivered for figures in processor.statistics().values()] == [len(backend.spans), 6]


async def test_a_port_in_use_costs_a_warning(
    backend: Backend, free_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=free_tcp_port):
        processor = processor_for(backend, "traces", receive=free_tcp_port)
        await processor.init(REGISTRATION)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(processor.background)
            await eventually(lambda: "is not taken in" in caplog.text)
            tasks.cancel_scope.cancel()
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    assert f"port {free_tcp_port} cannot be used" in caplog.text


async def test_a_function_with_too_much_waiting_is_asked_to_keep_its_own(
    backend: Backend, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_extension.otel._receiving._MOST_WAITING", 1)
    backend.status = 503
    processor = processor_for(backend, "traces", receive=free_tcp_port)
    url = f"http://127.0.0.1:{free_tcp_port}/v1/traces"
    request = ("POST", url, {"Content-Type": "application/x-protobuf"}, own_spans("one").SerializeToString())
    answers = await with_function_telemetry(processor, [request, request], flush=False)
    assert [answer.status_code for answer in answers] == [200, 503]
    assert answers[1].headers["Retry-After"] == "1"


async def test_a_function_whose_bytes_wait_is_asked_to_keep_its_own_too(
    backend: Backend, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_extension.otel._receiving._MOST_WAITING_BYTES", 150_000)
    processor = processor_for(backend, "traces", receive=free_tcp_port, protocol="http/protobuf")
    url = f"http://127.0.0.1:{free_tcp_port}/v1/traces"
    request = ("POST", url, PROTOBUF, own_spans("x" * 100_000).SerializeToString())
    answers = await with_function_telemetry(processor, [request, request])
    assert [answer.status_code for answer in answers] == [200, 503]
    assert len(backend.spans) == 1


async def test_what_the_function_exported_outlives_its_process_when_the_backend_is_dead(
    backend: Backend, free_tcp_port: int
) -> None:
    backend.status = 503
    url = f"http://127.0.0.1:{free_tcp_port}/v1/traces"

    async def live(name: str) -> OpenTelemetryProcessor:
        processor = processor_for(backend, "traces", receive=free_tcp_port, protocol="http/protobuf")
        with anyio.move_on_after(4):
            await with_function_telemetry(processor, [("POST", url, PROTOBUF, own_spans(name).SerializeToString())])
        return processor

    first = await live("one")
    assert first.statistics()["function traces"].spilled == 1
    assert backend.spans == []
    backend.status = 200
    second = await live("two")
    assert [span.name for span in backend.spans] == ["one", "two"]
    figures = second.statistics()["function traces"]
    assert (figures.recovered, figures.delivered, figures.dropped) == (1, 2, 0)


async def test_an_account_that_registration_has_not_told_is_learnt_from_an_invocation(backend: Backend) -> None:
    processor = processor_for(
        backend, "traces", protocol="http/protobuf", environment=Environment(region="eu-west-1", function_name="orders")
    )
    await processor.init(
        Registration(extension_id="e", extension_name="x", function_name="orders", function_version="7")
    )
    arn = "arn:aws:lambda:eu-west-1:111122223333:function:orders:live"
    processor.record_invocation(InvokeEvent(deadline_ms=1, request_id="r0"))
    processor.record_invocation(InvokeEvent(deadline_ms=1, request_id="r1", invoked_function_arn=arn))
    await processor.process(invocation(1, "r1"))
    await processor.flush()
    await processor.process(events(start(3, "r2", functionArn=arn.replace("1111", "9999")), report(4, "r2")))
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    resource_id = "arn:aws:lambda:eu-west-1:111122223333:function:orders:7"  # its version, not the alias
    for resource in backend.resources:
        assert attribute(resource, "cloud.account.id") == "111122223333"
        assert attribute(resource, "cloud.resource_id") == resource_id


# -- exporters of the SDK


async def test_exporters_that_are_passed_are_used_and_shut_down(tmp_path: Path) -> None:
    spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    with (tmp_path / "metrics").open("w") as out:
        processor = OpenTelemetryProcessor(
            span_exporter=lambda: spans,
            log_exporter=lambda: logs,
            metric_exporter=lambda: ConsoleMetricExporter(out=out),
            environment=Environment(region="eu-west-1", memory_size_mb=128),
            variables={},
        )
        await processor.init(REGISTRATION)
        await processor.flush()  # of nothing
        tracing = {"type": "X-Amzn-Trace-Id", "value": HEADER}
        deep = line(2, {"message": "m", "n": 1, "f": 1.5, "l": [True, None], "b": {"c": 2**70}})
        await processor.process(events(*init(0), start(1, tracing=tracing), deep))
        await processor.process(events(done(2.5, status="error"), report(3, status="error"), start(5, "r2")))
        await processor.shutdown(ShutdownReason.SPINDOWN, None)
    finished = spans.get_finished_spans()
    found = [dict(span.attributes or {}).get("faas.invocation_id") for span in finished]
    assert found == [None, "r1", "r2"]
    parent = finished[1].parent
    assert parent is not None
    assert format(parent.span_id, "016x") == "0102030405060708"
    assert finished[1].links[0].context == finished[0].context
    assert finished[1].status.status_code.name == "ERROR"
    records = [found.log_record for found in logs.get_finished_logs()]
    (own,) = [record for record in records if record.body == "m"]
    assert own.attributes is not None
    assert own.attributes["b"] == {"c": str(2**70)}
    assert own.span_id == finished[1].context.span_id
    assert '"faas.errors"' in (tmp_path / "metrics").read_text()
    assert finished[0].resource.attributes["faas.max_memory"] == 128 * 1024 * 1024
    assert {figures.dropped + figures.buffered for figures in processor.statistics().values()} == {0}


class Broken(InMemorySpanExporter):
    """Takes nothing, and does not end either."""

    def export(self, spans: Any) -> SpanExportResult:
        raise OSError("no way")

    def shutdown(self) -> None:
        raise OSError("no end")


async def test_an_exporter_that_fails_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    processor = OpenTelemetryProcessor(["traces"], span_exporter=Broken, variables={})
    await processor.init(REGISTRATION)
    await processor.process(invocation(1, "r1"))
    with anyio.move_on_after(1):
        await processor.shutdown(ShutdownReason.SPINDOWN, None)
    figures = processor.statistics()["traces"]
    assert figures.delivered == 0
    assert figures.spilled + figures.buffered == 1
    assert "an exporter failed" in caplog.text


async def test_one_record_that_an_exporter_cannot_encode_costs_the_others_nothing() -> None:
    class Picky(InMemorySpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            if any(dict(span.attributes or {}).get("faas.invocation_id") == "r2" for span in spans):
                raise ValueError("what is that?")
            return super().export(spans)

    exporter = Picky()
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_EXPORTER": "zipkin"}  # of the function's
    processor = OpenTelemetryProcessor(["traces"], span_exporter=lambda: exporter, variables=variables)
    await processor.init(REGISTRATION)
    for number in range(1, 6):
        await processor.process(invocation(number, f"r{number}"))
    await processor.flush()
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    found = {dict(span.attributes or {})["faas.invocation_id"] for span in exporter.get_finished_spans()}
    assert found == {"r1", "r3", "r4", "r5"}
    figures = processor.statistics()["traces"]
    assert (figures.delivered, figures.dropped_by_reason) == (4, {"rejected": 1})


async def test_an_export_that_was_cut_off_is_adopted_and_not_repeated() -> None:
    going, done_ = threading.Event(), threading.Event()

    class Slow(InMemorySpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            going.set()
            assert done_.wait(5)
            return super().export(spans)

    exporter = Slow()
    processor = OpenTelemetryProcessor(["traces"], span_exporter=lambda: exporter, variables={})
    await processor.init(REGISTRATION)
    await processor.process(invocation(1, "r1"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(processor.flush)
        with anyio.fail_after(5):
            await anyio.to_thread.run_sync(going.wait, 5)
        tasks.cancel_scope.cancel()
    assert processor.statistics()["traces"].delivered == 0
    done_.set()
    await processor.flush()
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    assert processor.statistics()["traces"].delivered == 1
    assert len(exporter.get_finished_spans()) == 1


async def test_an_export_that_was_cut_off_and_failed_is_repeated() -> None:
    going, ended = threading.Event(), threading.Event()

    class Late(InMemorySpanExporter):
        failed = False

        def export(self, spans: Any) -> SpanExportResult:
            going.set()
            assert ended.wait(5)
            if not self.failed:
                self.failed = True
                return SpanExportResult.FAILURE
            return super().export(spans)

    exporter = Late()
    sink = ExporterSink(lambda: exporter, "traces", Resource({}))
    await sink.aclose()  # of nothing
    made = Converted()
    made.take(start(1), done(1.5), report(2))
    pieces = tuple(sink.encoder.encode_event(span) for span in made.spans)
    payload = Payload(id="p", body=b"", items=1, content_type="application/json", pieces=pieces)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sink.send, payload)
        await anyio.to_thread.run_sync(going.wait, 5)
        tasks.cancel_scope.cancel()
    ended.set()
    await sink.send(payload)
    assert len(exporter.get_finished_spans()) == 1
    await sink.aclose()


# -- the rest


async def test_a_shutdown_after_a_failed_init_does_nothing() -> None:
    processor = OpenTelemetryProcessor(variables={})
    await processor.shutdown(ShutdownReason.EXTENSION_ERROR, RuntimeError())


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:4318"])
def test_an_extension_that_would_export_to_itself_is_told_so(endpoint: str | None) -> None:
    with pytest.raises(ValueError, match=r"would export to itself, at port 4318 where it receives: pass endpoint="):
        OpenTelemetryProcessor(receive=4318, endpoint=endpoint, variables={})
    assert OpenTelemetryProcessor(receive=4318, endpoint="http://127.0.0.1:4319", variables={}).statistics()
    assert OpenTelemetryProcessor(receive=4318, endpoint="http://collector:4318", variables={}).statistics()


async def test_what_hooks_and_transforms_leave_out_is_in_the_account(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def drop(record: Any) -> Any:
        return None if record.body == "hello from r1" else record

    def fail(record: Any) -> Any:
        return record.nothing if record.source == "function" else record

    def only_some(span: Any) -> Any:
        return None if values(span.attributes)["faas.invocation_id"] == "r1" else span.nothing

    processor = processor_for(
        backend,
        "traces",
        "logs",
        protocol="http/protobuf",
        transforms=[drop, named(fail, on_failure="drop")],
        span_hook=only_some,
    )
    await processor.init(REGISTRATION)
    await processor.process(invocation(1, "r1"))
    await processor.process(invocation(3, "r2"))
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    traces, logs = (processor.statistics()[signal] for signal in ("traces", "logs"))
    assert (traces.received, traces.filtered_by_name, traces.dropped_by_reason) == (
        2,
        {"hook": 1},
        {"transform_failed": 1},
    )
    assert (logs.received, logs.delivered) == (8, 6)
    assert (logs.filtered_by_name, logs.dropped_by_reason) == ({"drop": 1}, {"transform_failed": 1})
    assert "dropped 1 (transform_failed 1), filtered 1 (hook 1)" in caplog.text


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="signals are of traces, logs, metrics, not 'profiles'"):
        OpenTelemetryProcessor(["profiles"], variables={})  # type: ignore[list-item]  # that is the mistake
    with pytest.raises(ValueError, match="an exporter for traces, which are not among the signals"):
        OpenTelemetryProcessor(["logs"], span_exporter=Broken, variables={})


def test_the_resource_says_what_is_known() -> None:
    environment = Environment(region="eu-west-1", memory_size_mb=256, function_name="other")
    found = lambda_resource(REGISTRATION, environment, service_name="shop", more={"team": "a"})
    assert found.pop("service.instance.id")
    assert found == {
        "service.name": "shop",
        "cloud.provider": "aws",
        "cloud.platform": "aws_lambda",
        "cloud.region": "eu-west-1",
        "cloud.account.id": "111122223333",
        "cloud.resource_id": "arn:aws:lambda:eu-west-1:111122223333:function:orders:7",
        "faas.name": "orders",
        "faas.version": "7",
        "faas.max_memory": 256 * 1024 * 1024,
        "team": "a",
    }
    nothing = Registration(extension_id="e", extension_name="x", function_name="", function_version="$LATEST")
    assert lambda_resource(nothing, Environment())["service.name"] == "unknown_service"
    china = Registration(
        extension_id="e", extension_name="x", function_name="f", function_version="$LATEST", account_id="1"
    )
    arn = lambda_resource(china, Environment(region="cn-north-1"))["cloud.resource_id"]
    assert arn == "arn:aws-cn:lambda:cn-north-1:1:function:f"


def test_nothing_of_opentelemetry_is_needed() -> None:
    code = (
        "import sys\nfrom lambda_extension.otel import OpenTelemetryProcessor\nOpenTelemetryProcessor()\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google', 'requests', 'httpx'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_what_makes_signals_is_imported_with_the_first_events_and_not_before_the_first_next() -> None:
    code = (
        "import asyncio, sys\nfrom lambda_extension import Registration\n"
        "from lambda_extension.otel import OpenTelemetryProcessor\n"
        "def there():\n    names = 'otel._conversion', 'records._correlator', 'otel._protobuf'\n"
        "    print([name for name in names if f'lambda_extension.{name}' in sys.modules])\n"
        "async def main():\n"
        "    processor = OpenTelemetryProcessor(variables={})\n"
        "    await processor.init(Registration(extension_id='e', extension_name='x', function_name='f', "
        "function_version='1'))\n"
        "    there()\n    await processor.process([])\n    there()\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "['otel._conversion', 'records._correlator']"]


@pytest.mark.parametrize(
    "script",
    [
        "examples/otlp/otlp.py",
        *(f"src/lambda_extension/cli/_templates/{kind}/extension.py" for kind in ("otlp", "delivery")),
    ],
)
def test_what_exports_is_imported_once_the_extension_has_registered(script: str) -> None:
    code = (
        "import asyncio, runpy, sys\nimport lambda_extension as own\n"
        "async def run_telemetry(make, **_):\n"
        "    names = 'lambda_extension.otel._processor', 'lambda_extension.delivery._delivery'\n"
        "    print([name for name in names if name in sys.modules])\n"
        "own.run_telemetry = run_telemetry\n"
        "asyncio.run(runpy.run_path(sys.argv[1])['main']())"
    )
    path = str(Path(__file__).parents[2] / script)
    done = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


async def test_what_became_of_everything_is_logged_by_signal(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    processor = processor_for(backend, protocol="http/protobuf")
    await processor.init(REGISTRATION)
    await processor.process(invocation(1, "r1"))
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    for signal in ("traces", "logs", "metrics"):
        assert f"delivery otlp-{signal} until spindown: received" in caplog.text


async def test_a_function_that_leaves_in_the_middle_of_an_export_costs_nothing() -> None:
    async def none(*_: str) -> None:
        pytest.fail("there is nothing to pass on")

    intake = FunctionTelemetry(none)

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pytest.fail("there is nobody to answer")

    scope = {"type": "http", "method": "POST", "path": "/v1/traces", "headers": []}
    await intake(scope, receive, send)
    assert not intake.refused


def test_an_exporter_whose_loop_has_ended_ends_in_silence() -> None:
    """What a process that ends leaves behind in a thread must not print tracebacks."""
    going, ended = threading.Event(), threading.Event()

    class Slow(InMemorySpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            going.set()
            assert ended.wait(5)
            return SpanExportResult.SUCCESS

    async def main() -> None:
        processor = OpenTelemetryProcessor(["traces"], span_exporter=Slow, variables={})
        await processor.init(REGISTRATION)
        await processor.process(invocation(1, "r1"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(processor.flush)
            await anyio.to_thread.run_sync(going.wait, 5)
            tasks.cancel_scope.cancel()

    anyio.run(main)
    ended.set()
    for thread in threading.enumerate():
        if thread.name.startswith("lambda_extension.otel"):
            thread.join(5)
