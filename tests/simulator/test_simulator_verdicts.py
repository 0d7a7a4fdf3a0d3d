"""Verdicts that can be trusted: for each rule who breaks it is found, and who keeps it is not."""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from simulator_kit import Calls, collecting, finding, listening, rules, script, subscriber
from test_simulator_platform import PRINTING

from lambda_extension.serving._serve import serve_app
from lambda_extension.simulator import (
    ExtensionSpec,
    FunctionContext,
    KillFault,
    Record,
    ScriptedFunction,
    Simulator,
    obstacle,
)
from lambda_extension.simulator._watching._feedback import Feedback

Extension = Callable[[Mapping[str, str]], Awaitable[None]]
BOTH = ("INVOKE", "SHUTDOWN")


def calling(name: str, body: Callable[[Calls], Awaitable[None]]) -> Extension:
    """Make an extension of what it calls."""

    async def extension(environment: Mapping[str, str]) -> None:
        async with Calls(environment, name) as calls:
            await body(calls)

    extension.__name__ = name
    return extension


async def run(extension: Any, function: Any = None, *, invocations: int = 1, **settings: Any) -> Simulator:
    """Run a life of an extension."""
    async with Simulator([extension], function, **{"timeout": 5, "init_timeout": 5, **settings}) as lambda_:
        await lambda_.invoke_many(invocations)
        await lambda_.shutdown()
    return lambda_


async def polite(calls: Calls) -> None:
    await calls.register(*BOTH)
    await calls.until_shutdown()


async def test_who_does_everything_right_is_found_nothing_wrong_with() -> None:
    lambda_ = await run(subscriber("x", [], events=BOTH), invocations=3)
    assert rules(lambda_) == []


# -- telemetry that does not arrive


async def test_a_subscriber_that_never_listens() -> None:
    async def deaf(calls: Calls) -> None:
        await calls.register("SHUTDOWN")
        async with listening(collecting([])) as port:
            free = port
        await calls.subscribe(free)
        await calls.until_shutdown()

    lambda_ = await run(calling("deaf", deaf))
    said = finding(lambda_, "listener-unreachable")
    assert (said.who, said.level) == ("deaf", "error")
    emitted = sum(lambda_.record.counts["event", f"platform.{type_}"] for type_ in ("initStart", "start", "report"))
    assert emitted == 3
    assert "events were undelivered at the end" in said.message


async def test_a_subscriber_that_refuses_everything() -> None:
    async def refusing(calls: Calls) -> None:
        await calls.register("SHUTDOWN")
        async with listening(collecting([]), status=500) as port:
            await calls.subscribe(port)
            await calls.until_shutdown()

    assert "(status 500)" in finding(await run(calling("refusing", refusing)), "listener-unreachable").message


async def test_a_subscriber_that_listens_a_little_late_is_none_of_these() -> None:
    async def late(calls: Calls) -> None:
        await calls.register("SHUTDOWN")
        # Its own from the start, so that no other test gets the port before it listens.
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        await calls.subscribe(sock.getsockname()[1])
        stop = anyio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while (await receive()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        sock.listen()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: serve_app(app, sock, shutdown_trigger=stop.wait))
            await calls.until_shutdown()
            stop.set()

    assert rules(await run(calling("late", late))) == []


@pytest.fixture
def listener_of(tmp_path: Path) -> Callable[[str], Path]:
    """Make an extension that listens on an address."""

    def make(host: str) -> Path:
        source = PRINTING.replace("(host, 0)", f"({host}, 0)")
        return script(tmp_path / "printing", source)

    return make


async def listening_on(extension: Path, out: Path) -> Simulator:
    environment = {"OUT": str(out), "TIMEOUT_MS": "25"}
    async with Simulator([extension], environment=environment, timeout=9) as lambda_:
        await lambda_.invoke()
    return lambda_


needs_namespaces = pytest.mark.skipif(sys.platform != "linux", reason="loopback has one address there")


