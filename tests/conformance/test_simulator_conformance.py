"""The conformance suite on the simulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from .lifecycle import *  # noqa: F403
from .platforms import Mode, parametrize
from .registration import *  # noqa: F403
from .simulated import SimulatedPlatform
from .telemetry import *  # noqa: F403

_KILLED = "it kills the extension at once, now and then before the answer has reached it"
_OWN = "platform.logsDropped goes to the slow subscriber alone"
DIFFERENCES: dict[tuple[str, Mode], str] = {
    ("test_init_error_fails_init_and_shows", "on-demand"): _KILLED,
    ("test_init_error_fails_init_and_shows", "managed"): _KILLED,
    ("test_exit_error_ends_the_processes", "on-demand"): _KILLED,
    ("test_exit_error_ends_the_processes", "managed"): _KILLED,
    ("test_slow_receiver_loses_events_and_subscribers_of_platform_learn_how_many", "on-demand"): _OWN,
    ("test_slow_receiver_loses_events_and_subscribers_of_platform_learn_how_many", "managed"): _OWN,
}
"""Where the simulator is not as AWS's emulator; docs/conformance.md says why."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "platform" in metafunc.fixturenames:
        parametrize(metafunc, "simulator", DIFFERENCES, strict=False)


@pytest.fixture
def anyio_backend(mode: Mode) -> str:
    return "asyncio" if mode == "on-demand" else "trio"  # each backend, without all combinations


@pytest.fixture
def platform(tmp_path: Path, mode: Mode) -> SimulatedPlatform:
    return SimulatedPlatform(tmp_path, mode)
