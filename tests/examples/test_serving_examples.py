"""The examples that the function talks to, and the one for Managed Instances."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest

from extension_runs import backend_of, run_script
from http_servers import QuietHandler, free_port, serving
from lambda_extension.simulator import ExtensionSpec, FunctionContext, Simulator
from script_backends import command_on

EXAMPLES = Path(__file__).parents[2] / "examples"


@attrs.define(eq=False)
class Vault:
    """Where the secrets come from."""

    url: str = ""
    asked: int = 0
    down: bool = False


@pytest.fixture
def vault() -> Iterator[Vault]:
    there = Vault()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            there.asked += 1
            self.answer(500 if there.down else 200, b'{"version": %d}' % there.asked)

    with serving(Handler) as there.url:
        yield there


def function_that_asks(port: int, path: str = "/") -> Any:
    async def function(event: Any, context: FunctionContext) -> Any:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://localhost:{port}{path}")
        return answer.json() if answer.status_code == 200 else answer.status_code

    return function


async def test_secrets_are_there_for_the_first_invocation_and_fetched_once(vault: Vault, anyio_backend: Any) -> None:
    port = free_port()
    environment = {"SECRETS_URL": vault.url, "SECRETS_PORT": str(port)}
    script = EXAMPLES / "secrets/secrets_cache.py"
    run = await run_script(script, anyio_backend, function_that_asks(port), environment=environment)
    assert run.payloads == [{"version": 1}] * 3
    assert vault.asked == 1


async def test_secrets_are_renewed_after_a_freeze_and_the_old_ones_serve_an_outage(
    vault: Vault, anyio_backend: Any
) -> None:
    port = free_port()
    script = EXAMPLES / "secrets/secrets_cache.py"
    environment = {"SECRETS_URL": vault.url, "SECRETS_PORT": str(port), "SECRETS_MAX_AGE": "0.3"}
    extension = ExtensionSpec(command_on(backend_of(anyio_backend), script), name=script.name)
    with anyio.fail_after(60):
        async with Simulator(
            [extension], function_that_asks(port), freeze=True, timeout=20, init_timeout=30, environment=environment
        ) as lambda_:
            first = await lambda_.invoke()
            await lambda_.wait_for_frozen()
            await anyio.sleep(0.4)  # their age is the subject; the process stands still meanwhile
            second = await lambda_.invoke()
            await lambda_.wait_for_frozen()
            vault.down = True
            await anyio.sleep(0.4)  # as above
            third = await lambda_.invoke()
    assert first.payload["version"] < second.payload["version"]
    assert third.payload == second.payload


async def test_a_starlette_app_serves_the_function(anyio_backend: Any) -> None:
    port = free_port()

    async def function(event: Any, context: FunctionContext) -> Any:
        async with httpx.AsyncClient(trust_env=False, base_url=f"http://localhost:{port}") as client:
            before = await client.get("/cache/rates")
            await client.put("/cache/rates", content=f"rates of {event}")
            return [before.status_code, before.text, (await client.get("/statistics")).json()["entries"]]

    script = EXAMPLES / "starlette_app/starlette_app.py"
    run = await run_script(
        script, anyio_backend, function, environment={"CACHE_PORT": str(port)}, payloads=["Monday", "Tuesday"]
    )
    assert run.payloads == [[404, "", 1], [200, "rates of Monday", 1]]


async def test_concurrency_on_managed_instances(anyio_backend: Any) -> None:
    script = EXAMPLES / "managed_instances/concurrency.py"
    everybody = anyio.Event()
    begun = 0

    async def together(event: Any, context: FunctionContext) -> None:
        nonlocal begun
        begun += 1
        if begun == 3:
            everybody.set()
        await everybody.wait()

    extension = ExtensionSpec(command_on(backend_of(anyio_backend), script), name=script.name)
    with anyio.fail_after(60):
        async with Simulator(
            [extension], together, mode="managed-instances", concurrency=3, timeout=20, init_timeout=30
        ) as lambda_:
            results = await lambda_.invoke_many(3)
            shutdown = await lambda_.shutdown()
    assert [result.status for result in results] == ["success"] * 3
    assert shutdown.exit_codes[script.name] == 0
    assert lambda_.record.findings == []
    lines = [str(entry.detail["text"]) for entry in lambda_.record.find("output", who=script.name)]
    told = [re.fullmatch(r"(\d+) invocations ended, (\d+) at once at most", line) for line in lines]
    assert sum(int(each[1]) for each in told if each) == 3
    assert max(int(each[2]) for each in told if each) == 3
