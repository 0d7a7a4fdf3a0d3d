"""Extensions in other languages on AWS's own emulator: the same programs that run in the simulator's tests."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from conformance.puppets import open_stage, python_script
from emulator.harness import OUTPUT, Emulator
from foreign_builds import FOREIGN, go_extension, go_function, rust_extension
from waiting import eventually

pytestmark = pytest.mark.emulator

LINES = ["one", "two", "three"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the emulator cannot tell what its test runs on


@pytest.mark.parametrize("language", ["node", "go"])
@pytest.mark.timeout(300)
async def test_each_line_and_report_arrives_on_managed_instances(
    language: str, emulator_binary: Path, tmp_path: Path
) -> None:
    if language == "node" and shutil.which("node") is None and not os.environ.get("CI"):
        pytest.skip("no node")
    extension = FOREIGN / "telemetry.mjs" if language == "node" else go_extension()
    async with open_stage() as stage:
        emulator = Emulator(
            emulator_binary,
            tmp_path,
            managed=True,
            extensions={extension.name: extension},
            bootstrap=python_script(stage.source),
            environment={"OUT": str(OUTPUT / "noted"), "AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"},
        )
        async with emulator:
            for _ in range(4):
                assert (await emulator.invoke({"lines": LINES})).status_code == 200
            # One batch is under way at most, and the emulator drops what is due meanwhile: let the last one go.
            await noted(emulator, f"{language} report", 4)
            emulator.terminate()
            await emulator.wait()
        lines = (emulator.output / "noted").read_text().splitlines()
    assert Counter(line for line in lines if line.startswith(f"{language} function")) == {
        f"{language} function {line}": 4 for line in LINES
    }
    assert sum(line.startswith(f"{language} report") for line in lines) == 4
    assert lines.count(f"{language} SHUTDOWN") == 1


async def noted(emulator: Emulator, start: str, count: int) -> None:
    """Wait until the extension has noted so many lines that begin so."""
    path = emulator.output / "noted"
    await eventually(lambda: path.exists() and path.read_text().count(start) >= count, within=20)


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


@pytest.mark.timeout(300)
async def test_go_beside_a_function_on_aws_s_client(emulator_binary: Path, tmp_path: Path) -> None:
    extension = go_extension()
    emulator = Emulator(
        emulator_binary,
        tmp_path,
        extensions={extension.name: extension},
        bootstrap=go_function(),
        environment={"OUT": str(OUTPUT / "noted")},
    )
    async with emulator:
        answers = [(await emulator.invoke({"a": 1})).json() for _ in range(3)]
        emulator.terminate()
        await emulator.wait()
    lines = (emulator.output / "noted").read_text().splitlines()
    # Telemetry is not supported in this mode, which it says by 202.
    assert lines == ["go subscribed 202", *["go INVOKE"] * 3, "go SHUTDOWN"]
    assert [answer["event"] for answer in answers] == [{"a": 1}] * 3
    handled = [line for line in emulator.log.splitlines() if line.startswith("go handles ")]
    assert handled == [f"go handles {answer['requestId']}" for answer in answers]


@pytest.mark.timeout(600)
async def test_rust_on_the_published_crate_is_invoked_in_the_standard_mode(
    emulator_binary: Path, tmp_path: Path
) -> None:
    """The crate asks for telemetry in the version of 2022, which the emulator takes in this mode, and sends nothing."""
    extension = rust_extension()
    async with open_stage() as stage:
        emulator = Emulator(
            emulator_binary,
            tmp_path,
            extensions={extension.name: extension},
            bootstrap=python_script(stage.source),
        )
        async with emulator:
            for _ in range(3):
                assert (await emulator.invoke({})).status_code == 200
            emulator.terminate()
            await emulator.wait()
        said = [line for line in emulator.log.splitlines() if line.startswith("rust ")]
    assert said == ["rust invoked"] * 3 + ["rust shut down"]
