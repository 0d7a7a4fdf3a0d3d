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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _end_beyond_its_time(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    _end_beyond_its_time(item)  # anew, since pytest ends that of the set-up where it tells of an exception


def _end_beyond_its_time(item: pytest.Item) -> None:
    """End the process where a test goes on beyond its time-out, which acts once: what it interrupts may hang again."""
    if not item.config.pluginmanager.hasplugin("timeout") or item.config.getoption("usepdb"):
        return
    marker = item.get_closest_marker("timeout")
    allowed = marker.args[0] if marker else float(item.config.getini("timeout"))
    faulthandler.dump_traceback_later(2 * allowed, exit=True, file=2)


def pytest_runtest_logfinish() -> None:
    faulthandler.cancel_dump_traceback_later()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write down what a worker has covered while it still can: whose end takes long is killed by its master."""
    if not hasattr(config, "workerinput"):
        # A thread that a test left behind would hold up the end for ever: show it, and fail.
        faulthandler.dump_traceback_later(60, exit=True, file=2)
        return
    coverage = sys.modules.get("coverage")  # not every gate measures
    if measured := coverage and coverage.Coverage.current():
        measured.stop()
        measured.save()
