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
FUNCTION = ScriptedFunction(log_lines=["order accepted for ada@example.com"])


class Backend:
    """An endpoint that keeps what it is sent."""

    def __init__(self) -> None:
        self.url = ""
        self.received = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.received += body
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
    process = ExtensionSpec([sys.executable, str(SCRIPT)], name=SCRIPT.name, environment={"LOGS_URL": backend.url})
    lambda_ = await simulator_factory([process], FUNCTION, timeout=20)
    assert [result.status for result in await lambda_.invoke_many(2)] == ["success", "success"]
    report = await lambda_.shutdown()
    assert report.exit_codes[SCRIPT.name] == 0
    assert lambda_.record.findings == []
    assert backend.received.count(b"order accepted for [redacted]") == 2


async def test_no_address_leaves(
    backend: Backend, simulator_factory: SimulatorFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGS_URL", backend.url)

    async def in_this_process(variables: Mapping[str, str]) -> None:
        environment = Environment.from_mapping(variables)
        await run_telemetry(extension.deliver, name="deliver", environment=environment)

    lambda_ = await simulator_factory([ExtensionSpec(in_this_process, name="deliver")], FUNCTION, timeout=20)
    await lambda_.invoke()
    await lambda_.shutdown()
    assert b"order accepted for [redacted]" in backend.received
    assert b"ada@example.com" not in backend.received