@needs_namespaces
async def test_a_listener_on_127_0_0_1_alone_gets_nothing(listener_of: Any, tmp_path: Path) -> None:
    lambda_ = await listening_on(listener_of('"127.0.0.1"'), tmp_path / "out")
    said = finding(lambda_, "loopback-only")
    assert said.level == "error"
    assert "127.0.0.1" in said.message
    assert not (tmp_path / "out").exists()
    assert ("printing", "listener-unreachable") in rules(lambda_)


@needs_namespaces
async def test_a_listener_on_every_address_is_a_warning(listener_of: Any, tmp_path: Path) -> None:
    lambda_ = await listening_on(listener_of('"0.0.0.0"'), tmp_path / "out")
    assert finding(lambda_, "listens-everywhere").level == "warning"
    assert (tmp_path / "out").exists()


async def test_a_listener_on_sandbox_localdomain_is_right(listener_of: Any, tmp_path: Path) -> None:
    lambda_ = await listening_on(listener_of("host"), tmp_path / "out")
    assert [rule for _, rule in rules(lambda_) if rule != "feedback-loop"] == []
    assert (tmp_path / "out").exists()


@needs_namespaces
async def test_an_extension_of_this_process_is_reached_where_it_listens() -> None:
    seen: list[Any] = []

    async def elsewhere(calls: Calls) -> None:
        await calls.register("SHUTDOWN")
        async with listening(collecting(seen), host="127.0.0.3") as port:
            await calls.subscribe(port)
            await calls.until_shutdown()

    assert rules(await run(calling("elsewhere", elsewhere))) == []
    assert "platform.report" in [event["type"] for event in seen]


async def test_port_9001_is_the_platform_s() -> None:
    async def wrong(calls: Calls) -> None:
        await calls.register("SHUTDOWN")
        await calls.subscribe(9001)
        await calls.until_shutdown()

    assert ("wrong", "port-9001") in rules(await run(calling("wrong", wrong)))


@pytest.mark.parametrize("api", ["telemetry", "logs"])
async def test_another_host_is_refused_and_named(api: str) -> None:
    async def wrong(calls: Calls) -> None:
        await calls.register("SHUTDOWN")
        destination = {"protocol": "HTTP", "URI": "http://localhost:4243"}
        assert (await calls.subscribe(1, api=api, destination=destination)).status_code == 400
        await calls.until_shutdown()

    assert rules(await run(calling("wrong", wrong))) == [("wrong", "wrong-host")]


# -- its own output


async def feedback_of(extension: Path, tmp_path: Path, invocations: int = 1) -> Simulator:
    environment = {"OUT": str(tmp_path / "out"), "TIMEOUT_MS": "25"}
    async with Simulator([extension], environment=environment, timeout=9) as lambda_:
        await lambda_.invoke_many(invocations)
        with anyio.move_on_after(2):
            await lambda_.wait_for(lambda record: bool(record.findings), within=2)
    return lambda_


async def test_who_writes_what_it_is_sent_of_itself_is_in_a_loop(tmp_path: Path) -> None:
    lambda_ = await feedback_of(script(tmp_path / "printing", PRINTING), tmp_path)
    assert rules(lambda_) == [("printing", "feedback-loop")]


def test_what_has_another_cause_is_no_loop() -> None:
    async def main() -> None:
        feedback = Feedback()
        assert not feedback.wrote("x")
        for _ in range(10):  # it writes at each invocation, and is sent it
            feedback.stimulated("x")
            assert not feedback.wrote("x")
            feedback.delivers("x", own_only=True)
        for _ in range(10):  # it writes when the function's lines are delivered
            feedback.delivers("x", own_only=False)
            assert not feedback.wrote("x")
        for _ in range(10):  # it does not answer each delivery
            feedback.delivers("x", own_only=True)
            feedback.delivers("x", own_only=True)
            assert not feedback.wrote("x")
        feedback.stimulated("x")
        found = []
        for _ in range(4):
            feedback.delivers("x", own_only=True)
            found += [feedback.wrote("x"), feedback.wrote("x")]
        assert found == [False, False, False, False, True, False, False, False]

    anyio.run(main)


