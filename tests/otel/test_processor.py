"""The processor: from events to a real collector, and what becomes of them when the backend does not take them."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otlp_collector import Backend, collecting, serving

from lambda_extension import Environment, Registration, ShutdownReason, run_telemetry
from lambda_extension.delivery import EndOfInvocation
from lambda_extension.otel import OpenTelemetryProcessor, lambda_resource
from lambda_extension.simulator import ExtensionSpec, FunctionContext, Simulator
from lambda_extension.telemetry import TelemetryEvent, decode

REGISTRATION = Registration(extension_id="e", extension_name="x", function_name="orders", function_version="7")


@pytest.fixture
def backend() -> Generator[Backend]:
    with serving() as served:
        yield served


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


def invocation(request_id: str, *, done: bool = True) -> list[TelemetryEvent]:
    made: list[tuple[str, Any]] = [
        ("platform.start", {"requestId": request_id, "version": "7"}),
        ("function", f"hello from {request_id}"),
        ("platform.runtimeDone", {"requestId": request_id, "status": "success", "metrics": {"durationMs": 5.0}}),
        ("platform.report", {"requestId": request_id, "status": "success", "metrics": {"durationMs": 6.0}}),
    ]
    events = [{"time": "2024-01-01T00:00:00Z", "type": kind, "record": record} for kind, record in made]
    return decode(json.dumps(events if done else events[:2]).encode())


async def function(event: Any, context: FunctionContext) -> Any:
    context.log(f"handling {event}")
    return event


async def test_a_function_s_life_arrives_at_a_real_collector(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting(backend, tmp_path) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        processor = OpenTelemetryProcessor()

        async def extension(variables: Mapping[str, str]) -> None:
            environment = Environment.from_mapping(variables)
            await run_telemetry(processor, flush=EndOfInvocation(), name="otel", environment=environment)

        async with Simulator([ExtensionSpec(extension, name="otel")], function=function) as lambda_:
            for number in range(3):
                assert (await lambda_.invoke(number)).status == "success"
            await lambda_.shutdown()
    # The collector acknowledges before it passes on; it has passed on everything once it has ended.
    counts = processor.statistics()
    assert (counts.exported_spans, counts.pending_spans, counts.pending_logs) == (len(backend.spans), 0, 0)
    invokes = [span for span in backend.spans if span.name.endswith("/invoke")]
    assert len(invokes) == 3
    assert sum(span.name.endswith("/init") for span in backend.spans) == 1
    lines = [record.body.string_value for record in backend.logs]
    assert [f"handling {number}" in lines for number in range(3)] == [True] * 3
    spans_of_lines = {record.span_id for record in backend.logs if record.body.string_value.startswith("handling")}
    assert spans_of_lines == {span.span_id for span in invokes}
    assert {"faas.invocations", "faas.coldstarts", "faas.mem_usage", "faas.init_duration"} <= backend.metrics


async def test_the_example(backend: Backend) -> None:
    example = Path(__file__).parents[2] / "examples/otlp.py"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}
    command = [sys.executable, str(example)]
    specification = ExtensionSpec(command, name=example.name, environment=variables)
    async with Simulator([specification], function=function, timeout=20) as lambda_:
        assert (await lambda_.invoke(1)).status == "success"
        report = await lambda_.shutdown()
    assert report.exit_codes[example.name] == 0
    assert {span.name.split("/")[1] for span in backend.spans} >= {"init", "invoke"}
    assert "handling 1" in [record.body.string_value for record in backend.logs]
    assert "faas.invocations" in backend.metrics


@pytest.mark.parametrize(
    "line",
    [
        {"message": "x", "n": 2**70, "deep": [{"none": None, "n": -(2**64)}], "f": 1e308, "t": True},
        {"no message": None, "n": [2**70], "e": {}},
        [None, 2**70],
        2**70,
        None,
        "\x00 \U0001f600",
    ],
)
async def test_every_json_value_can_be_exported(line: Any, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
    processor = OpenTelemetryProcessor(["logs"])
    await processor.init(REGISTRATION)
    event = {"time": "2024-01-01T00:00:00Z", "type": "function", "record": line}
    await processor.process(decode(json.dumps([event]).encode()))
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    assert processor.statistics().exported_logs == 1
    (record,) = backend.logs
    assert ("1180591620717411303424" in str(record)) == ("1180591620717411303424" in json.dumps(line))


async def test_what_is_not_taken_is_offered_again(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3")
    processor = OpenTelemetryProcessor()
    await processor.init(REGISTRATION)
    backend.status = 400
    await processor.process(invocation("r1"))
    await processor.flush()
    counts = processor.statistics()
    assert (counts.pending_spans, counts.pending_logs, counts.pending_metrics) == (1, 4, 1)
    assert "spans could not be exported: 1 wait for the next flush" in caplog.text
    backend.status = 200
    await processor.process(invocation("r2"))
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    counts = processor.statistics()
    assert (counts.exported_spans, counts.exported_logs, counts.exported_metrics) == (2, 8, 2)
    assert len(backend.spans) == 2
    assert len(backend.logs) == 8


async def test_a_cancelled_flush_loses_nothing(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
    processor = OpenTelemetryProcessor(["traces"])
    await processor.init(REGISTRATION)
    await processor.process(invocation("r1"))
    backend.delay = 0.5
    with anyio.move_on_after(0.1) as scope:
        await processor.flush()
    assert scope.cancelled_caught
    assert processor.statistics().pending_spans == 1
    await processor.flush()
    assert processor.statistics().exported_spans == 1
    assert len(backend.spans) == 2  # the same one twice
    assert len({span.span_id for span in backend.spans}) == 1
    await processor.shutdown(ShutdownReason.SPINDOWN, None)


HANGING = """
import anyio, json, sys
from lambda_extension import Registration
from lambda_extension.otel import OpenTelemetryProcessor
from lambda_extension.telemetry import decode

