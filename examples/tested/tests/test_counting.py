"""Each test runs on asyncio and on trio, by anyio's pytest plugin."""

import sys
from pathlib import Path

from lambda_extension.simulator import EventFault, ExtensionSpec, ScriptedFunction, Simulator
from lambda_extension.simulator.pytest_plugin import SimulatorFactory

EXTENSION = ExtensionSpec([sys.executable, str(Path(__file__).parents[1] / "counting.py")], name="counting.py")


def printed(lambda_: Simulator) -> list[str]:
    return [entry.detail["text"] for entry in lambda_.record.find("output", who="counting.py")]


async def test_lines_are_counted(simulator_factory: SimulatorFactory) -> None:
    lambda_ = await simulator_factory([EXTENSION], ScriptedFunction(log_lines=["one", "two"]), timeout=20)
    results = await lambda_.invoke_many(2)
    report = await lambda_.shutdown()
    assert [result.status for result in results] == ["success", "success"]
    assert printed(lambda_) == ["2 lines", "2 lines"]
    assert report.exit_codes["counting.py"] == 0
    assert lambda_.record.findings == []


async def test_a_freeze_of_hours_costs_nothing(simulator_factory: SimulatorFactory) -> None:
    lambda_ = await simulator_factory([EXTENSION], freeze=True, timeout=20)
    await lambda_.invoke()
    await lambda_.wait_for_frozen()
    await lambda_.freeze_for(3 * 3600)
    assert (await lambda_.invoke()).status == "success"


async def test_an_invocation_ends_though_its_telemetry_does_not_come(simulator_factory: SimulatorFactory) -> None:
    faults = [EventFault(type="platform.runtimeDone")]
    lambda_ = await simulator_factory([EXTENSION], faults=faults, timeout=2)
    assert (await lambda_.invoke()).status == "success"
    assert lambda_.record.findings == []
