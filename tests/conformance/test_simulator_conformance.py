"""The conformance suite on the simulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.lifecycle import *  # noqa: F403
from conformance.platforms import Mode, parametrize
from conformance.registration import *  # noqa: F403
from conformance.simulated import SimulatedPlatform
from conformance.telemetry import *  # noqa: F403
from conformance.traits import *  # noqa: F403

DIFFERENCES: dict[tuple[str, Mode], str] = {}
"""Where the simulator is not as AWS's emulator; docs/explanation/conformance.md says why."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "platform" in metafunc.fixturenames:
        parametrize(metafunc, "simulator", DIFFERENCES)


@pytest.fixture
def anyio_backend(mode: Mode) -> str:
    return "asyncio" if mode == "on-demand" else "trio"  # each backend, without all combinations


@pytest.fixture
def platform(tmp_path: Path, mode: Mode) -> SimulatedPlatform:
    return SimulatedPlatform(tmp_path, mode)
