"""Each test runs on asyncio and on trio, by anyio's pytest plugin."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from lambda_extension import Environment, open_telemetry
from lambda_extension.simulator import ExtensionSpec, ScriptedFunction
from lambda_extension.simulator.pytest_plugin import SimulatorFactory

import extension

SCRIPT = Path(extension.__file__)
FUNCTION = ScriptedFunction(log_lines=["order accepted"])


async def test_its_life_in_lambda(simulator_factory: SimulatorFactory) -> None:
    process = ExtensionSpec([sys.executable, str(SCRIPT)], name=SCRIPT.name)
    lambda_ = await simulator_factory([process], FUNCTION, timeout=20)
    assert [result.status for result in await lambda_.invoke_many(2)] == ["success", "success"]
    report = await lambda_.shutdown()
    printed = [entry.detail["text"] for entry in lambda_.record.find("output", who=SCRIPT.name)]
    assert printed.count("function: order accepted") == 2
    assert report.exit_codes[SCRIPT.name] == 0
    assert lambda_.record.findings == []


async def test_what_it_shows(simulator_factory: SimulatorFactory, capsys: pytest.CaptureFixture[str]) -> None:
    async def in_this_process(variables: Mapping[str, str]) -> None:
        environment = Environment.from_mapping(variables)
        async with open_telemetry(name="show", environment=environment) as telemetry:
            await extension.show(telemetry)

    lambda_ = await simulator_factory([ExtensionSpec(in_this_process, name="show")], FUNCTION)
    await lambda_.invoke()
    await lambda_.shutdown()
    first, second = capsys.readouterr().out.splitlines()
    assert first == "function: order accepted"
    assert second.startswith("billed: ")