def test_what_comes_much_later_has_another_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("anyio.current_time", lambda: now)
    feedback = Feedback()
    for _ in range(10):  # a heartbeat
        feedback.delivers("x", own_only=True)
        now += 1.0
        assert not feedback.wrote("x")


# -- who it says it is


async def test_a_wrong_name_that_is_refused_is_named_with_the_right_one() -> None:
    async def misnamed(calls: Calls) -> None:
        answer = await calls.register(*BOTH, name="my-extension")
        assert answer.status_code == 403

    lambda_ = await run(ExtensionSpec(calling("x", misnamed), name="my-extension.py"))
    said = finding(lambda_, "wrong-name")
    assert said.who == "my-extension.py"
    assert "'my-extension'" in said.message
    assert "'my-extension.py'" in said.message
    assert "Lambda-Extension-Name" in said.fix
    assert rules(lambda_) == [("my-extension.py", "wrong-name")]  # and not also that it exits early


async def test_a_wrong_name_that_is_taken_for_an_internal_extension() -> None:
    async def misnamed(calls: Calls) -> None:
        await calls.register("INVOKE", name="other")
        await calls.next()

    lambda_ = await run(calling("x", misnamed), init_timeout=0.3, timeout=0.3)
    assert ("x", "wrong-name") in rules(lambda_)


async def test_an_unknown_event_is_no_matter_of_the_name() -> None:
    async def odd(calls: Calls) -> None:
        assert (await calls.register("LUNCH")).status_code == 403
        await polite(calls)

    assert rules(await run(calling("odd", odd))) == []


# -- init


async def test_who_never_registers_and_who_never_asks_for_next() -> None:
    async def silent(_: Calls) -> None:
        await anyio.sleep_forever()

    async def stuck(calls: Calls) -> None:
        await calls.register("INVOKE")
        await anyio.sleep_forever()

    for body, rule in ((silent, "never-registers"), (stuck, "never-calls-next")):
        lambda_ = await run(calling("x", body), init_timeout=0.3, timeout=0.3)
        assert rules(lambda_) == [("x", rule)]


async def test_a_reported_error_has_its_type_and_message() -> None:
    async def failing(calls: Calls) -> None:
        await calls.register("SHUTDOWN")
        await calls.report("init", "Extension.NoKey", "API_KEY is not set")
        raise SystemExit(1)

    lambda_ = await run(calling("x", failing))
    assert rules(lambda_) == [("x", "init-error")]
    assert finding(lambda_, "init-error").message == ("It reported init/error: Extension.NoKey: API_KEY is not set")
    entry = lambda_.record.find("state", "InitError")[0]
    assert entry.detail == {"error_type": "Extension.NoKey", "message": "API_KEY is not set"}


@pytest.mark.parametrize("body", [b"", b"[]", b"text"])
async def test_a_reported_error_without_a_message_has_its_type(body: bytes) -> None:
    async def failing(calls: Calls) -> None:
        await calls.register("SHUTDOWN")
        headers = {**calls.me, "Lambda-Extension-Function-Error-Type": "Extension.Odd"}
        await calls.http.post("/2020-01-01/extension/exit/error", headers=headers, content=body)
        raise SystemExit(1)

    lambda_ = await run(calling("x", failing))
    assert finding(lambda_, "exit-error").message == "It reported exit/error: Extension.Odd"


# -- the end


async def test_who_is_registered_for_invoke_alone_is_killed_and_that_is_right() -> None:
    async def invoked(calls: Calls) -> None:
        await calls.register("INVOKE")
        while True:
            await calls.next()

    async with Simulator([calling("x", invoked)]) as lambda_:
        await lambda_.invoke()
        report = await lambda_.shutdown()
    assert rules(lambda_) == []
    assert report.killed == ("x",)
    assert lambda_.record.find("process", "exit", who="x")[0].detail == {"code": -9, "killed": True}


async def test_who_ends_with_an_error_after_shutdown() -> None:
    async def failing(calls: Calls) -> None:
        await polite(calls)
        raise LookupError("no such bucket")

    lambda_ = await run(calling("x", failing))
    said = finding(lambda_, "fails-at-shutdown")
    assert said.output == "LookupError: no such bucket"
    assert "code 1" in said.message


