"""pytest plugin: `simulator_factory`, `lambda_simulator`, the marker `lambda_mode`, the story on failure."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from lambda_extension.simulator._simulator import Simulator

__all__ = ["lambda_simulator", "simulator_factory"]

_STARTED: pytest.StashKey[list[Simulator]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "lambda_mode(mode): on-demand, snap-start or managed-instances for simulators")


@pytest.fixture
async def simulator_factory(
    request: pytest.FixtureRequest,
    anyio_backend: Any,  # noqa: ARG001 - makes the fixture run on the test's backend
) -> AsyncGenerator[Callable[..., Awaitable[Simulator]], None]:
    """Return a coroutine function that starts simulators; each is shut down after the test."""
    started = request.node.stash.setdefault(_STARTED, [])
    marker = request.node.get_closest_marker("lambda_mode")
    defaults = {} if marker is None else {"mode": marker.args[0]}
    async with AsyncExitStack() as stack:

        async def start(*args: Any, **settings: Any) -> Simulator:
            simulator = Simulator(*args, **{**defaults, **settings})
            started.append(simulator)
            return await stack.enter_async_context(simulator)

        yield start


@pytest.fixture
async def lambda_simulator(
    simulator_factory: Callable[..., Awaitable[Simulator]],
) -> Simulator:
    """A simulator without extensions and with a function that answers its payload."""
    return await simulator_factory()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],  # noqa: ARG001 - named by pytest
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the story of each simulator to the report of a failed test."""
    report = yield
    if report.failed:
        for simulator in item.stash.get(_STARTED, []):
            report.sections.append(("lambda simulator", simulator.record.story()))
    return report
