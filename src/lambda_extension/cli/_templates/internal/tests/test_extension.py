"""Each test runs on asyncio and on trio, by anyio's pytest plugin."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from lambda_extension import Environment, open_extension
from lambda_extension.simulator import ExtensionSpec
from lambda_extension.simulator.pytest_plugin import SimulatorFactory

import extension

FUNCTION = Path(extension.__file__).parent


async def test_its_life_in_lambda(simulator_factory: SimulatorFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FUNCTION)
    lambda_ = await simulator_factory([], "app:handler", timeout=20)
    assert [result.status for result in await lambda_.invoke_many(2)] == ["success", "success"]
    await lambda_.record.wait_for(lambda record: record.last_words("runtime") == "invocation 2")
    assert lambda_.record.find("state", "Registered", who="my-extension")


async def test_invocations_are_counted(simulator_factory: SimulatorFactory) -> None:
    async def in_this_process(variables: Mapping[str, str]) -> None:
        environment = Environment.from_mapping(variables)
        async with open_extension(name="count", environment=environment) as session:
            await extension.count(session)

    extension.invocations.clear()
    lambda_ = await simulator_factory([ExtensionSpec(in_this_process, name="count")])
    results = await lambda_.invoke_many(3)
    assert extension.invocations == [result.request_id for result in results]
