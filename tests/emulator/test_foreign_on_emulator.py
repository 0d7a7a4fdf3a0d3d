"""Extensions in other languages on AWS's own emulator: the same programs that run in the simulator's tests."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import anyio
import pytest

from conformance.puppets import open_stage, python_script

from .harness import OUTPUT, Emulator

pytestmark = pytest.mark.emulator

FOREIGN = Path(__file__).parents[1] / "simulator" / "foreign"
LINES = ["one", "two", "three"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the emulator cannot tell what its test runs on


@pytest.mark.skipif(shutil.which("node") is None and not os.environ.get("CI"), reason="no node")
async def test_node_gets_each_line_and_report_on_managed_instances(emulator_binary: Path, tmp_path: Path) -> None:
    async with open_stage() as stage:
        emulator = Emulator(
            emulator_binary,
            tmp_path,
            managed=True,
            extensions={"telemetry.mjs": (FOREIGN / "telemetry.mjs").read_text()},
            bootstrap=python_script(stage.source),
            environment={"OUT": str(OUTPUT / "noted"), "AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"},
        )
        async with emulator:
            for _ in range(4):
                assert (await emulator.invoke({"lines": LINES})).status_code == 200
            # One batch is under way at most, and the emulator drops what is due meanwhile: let the last one go.
            await noted(emulator, "node report", 4)
            emulator.terminate()
            await emulator.wait()
        lines = (emulator.output / "noted").read_text().splitlines()
    assert Counter(line for line in lines if line.startswith("node function")) == {
        f"node function {line}": 4 for line in LINES
    }
    assert sum(line.startswith("node report") for line in lines) == 4
    assert lines.count("node SHUTDOWN") == 1


async def noted(emulator: Emulator, start: str, count: int) -> None:
    """Wait until the extension has noted so many lines that begin so."""
    path = anyio.Path(emulator.output / "noted")
    with anyio.fail_after(20):
        while not await path.exists() or (await path.read_text()).count(start) < count:  # noqa: ASYNC110 - a file
            await anyio.sleep(0.05)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
async def test_a_shell_script_with_curl_is_invoked_in_the_standard_mode(emulator_binary: Path, tmp_path: Path) -> None:
    async with open_stage() as stage:
        emulator = Emulator(
            emulator_binary,
            tmp_path,
            extensions={"plain.sh": (FOREIGN / "plain.sh").read_text()},
            bootstrap=python_script(stage.source),
        )
        async with emulator:
            for _ in range(3):
                assert (await emulator.invoke({})).status_code == 200
            emulator.terminate()
            await emulator.wait()
        said = [line for line in emulator.log.splitlines() if line in {"invoked", "shut down"}]
    assert said == ["invoked"] * 3 + ["shut down"]
