"""`lambda-extension package`, as it is typed."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lambda_extension.cli._commands import commands
from lambda_extension.packaging import _target

EXAMPLE = Path(__file__).parents[2] / "examples" / "stream.py"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def package(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(commands, ["package", *arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_layer_is_written_weighed_and_tried(tmp_path: Path) -> None:
    result = package(str(EXAMPLE), "--python", HERE, "--lock", "stream.lock", "--env", "GREETING=hello")
    with zipfile.ZipFile("stream.zip") as archive:
        names = archive.namelist()
        assert b"_os.environ.setdefault('GREETING', 'hello')" in archive.read("extensions/stream")
    assert names == sorted(names)
    assert [name for name in names if name.startswith("extensions/")] == ["extensions/stream"]
    assert re.search(r"^  anyio +\d+ +[\d,]+ KiB +[\d,]+ KiB", result.output, re.MULTILINE)
    assert f"stream.zip: stream for Python {HERE} on x86_64, registers for SHUTDOWN" in result.output
    assert re.search(r"registered \d+ ms and ready \d+ ms after its start", " ".join(result.output.split()))
    assert "never imported in that run: httpx" in " ".join(result.output.split())
    assert re.search(r"^anyio==[\d.]+$", Path("stream.lock").read_text(), re.MULTILINE)


def test_a_script_that_registers_at_its_start_by_itself_makes_a_layer_as_well(tmp_path: Path) -> None:
    script = tmp_path / "prompt.py"
    script.write_text(
        'from lambda_extension import early\n\nearly.register(events=["SHUTDOWN"])\n\n' + EXAMPLE.read_text()
    )
    result = package(str(script), "--python", HERE)
    assert "registers for SHUTDOWN" in result.output
    assert re.search(r"prompt registered \d+ ms and ready", " ".join(result.output.split()))


def test_a_variable_that_is_not_there_when_it_is_tried_can_be_set(tmp_path: Path) -> None:
    script = tmp_path / "wanting.py"
    script.write_text('import os\n\nprint(os.environ["LOGS_TOKEN"])\n')
    said = " ".join(package(str(script), "--python", HERE, "--events", "SHUTDOWN", code=1).output.split())
    assert "wanting failed: KeyError: 'LOGS_TOKEN' Is it a variable? --env NAME=VALUE sets one in the layer" in said
    assert "/tmp is empty" not in said


def test_for_another_processor_it_is_written_and_not_tried() -> None:
    result = package(str(EXAMPLE), "--arch", "arm64", "--python", HERE, "-o", "arm.zip")
    assert "It was not tried" in result.output
    assert zipfile.is_zipfile("arm.zip")


def test_a_directory_and_what_a_container_copies() -> None:
    package(str(EXAMPLE), "--python", HERE, "--format", "directory", "-o", "opt", "--events", "SHUTDOWN")
    assert Path("opt/extensions/stream").stat().st_mode & 0o777 == 0o755
    package(str(EXAMPLE), "--python", HERE, "--format", "container", "--events", "SHUTDOWN")
    assert Path("stream-container/opt/extensions/stream").exists()
    assert "COPY opt/ /opt/" in Path("stream-container/Dockerfile.lines").read_text()
    again = package(str(EXAMPLE), "--python", HERE, "--format", "container", "--events", "SHUTDOWN", code=1)
    assert "stream-container is not empty" in again.output


def test_without_its_python_here_it_says_what_that_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_target.Target, "find_python", lambda _: None)
    result = package(str(EXAMPLE), "--python", HERE, "--events", "SHUTDOWN")
    assert "warning: there is no Python" in result.output
    assert "the layer has no bytecode" in result.output
    assert not [name for name in zipfile.ZipFile("stream.zip").namelist() if name.endswith(".pyc")]


def test_a_layer_that_fails_when_it_is_tried_says_with_what(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('no configuration')\n")
    result = package(str(script), "--python", HERE, "--events", "SHUTDOWN", code=1)
    assert "the layer was made, and fails when it is tried" in result.output
    assert "no configuration" in result.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--name", "two words"], "is no extension's name"),
        (["--env", "=hello"], "is not of the form NAME=VALUE"),
        (["--python", "3.9"], "Lambda has no Python 3.9"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(commands, ["package", str(EXAMPLE), *arguments])
    assert result.exit_code
    assert reason in result.output


def test_what_costs_its_start_for_nothing_is_pointed_out(tmp_path: Path) -> None:
    script = tmp_path / "both.py"
    script.write_text(
        "# /// script\n# dependencies = ['trio']\n# ///\n"
        "import asyncio, certifi, httpcore, httpx, trio\nimport anyio\nfrom lambda_extension import open_telemetry\n"
        "async def main():\n    async with open_telemetry() as telemetry:\n"
        "        async for _ in telemetry:\n            pass\n"
        "anyio.run(main)\n"
    )
    result = package(str(script), "--python", HERE, "--events", "SHUTDOWN")
    assert "it imports trio and asyncio both" in result.output
    assert "never imported" not in result.output
