"""Whole lives before real backends, everything counted: what was invoked is what the backend has, once.

`nox -s backends`; the first time, the collector is built.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import pytest
from otlp_collector import Backend, attribute, otlp_backend
from real_collector import collecting

from lambda_extension.simulator import ExtensionSpec, FunctionContext, InvocationResult, Simulator
from victoria_logs import victoria_logs

pytestmark = pytest.mark.backends

PROGRAM = Path(__file__).with_name("exporting.py")
INVOCATIONS = 50
LINES = 2


@pytest.fixture
def backend() -> Generator[Backend]:
    with otlp_backend() as served:
        yield served


@pytest.fixture
def loop(anyio_backend: tuple[str, dict[str, Any]]) -> str:
    """What the extension runs on: the same as the test."""
    name, options = anyio_backend
    return "uvloop" if options.get("use_uvloop") else name


def header_of(number: int) -> str:
    """Give the trace of an invocation; every fourth is not sampled."""
    return f"Root=1-67c2d4a0-{number:024x};Parent={number + 1:016x};Sampled={int(number % 4 != 0)}"


def outcome_of(number: int) -> str:
    """Give how an invocation is to end."""
    return {3: "error", 7: "timeout"}.get(number % 25, "success")


async def function(event: dict[str, Any], context: FunctionContext) -> str:
    for line in range(LINES):
        text = f"{context.request_id} {line}"
        # On Managed Instances, where several run at once, a line names its invocation.
        context.log(json.dumps({"requestId": context.request_id, "message": text}) if event["json"] else text)
    if event["outcome"] == "error":
        raise ValueError(event["number"])
    if event["outcome"] == "timeout":
        await anyio.sleep_forever()
    return "done"


def specification(url: str, loop: str, **variables: str) -> ExtensionSpec:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "EXPORTING_LOOP": loop, **variables}
    return ExtensionSpec([sys.executable, str(PROGRAM)], name=PROGRAM.name, environment=environment)


async def invoke(lambda_: Simulator, number: int) -> InvocationResult:
    outcome = outcome_of(number)
    event = {"number": number, "outcome": outcome, "json": lambda_.settings.managed}
    return await lambda_.invoke(event, timeout=1.0 if outcome == "timeout" else 10.0, trace_header=header_of(number))


def figures_of(lambda_: Simulator) -> dict[str, Counter[str]]:
    """Add up what the extension's processes said at their ends."""
    total: dict[str, Counter[str]] = {}
    for entry in lambda_.record.find("output", who=PROGRAM.name):
        word, _, text = entry.detail["text"].partition(" ")
        if word == "figures":
            for name, figures in json.loads(text).items():
                counts = {key: count for key, count in figures.items() if isinstance(count, int)}
                total.setdefault(name, Counter()).update(counts)
    return total


@pytest.mark.parametrize("policy", ["end-of-invocation", "adaptive"])
@pytest.mark.parametrize("mode", ["on-demand", "managed-instances"])
async def test_fifty_invocations_are_at_the_backend_once_each(
    backend: Backend, tmp_path: Path, loop: str, mode: Any, policy: str
) -> None:
    results: dict[int, InvocationResult] = {}
    with collecting(backend, tmp_path) as url:
        extension = specification(url, loop, EXPORTING_POLICY=policy, TMPDIR=str(tmp_path))
        async with Simulator(
            [extension], function, mode=mode, concurrency=5, freeze=mode == "on-demand", timeout=10
        ) as lambda_:
            left = iter(number for number in range(INVOCATIONS) if number != 1)

            async def work() -> None:
                for number in left:
                    results[number] = await invoke(lambda_, number)

            # On Managed Instances the platform says nothing of an invocation that is not sampled; from the first that
            # is, that means what it says.
            results[1] = await invoke(lambda_, 1)
            async with anyio.create_task_group() as tasks:
                for _ in range(lambda_.settings.concurrency):
                    tasks.start_soon(work)
            report = await lambda_.shutdown()
    assert report.exit_codes[PROGRAM.name] == 0
    statuses = {number: result.status for number, result in results.items()}
    assert statuses == {number: outcome_of(number) for number in range(INVOCATIONS)}
    figures = figures_of(lambda_)
    for signal in ("traces", "logs", "metrics"):
        assert figures[signal]["dropped"] == figures[signal]["buffered"] == 0, lambda_.record.story()
    check_spans(backend, results)
    check_logs(backend, results, told=mode == "on-demand")
    if any(counts["failures"] + counts["retries"] + counts["cut_flushes"] for counts in figures.values()):
        return  # something was sent again whose answer did not come in time: on a machine that is far too busy
    assert len({span.span_id for span in backend.spans}) == len(backend.spans)
    assert max(Counter((log.body.string_value, log.time_unix_nano) for log in backend.logs).values()) == 1
    assert backend.sums["faas.invocations"] == sum(status == "success" for status in statuses.values())
    assert backend.sums["faas.errors"] == sum(status == "error" for status in statuses.values())
    assert backend.sums["faas.timeouts"] == sum(status == "timeout" for status in statuses.values())
    assert figures["traces"]["delivered"] == len(backend.spans)
    assert figures["logs"]["delivered"] == len(backend.logs)


