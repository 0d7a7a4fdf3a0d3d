"""Extensions that do not use this library, in other languages, as real processes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from benchmarks.contestants import UnavailableError, prepare

from foreign_builds import FOREIGN, go_extension, go_function, rust_extension
from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator

SAMPLE = Path(__file__).parents[2] / "benchmarks/contestants/aws_sample.py"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # they are processes: the backend of the simulator has tests of its own


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("freeze", [False, True])
async def test_a_shell_script_with_curl(freeze: bool) -> None:
    async with Simulator([FOREIGN / "plain.sh"], freeze=freeze, timeout=20) as lambda_:
        results = await lambda_.invoke_many(3)
        report = await lambda_.shutdown()
    assert [result.status for result in results] == ["success"] * 3
    assert report.exit_codes["plain.sh"] == 0
    lines = [entry.detail["text"] for entry in lambda_.record.find("output", who="plain.sh")]
    assert lines == ["invoked"] * 3 + ["shut down"]
    assert lambda_.record.findings == []


async def telemetry_of(spec: ExtensionSpec) -> None:
    """Run an extension that says `mark COUNT BYTES` once it has seen 20 events, of six log lines and more."""
    function = ScriptedFunction(log_lines=["one", "two", "three"])
    async with Simulator([spec], function, timeout=20) as lambda_:
        results = await lambda_.invoke_many(5)
        await lambda_.wait_for(
            lambda record: any("mark 20 " in entry.detail["text"] for entry in record.find("output", who=spec.name)),
            within=20,
        )
        report = await lambda_.shutdown()
    assert [result.status for result in results] == ["success"] * 5
    assert report.exit_codes[str(spec.name)] == 0, lambda_.record.story()
    assert report.late == ()


ENVIRONMENT = {"BENCH_MODE": "telemetry", "BENCH_MARKS": "20", "BENCH_LISTEN": "0.0.0.0"}


async def test_python_in_the_shape_of_aws_s_sample() -> None:
    pytest.importorskip("requests")
    await telemetry_of(ExtensionSpec([sys.executable, str(SAMPLE)], name="aws-sample", environment=ENVIRONMENT))


async def test_go_with_its_standard_library() -> None:
    try:
        command = prepare("go-stdlib").command
    except UnavailableError as error:
        if os.environ.get("CI") and shutil.which("go"):
            raise
        pytest.skip(str(error))
    await telemetry_of(ExtensionSpec(list(command), name="go-stdlib", environment=ENVIRONMENT))


LINES = ["one", "two", "three"]


def said_by(lambda_: Simulator, who: str) -> list[str]:
    return [entry.detail["text"] for entry in lambda_.record.find("output", who=who)]


async def lived(extension: Path, *, invocations: int, freeze: bool) -> list[str]:
    """Run an extension that says what it is sent, and return what it said; nothing is wrong with it."""
    async with Simulator([extension], ScriptedFunction(log_lines=LINES), freeze=freeze, timeout=20) as lambda_:
        results = await lambda_.invoke_many(invocations)
        report = await lambda_.shutdown()
    assert [result.status for result in results] == ["success"] * invocations
    assert report.exit_codes[extension.name] == 0 or extension.name in report.killed, lambda_.record.story()
    assert [finding for finding in lambda_.record.findings if finding.level == "error"] == []
    return said_by(lambda_, extension.name)


@pytest.mark.skipif(shutil.which("node") is None and not os.environ.get("CI"), reason="no node")
@pytest.mark.parametrize("freeze", [False, True])
async def test_node_on_its_own_modules(freeze: bool) -> None:
    said = await lived(FOREIGN / "telemetry.mjs", invocations=4, freeze=freeze)
    assert [line for line in said if line.startswith("node function ")] == [f"node function {x}" for x in LINES] * 4
    assert sum(line.startswith("node report ") for line in said) == 4
    assert said.count("node INVOKE") == 4
    assert said.count("node SHUTDOWN") == 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("freeze", [False, True])
async def test_go_beside_a_function_on_aws_s_client(freeze: bool) -> None:
    extension = go_extension()
    async with Simulator([extension], go_function(), freeze=freeze, timeout=20) as lambda_:
        results = await lambda_.invoke_many(4, payload={"a": 1})
        report = await lambda_.shutdown()
    ids = [result.request_id for result in results]
    assert [result.payload["requestId"] for result in results] == ids
    assert report.exit_codes[extension.name] == 0, lambda_.record.story()
    said = said_by(lambda_, extension.name)
    # The function says a word more, once it is terminated; it may come too late for an extension.
    lines = [line for line in said if line.startswith("go function go handles ")]
    assert lines == [f"go function go handles {each}" for each in ids]
    assert [line for line in said if line.startswith("go report ")] == [f"go report {each}" for each in ids]
    assert (said.count("go INVOKE"), said.count("go SHUTDOWN"), said.count("go subscribed 200")) == (4, 1, 1)
    assert lambda_.record.findings == []


@pytest.mark.timeout(600)
async def test_rust_on_the_published_crate() -> None:
    extension = rust_extension()
    said = await lived(extension, invocations=4, freeze=False)
    assert [line for line in said if line.startswith("rust function ")] == [f"rust function {x}" for x in LINES] * 4
    assert sum(line.startswith("rust done ") for line in said) == 4
    assert said.count("rust invoked") == 4


@pytest.mark.timeout(300)
async def test_a_go_function_that_registers_an_internal_extension() -> None:
    async with Simulator(function=go_function(), timeout=20) as lambda_:
        results = await lambda_.invoke_many(4, payload={"a": 1})
        report = await lambda_.shutdown()
    assert [result.payload["event"] for result in results] == [{"a": 1}] * 4
    assert [result.payload["requestId"] for result in results] == [result.request_id for result in results]
    assert [result.logs for result in results] == [(f"go handles {result.request_id}",) for result in results]
    (state,) = lambda_.record.events("platform.extension")
    assert (state["name"], state["state"]) == ("GoLangEnableSIGTERM", "Ready")
    assert report.budget_ms == 500
    assert "go terminated" in said_by(lambda_, "runtime")
    assert lambda_.record.findings == []
