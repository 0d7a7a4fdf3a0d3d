"""Invocations over HTTP, without a socket, and who may make them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from lambda_extension.cli._gateway import PATH, Gateway
from lambda_extension.simulator import FunctionContext, InvocationResult, ScriptedFunction, Simulator
from lambda_extension.simulator._apis._local import LocalOnly


@asynccontextmanager
async def gateway(function: Any) -> AsyncGenerator[tuple[httpx.AsyncClient, Gateway, Simulator]]:
    """Put a gateway in front of a simulated function."""
    async with Simulator(function=function) as simulator, anyio.create_task_group() as tasks:
        app = Gateway(simulator.invoke, tasks)
        transport = httpx.ASGITransport(app=LocalOnly(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            with anyio.fail_after(5):
                yield client, app, simulator


async def double(event: Any, context: FunctionContext) -> Any:
    context.log(f"doubling {event}")
    return event * 2


async def test_an_answer_is_the_function_s(anyio_backend: object) -> None:
    async with gateway(double) as (client, _, _):
        answer = await client.post(PATH, json="größe")
        other = await client.post("/2015-03-31/functions/any-name/invocations", json=2)
    assert answer.status_code == 200
    assert answer.json() == "größegröße"
    assert answer.headers["x-amz-executed-version"] == "$LATEST"
    assert len(answer.headers["x-amzn-requestid"]) == 36
    assert "x-amz-function-error" not in answer.headers
    assert other.json() == 4


async def test_the_tail_of_the_log_comes_where_it_is_asked_for(anyio_backend: object) -> None:
    async with gateway(double) as (client, _, _):
        answer = await client.post(PATH, json=1, headers={"X-Amz-Log-Type": "Tail"})
        without = await client.post(PATH, json=1)
    assert base64.b64decode(answer.headers["x-amz-log-result"]) == b"doubling 1\n"
    assert "x-amz-log-result" not in without.headers


async def test_a_function_s_error_is_an_answer(anyio_backend: object) -> None:
    async def broken(event: Any, context: FunctionContext) -> None:
        raise LookupError("no tea")

    async with gateway(broken) as (client, _, _):
        answer = await client.post(PATH)
    assert answer.status_code == 200
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.json() == {"errorMessage": "no tea", "errorType": "LookupError"}


async def test_an_invocation_without_an_answer_has_an_error_of_its_own(anyio_backend: object) -> None:
    async with gateway(ScriptedFunction(exit_code=1)) as (client, _, _):
        answer = await client.post(PATH)
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert answer.json() == {"errorType": "Runtime.ExitError", "errorMessage": "the invocation ended with failure"}


async def test_an_event_is_not_waited_for_and_a_dry_run_runs_nothing(anyio_backend: object) -> None:
    called = anyio.Event()

    async def function(event: Any, context: FunctionContext) -> None:
        called.set()

    async with gateway(function) as (client, _, simulator):
        dry = await client.post(PATH, headers={"X-Amz-Invocation-Type": "DryRun"})
        assert (dry.status_code, simulator.record.counts["phase", "invoke-start"]) == (204, 0)
        event = await client.post(PATH, headers={"X-Amz-Invocation-Type": "Event"})
        assert (event.status_code, event.content) == (202, b"")
        await called.wait()


async def test_trace_header_and_client_context_reach_the_invocation(anyio_backend: object) -> None:
    seen: dict[str, Any] = {}

    async def invoke(payload: Any, **options: Any) -> InvocationResult:
        seen.update(options, payload=payload)
        return InvocationResult(
            request_id="r",
            payload=b"raw",
            response=b"raw",
            status="success",
            error_type=None,
            duration_ms=1,
            billed_duration_ms=1,
            extension_overhead_ms=0,
            logs=(),
        )

    async with anyio.create_task_group() as tasks:
        transport = httpx.ASGITransport(app=Gateway(invoke, tasks))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            context = base64.b64encode(json.dumps({"client": 1}).encode()).decode()
            headers = {"X-Amzn-Trace-Id": "Root=1", "X-Amz-Client-Context": context}
            answer = await client.post(PATH, headers=headers)
    assert seen == {"payload": b"{}", "trace_header": "Root=1", "client_context": {"client": 1}}
    assert answer.content == b"raw"


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "kind"),
    [
        ("GET", PATH, {}, b"", 405, "MethodNotAllowedException"),
        ("POST", "/", {}, b"", 404, "ResourceNotFoundException"),
        ("POST", PATH, {}, b"{", 400, "InvalidRequestContentException"),
        ("POST", PATH, {"x-amz-client-context": "?"}, b"", 400, "InvalidRequestContentException"),
        ("POST", PATH, {"x-amz-invocation-type": "Other"}, b"", 400, "InvalidParameterValueException"),
        ("POST", PATH, {}, b" " * (6 * 1024 * 1024 + 1), 413, "RequestTooLargeException"),
    ],
)
async def test_what_is_no_invocation_is_refused_as_lambda_does(
    method: str, path: str, headers: Mapping[str, str], body: bytes, status: int, kind: str, anyio_backend: object
) -> None:
    async with gateway(double) as (client, _, simulator):
        answer = await client.request(method, path, headers=headers, content=body)
        assert simulator.record.counts["phase", "invoke-start"] == 0
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (status, kind)
    assert answer.json()["message"]


async def test_a_gateway_that_closes_takes_no_more(anyio_backend: object) -> None:
    async with gateway(double) as (client, app, _):
        app.close()
        assert (await client.post(PATH)).status_code == 503


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"host": "localhost:8080"}, True),
        ({"host": "[::1]:8080"}, True),
        ({"host": "sandbox.localdomain:9001"}, True),
        ({"host": "app.localhost"}, True),
        ({"host": "evil.example"}, False),
        ({"host": "127.0.0.1.evil.example"}, False),
        ({"host": "192.168.1.1:8080"}, False),
        ({"host": ""}, False),
        ({"host": "[::1"}, False),
        ({"host": "größe"}, False),
        ({"origin": "http://localhost:3000"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "none"}, True),
    ],
    ids=str,
)
async def test_a_web_page_may_not_call(headers: Mapping[str, str], allowed: bool, anyio_backend: object) -> None:
    sent = [(name.encode(), text.encode()) for name, text in headers.items()]
    async with gateway(double) as (client, _, _):
        answer = await client.post(PATH, json=1, headers=sent)
    assert answer.status_code == (200 if allowed else 403)


async def test_the_apis_refuse_a_web_page_too(anyio_backend: object) -> None:
    async with Simulator() as simulator, httpx.AsyncClient() as client:
        url = f"http://{simulator.api}/2018-06-01/runtime/invocation/next"
        answer = await client.get(url, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
        assert answer.json()["errorType"] == "AccessDenied"
