"""`lambda-extension package`, as it is typed."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lambda_extension.cli import _package
from lambda_extension.cli._commands import commands
from lambda_extension.packaging import _target
from lambda_extension.packaging._exceptions import PackagingError
from lambda_extension.packaging._hints import hint_for_package
from lambda_extension.packaging._registration import learn_registration
from lambda_extension.serving._serve import check_server

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


NEEDS_A_SECRET = """
import os
import lambda_extension
if os.environ["LOGS_TOKEN"] != "s3cret-of-mine":
    raise SystemExit("not my secret")
"""


def test_a_variable_that_is_not_there_when_it_is_tried_is_named_with_what_sets_it(tmp_path: Path) -> None:
    script = tmp_path / "wanting.py"
    script.write_text(NEEDS_A_SECRET)
    said = " ".join(package(str(script), "--python", HERE, "--events", "SHUTDOWN", code=1).output.split())
    assert "wanting failed: KeyError: 'LOGS_TOKEN' Is it a variable? --trial-env LOGS_TOKEN=VALUE gives" in said
    assert "--env LOGS_TOKEN=VALUE one in the layer, where the function's configuration does not" in said
    assert "/tmp is empty" not in said
    # It may be missing already when it is found out what the extension registers for.
    with pytest.raises(
        PackagingError, match=r"KeyError: 'LOGS_TOKEN'\nIs it a variable\? --trial-env LOGS_TOKEN=VALUE"
    ):
        learn_registration([sys.executable, str(script)], {})


def test_of_what_is_lean_it_is_said_what_it_lacks() -> None:
    with pytest.MonkeyPatch.context() as context:
        context.setitem(sys.modules, "hypercorn", None)
        with pytest.raises(ModuleNotFoundError) as caught:
            check_server("hypercorn")
    assert "Leave --lean out" in str(hint_for_package(f"x cannot start: {caught.value}", Path("/layer/extensions/x")))


def test_of_a_file_that_is_missing_it_is_said_what_is_packed() -> None:
    launcher, missing = Path("/tmp/layer/extensions/x"), "x failed: [Errno 2] No such file or directory: "
    assert "put the file into a package" in str(hint_for_package(f"{missing}'/tmp/layer/x/words.txt'", launcher))
    assert "/tmp is empty at first" in str(hint_for_package(f"{missing}'/tmp/model'", launcher))
    assert hint_for_package("Traceback: /tmp/layer/x/x.py, line 1: OSError: no", launcher) is None
    assert "/tmp is empty at first" in str(hint_for_package(f"{missing}'/tmp/model'", Path("/work/x.py")))


def test_a_secret_for_the_trial_alone_is_not_in_the_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "wanting.py"
    script.write_text(NEEDS_A_SECRET + EXAMPLE.read_text().partition('"""')[2].partition('"""')[2])
    monkeypatch.setenv("LOGS_TOKEN", "s3cret-of-mine")
    result = package(str(script), "--python", HERE, "--env", "LOGS_TOKEN=default", "--trial-env", "LOGS_TOKEN")
    assert "registers for SHUTDOWN" in result.output
    assert "wanting registered" in " ".join(result.output.split())
    with zipfile.ZipFile("wanting.zip") as archive:
        assert b"setdefault('LOGS_TOKEN', 'default')" in archive.read("extensions/wanting")
        holders = [name for name in archive.namelist() if b"s3cret-of-mine" in archive.read(name)]
    # The script itself, and its bytecode.
    assert all(name.startswith(("wanting/wanting.py", "wanting/__pycache__/wanting.")) for name in holders)


def test_for_another_processor_it_is_written_and_not_tried() -> None:
    result = package(str(EXAMPLE), "--arch", "arm64", "--python", HERE, "-o", "arm.zip")
    assert "stream was not tried: what is in it does not start" in result.output
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
    monkeypatch.setattr(_target.Target, "find_python", lambda *_: None)
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
        (["--trial-env", "=hello"], "is not of the form NAME=VALUE"),
        (["--trial-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set outside: give it a value"),
        (["--events", "SHUTDOWN,START"], "'START' is not a valid EventType: it is INVOKE, SHUTDOWN or both"),
        (["--python", "3.9"], "Lambda has no Python 3.9"),
        (["-o", "nowhere/x.zip"], "there is no folder 'nowhere' to write 'x.zip' into"),
        (["-o", "."], "is a folder, and a zip file is to be written: say -o stream.zip"),
        (["-o", "file", "--format", "directory"], "file is a file, and a folder is to be made"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_installed(
    arguments: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_package, "build", None)
    Path("file").write_text("")
    result = CliRunner().invoke(commands, ["package", str(EXAMPLE), *arguments])
    assert isinstance(result.exception, SystemExit)
    assert reason in " ".join(result.output.split())
    assert sorted(path.name for path in Path().iterdir()) == ["file"]


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
