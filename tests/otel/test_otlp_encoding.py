"""OTLP's two encodings say the same, and the generated classes of opentelemetry-proto read both."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import math
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from converting import TRACING, Converted, done, init, line, report, start
from google.protobuf import json_format
from hypothesis import given, strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from lambda_extension.delivery import Payload, SinkError
from lambda_extension.otel._encoders import SCHEMA_URL, SCOPE, OTLPEncoder, Resource, read_answer
from lambda_extension.otel._model import OTLPLogRecord
from lambda_extension.otel._values import Limits, any_value, nanoseconds, text
from strategies import json_values

REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
RESOURCE = Resource({"service.name": "orders", "faas.max_memory": 128, "unknown": None})


def encoded(signal: Any, items: list[Any], protocol: Any) -> bytes:
    encoder = OTLPEncoder(signal=signal, resource=RESOURCE, protocol=protocol, version="1.0")
    return encoder.join([encoder.encode_event(item) for item in items])


def with_base64(value: Any) -> Any:
    """Write ids as Protobuf's JSON mapping does; OTLP's has them in hexadecimal."""
    if isinstance(value, dict):
        ids = {"traceId", "spanId", "parentSpanId"}
        return {
            key: base64.b64encode(bytes.fromhex(item)).decode() if key in ids else with_base64(item)
            for key, item in value.items()
        }
    return [with_base64(item) for item in value] if isinstance(value, list) else value


def same(signal: Any, items: list[Any]) -> Any:
    """Check that both encodings are the same request, and return it."""
    by_json = json_format.ParseDict(with_base64(json.loads(encoded(signal, items, "http/json"))), REQUESTS[signal]())
    by_protobuf = REQUESTS[signal].FromString(encoded(signal, items, "http/protobuf"))
    assert by_json == by_protobuf
    return by_protobuf


def test_all_signals_are_the_same_in_both() -> None:
    made = Converted()
    parts = [{"name": "responseLatency", "start": "2026-03-01T10:00:03.100Z", "durationMs": 200.5}]
    made.take(*init(0), start(3, tracing=TRACING), line(3.2, "hello \u00e9"), line(3.3, {"message": [1, {"a": None}]}))
    made.take(done(3.5, status="error", errorType="X", spans=parts), report(4, status="error", errorType="X"))
    made.take(start(5, "r2"), done(5.5, "r2"), report(6, "r2", metrics={"billedDurationMs": 2, "maxMemoryUsedMB": 3}))
    made.finish()
    traces = same("traces", made.spans)
    (resource,) = traces.resource_spans
    (scope,) = resource.scope_spans
    assert (scope.scope.name, scope.scope.version, scope.schema_url) == (SCOPE, "1.0", SCHEMA_URL)
    assert [attribute.key for attribute in resource.resource.attributes] == ["service.name", "faas.max_memory"]
    assert len(scope.spans) == len(made.spans) == 4
    assert same("logs", made.logs)
    assert same("metrics", made.conversion.collect())
    few = Converted(limits=Limits(count=1), log_limits=Limits(count=4))
    few.take(start(1), line(1.5, {"message": "m", "a": 1, "b": 2}), done(2), report(3))
    (span,) = same("traces", few.spans).resource_spans[0].scope_spans[0].spans
    assert span.dropped_attributes_count == 1
    counts = [
        each.dropped_attributes_count for each in same("logs", few.logs).resource_logs[0].scope_logs[0].log_records
    ]
    assert max(counts) > 0


@given(json_values)
def test_any_value_is_the_same_in_both(value: Any) -> None:
    same(
        "logs",
        [OTLPLogRecord(body=any_value(value)), OTLPLogRecord(attributes=[{"key": "k", "value": any_value(value)}])],
    )


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (b"\x00\xff", {"bytesValue": "AP8="}),
        (math.inf, {"doubleValue": "Infinity"}),
        (-math.inf, {"doubleValue": "-Infinity"}),
        ({1}, {"stringValue": "{1}"}),
        (2**63, {"stringValue": str(2**63)}),
        (-(2**63), {"intValue": str(-(2**63))}),
        ("cut \ud83d", {"stringValue": "cut \ufffd"}),
    ],
)
def test_odd_values_have_a_form(value: Any, wanted: Any) -> None:
    assert any_value(value) == wanted
    same("logs", [OTLPLogRecord(body=any_value(value))])


def test_not_a_number_has_a_form() -> None:
    assert any_value(math.nan) == {"doubleValue": "NaN"}


def test_what_is_too_deep_and_no_json_either_is_named_by_its_type() -> None:
    deep: Any = ["\ud83d"]
    for _ in range(25):
        deep = [deep]
    assert "list" in json.dumps(any_value(deep))


def test_times_that_otlp_cannot_carry_are_unknown() -> None:
    assert [nanoseconds(each) for each in (None, -1, 0, 2**63, 2**63 - 1)] == [0, 0, 0, 0, 2**63 - 1]
    assert text("plain") == "plain"


def test_requests_are_what_they_say_they_are() -> None:
    assert OTLPEncoder(signal="logs", resource=RESOURCE).content_type == "application/json"
    assert (
        OTLPEncoder(signal="logs", resource=RESOURCE, protocol="http/protobuf").content_type == "application/x-protobuf"
    )
    assert msgspec.json.decode(encoded("logs", [], "http/json"))["resourceLogs"][0]["scopeLogs"][0]["logRecords"] == []


def payload(items: int, content_type: str = "application/json") -> Payload:
    return Payload(id="p", body=b"", items=items, content_type=content_type)


@pytest.mark.parametrize(
    ("response", "field", "json_field"),
    [
        (ExportTraceServiceResponse(), "rejected_spans", "rejectedSpans"),
        (ExportLogsServiceResponse(), "rejected_log_records", "rejectedLogRecords"),
        (ExportMetricsServiceResponse(), "rejected_data_points", "rejectedDataPoints"),
    ],
    ids=["traces", "logs", "metrics"],
)
def test_a_partial_success_is_read_and_counted(response: Any, field: str, json_field: str) -> None:
    setattr(response.partial_success, field, 300)
    response.partial_success.error_message = "not these"
    by_json = json.dumps({"partialSuccess": {json_field: "300", "errorMessage": "not these"}}).encode()
    for content_type, body in (("application/json", by_json), ("application/x-protobuf", response.SerializeToString())):
        with pytest.raises(SinkError, match="but for 300 of its 500 items") as caught:
            read_answer(payload(500, content_type), 200, body)
        assert len(caught.value.rejected) == 300
        with pytest.raises(SinkError) as caught:
            read_answer(payload(2, content_type), 200, body)
        assert caught.value.rejected == (0, 1)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"no JSON", b'{"partialSuccess": 1}', b'{"partialSuccess": {}}'])
def test_an_answer_that_says_nothing_is_a_success(body: bytes) -> None:
    read_answer(payload(5), 200, body)


@given(st.binary(max_size=40))
def test_any_answer_can_be_read(body: bytes) -> None:
    for content_type in ("application/json", "application/x-protobuf"):
        with suppress(SinkError):
            read_answer(payload(5, content_type), 200, body)


@pytest.mark.parametrize("body", [b"\x08" + b"\xff" * 10 + b"\x01", b"\x0a\x0b\x08" + b"\xff" * 10, b"\x0d1234"])
def test_an_answer_that_is_no_message_rejects_nothing(body: bytes) -> None:
    read_answer(payload(5, "application/x-protobuf"), 200, body)


@pytest.mark.parametrize(
    ("status", "halved", "kept", "silent"),
    [
        (400, True, False, False),
        (413, True, False, False),
        (408, False, False, False),
        (425, False, False, False),
        (500, False, False, False),
        (429, False, True, True),
        (503, False, True, True),
        (401, False, True, True),
    ],
)
def test_what_a_refusal_means(status: int, halved: bool, kept: bool, silent: bool) -> None:
    if silent:  # what it means is for HTTPSink to say
        read_answer(payload(5), status, b"")
        return
    with pytest.raises(SinkError) as caught:
        read_answer(payload(5), status, b"")
    assert (caught.value.too_large, caught.value.keep, caught.value.retryable) == (halved, kept, False)


@pytest.mark.parametrize(("status", "too_large"), [(400, False), (422, False), (413, True)])
def test_an_item_that_is_refused_alone_is_rejected_unless_its_length_is_named(status: int, too_large: bool) -> None:
    with pytest.raises(SinkError, match=f"the backend answered {status} to application/json") as caught:
        read_answer(payload(1), status, b"")
    assert (caught.value.too_large, caught.value.keep) == (too_large, False)


def test_the_scope_has_the_version_that_is_installed() -> None:
    request = msgspec.json.decode(OTLPEncoder(signal="logs", resource=RESOURCE).join([]))
    scope = request["resourceLogs"][0]["scopeLogs"][0]["scope"]
    assert scope == {"name": "lambda_extension.otel", "version": importlib.metadata.version("lambda-extension")}
