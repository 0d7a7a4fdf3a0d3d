"""`lambda-extension simulate`, as a user runs it: real extensions, real processes."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from datetime import datetime
from pathlib import Path

import click
import pytest
from command_kit import STREAM, extension_that, lambda_extension, write

from lambda_extension.cli._commands import commands
from lambda_extension.cli._faults import parse_fault
from lambda_extension.cli._outcome import Outcome
from lambda_extension.cli._report import print_outcome
from lambda_extension.cli._setup import Setup
from lambda_extension.cli._tally import Made, Tally, spread
from lambda_extension.cli._terminal import Terminal
from lambda_extension.simulator import (
    ClockJump,
    DeliveryFault,
    Entry,
    EventFault,
    ExtensionSpec,
    Fault,
    Flood,
    KillFault,
    OutOfMemory,
    RouteFault,
    ShutdownReport,
)
from lambda_extension.telemetry import PlatformReport, UnknownEvent, decode


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
    assert found["events"]["delivered"]["stream.py"] > 0
    assert found["events"]["dropped"] == 0
    assert found["exit_codes"] == {"stream.py": 0}
    assert found["failures"] == found["refused_calls"] == found["reported_errors"] == []
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


def test_simulate_in_provisioned_concurrency_mode_tells_the_extension_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ["--mode", "provisioned-concurrency", "--freeze", "--telemetry-out", str(out), "--json"]
    result = lambda_extension("simulate", STREAM, *given)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["mode"] == "provisioned-concurrency"
    inits = [json.loads(line) for line in out.read_text().splitlines() if "platform.initReport" in line]
    assert [init["record"]["initializationType"] for init in inits] == ["provisioned-concurrency"]


def test_simulate_gives_init_the_time_that_it_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "hangs.py", "import time\ntime.sleep(60)\n")
    result = lambda_extension("simulate", path, "--init-timeout", "0.5", "--timeout", "0.5", "--json")
    assert result.exit_code == 1, result.output
    assert {finding["rule"] for finding in json.loads(result.stdout)["findings"]} == {"never-registers"}


def test_simulate_names_the_broken_rule_and_the_fix(tmp_path: Path) -> None:
    result = lambda_extension("simulate", write(tmp_path / "extension.py", "print('too early')\n"))
    assert result.exit_code == 1
    assert "[extension.py] too early" in result.stdout
    said = " ".join(result.stdout.split())
    assert "It exited with code 0 before it registered. POST /2020-01-01/extension/register" in said
    assert "init failed: 1 of 3 invocations were made" in said


def test_simulate_does_not_blame_an_extension_for_a_fault_that_was_asked_for() -> None:
    # The init that follows the kill has the time of an invocation: more of it, for a busy machine.
    result = lambda_extension("simulate", STREAM, "--fault", "kill:stream.py:invoke@2", "--timeout", "20", "--json")
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
    assert "event.json is not JSON" in " ".join(result.stderr.split())


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
        ("suppress:platform.runtimeDone@2", EventFault(type="platform.runtimeDone", nth=2)),
        ("delay:function:0.5", EventFault(type="function", action="delay", seconds=0.5)),
        ("out-of-memory", OutOfMemory(nth=1)),
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
        ("delay:next:-1", "'-1' is no number of seconds"),
        ("clock:nan", "'nan' is no number of seconds"),
        ("error:next:200", "'200' is no whole number from 400 on"),
        ("duplicate@first", "'first' is no whole number from 1 on"),
        ("suppress:next", "'next' is no type of telemetry event"),
        ("kill:x:lunch", "'lunch' is none of init"),
    ],
)
def test_what_is_no_fault_is_explained(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_fault(text)


def test_events_that_were_not_taken_are_counted_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    for what, items in (("delivered", 3), ("refused", 2)):
        tally.add(Entry(time=0.0, kind="delivery", who="x.py", what=what, detail={"items": items}))
    tally.emitted, tally.dropped = 7, 4
    setup = Setup(extensions=[ExtensionSpec(["x.py"])])
    shutdown = ShutdownReport(reason="spindown", budget_ms=2000, used_ms=1)
    outcome = Outcome(setup=setup, planned=0, made=Made(), shutdown=shutdown, tally=tally, findings=[])
    print_outcome(outcome, Terminal())
    said = " ".join(capsys.readouterr().out.split())
    assert "events delivered to x.py 3, and 2 not taken" in said
    assert "events dropped by the platform 4" in said
    assert "exit code of x.py none: it was not started" in said


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


# -- what runs


SAYS = 'print(event["eventType"], os.environ.get("COLOUR"), flush=True)'


def test_simulate_runs_several_extensions_at_once(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name, extension_that(SAYS)) for name in ("one.py", "two.py"))
    result = lambda_extension("simulate", one, two, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["extensions"] == ["one.py", "two.py"]
    assert found["exit_codes"] == {"one.py": 0, "two.py": 0}
    assert {line.split("]")[0] for line in result.stderr.splitlines()} == {"[one.py", "[two.py"}


def test_two_extensions_of_one_name_are_refused_before_anything_runs(tmp_path: Path) -> None:
    one, two = (write(tmp_path / folder / "x.py", extension_that(SAYS)) for folder in "ab")
    result = lambda_extension("simulate", one, two)
    assert result.exit_code == 2
    assert "extension names must differ" in " ".join(result.stderr.split())


def test_the_line_of_an_executable_is_honoured_and_a_script_without_one_runs_on_this_python(tmp_path: Path) -> None:
    own = write(tmp_path / "own.py", "#!/bin/sh\necho by sh; exit 1\n")
    assert "[own.py] by sh" in lambda_extension("simulate", own, "--invocations", "1").stdout
    without = write(tmp_path / "without.py", extension_that("print(sys.executable)"), mode=0o644)
    assert f"[without.py] {sys.executable}" in lambda_extension("simulate", without).stdout


def test_variables_reach_extension_and_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.py").write_text("import os\ndef handler(event, context):\n    return print(os.environ['SIZE'])\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUTSIDE", "from outside")
    settings = write(tmp_path / "settings", "# what it needs\nexport COLOUR=red\nSIZE='of file'\n", mode=0o644)
    say = 'print(os.environ["COLOUR"], os.environ["OUTSIDE"], os.environ["AWS_ACCESS_KEY_ID"], flush=True)'
    path = write(tmp_path / "x.py", extension_that(say))
    given = ["--env", "COLOUR=blue = best", "--env", "OUTSIDE", "--env", "AWS_ACCESS_KEY_ID=mine"]
    result = lambda_extension("simulate", path, "--env-file", settings, *given, "--handler", "shop:handler", "--json")
    assert result.exit_code == 0, result.output
    assert "[x.py] blue = best from outside mine" in result.stderr
    result = lambda_extension("simulate", STREAM, "--env-file", settings, "--function", "shop:handler")
    assert "function: of file" in result.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"SECRET", "line 2 is not NAME=VALUE"),
        (b"= SECRET", "line 2 is not NAME=VALUE"),
        (b"A=SECRET\0", "line 2 is not NAME=VALUE"),
        (b"\xffSECRET", "settings is not UTF-8"),
    ],
)
def test_a_file_of_variables_with_a_line_that_is_none_is_refused(tmp_path: Path, line: bytes, message: str) -> None:
    settings = write(tmp_path / "settings", b"A=1\n" + line + b"\n", mode=0o644)
    result = lambda_extension("simulate", STREAM, "--env-file", settings)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "SECRET" not in result.output


def test_a_variable_that_an_extension_names_and_does_not_get_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_API_KEY", "secret")
    path = write(tmp_path / "x.py", extension_that('os.environ.get("VENDOR_API_KEY"), os.environ.get("NOT_SET")'))
    said = " ".join(lambda_extension("simulate", path).stderr.split())
    assert "notice: x.py names VENDOR_API_KEY, which is set here but not passed on: --env VENDOR_API_KEY" in said
    assert "NOT_SET" not in said
    assert "secret" not in said
    assert "notice" not in lambda_extension("simulate", path, "--env", "VENDOR_API_KEY").stderr


BOOTSTRAP = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while curl -sS -D "$0.head" -o /dev/null "$api/next"; do
  id=$(tr -d '\\r' < "$0.head" | sed -n 's/^lambda-runtime-aws-request-id: //Ip')
  echo "handler $_HANDLER of $AWS_LAMBDA_FUNCTION_MEMORY_SIZE MB"
  curl -sS -o /dev/null -d '"done"' "$api/$id/response"
done
"""


