"""`lambda-extension doctor`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from command_kit import PLAIN, ROOT, STREAM, lambda_extension, write


def checks(path: str) -> dict[str, tuple[str, str]]:
    result = lambda_extension("doctor", path, "--json")
    found = json.loads(result.stdout)
    assert found["ok"] == (result.exit_code == 0)
    return {check["name"]: (check["verdict"], check["reason"]) for check in found["checks"]}


def test_doctor_finds_nothing_wrong_with_the_examples() -> None:
    result = lambda_extension("doctor", STREAM)
    assert result.exit_code == 0, result.output
    assert "fail" not in result.stdout
    found = checks(str(ROOT / "examples/per_invocation.py"))
    assert {verdict for verdict, _ in found.values()} == {"pass"}
    assert re.match(r"\d+ ms in \d+ modules; slowest: \S+ \d+ ms, ", found["imports"][1])


@pytest.mark.parametrize(
    ("name", "head", "mode", "check", "verdict", "reason"),
    [
        ("two words", "#!/bin/sh\n", 0o755, "name", "fail", "other characters"),
        ("x", "#!/bin/sh\n", 0o644, "executable", "fail", "chmod 755 x"),
        ("x", "#!/bin/sh\n", 0o700, "executable", "fail", "another user"),
        ("x", "", 0o755, "shebang", "fail", "the file has none"),
        ("x", "exit\n", 0o755, "shebang", "fail", "the file has none"),
        ("x", "\ufeff#!/bin/sh\n", 0o755, "shebang", "fail", "a byte order mark"),
        ("x", "#!/bin/sh\r\n", 0o755, "shebang", "fail", "CR LF"),
        ("x", "#!/bin/" + "x" * 600, 0o755, "shebang", "fail", "longer than Linux reads"),
        ("x", "#!\n", 0o755, "shebang", "fail", "names no interpreter"),
        ("x", "#!/no/such\n", 0o755, "shebang", "fail", "/no/such does not exist"),
        ("x", "#!/usr/bin/env nosuch\n", 0o755, "shebang", "fail", "nosuch is not on the search path"),
        ("x", "#!/usr/bin/env -S A=1 sh\n", 0o755, "shebang", "pass", "sh, here"),
        ("x", f"#!{sys.executable}\n", 0o755, "shebang", "warn", "hardly on Lambda"),
        ("x", "#!/bin/sh\necho gone; exit 3\n", 0o755, "registers and asks for next in time", "fail", "line was: gone"),
    ],
)
def test_doctor_names_what_is_wrong_with_a_file(
    tmp_path: Path, name: str, head: str, mode: int, check: str, verdict: str, reason: str
) -> None:
    found = checks(write(tmp_path / name, head, mode=mode))
    assert found[check][0] == verdict, found
    assert reason in found[check][1]


def test_doctor_takes_a_native_binary_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "native"
    path.write_bytes(Path(sys.executable).resolve().read_bytes())
    path.chmod(0o755)
    found = checks(str(path))
    assert found["shebang"] == ("pass", "a native binary needs none")
    assert found["registers and asks for next in time"][0] == "fail"


@pytest.mark.parametrize(
    ("end", "verdict", "reason"),
    [("exit 0", "pass", "of 2000 ms"), ("exit 4", "fail", "exit code 4"), ("sleep 9", "fail", "after 2000 ms")],
)
def test_doctor_watches_how_an_extension_ends(tmp_path: Path, end: str, verdict: str, reason: str) -> None:
    found = checks(write(tmp_path / "plain.sh", PLAIN % end))
    assert found["imports"] == ("skip", "not a Python program")
    assert found["shuts down in time"][0] == verdict, found
    assert reason in found["shuts down in time"][1]
    assert ("rule late-at-shutdown" in found) == (end == "sleep 9")


def test_doctor_finds_an_extension_that_unknown_events_kill(tmp_path: Path) -> None:
    fragile = """import anyio
from lambda_extension import open_telemetry
from lambda_extension.telemetry import UnknownEvent

async def main():
    async with open_telemetry() as telemetry:
        async for event in telemetry:
            assert not isinstance(event, UnknownEvent)

anyio.run(main)
"""
    found = checks(write(tmp_path / "fragile.py", fragile))
    assert found["shuts down in time"][0] == "pass"
    verdict, reason = found["survives a freeze of hours and unknown events"]
    assert verdict == "fail"
    assert "the next invocation ended with" in reason


def test_doctor_warns_of_a_slow_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_extension.cli._doctor._SLOW_INIT_MS", 1)
    monkeypatch.setattr("lambda_extension.cli._doctor._SLOW_IMPORTS_MS", 1)
    found = checks(STREAM)
    assert found["registers and asks for next in time"][0] == "warn"
    assert found["imports"][0] == "warn"