def check_spans(backend: Backend, results: dict[int, InvocationResult]) -> None:
    """Check that each sampled invocation has one span, in its trace, with its outcome; and the others none."""
    invokes = {attribute(span, "faas.invocation_id"): span for span in backend.spans if "/" not in span.name}
    sampled = {result.request_id: number for number, result in results.items() if "Sampled=1" in header_of(number)}
    assert invokes.keys() == sampled.keys()
    for request_id, number in sampled.items():
        span = invokes[request_id]
        assert span.trace_id.hex() == f"67c2d4a0{number:024x}"
        assert (attribute(span, "error.type") is None) == (outcome_of(number) == "success")
        assert span.status.code == (0 if outcome_of(number) == "success" else 2)
    assert len({span.span_id for span in backend.spans if "/" not in span.name}) == len(invokes)


def check_logs(backend: Backend, results: dict[int, InvocationResult], *, told: bool) -> None:
    """Check that each line is there once, in the trace of its invocation, and so are the platform's events.

    Args:
        backend: What took them.
        results: What was invoked.
        told: Whether the platform tells of traces that are not sampled.
    """
    lines = Counter(record.body.string_value for record in backend.logs if not record.event_name)
    wanted = {f"{result.request_id} {line}" for result in results.values() for line in range(LINES)}
    assert wanted <= lines.keys()
    numbers = {result.request_id: number for number, result in results.items()}
    for record in backend.logs:
        text = record.body.string_value
        if text in wanted and (told or "Sampled=1" in header_of(numbers[text.partition(" ")[0]])):
            assert record.trace_id.hex() == f"67c2d4a0{numbers[text.partition(' ')[0]]:024x}"
    events = Counter(
        (record.event_name, attribute(record, "faas.invocation_id")) for record in backend.logs if record.event_name
    )
    for request_id in numbers:
        assert events["platform.start", request_id] >= 1
        assert events["platform.report", request_id] >= 1


def order_of(number: int, request_id: str) -> dict[str, Any]:
    """Give a line with a value of each kind that JSON has."""
    order = {"id": number, "rows": [1, 2.5, None, True, {"sku": "\u00e9\U0001f600"}]}
    moment = f"2026-03-01T10:00:{number:02}.123Z"
    about = {"level": "ERROR", "timestamp": moment, "requestId": request_id, "message": f"order {number}"}
    return {**about, "order": order, "price": 0.5, "paid": number % 2 == 0, "note": 'a "quoted"\nline'}


async def accept_order(event: dict[str, Any], context: FunctionContext) -> str:
    context.log(json.dumps(order_of(event["number"], context.request_id)))
    return await function(event, context)


@pytest.mark.parametrize(("mode", "policy"), [("on-demand", "end-of-invocation"), ("managed-instances", "adaptive")])
async def test_victoria_logs_has_every_line_of_fifty_invocations_once_field_by_field(
    tmp_path: Path, loop: str, mode: Any, policy: str
) -> None:
    with victoria_logs(tmp_path) as server:
        variables = {
            "EXPORTING_POLICY": policy,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",  # it takes no other
            "OTEL_TRACES_EXPORTER": "none",  # nor these
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_RESOURCE_ATTRIBUTES": "team=orders",
            "TMPDIR": str(tmp_path),
        }
        extension = specification(f"{server.url}/insert/opentelemetry", loop, **variables)
        settings: dict[str, Any] = {"mode": mode, "concurrency": 5, "freeze": mode == "on-demand"}
        async with Simulator([extension], accept_order, log_format="JSON", timeout=10, **settings) as lambda_:
            results = {1: await invoke(lambda_, 1)}
            left = iter(number for number in range(INVOCATIONS) if number != 1)

            async def work() -> None:
                for number in left:
                    results[number] = await invoke(lambda_, number)

            async with anyio.create_task_group() as tasks:
                for _ in range(lambda_.settings.concurrency):
                    tasks.start_soon(work)
            report = await lambda_.shutdown()
        assert report.exit_codes[PROGRAM.name] == 0
        assert {number: result.status for number, result in results.items()} == {
            number: outcome_of(number) for number in range(INVOCATIONS)
        }
        figures = figures_of(lambda_)["logs"]
        assert figures["dropped"] == figures["buffered"] == 0
        # What an invocation that timed out left behind is sent by the process that comes after it.
        found = server.wait_for("*", figures["delivered"])
        check_orders(found, results, told=mode == "on-demand")
        if not figures["failures"] + figures["retries"] + figures["cut_flushes"]:
            assert len(found) == figures["delivered"]
            assert max(Counter((each["_msg"], each["_time"]) for each in found).values()) == 1