async def main():
    processor = OpenTelemetryProcessor(["logs"])
    await processor.init(Registration(extension_id="e", extension_name="x", function_name="f", function_version="1"))
    await processor.process(decode(b'[{"time": "2024-01-01T00:00:00Z", "type": "function", "record": "hello"}]'))
    with anyio.move_on_after(0.2):
        await processor.flush()
    print(processor.statistics().pending_logs)

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_a_backend_that_hangs_holds_up_neither_a_deadline_nor_the_exit(backend: Backend, backend_name: str) -> None:
    backend.delay = 8.0
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
    command = [sys.executable, "-c", HANGING, backend_name]
    started = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert time.monotonic() - started < backend.delay
    assert done.stdout == "1\n"


class Broken(InMemorySpanExporter):
    """Takes nothing, and does not end either."""

    def export(self, spans: Any) -> SpanExportResult:
        raise OSError("no way")

    def shutdown(self) -> None:
        raise OSError("no end")


async def test_memory_is_bounded_and_what_is_left_over_is_said(caplog: pytest.LogCaptureFixture) -> None:
    processor = OpenTelemetryProcessor(["traces"], span_exporter=Broken(), max_pending=3)
    await processor.init(REGISTRATION)
    for number in range(5):
        await processor.process(invocation(f"r{number}"))
    assert (processor.statistics().pending_spans, processor.statistics().dropped_spans) == (3, 2)
    assert caplog.text.count("more than 3 spans wait to be exported") == 1
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    assert "the exporter of spans failed" in caplog.text
    assert "the exporter of traces could not be shut down" in caplog.text
    assert "not everything was exported: OpenTelemetryStatistics(exported_spans=0, pending_spans=3" in caplog.text


async def test_exporters_that_are_passed_are_used_and_shut_down(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    with (tmp_path / "metrics").open("w") as out:
        processor = OpenTelemetryProcessor(
            span_exporter=spans,
            log_exporter=logs,
            metric_exporter=ConsoleMetricExporter(out=out),
            environment=Environment(region="eu-west-1", memory_size_mb=128),
        )
        await processor.init(REGISTRATION)
        await processor.flush()  # of nothing
        await processor.process([*invocation("r1"), *invocation("r2", done=False)])
        await processor.shutdown(ShutdownReason.SPINDOWN, None)
    finished = spans.get_finished_spans()
    assert [span.attributes["faas.invocation_id"] for span in finished if span.attributes] == ["r1", "r2"]
    assert len(logs.get_finished_logs()) == 6
    assert "faas.invocations" in (tmp_path / "metrics").read_text()
    assert "everything was exported" in caplog.text
    assert finished[0].resource.attributes["faas.max_memory"] == 128 * 1024 * 1024


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"])
async def test_the_variables_for_time_outs_count(
    variable: str, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
    monkeypatch.setenv(variable, "1")
    processor = OpenTelemetryProcessor(["traces"])
    await processor.init(REGISTRATION)
    await processor.process(invocation("r1"))
    backend.delay = 3.0  # less than what an exporter waits without them
    await processor.flush()
    assert processor.statistics().pending_spans == 1


async def test_logs_alone_belong_to_their_spans_all_the_same() -> None:
    logs = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    processor = OpenTelemetryProcessor(["logs"], log_exporter=logs)
    await processor.init(REGISTRATION)
    await processor.process(invocation("r1"))
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    found = [record.log_record for record in logs.get_finished_logs()]
    assert len(found) == 4
    assert len({record.span_id for record in found}) == 1
    assert processor.statistics().exported_spans == 0


async def test_a_shutdown_after_a_failed_init_does_nothing() -> None:
    processor = OpenTelemetryProcessor()
    await processor.shutdown(ShutdownReason.EXTENSION_ERROR, RuntimeError())


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="signals are of traces, logs, metrics, not 'profiles'"):
        OpenTelemetryProcessor(["profiles"])  # type: ignore[list-item]  # that is the mistake
    with pytest.raises(ValueError, match="an exporter for traces, which are not among the signals"):
        OpenTelemetryProcessor(["logs"], span_exporter=InMemorySpanExporter())


def test_a_missing_package_is_found_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lambda-extension\[otel\]'"):
        OpenTelemetryProcessor()


def test_the_resource_says_what_is_known() -> None:
    environment = Environment(region="eu-west-1", memory_size_mb=256, function_name="other")
    registration = Registration(
        extension_id="e", extension_name="x", function_name="orders", function_version="7", account_id="111122223333"
    )
    found = dict(lambda_resource(registration, environment).attributes)
    assert found.pop("service.instance.id")
    assert {name: value for name, value in found.items() if not name.startswith("telemetry.sdk.")} == {
        "cloud.provider": "aws",
        "cloud.platform": "aws_lambda",
        "cloud.region": "eu-west-1",
        "cloud.account.id": "111122223333",
        "faas.name": "orders",
        "faas.version": "7",
        "faas.max_memory": 256 * 1024 * 1024,
        "service.name": "orders",
    }


def test_the_resource_of_the_process_counts_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "orders")
    nothing = Registration(extension_id="e", extension_name="x", function_name="", function_version="")
    found = lambda_resource(nothing).attributes
    assert (found["service.name"], found["faas.name"]) == ("shop", "orders")
    assert found["deployment.environment"] == "test"
    assert "faas.version" not in found


def test_nothing_of_opentelemetry_is_imported_before_init() -> None:
    code = (
        "import sys\nfrom lambda_extension.otel import OpenTelemetryProcessor\nOpenTelemetryProcessor()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
