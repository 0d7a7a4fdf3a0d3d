"""Extensions that do not use this library, in other languages, as real processes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from benchmarks.contestants import UnavailableError, prepare

from lambda_extension.simulator import ExtensionSpec, ScriptedFunction, Simulator

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "benchmarks/contestants/aws_sample.py"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # they are processes: the backend of the simulator has tests of its own


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("freeze", [False, True])
async def test_a_shell_script_with_curl(freeze: bool) -> None:
    async with Simulator([HERE / "foreign/plain.sh"], freeze=freeze, timeout=20) as lambda_:
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