@pytest.mark.parametrize("folder", [False, True])
def test_a_bootstrap_in_any_language_is_the_function(tmp_path: Path, folder: bool) -> None:
    path = write(tmp_path / "func:tion/bootstrap", BOOTSTRAP)
    given = str(tmp_path / "func:tion") if folder else path
    options = ["--function", given, "--handler", "index.main", "--memory", "512"]
    result = lambda_extension("simulate", STREAM, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("function: handler index.main of 512 MB") == 3


def test_a_trace_header_reaches_the_extension(tmp_path: Path) -> None:
    path = write(tmp_path / "x.py", extension_that('print(event.get("tracing", {}).get("value"), flush=True)'))
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    result = lambda_extension("simulate", path, "--trace-header", header)
    assert "[x.py] Root=1-5759e988-bd862e3fe1be46a994272793;" in result.stdout


def test_the_log_format_of_the_function_is_chosen(tmp_path: Path) -> None:
    out = tmp_path / "out"
    lambda_extension("simulate", STREAM, "--log-format", "JSON", "--telemetry-out", str(out))
    records = [json.loads(line)["record"] for line in out.read_text().splitlines() if '"function"' in line]
    assert {"level": "INFO", "message": "order shipped"} in records


def test_time_passes_between_invocations(tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ["--interval", "0.3", "--freeze", "--invocations", "2", "--telemetry-out", str(out)]
    assert lambda_extension("simulate", STREAM, *given).exit_code == 0
    events = [json.loads(line) for line in out.read_text().splitlines()]
    start, end = (
        [datetime.fromisoformat(event["time"]) for event in events if event["type"] == type_]
        for type_ in ("platform.start", "platform.report")
    )
    assert (start[1] - end[0]).total_seconds() >= 0.3


# -- what is said


def test_a_failing_handler_shows_its_error_and_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.py").write_text(
        "def handler(event, context):\n    print('about to sell')\n    raise LookupError('no [red]tea[/]')\n"
    )
    monkeypatch.chdir(tmp_path)
    result = lambda_extension("simulate", STREAM, "--function", "shop:handler")
    assert result.exit_code == 3, result.output
    said = " ".join(result.stdout.split())
    assert "0 of 3 succeeded, 3 error" in said
    assert "an invocation ended with error (Runtime.Unknown) LookupError: no [red]tea[/]" in said
    assert "function: about to sell" in said
    assert "raise LookupError" in said
    found = json.loads(lambda_extension("simulate", STREAM, "--function", "shop:handler", "--json").stdout)
    assert (found["ok"], found["exit"]) == (False, 3)
    assert found["failures"][0]["error"]["errorMessage"] == "no [red]tea[/]"
    assert found["failures"][0]["output"][0] == "about to sell"


def test_refused_calls_and_reported_errors_are_shown(tmp_path: Path) -> None:
    error = '{"Lambda-Extension-Function-Error-Type": "Extension.NoKey"}'
    report = f'call("/2020-01-01/extension/init/error", me | {error}, b"{{}}")'
    bad = 'try: call("/2022-07-01/telemetry", me, b"{}", "PUT")\nexcept OSError as error: pass\n'
    path = write(tmp_path / "x.py", extension_that("pass", first=f"{bad}{report}\nsys.exit(4)"))
    result = lambda_extension("simulate", path)
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert "x.py: PUT /2022-07-01/telemetry was refused with 400" in said
    assert "x.py: it reported init/error Extension.NoKey" in said
    found = json.loads(lambda_extension("simulate", path, "--json").stdout)
    assert found["refused_calls"][0]["status"] == 400
    assert found["reported_errors"][0]["error_type"] == "Extension.NoKey"
    assert found["exit_codes"] == {"x.py": 4}


def test_what_others_wrote_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    hostile = "\\x1b]0;title\\x07[bold]b[/] \\u202egnp.exe \\x1b[2J"
    path = write(tmp_path / "x.py", extension_that(f'print("{hostile}", flush=True)'))
    result = lambda_extension("simulate", path)
    assert "[x.py] \\x1b]0;title\\x07[bold]b[/] \\u202egnp.exe \\x1b[2J\n" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_missing_folder_of_an_output_is_found_before_the_run(tmp_path: Path) -> None:
    for option in ("--telemetry-out", "--timeline", "--trace"):
        result = lambda_extension("simulate", STREAM, option, str(tmp_path / "missing/out"))
        assert result.exit_code == 2
        assert "there is no folder" in result.stderr
        assert result.stdout == ""


def test_an_output_that_cannot_be_written_is_said_without_a_traceback(tmp_path: Path) -> None:
    result = lambda_extension("simulate", STREAM, "--telemetry-out", "/dev/full")
    assert result.exit_code == 1
    assert "error: [Errno 28] No space left on device" in result.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--env", "=x"], "'=x' is not of the form NAME=VALUE"),
        (["--env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set outside"),
        (["--trace-header", "größe"], "a header's value is printable ASCII"),
        (["--function", "/no/such"], "'/no/such' is neither MODULE:FUNCTION nor the path of a bootstrap"),
    ],
)
def test_options_that_cannot_be_right_are_refused(given: list[str], message: str) -> None:
    result = lambda_extension("simulate", STREAM, *given)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