async def test_who_asks_for_next_after_shutdown_is_warned_and_not_late() -> None:
    async def asking(calls: Calls) -> None:
        while True:
            await calls.register(*BOTH)
            await calls.until_shutdown()
            await calls.next()

    async with Simulator([calling("x", asking)]) as lambda_:
        await lambda_.invoke()
        report = await lambda_.shutdown()
    assert rules(lambda_) == [("x", "next-after-shutdown")]
    assert finding(lambda_, "next-after-shutdown").level == "warning"
    assert (report.late, report.killed) == ((), ("x",))


async def test_who_was_killed_by_a_fault_is_not_blamed() -> None:
    lambda_ = await run(calling("x", polite), faults=[KillFault(participant="x")])
    assert rules(lambda_) == []


@pytest.mark.parametrize(
    ("source", "message", "fix", "output"),
    [
        ("", "It exited with code 0 before it registered.", "register", None),
        ("import nothing_there", "It exited with code 1 before it registered.", "output", "ModuleNotFoundError"),
        ("import os; os.kill(os.getpid(), 11)", "It was ended by SIGSEGV before it registered.", "output", None),
        ("import os; os.kill(os.getpid(), 40)", "It was ended by signal 40 before it registered.", "output", None),
    ],
)
async def test_who_exits_early_is_told_why(
    source: str, message: str, fix: str, output: str | None, tmp_path: Path
) -> None:
    lambda_ = await run(script(tmp_path / "x", source))
    said = finding(lambda_, "exits-early")
    assert said.message == message
    assert fix in said.fix
    assert (said.output is None) == (output is None)
    assert output is None or output in str(said.output)


async def test_who_exits_early_for_a_call_that_was_refused_is_told_which() -> None:
    async def unidentified(calls: Calls) -> None:
        await calls.register(*BOTH)
        await calls.http.get("/2020-01-01/extension/event/next", headers={**calls.me, "x": "y"})
        answer = await calls.subscribe(4243)
        assert answer.status_code == 403
        raise SystemExit(3)

    lambda_ = await run(calling("x", unidentified), ScriptedFunction(latency=5))
    said = finding(lambda_, "exits-early")
    assert "after PUT /2022-07-01/telemetry was refused with 403 Telemetry.SubscriptionClosed" in said.message
    (refused,) = [entry for entry in lambda_.record.find("call", who="x") if entry.detail["status"] == 403]
    assert refused.detail["error_type"] == "Telemetry.SubscriptionClosed"
    assert refused.detail["message"]


def test_the_last_line_that_says_something() -> None:
    async def main() -> None:
        async with Simulator() as lambda_:
            record: Record = lambda_.record
            assert record.last_words("x") is None
            for text in (
                "  +-+---------------- 1 ----------------",
                "    | ValueError: broken",
                "    +------",
                "",
                "---",
            ):
                record.add("output", "x", "line", text=text)
            assert record.last_words("x") == "ValueError: broken"

    anyio.run(main)


# -- files that cannot be started