def check_orders(found: list[dict[str, Any]], results: dict[int, InvocationResult], *, told: bool) -> None:
    """Check that each order is there with all that its line had, and each line of text and event of the platform."""
    messages = Counter(each["_msg"] for each in found)
    events = Counter((each.get("event_name"), each.get("faas.invocation_id")) for each in found)
    orders = {each["faas.invocation_id"]: each for each in found if each.get("severity_text") == "ERROR"}
    for number, result in results.items():
        traced = told or "Sampled=1" in header_of(number)
        order = orders[result.request_id]
        wanted = {
            "_msg": f"order {number}",
            "_time": f"2026-03-01T10:00:{number:02}.123Z",
            "severity_number": "17",
            "order.id": str(number),
            "price": "0.5",
            "paid": str(number % 2 == 0).lower(),
            "note": 'a "quoted"\nline',
            "aws.lambda.log_source": "function",
            "faas.name": "test_function",
            "service.name": "test_function",
            "cloud.platform": "aws_lambda",
            "scope.name": "lambda_extension.otel",
            "team": "orders",
            **({"trace_id": f"67c2d4a0{number:024x}"} if traced else {}),
        }
        assert {name: order.get(name) for name in wanted} == wanted
        assert json.loads(order["order.rows"]) == order_of(number, "")["order"]["rows"]
        assert all(messages[f"{result.request_id} {line}"] for line in range(LINES))
        assert events["platform.start", result.request_id]
        assert events["platform.report", result.request_id]


async def test_a_trace_is_complete_before_the_freeze(backend: Backend, tmp_path: Path, loop: str) -> None:
    with collecting(backend, tmp_path) as url:
        extension = specification(url, loop, EXPORTING_END="runtime_done", TMPDIR=str(tmp_path))
        async with Simulator([extension], function, freeze=True, timeout=10) as lambda_:
            for number in range(1, 21):
                event = {"number": number, "outcome": "success", "json": False}
                result = await lambda_.invoke(event, trace_header=header_of(1))
                there = {attribute(span, "faas.invocation_id") for span in backend.spans}
                assert result.request_id in there
            await lambda_.shutdown()
    assert sum("/" not in span.name for span in backend.spans) == 20


async def test_spans_of_an_instrumented_function_are_children_of_the_platform_s_and_there_before_the_freeze(
    backend: Backend, tmp_path: Path, loop: str, free_tcp_port: int
) -> None:
    """A real handler under awslambdaric, OpenTelemetry's instrumentation, its SDK's exporter, our receiver."""
    variables = {
        "PYTHONPATH": str(PROGRAM.parent),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_tcp_port}",
        "OTEL_PROPAGATORS": "tracecontext,xray-lambda",
    }
    results = []
    with collecting(backend, tmp_path) as url:
        extension = specification(url, loop, EXPORTING_RECEIVE=str(free_tcp_port), TMPDIR=str(tmp_path))
        async with Simulator(
            [extension], "instrumented:handler", freeze=True, tracing=True, timeout=20, environment=variables
        ) as lambda_:
            for number in range(10):
                results.append(await lambda_.invoke(number))
                assert f"work {number}" in {span.name for span in backend.spans}
            await lambda_.shutdown()
    spans = {span.span_id: span for span in backend.spans}
    assert len(spans) == len(backend.spans)
    platform = {
        attribute(span, "faas.invocation_id"): span
        for span in backend.spans
        if attribute(span, "faas.coldstart") is not None
    }
    for number, result in enumerate(results):
        (work,) = [span for span in backend.spans if span.name == f"work {number}"]
        handler = spans[work.parent_span_id]
        assert attribute(handler, "faas.invocation_id") == result.request_id
        invoke = spans[handler.parent_span_id]
        assert invoke is platform[result.request_id]
        assert {span.trace_id for span in (work, handler, invoke)} == {invoke.trace_id}
    assert figures_of(lambda_)["function traces"]["dropped"] == 0