# -- what nobody expects


def test_an_error_that_is_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ExceptionGroup("several", [ValueError("a"), OSError("b")])

    monkeypatch.setattr("lambda_extension.cli._simulate._run", fail)
    with pytest.raises(ExceptionGroup):
        lambda_extension("simulate", STREAM)


def test_ctrl_c_before_the_run_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lambda_extension.cli._environments.environment_of", interrupt)
    assert lambda_extension("simulate", STREAM).exit_code == 130


def test_the_output_of_the_command_may_be_kept_in_memory() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        commands.main(["--version"])
    assert "version" in out.getvalue()


# -- verdicts, and where it runs


def test_a_participant_that_nobody_has_is_refused() -> None:
    result = lambda_extension("simulate", STREAM, "--fault", "kill:typo.py")
    assert result.exit_code == 2
    assert "nobody is called 'typo.py' here" in " ".join(result.stderr.split())


def test_an_event_type_may_be_suppressed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = lambda_extension("simulate", STREAM, "--fault", "suppress:platform.report", "--telemetry-out", str(out))
    assert "billed" not in result.stdout
    assert '"platform.start"' in out.read_text()


LISTENING = """
import http.server, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("0.0.0.0", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
body = {"schemaVersion": "2022-12-13", "types": ["platform"], "destination": {"protocol": "HTTP",
        "URI": f"http://sandbox.localdomain:{server.server_port}"}}
call("/2022-07-01/telemetry", me | {"Content-Type": "application/json"}, json.dumps(body).encode(), "PUT")
"""


