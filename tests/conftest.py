"""Every test runs on each backend that users run (asyncio, uvloop, trio), and what is served by each server."""

from __future__ import annotations

import faulthandler
import sys

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and no more.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

BACKENDS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    pytest.param(("trio", {}), id="trio"),
]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture(params=["hypercorn", "direct"])
def server(request: pytest.FixtureRequest) -> object:
    return request.param


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write down what a worker has covered while it still can: whose end takes long is killed by its master."""
    coverage = sys.modules.get("coverage")  # not every gate measures
    measured = coverage and coverage.Coverage.current()
    if measured and hasattr(config, "workerinput"):
        measured.stop()
        measured.save()
    # A thread that a test left behind would hold up the end for ever: show it, and fail.
    faulthandler.dump_traceback_later(60, exit=True, file=2)
