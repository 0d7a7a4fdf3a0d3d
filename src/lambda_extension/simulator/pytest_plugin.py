"""pytest plugin: `simulator_factory`, `lambda_simulator`, the marker `lambda_mode`, the story on failure.

pytest imports it at each of its starts, whatever it then runs: the simulator waits until a fixture is used.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from lambda_extension.simulator._simulator import Simulator

__all__ = ["SimulatorFactory", "lambda_simulator", "simulator_factory"]

# What the fixture gives: it takes what `Simulator` takes.
SimulatorFactory: TypeAlias = "Callable[..., Awaitable[Simulator]]"

_STARTED: pytest.StashKey[list[Simulator]] = pytest.StashKey()
_OTHERS = ("asyncio", "trio")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    modes = "on-demand, provisioned-concurrency, snap-start or managed-instances"
    config.addinivalue_line("markers", f"lambda_mode(mode): {modes} for simulators")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail at once a test that another plugin would run, in an event loop that is not the simulator's."""
    problem = _problem(item) if "simulator_factory" in getattr(item, "fixturenames", ()) else ""
    if problem:
        pytest.fail(
            f"{problem}, but the simulator lives in the event loop of anyio's pytest plugin. Mark the test with "
            "@pytest.mark.anyio and nothing else, or set anyio_mode = 'auto' for all tests (and not asyncio_mode).",
            pytrace=False,
        )


def _problem(item: pytest.Item) -> str:
    """Say what is wrong with who runs a test; nothing if anyio's plugin does."""
    test = getattr(item, "obj", None)
    if not iscoroutinefunction(getattr(getattr(test, "hypothesis", None), "inner_test", test)):
        return "this test is no coroutine function"
    if not item.config.pluginmanager.has_plugin("anyio"):
        return "anyio's pytest plugin is switched off"
    for name in _OTHERS:
        if item.get_closest_marker(name) is not None:
            return f"this test is run by pytest-{name}"
    return ""


@pytest.fixture
async def simulator_factory(
    request: pytest.FixtureRequest,
    anyio_backend: Any,  # noqa: ARG001 - makes the fixture run on the test's backend
) -> AsyncGenerator[SimulatorFactory, None]:
    """Return a coroutine function that starts simulators; each is shut down after the test."""
    from lambda_extension.simulator._simulator import Simulator  # only now: see above

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
    simulator_factory: SimulatorFactory,
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
