"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lambda_extension.simulator import Simulator

TESTS = """
import pytest
from lambda_extension.simulator import ScriptedFunction

pytestmark = pytest.mark.anyio

async def test_default(lambda_simulator):
    assert (await lambda_simulator.invoke({"x": 1})).payload == {"x": 1}

@pytest.mark.lambda_mode("managed-instances")
async def test_mode_and_factory(simulator_factory):
    lambda_ = await simulator_factory(function=ScriptedFunction(response="ok"))
    assert lambda_.settings.managed
    assert (await lambda_.invoke()).payload == "ok"

async def test_failing(lambda_simulator):
    await lambda_simulator.invoke()
    raise LookupError

def test_failing_without_a_simulator():
    raise LookupError
"""


def test_fixtures_marker_and_the_story_of_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    # Each asynchronous test runs on asyncio and on trio.
    assert "3 failed, 4 passed" in done.stdout
    assert done.stdout.count("lambda simulator") == 2
    assert "invoke-end" in done.stdout


@pytest.mark.lambda_mode("managed-instances")
async def test_the_fixtures_work_here_too(lambda_simulator: Simulator) -> None:
    assert (await lambda_simulator.invoke("x")).payload == "x"
