"""The command, as a user runs it: real extensions, real processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click.testing
import pexpect
import pytest

from lambda_extension.cli._commands import commands
from lambda_extension.cli._faults import parse_fault
from lambda_extension.cli._run import Tally, spread
from lambda_extension.simulator import ClockJump, DeliveryFault, Entry, Fault, Flood, KillFault, RouteFault
from lambda_extension.telemetry import PlatformReport, UnknownEvent, decode

ROOT = Path(__file__).parents[2]
STREAM = str(ROOT / "examples/stream.py")

Write = Callable[..., str]


@pytest.fixture
def extension(tmp_path: Path) -> Write:
    """Write an extension's file; return its path."""

    def write(text: str, *, name: str = "extension.py", mode: int = 0o755) -> str:
        path = tmp_path / name
        path.write_text(text, newline="")
        path.chmod(mode)
        return str(path)

    return write


def lambda_extension(*arguments: str) -> click.testing.Result:
    result = click.testing.CliRunner().invoke(commands, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_simulate_prints_what_the_extension_prints_and_a_table() -> None:
    result = lambda_extension("simulate", STREAM)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("[stream.py] function: order accepted") == 3
    for label in ("init of stream.py", "added after the response", "events delivered", "shutdown", "exit code"):
        assert label in result.stdout
    assert "3 of 3" in result.stdout


def test_simulate_as_json_prints_nothing_else_to_stdout() -> None:
    result = lambda_extension("simulate", STREAM, "--json", "--invocations", "2", "--freeze")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["ok"] is True
    assert found["invocations"] == {"planned": 2, "made": 2, "by_status": {"success": 2}}
    assert set(found["init_ms"]) == {"runtime", "stream.py"}
    assert found["events"]["delivered"] > 0
    assert found["events"]["dropped"] == 0
    assert found["exit_code"] == 0
    assert found["shutdown"]["budget_ms"] == 2000
    assert found["overhead_ms"]["min"] <= found["overhead_ms"]["max"]
    assert "function: order accepted" in result.stderr


def test_simulate_writes_telemetry_timeline_and_trace(tmp_path: Path) -> None:
    telemetry, page, trace = (tmp_path / name for name in ("out.ndjson", "out.html", "out.json"))
    arguments = ["--telemetry-out", str(telemetry), "--timeline", str(page), "--trace", str(trace)]
    assert lambda_extension("simulate", STREAM, *arguments).exit_code == 0
    events = decode(b"[" + b",".join(telemetry.read_bytes().splitlines()) + b"]")
    assert [type(event) for event in events].count(PlatformReport) == 3
    assert not [event for event in events if isinstance(event, UnknownEvent) or event.timestamp is None]
    assert "stream.py" in page.read_text()
    names = [event["name"] for event in json.loads(trace.read_text())["traceEvents"]]
    assert {"init", "invocation 1", "invocation 3", "shutdown"} <= set(names)


def test_simulate_runs_a_python_handler_with_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.py").write_text("def handler(event, context):\n    print('sold', event['what'])\n    return 1\n")
    event = tmp_path / "event.json"
    event.write_text('{"what": "tea"}')
    monkeypatch.chdir(tmp_path)
    result = lambda_extension("simulate", STREAM, "--handler", "shop:handler", "--event", str(event))
    assert result.exit_code == 0, result.output
    assert result.stdout.count("function: sold tea") == 3


def test_simulate_in_managed_instances_mode_runs_invocations_at_once() -> None:
    options = ["--mode", "managed-instances", "--concurrency", "8", "--invocations", "64", "--json"]
    result = lambda_extension("simulate", STREAM, *options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["invocations"]["by_status"] == {"success": 64}


def test_simulate_names_the_broken_rule_and_the_fix(extension: Write) -> None:
    result = lambda_extension("simulate", extension("print('too early')\n"))
    assert result.exit_code == 1
    assert "[extension.py] too early" in result.stdout
    said = " ".join(result.stdout.split())
    assert "It exited with code 0 although it was not shut down. Keep asking for the next event" in said
    assert "init failed: 1 of 3 invocations were made" in said


def test_simulate_does_not_blame_an_extension_for_a_fault_that_was_asked_for() -> None:
    result = lambda_extension("simulate", STREAM, "--fault", "kill:stream.py:invoke@2", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0, found
    assert found["invocations"]["by_status"] == {"success": 2, "error": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--concurrency", "2"], "one environment runs one invocation at a time"),
        (["--handler", "shop"], "'shop' is not of the form module:function"),
        (["--fault", "explode"], "'explode' is no fault"),
        (["--mode", "both"], "'both' is not one of"),
    ],
)
def test_simulate_refuses_options_that_make_no_sense(arguments: list[str], message: str) -> None:
    result = lambda_extension("simulate", STREAM, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_simulate_refuses_an_event_that_is_not_json(tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text("{")
    result = lambda_extension("simulate", STREAM, "--event", str(event))
    assert result.exit_code == 2
    assert "event.json is not JSON" in result.stderr


@pytest.mark.parametrize("missing", ["awslambdaric", "other"])
def test_simulate_says_what_a_python_handler_needs(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise ModuleNotFoundError(f"no {missing}", name=missing)

    monkeypatch.setattr("lambda_extension.simulator._simulator.function_argv", fail)
    if missing == "other":
        with pytest.raises(ModuleNotFoundError):
            lambda_extension("simulate", STREAM, "--handler", "shop:handler")
        return
    result = lambda_extension("simulate", STREAM, "--handler", "shop:handler")
    assert result.exit_code == 1
    assert "no awslambdaric" in result.stderr


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("delay:next:0.5@2", RouteFault(route="next", action="delay", seconds=0.5, nth=2)),
        ("error:register", RouteFault(route="register", action="error", status=500)),
        ("error:telemetry:503@1", RouteFault(route="telemetry", action="error", status=503, nth=1)),
        ("reset:next", RouteFault(route="next", action="reset")),
        ("duplicate", DeliveryFault(action="duplicate")),
        ("malformed@3", DeliveryFault(action="malformed", nth=3)),
        ("unknown-event", DeliveryFault(action="unknown-event")),
        ("kill:runtime", KillFault(participant="runtime", phase="invoke", nth=1)),
        ("kill:x.py:shutdown@2", KillFault(participant="x.py", phase="shutdown", nth=2)),
        ("clock:-3600", ClockJump(seconds=-3600, nth=1)),
        ("flood:1000", Flood(per_second=1000)),
        ("flood:1000:0.5@4", Flood(per_second=1000, seconds=0.5, nth=4)),
    ],
)
def test_faults_are_read(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("explode", "no fault; there are delay, error"),
        ("delay:next", "delay takes 2 arguments after colons, got 1"),
        ("error", "error takes 1 to 2 arguments"),
        ("reset:nowhere", "'nowhere' is none of register"),
        ("delay:next:soon", "'soon' is no number of seconds"),
        ("error:next:200", "'200' is no whole number from 400 on"),
        ("duplicate@first", "'first' is no whole number from 1 on"),
        ("kill:x:lunch", "'lunch' is none of init"),
    ],
)
def test_what_is_no_fault_is_explained(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_fault(text)


def test_drops_that_the_platform_reports_are_counted() -> None:
    tally = Tally()
    for records in (2, 3):
        record = {"reason": "slow", "droppedRecords": records, "droppedBytes": 1}
        detail = {"record": record}
        tally.add(Entry(time=0.0, kind="event", who="platform", what="platform.logsDropped", detail=detail))
    assert (tally.dropped, tally.emitted) == (5, 2)


def test_a_spread_of_nothing_is_nothing() -> None:
    assert spread([]) is None
    assert spread([3.0, 1.0, 2.0]) == {"min": 1.0, "median": 2.0, "p95": 3.0, "max": 3.0}


# -- in a terminal


def test_a_long_run_in_a_terminal_shows_a_progress_bar() -> None:
    script = f"{sys.executable} -m lambda_extension simulate {STREAM} --invocations 60 --freeze"
    child = pexpect.spawn(
        script, timeout=60, encoding="utf-8", dimensions=(40, 120), env={**os.environ, "TERM": "xterm"}
    )
    child.expect("invocations")
    child.expect("60 of 60")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_the_version_is_that_of_the_distribution() -> None:
    done = subprocess.run([sys.executable, "-m", "lambda_extension", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("lambda-extension, version ")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_the_command_says_what_to_install(missing: str) -> None:
    script = f"import sys; sys.modules['{missing}'] = None; from lambda_extension.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"this command needs {missing}" in done.stderr
    assert "pip install 'lambda-extension[cli]'" in done.stderr


def test_another_missing_module_is_not_blamed_on_the_extra() -> None:
    script = "import sys; sys.modules['lambda_extension.cli._doctor'] = None; "
    script += "from lambda_extension.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "ModuleNotFoundError" in done.stderr
    assert "this command needs" not in done.stderr


# -- doctor


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
    extension: Write, name: str, head: str, mode: int, check: str, verdict: str, reason: str
) -> None:
    found = checks(extension(head, name=name, mode=mode))
    assert found[check][0] == verdict, found
    assert reason in found[check][1]


def test_doctor_takes_a_native_binary_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "native"
    path.write_bytes(Path(sys.executable).resolve().read_bytes())
    path.chmod(0o755)
    found = checks(str(path))
    assert found["shebang"] == ("pass", "a native binary needs none")
    assert found["registers and asks for next in time"][0] == "fail"


PLAIN = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
id=$(curl -sS -X POST -H "Lambda-Extension-Name: ${0##*/}" -d '{"events":["INVOKE","SHUTDOWN"]}' -D - -o /dev/null \\
  "$api/register" | tr -d '\\r' | sed -n 's/^lambda-extension-identifier: //Ip')
while event=$(curl -sS -H "Lambda-Extension-Identifier: $id" "$api/event/next"); do
  case $event in *SHUTDOWN*) %s ;; esac
done
"""


@pytest.mark.parametrize(
    ("end", "verdict", "reason"),
    [("exit 0", "pass", "of 2000 ms"), ("exit 4", "fail", "exit code 4"), ("sleep 9", "fail", "after 2000 ms")],
)
def test_doctor_watches_how_an_extension_ends(extension: Write, end: str, verdict: str, reason: str) -> None:
    found = checks(extension(PLAIN % end, name="plain.sh"))
    assert found["imports"] == ("skip", "not a Python program")
    assert found["shuts down in time"][0] == verdict, found
    assert reason in found["shuts down in time"][1]
    assert ("rule late-at-shutdown" in found) == (end == "sleep 9")


def test_doctor_finds_an_extension_that_unknown_events_kill(extension: Write) -> None:
    fragile = """
import anyio
from lambda_extension import open_telemetry
from lambda_extension.telemetry import UnknownEvent

async def main():
    async with open_telemetry() as telemetry:
        async for event in telemetry:
            assert not isinstance(event, UnknownEvent)

anyio.run(main)
"""
    found = checks(extension(fragile))
    assert found["shuts down in time"][0] == "pass"
    verdict, reason = found["survives a freeze of hours and unknown events"]
    assert verdict == "fail"
    assert "the next invocation ended with" in reason


def test_doctor_warns_of_a_slow_start(extension: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_extension.cli._doctor._SLOW_INIT_MS", 1)
    monkeypatch.setattr("lambda_extension.cli._doctor._SLOW_IMPORTS_MS", 1)
    found = checks(STREAM)
    assert found["registers and asks for next in time"][0] == "warn"
    assert found["imports"][0] == "warn"