ELF = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\0"
FOREIGN = ELF + (b"\x16\0") + b"\0" * 44  # S/390


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (b"#!/usr/bin/env python3\r\nprint()\r\n", 0o755, "ends with CR LF"),
        (b"#!/no/such/python\n", 0o755, "/no/such/python, does not exist"),
        (b"#!/usr/bin/env no-such-python\n", 0o755, "wants no-such-python, which is not on its search path"),
        (b"#!\n", 0o755, "names no interpreter"),
        (b"#!/" + b"x" * 300, 0o755, "longer than Linux reads"),
        (b"print()\n", 0o755, "neither a native binary"),
        (b"\xef\xbb\xbf#!/bin/sh\n", 0o755, "byte order mark"),
        (b"", 0o755, "is empty"),
        (b"#!/bin/sh\n", 0o644, "is not executable"),
        (FOREIGN, 0o755, "is built for machine 22, and this machine is"),
    ],
    ids=["crlf", "interpreter", "env", "no-name", "long", "no-shebang", "bom", "empty", "mode", "architecture"],
)
async def test_a_file_that_cannot_be_started_says_why(content: bytes, mode: int, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    path.chmod(mode)
    lambda_ = await run(path)
    said = finding(lambda_, "launch")
    assert message in said.message
    assert rules(lambda_) == [("x", "launch")]
    (state, *_) = lambda_.record.events("platform.extension")
    assert state["state"] == "LaunchError"
    assert state["errorType"] == ("PermissionDenied" if mode == 0o644 else "UnknownError")


async def test_what_the_kernel_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    lambda_ = await run(ExtensionSpec([str(script(tmp_path / "x", "")), "x" * 3_000_000], name="x"))
    assert "Argument list too long" in finding(lambda_, "launch").message


async def test_a_function_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    async with Simulator(function=tmp_path) as lambda_:
        assert (await lambda_.invoke()).error_type == "Runtime.InvalidEntrypoint"
    assert "is a directory" in finding(lambda_, "launch").message


def test_what_can_be_started_has_no_obstacle(tmp_path: Path) -> None:
    for head in ("#!/usr/bin/env python3\n", "#!/usr/bin/env -S python3 -I\n", "#!/bin/sh\n", "#!/usr/bin/env\n"):
        path = tmp_path / "x"
        path.write_text(head)
        path.chmod(0o755)
        assert obstacle([str(path)], {"PATH": str(Path(sys.executable).parent)}) is None
    assert obstacle([sys.executable], {}) is None
    assert obstacle(["sh"], {"PATH": "/bin"}) is None
    missing = obstacle(["no-such-program"], {"PATH": "/bin"})
    assert missing is not None
    assert "does not exist" in missing.message


def test_an_interpreter_in_opt_is_looked_for_where_opt_is(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin/own", "")
    path = tmp_path / "x"
    for head in ("#!/opt/bin/own\n", "#!/usr/bin/env own\n"):
        path.write_text(head)
        path.chmod(0o755)
        found = obstacle([str(path)], {"PATH": "/opt/bin:/bin"})
        assert found is not None
        assert obstacle([str(path)], {"PATH": "/opt/bin:/bin"}, opt=tmp_path) is None


# -- the function


HANDLER = """
def handler(event, context):
    print("about to fail")
    raise KeyError("order")
"""


async def test_a_handler_that_fails_shows_its_error_and_its_output(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(HANDLER)
    async with Simulator(function="failing:handler", environment={"PYTHONPATH": str(tmp_path)}, timeout=9) as lambda_:
        result = await lambda_.invoke()
    assert (result.status, result.payload["errorType"]) == ("error", "KeyError")
    (entry,) = lambda_.record.find("state", "error", who="runtime")
    assert (entry.detail["error_type"], entry.detail["message"]) == ("KeyError", "'order'")
    assert "about to fail" in entry.detail["output"]
    assert lambda_.record.findings == []


async def test_a_function_that_cannot_be_initialised_says_why(tmp_path: Path) -> None:
    (tmp_path / "unimportable.py").write_text("import nothing_there\n")
    environment = {"PYTHONPATH": str(tmp_path)}
    async with Simulator(function="unimportable:handler", environment=environment, timeout=9) as lambda_:
        await lambda_.invoke()
    assert "nothing_there" in finding(lambda_, "function-init").message


async def test_a_bootstrap_that_exits_at_once_says_so(tmp_path: Path) -> None:
    async with Simulator(function=script(tmp_path / "bootstrap", "print('no config')\nraise SystemExit(4)")) as lambda_:
        await lambda_.invoke()
    said = finding(lambda_, "function-init")
    assert "code 4" in said.message
    assert said.output == "no config"


async def test_a_function_that_fails_on_purpose_is_no_finding() -> None:
    async def handler(event: Any, context: FunctionContext) -> Any:
        raise LookupError

    async with Simulator(function=handler) as lambda_:
        assert (await lambda_.invoke()).error_type == "LookupError"
    assert lambda_.record.findings == []
