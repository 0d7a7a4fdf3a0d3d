"""Each test runs on asyncio and on trio, by anyio's pytest plugin."""

import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from lambda_extension import Environment, TelemetrySubscription, open_extension
from lambda_extension.simulator import EventFault, ExtensionSpec, ScriptedFunction
from lambda_extension.simulator.pytest_plugin import SimulatorFactory

import extension

SCRIPT = Path(extension.__file__)
PROCESS = ExtensionSpec([sys.executable, str(SCRIPT)], name=SCRIPT.name)


async def test_its_life_in_lambda(simulator_factory: SimulatorFactory) -> None:
    lambda_ = await simulator_factory([PROCESS], ScriptedFunction(log_lines=["order accepted"]), timeout=20)
    assert [result.status for result in await lambda_.invoke_many(2)] == ["success", "success"]
    report = await lambda_.shutdown()
    printed = [entry.detail["text"] for entry in lambda_.record.find("output", who=SCRIPT.name)]
    assert [text.split()[0] for text in printed] == ["shipped"] * 3
    assert report.exit_codes[SCRIPT.name] == 0
    assert lambda_.record.findings == []


async def test_an_invocation_ends_though_its_telemetry_does_not_come(simulator_factory: SimulatorFactory) -> None:
    faults = [EventFault(type="platform.runtimeDone")]
    lambda_ = await simulator_factory([PROCESS], faults=faults, timeout=2)
    assert (await lambda_.invoke()).status == "success"


async def in_this_process(variables: Mapping[str, str]) -> None:
    environment = Environment.from_mapping(variables)
    async with open_extension(telemetry=TelemetrySubscription(), name="ship", environment=environment) as session:
        await extension.work(session)


async def test_all_is_shipped(simulator_factory: SimulatorFactory, capsys: pytest.CaptureFixture[str]) -> None:
    lambda_ = await simulator_factory([ExtensionSpec(in_this_process, name="ship")], timeout=20)
    await lambda_.invoke_many(2)
    await lambda_.shutdown()
    assert len(capsys.readouterr().out.splitlines()) == 3


async def test_a_backend_that_hangs_does_not_fail_the_function(
    simulator_factory: SimulatorFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension, "ship", lambda _: anyio.sleep_forever())
    lambda_ = await simulator_factory([ExtensionSpec(in_this_process, name="ship")], timeout=2)
    assert (await lambda_.invoke()).status == "success"
    assert (await lambda_.shutdown()).late == ()
