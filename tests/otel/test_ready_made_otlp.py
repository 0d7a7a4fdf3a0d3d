"""The ready-made extension exports by a real collector what it saw, and what the function itself has sent it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_collector import collecting, otlp_backend

from http_servers import free_port
from lambda_extension.simulator import ExtensionSpec, FunctionContext, Simulator
from waiting import eventually, listens


def span_of_the_function() -> bytes:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.name, span.trace_id, span.span_id = "the function's own", os.urandom(16), os.urandom(8)
    return request.SerializeToString()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the simulator's; the extension is a process
async def test_a_collector_gets_what_was_seen_and_what_the_function_sends(tmp_path: Path) -> None:
    port = free_port()

    async def function(event: Any, context: FunctionContext) -> int:
        await eventually(lambda: listens(port))
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(
                f"http://127.0.0.1:{port}/v1/traces",
                content=span_of_the_function(),
                headers={"Content-Type": "application/x-protobuf"},
            )
        return answer.status_code

    with otlp_backend() as backend:
        with collecting(backend, tmp_path) as url:
            environment = {
                "LAMBDA_EXTENSION_NAME": "ship",
                "LAMBDA_EXTENSION_DESTINATIONS": "otlp",
                "LAMBDA_EXTENSION_OTLP_URL": url,
                "LAMBDA_EXTENSION_OTLP_RECEIVE": str(port),
                # Where the function's exporter sends to.
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            }
            command = [sys.executable, "-m", "lambda_extension", "ship"]
            spec = ExtensionSpec(command, name="ship", environment=environment)
            async with Simulator(extensions=[spec], function=function) as lambda_:
                assert (await lambda_.invoke({})).payload == 200
        names = {span.name for span in backend.spans}
    assert {"the function's own", "test_function"} <= names
