"""Each test runs on asyncio and on trio, by anyio's pytest plugin."""

import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from lambda_extension import Environment, run_telemetry
from lambda_extension.serving import serve
from lambda_extension.simulator import ExtensionSpec, ScriptedFunction
from lambda_extension.simulator.pytest_plugin import SimulatorFactory

import extension

SCRIPT = Path(extension.__file__)
FUNCTION = ScriptedFunction(log_lines=["order accepted"])


class Backend:
    """An endpoint that keeps which signals it is sent."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body", False):
            pass
        self.received.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


# Named before `simulator_factory` by every test that uses both: what is asked for first ends last.
@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = Backend()
    async with anyio.create_task_group() as tasks:
        backend.url = f"http://127.0.0.1:{await tasks.start(serve, backend)}"
        yield backend
        tasks.cancel_scope.cancel()


async def test_its_life_in_lambda(backend: Backend, simulator_factory: SimulatorFactory) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}
    process = ExtensionSpec([sys.executable, str(SCRIPT)], name=SCRIPT.name, environment=environment)
    lambda_ = await simulator_factory([process], FUNCTION, timeout=20)
    assert [result.status for result in await lambda_.invoke_many(2)] == ["success", "success"]
    report = await lambda_.shutdown()
    assert report.exit_codes[SCRIPT.name] == 0
    assert lambda_.record.findings == []
    assert set(backend.received) == {"/v1/traces", "/v1/logs", "/v1/metrics"}


async def test_logs_are_exported(
    backend: Backend, simulator_factory: SimulatorFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)

    async def in_this_process(variables: Mapping[str, str]) -> None:
        environment = Environment.from_mapping(variables)
        await run_telemetry(extension.export, name="export", environment=environment)

    lambda_ = await simulator_factory([ExtensionSpec(in_this_process, name="export")], FUNCTION, timeout=20)
    await lambda_.invoke()
    await lambda_.shutdown()
    assert "/v1/logs" in backend.received
