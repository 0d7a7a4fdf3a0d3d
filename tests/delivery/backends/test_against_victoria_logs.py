"""Each format against a real server: what was sent is asked back, field by field, count by count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import attrs
import pytest
from records_for_backends import (
    CONTEXT,
    HOSTILE,
    KEPT,
    REQUEST_ID,
    SPAN_ID,
    TRACE_ID,
    hostile,
    log,
    payload_of,
    time_of,
)

from lambda_extension import Registration, ShutdownReason
from lambda_extension.delivery import NDJSON, HTTPSink
from lambda_extension.delivery.sinks import datadog, elasticsearch, loki, splunk, syslog
from lambda_extension.otel import OpenTelemetryProcessor
from lambda_extension.telemetry import FunctionLog, PlatformStart, StartRecord
from victoria_logs import VictoriaLogs, victoria_logs

pytestmark = pytest.mark.timeout(700)  # where the server has to be built first


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaLogs]:
    with victoria_logs(tmp_path_factory.mktemp("victoria")) as running:
        yield running


@attrs.frozen
class Backend:
    """A format, how to send in it, and by which names the server has the fields."""

    sink: Callable[[VictoriaLogs, Any], Any]
    attribute: str
    fields: dict[str, str]
    compressions: tuple[Any, ...] = (None, "gzip")


FUNCTION = CONTEXT.function_arn
BACKENDS = {
    "json": Backend(
        lambda server, compression: HTTPSink(
            f"{server.url}/insert/jsonline?_msg_field=body&_time_field=timestamp&_stream_fields=source",
            encoder=NDJSON(compression=compression),
        ),
        "attributes.{}",
        {"requestId": REQUEST_ID, "severityText": "warning", "functionName": "orders", "traceId": TRACE_ID},
        (None, "gzip", "zstd"),
    ),
    "loki": Backend(
        lambda server, compression: loki(
            f"{server.url}/insert/loki/api/v1/push", labels={"team": "orders"}, compression=compression
        ),
        "{}",
        {
            "team": "orders",
            "source": "function",
            "level": "WARN",
            "request_id": REQUEST_ID,
            "function_arn": str(FUNCTION),
            "cold_start": "true",
            "trace_id": TRACE_ID,
            "memory_size_mb": "512",
        },
    ),
    "elasticsearch": Backend(
        lambda server, compression: elasticsearch(
            f"{server.url}/insert/elasticsearch/_bulk?_msg_field=message&_time_field=@timestamp",
            index="logs",
            compression=compression,
        ),
        "attributes.{}",
        {
            "log.level": "WARN",
            "faas.execution": REQUEST_ID,
            "faas.name": "orders",
            "faas.coldstart": "true",
            "trace.id": TRACE_ID,
            "span.id": SPAN_ID,
            "cloud.region": "eu-west-1",
        },
    ),
    "splunk": Backend(
        lambda server, compression: splunk(
            f"{server.url}/insert/splunk/services/collector/event", token="t", compression=compression
        ),
        "event.attributes.{}",
        {
            "host": "orders",
            "source": "function",
            "sourcetype": "aws:lambda",
            "event.level": "WARN",
            "event.requestId": REQUEST_ID,
            "event.traceId": TRACE_ID,
        },
    ),
    "datadog": Backend(
        lambda server, compression: datadog(
            "key",
            url=f"{server.url}/insert/datadog/api/v2/logs",
            tags={"team": "x"},
            compression=compression,
        ),
        "attributes.{}",
        {
            "status": "WARN",
            "ddsource": "lambda",
            "service": "orders",
            "hostname": str(FUNCTION),
            "lambda.request_id": REQUEST_ID,
            "lambda.cold_start": "true",
            "team": "x",
        },
    ),
    "syslog": Backend(
        lambda server, _: syslog("127.0.0.1", server.syslog_port, tls=False),
        "attributes@32473.{}",
        {
            "hostname": str(FUNCTION),
            "app_name": "orders",
            "severity": "4",
            "lambda@32473.requestId": REQUEST_ID,
            "lambda@32473.traceId": TRACE_ID,
        },
        (None,),
    ),
}
CASES = [
    pytest.param(backend, compression, id=f"{name}-{compression}")
    for name, backend in BACKENDS.items()
    for compression in backend.compressions
]


async def send(sink: Any, records: list[Any]) -> None:
    if hasattr(sink, "__aenter__"):
        async with sink:
            await sink.send(payload_of(sink.encoder, records))
    else:
        await sink.send(payload_of(sink.encoder, records))
        await sink.aclose()


@pytest.mark.parametrize(("backend", "compression"), CASES)
async def test_every_record_is_there_once_with_all_its_fields(
    server: VictoriaLogs, backend: Backend, compression: Any
) -> None:
    marker = uuid4().hex
    await send(backend.sink(server, compression), hostile(marker))
    found = server.wait_for(f'"{backend.attribute.format("marker")}":={marker}', len(HOSTILE))
    by_name = {each[backend.attribute.format("name")]: each for each in found}
    assert len(found) == len(HOSTILE)
    assert by_name.keys() == HOSTILE.keys()
    without_nul = backend is BACKENDS["syslog"]
    for n, (name, body) in enumerate(KEPT.items()):
        expected = body.replace("\x00", "\ufffd") if without_nul else body
        told = by_name[name]
        assert told["_msg"].removeprefix("\ufeff") == expected.removeprefix("\ufeff"), name
        value = told.get(backend.attribute.format("value"), "")
        # VictoriaLogs takes escapes out of structured data before it looks for the ends of values; test_syslog reads
        # them as RFC 5424 has it.
        if backend is not BACKENDS["syslog"] or name in {"plain", "emoji"}:
            assert value == (expected if len(expected) < 1000 else "long"), name
        assert moment(told["_time"]) == moment(time_of(n)), name
        assert {key: told.get(key) for key in backend.fields} == backend.fields


def moment(text: str) -> datetime:
    """Read a time to the millisecond."""
    found = datetime.fromisoformat(text[:23].rstrip("Z") + "+00:00")
    return found.replace(microsecond=found.microsecond // 1000 * 1000)


@pytest.mark.parametrize(("backend", "compression"), CASES)
async def test_a_payload_as_large_as_the_format_takes_arrives_whole(
    server: VictoriaLogs, backend: Backend, compression: Any
) -> None:
    marker = uuid4().hex
    sink = backend.sink(server, compression)
    limits = getattr(sink.encoder, "limits", None)
    size = len(sink.encoder.encode_event(log("x" * 4000, 0, marker=marker, number=10_000))) + 1
    most = (getattr(limits, "bytes", None) or 1_000_000) - 200
    count = min(most // size, getattr(limits, "items", None) or 10_000)
    await send(sink, [log("x" * 4000, n, marker=marker, number=10_000 + n) for n in range(count)])
    field = backend.attribute.format("number")
    found = server.wait_for(f'"{backend.attribute.format("marker")}":={marker} | fields "{field}"', count)
    assert sorted(int(each[field]) for each in found) == [10_000 + n for n in range(count)]


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_otlp_has_every_line_once(server: VictoriaLogs, compression: Any) -> None:
    marker = uuid4().hex
    registration = Registration(extension_id="1", extension_name="x", function_name="orders", function_version="12")
    processor = OpenTelemetryProcessor(
        {"logs"}, endpoint=f"{server.url}/insert/opentelemetry", protocol="http/protobuf", compression=compression
    )
    lines = [
        FunctionLog(time=time_of(n), record={"level": "WARN", "message": body, "marker": marker, "name": name})
        for n, (name, body) in enumerate(HOSTILE.items())
    ]
    await processor.init(registration)
    await processor.process([PlatformStart(time=time_of(0), record=StartRecord(request_id=REQUEST_ID)), *lines])
    await processor.flush()
    await processor.shutdown(ShutdownReason.SPINDOWN, None)
    found = server.wait_for(f"marker:={marker}", len(KEPT))
    assert {each["name"]: each["_msg"] for each in found} == KEPT
    assert len(found) == len(KEPT)
    assert {each["faas.invocation_id"] for each in found} == {REQUEST_ID}
    assert {each["severity_text"] for each in found} == {"WARN"}
