"""The page for Go, Rust and Node: its extensions and its commands, as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pexpect
import pytest
from command_kit import ROOT, write

from foreign_builds import rust_extension

PAGE = (ROOT / "docs/howto/foreign.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def commands_of_ci() -> list[list[str]]:
    """Return the arguments of each run of the command in the recipe."""
    return [line.split() for line in re.findall(r"run: uvx --from \S+ lambda-extension (.+)", block("yaml"))]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lambda_extension", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    if shutil.which("node") is None:
        pytest.skip("no Node")
    return Path(write(tmp_path / "audit.mjs", block("javascript")))


@pytest.mark.skipif(shutil.which("go") is None, reason="no Go")
@pytest.mark.timeout(600)  # Go's standard library is compiled once
def test_the_extension_in_go_passes_the_recipe(tmp_path: Path) -> None:
    write(tmp_path / "main.go", block("go"), mode=0o644)
    write(tmp_path / "go.mod", "module audit\n\ngo 1.21\n", mode=0o644)
    subprocess.run(["go", "build", "-o", "audit", "."], cwd=tmp_path, check=True)
    assert [arguments[0] for arguments in commands_of_ci()] == ["doctor", "simulate"]
    for arguments in commands_of_ci():
        done = run(tmp_path, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("[audit] INVOKE") == 20
    assert "audit" in (tmp_path / "run.html").read_text()


@pytest.mark.timeout(600)  # its crates are compiled once
def test_the_extension_in_rust_runs(tmp_path: Path) -> None:
    shutil.copy2(rust_extension(block("rust")), tmp_path / "audit")
    done = run(tmp_path, "simulate", "./audit", "--strict")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("[audit] INVOKE ") == 3
    assert "[audit] SHUTDOWN " in done.stdout


def test_the_extension_in_node_runs(node: Path) -> None:
    done = run(node.parent, "simulate", f"./{node.name}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["exit_codes"] == {"audit.mjs": 0}
    assert done.stderr.count("[audit.mjs] INVOKE") == 3
    assert "[audit.mjs] SHUTDOWN spindown" in done.stderr


def test_the_extension_in_node_stops_in_its_debugger(node: Path) -> None:
    serve = [sys.executable, "-m", "lambda_extension", "serve", "--attach", node.name, "--port", "0", "--api-port", "0"]
    plain = {**os.environ, "NO_COLOR": "1", "TERM": "dumb"}
    served = pexpect.spawn(serve[0], serve[1:], timeout=30, encoding="utf-8", dimensions=(40, 500), env=plain)
    served.expect(r"function: POST (\S+)")
    assert isinstance(served.match, re.Match)
    url = served.match[1]
    served.expect(r"waiting for audit.mjs: start it with ([^\r]+)")
    variables = dict(pair.split("=", 1) for pair in served.match[1].split())
    debugger = pexpect.spawn("node", ["inspect", str(node)], timeout=30, encoding="utf-8", env={**plain, **variables})
    debugger.expect("Break on start")
    for command in re.findall(r"debug> (.+)", PAGE):
        debugger.expect("debug> ")
        debugger.sendline(command)
    with httpx.Client(timeout=0.5) as client, pytest.raises(httpx.ReadTimeout):
        while True:  # until one is stopped in the debugger
            client.post(url)
    debugger.expect(r"break in .*:13")
    debugger.expect("debug> ")
    debugger.sendline("exec('event.eventType')")
    debugger.expect("'INVOKE'")
    debugger.expect("debug> ")
    debugger.sendline("clearBreakpoint('audit.mjs', 13)")
    debugger.sendline("cont")
    debugger.expect("INVOKE")
    served.sendintr()
    debugger.expect("SHUTDOWN spindown")
    served.expect(pexpect.EOF)
    served.close()
    debugger.close(force=True)
    assert served.exitstatus == 0