def test_who_never_ran_has_no_exit_code(tmp_path: Path) -> None:
    broken = write(tmp_path / "x", "#!/bin/sh\r\necho hi\r\n")
    said = " ".join(lambda_extension("simulate", broken).stdout.split())
    assert "exit code of x none: it was not started" in said
    assert "ends with CR LF" in said
    good = write(tmp_path / "y.py", extension_that("pass"))
    said = " ".join(lambda_extension("simulate", good, "--function", broken).stdout.split())
    assert "exit code of y.py -9 (killed by the platform)" in said
    assert "runtime: error: It cannot be started" in said
    assert json.loads(lambda_extension("simulate", broken, "--json").stdout)["exit_codes"] == {}


def test_strict_lets_warnings_count(tmp_path: Path) -> None:
    path = write(tmp_path / "x.py", extension_that("pass", first=LISTENING))
    result = lambda_extension("simulate", path)
    assert result.exit_code == 0, result.output
    assert "x.py: warning: It listens on every address" in " ".join(result.stdout.split())
    assert lambda_extension("simulate", path, "--strict").exit_code == 1


def test_an_extension_that_the_platform_kills_has_not_failed(tmp_path: Path) -> None:
    text = extension_that("pass").replace('"INVOKE", "SHUTDOWN"', '"INVOKE"')
    result = lambda_extension("simulate", write(tmp_path / "x.py", text))
    assert result.exit_code == 0, result.output


def test_a_function_that_cannot_start_is_not_the_extension_s_failure(tmp_path: Path) -> None:
    path = write(tmp_path / "bootstrap", "#!/bin/sh\necho no luck\nexit 5\n")
    result = lambda_extension("simulate", STREAM, "--function", path)
    assert result.exit_code == 3, result.output
    said = " ".join(result.stdout.split())
    assert "runtime: error: The function's process exited with code 5" in said
    assert "its last line was: no luck" in said


def test_the_line_for_hosts_is_named_where_the_sandbox_does_not_resolve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_extension.simulator._platform._surroundings._NAMES", ("sandbox.invalid",))
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    path = write(tmp_path / "x.py", extension_that("pass"))
    said = " ".join(lambda_extension("simulate", path).stderr.split())
    assert "notice: sandbox.localdomain does not resolve here" in said
    assert "until /etc/hosts has this line: 127.0.0." in said


def test_a_message_of_several_lines_is_shown_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise click.ClickException("first\nsecond")

    monkeypatch.setattr("lambda_extension.cli._environments.environment_of", fail)
    assert lambda_extension("simulate", STREAM).stderr == "error: first\nsecond\n"
