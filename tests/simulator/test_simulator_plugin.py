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


def run_pytest(folder: Path, source: str, *options: str) -> str:
    """Run tests in a pytest of their own, and return what it says."""
    (folder / "test_it.py").write_text(source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--strict-markers",
        "-p",
        "no:cacheprovider",
        *options,
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)
    return done.stdout + done.stderr


def test_fixtures_marker_and_the_story_of_a_failure(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, TESTS)
    # Each asynchronous test runs on asyncio and on trio.
    assert "3 failed, 4 passed" in said
    assert said.count("lambda simulator") == 2
    assert "invoke-end" in said


MARKED = """
import pytest

@pytest.mark.{0}
async def test_it(lambda_simulator):
    await lambda_simulator.invoke()
"""
SYNCHRONOUS = "def test_it(lambda_simulator): pass"
HYPOTHESIS = """
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(x=st.integers())
async def test_it(lambda_simulator, x):
    assert (await lambda_simulator.invoke(x)).payload == x
"""


@pytest.mark.parametrize(
    ("source", "options", "problem"),
    [
        (MARKED.format("asyncio"), ["-o", "asyncio_mode=strict"], "run by pytest-asyncio"),
        (MARKED.format("anyio"), ["-o", "asyncio_mode=auto"], "run by pytest-asyncio"),
        (MARKED.format("trio"), [], "run by pytest-trio"),
        (MARKED.format("anyio"), ["-o", "trio_mode=true"], "run by pytest-trio"),
        (SYNCHRONOUS, [], "is no coroutine function"),
        (MARKED.format("filterwarnings('error')"), ["-p", "no:anyio"], "plugin is switched off"),
    ],
    ids=["asyncio-strict", "asyncio-auto", "trio", "trio-mode", "synchronous", "no-anyio"],
)
def test_a_test_that_anyio_does_not_run_fails_at_once(
    source: str, options: list[str], problem: str, tmp_path: Path
) -> None:
    said = run_pytest(tmp_path, source, *options)
    assert problem in said
    assert "@pytest.mark.anyio" in said
    assert "passed" not in said


@pytest.mark.parametrize(
    ("source", "options", "count"),
    [
        (MARKED.format("anyio"), ["-o", "asyncio_mode=strict"], 2),
        (MARKED.format("filterwarnings('error')"), ["-o", "anyio_mode=auto"], 2),
        (HYPOTHESIS, [], 1),
    ],
    ids=["beside-asyncio-strict", "anyio-auto", "hypothesis"],
)
def test_a_test_that_anyio_runs_passes_beside_the_other_plugins(
    source: str, options: list[str], count: int, tmp_path: Path
) -> None:
    assert f"{count} passed" in run_pytest(tmp_path, source, *options)


def test_the_plugin_has_the_name_of_the_library(tmp_path: Path) -> None:
    assert "fixture 'lambda_simulator' not found" in run_pytest(
        tmp_path, MARKED.format("anyio"), "-p", "no:lambda_extension"
    )


def test_the_plugin_imports_nothing_that_can_wait() -> None:
    script = (
        "import sys, pytest\nbefore = set(sys.modules)\nimport lambda_extension.simulator.pytest_plugin\n"
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) <= {
        "lambda_extension",
        "lambda_extension._lazy",
        "lambda_extension.simulator",
        "lambda_extension.simulator.pytest_plugin",
    }


@pytest.mark.lambda_mode("managed-instances")
async def test_the_fixtures_work_here_too(lambda_simulator: Simulator) -> None:
    assert (await lambda_simulator.invoke("x")).payload == "x"
