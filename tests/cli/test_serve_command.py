"""`lambda-extension serve`, as a process that is invoked from outside."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import boto3
import botocore.config
import httpx
import pytest
from command_kit import STREAM, extension_that, lambda_extension, write

from lambda_extension.cli._attached import AttachedExtension, process_at
from lambda_extension.simulator import Entry

URL = re.compile(r"function: POST (http://127\.0\.0\.1:\d+)(/\S+)")


class Served:
    """A running `serve`; the test ends it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self._lines = process.stdout
        self.said: list[str] = []
        found = self.until(URL)
        self.endpoint, self.url = found[1], found[1] + found[2]

    def until(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """Read on to a line that matches."""
        for line in self._lines:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern!r} is not in {''.join(self.said)}")

    def environment_of(self, name: str) -> dict[str, str]:
        """Return the variables that a participant is to be started with."""
        said = self.until(f"waiting for {name}: start it with (.+)")[1]
        return {**os.environ, **dict(pair.split("=", 1) for pair in said.split())}

    def end(self, number: int = signal.SIGINT) -> str:
        """Send a signal; return all that was printed."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=30)
        return "".join(self.said) + rest


@contextmanager
def serve(*arguments: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "lambda_extension", "serve", "--port", "0", "--api-port", "0", *arguments]
    environment = {**os.environ, "COLUMNS": "1000", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            yield Served(process)
        finally:
            process.kill()


def test_it_is_invoked_by_http_until_ctrl_c_and_then_shuts_down() -> None:
    with serve(STREAM) as served:
        for number in range(3):
            answer = httpx.post(served.url, json={"number": number}, timeout=20)
            assert answer.json() == {"number": number}
        said = served.end()
    assert served.process.returncode == 0, said
    assert said.count("[stream.py] function: order accepted") == 3
    assert said.count("[function] order accepted") == 3
    assert "3 of 3 succeeded" in said
    assert re.search(r"shutdown +\d+ of 2000 ms \(spindown\)", said)


def test_an_sdk_with_an_endpoint_invokes_it() -> None:
    config = botocore.config.Config(read_timeout=20, retries={"total_max_attempts": 1})
    with serve() as served:
        client = boto3.client(
            "lambda",
            endpoint_url=served.endpoint,
            region_name="us-east-1",
            aws_access_key_id="none",
            aws_secret_access_key="none",
            config=config,
        )
        answer = client.invoke(FunctionName="function", Payload=b'{"size": 4}', LogType="Tail")
        assert json.load(answer["Payload"]) == {"size": 4}
        assert answer["StatusCode"] == 200
        assert answer["ExecutedVersion"] == "$LATEST"
        assert client.invoke(FunctionName="other", InvocationType="Event")["StatusCode"] == 202
        with pytest.raises(client.exceptions.InvalidRequestContentException):
            client.invoke(FunctionName="function", Payload=b"{")
        served.end()


def test_telemetry_is_followed_and_written_and_the_summary_is_json(tmp_path: Path) -> None:
    with serve(STREAM, "--follow", "--json", "--telemetry-out", str(tmp_path / "out")) as served:
        httpx.post(served.url, timeout=20)
        said = served.end(signal.SIGTERM)
    assert re.search(r'\[\S+\dZ platform.report\] {"requestId": ', said)
    found = json.loads(said[said.index("\n{\n") :])
    assert '"platform.report"' in (tmp_path / "out").read_text()
    assert found["invocations"] == {"planned": None, "made": 1, "by_status": {"success": 1}}
    assert served.process.returncode == 0


def test_a_failing_extension_is_seen_in_the_exit_code(tmp_path: Path) -> None:
    with serve(write(tmp_path / "x.py", "print('too early')\n")) as served:
        served.until("It exited with code 0 before it registered")
        said = served.end()
    assert served.process.returncode == 1, said


def test_an_attached_extension_takes_part(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", extension_that('print(event["eventType"], flush=True)'))
    with serve("--attach", "mine.py") as served:
        variables = dict(
            pair.split("=", 1) for pair in served.until("waiting for mine.py: start it with (.+)")[1].split()
        )
        environment = {**os.environ, **variables}
        with subprocess.Popen([sys.executable, path], env=environment, stdout=subprocess.PIPE, text=True) as mine:
            assert httpx.post(served.url, json=1, timeout=20).json() == 1
            said = served.end()
            assert mine.communicate(timeout=20)[0].split() == ["INVOKE", "SHUTDOWN"]
    assert served.process.returncode == 0, said


ENDING = """
import http.client, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
body = b'{"events": ["INVOKE", "SHUTDOWN"]}'
api.request("POST", "/2020-01-01/extension/register", body, {"Lambda-Extension-Name": "x"})
answer = api.getresponse()
answer.read()
me = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
for _ in range(int(os.environ["EVENTS"])):
    api.request("GET", "/2020-01-01/extension/event/next", headers=me)
    print(api.getresponse().read().decode(), flush=True)
if os.environ["THEN"] == "last":
    input()
"""


@contextmanager
def attached(variables: dict[str, str], *, events: int, then: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**variables, "EVENTS": str(events), "THEN": then}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", ENDING], env=environment, **pipes) as extension:
        try:
            yield extension
        finally:
            extension.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells whose a connection is")
def test_an_attached_extension_that_ends_is_seen_to() -> None:
    """In a shutdown nobody waits on; before, it is an extension that exits early, and the next one is attached."""
    with serve("--attach", "x") as served, ThreadPoolExecutor() as threads:
        variables = served.environment_of("x")
        with attached(variables, events=1, then="exit"):
            httpx.post(served.url, timeout=20)  # the function may have answered before
            served.until("x: error: It ended although it was not shut down")
        answer = threads.submit(httpx.post, served.url, json=1, timeout=20)
        served.until("waiting for x again")  # now that it is needed
        with attached(variables, events=2, then="exit"):
            assert answer.result().json() == 1
            told = served.end()
    used = re.search(r"shutdown +(\d+) of 2000 ms", told)
    assert used is not None
    assert int(used[1]) < 1500
    assert "late-at-shutdown" not in told
    assert served.process.returncode == 1


def test_an_attached_extension_that_stays_has_the_whole_budget_and_is_not_blamed() -> None:
    with serve("--attach", "x") as served, attached(served.environment_of("x"), events=2, then="last"):
        assert httpx.post(served.url, json=1, timeout=20).json() == 1
        told = served.end()
    used = re.search(r"shutdown +(\d+) of 2000 ms", told)
    assert used is not None
    assert int(used[1]) > 1500
    assert served.process.returncode == 0, told


async def live(extension: AttachedExtension, processes: list[int | None], budget_ms: float, monkeypatch: Any) -> None:
    """Let an attached extension register, ask for the next event, and be shut down; return once it has ended."""
    found = iter(processes)
    monkeypatch.setattr("lambda_extension.cli._attached.process_at", lambda *_: next(found))
    extension.see(Entry(time=0.0, kind="phase", who="platform", what="shutdown-start", detail={"budget_ms": budget_ms}))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(extension, {})
            await anyio.wait_all_tasks_blocked()
            for call in ("POST /2020-01-01/extension/register", "GET /2020-01-01/extension/event/next"):
                extension.see(Entry(time=0.0, kind="call", who="x", what=call, detail={"status": 200, "ports": (1, 2)}))
            extension.see(Entry(time=0.0, kind="state", who="x", what="Running", detail={"event": "SHUTDOWN"}))


@pytest.mark.parametrize("processes", [[1, 2], [None, 1], [1, None]])
async def test_an_attached_extension_whose_process_is_not_known_is_given_its_time(
    processes: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    began = anyio.current_time()
    await live(AttachedExtension("x"), processes, 300, monkeypatch)
    assert anyio.current_time() - began >= 0.19


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells whose a connection is")
async def test_an_attached_extension_that_has_gone_already_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = (await anyio.run_process([sys.executable, "-c", "import os; print(os.getpid())"])).stdout
    await live(AttachedExtension("x"), [int(gone)] * 2, 60_000, monkeypatch)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells whose a connection is")
async def test_an_attached_extension_whose_end_cannot_be_seen_is_given_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refused)
    began = anyio.current_time()
    await live(AttachedExtension("x"), [os.getpid()] * 2, 300, monkeypatch)
    assert anyio.current_time() - began >= 0.19


def test_whose_a_connection_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> str:
        raise FileNotFoundError

    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        port, peer = client.getsockname()[1], server.getsockname()[1]
        assert process_at(port, peer) == os.getpid()
        # From the same port a connection may lead elsewhere, in another process.
        assert process_at(port, peer - 1) is None
        assert process_at(None, None) is None
        monkeypatch.setattr("pathlib.Path.read_text", refused)
        assert process_at(port, peer) is None


RUNTIME = """
import os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    event = urllib.request.urlopen(api + "next")
    id = event.headers["Lambda-Runtime-Aws-Request-Id"]
    urllib.request.urlopen(api + id + "/response", b'"from outside"')
"""


def test_an_attached_runtime_answers() -> None:
    with serve("--attach", "runtime") as served:
        variables = dict(
            pair.split("=", 1) for pair in served.until("waiting for runtime: start it with (.+)")[1].split()
        )
        environment = {**os.environ, **variables}
        with subprocess.Popen([sys.executable, "-c", RUNTIME], env=environment, stderr=subprocess.DEVNULL) as runtime:
            assert httpx.post(served.url, timeout=20).json() == "from outside"
            served.end()
            runtime.wait(timeout=20)
    assert served.process.returncode == 0


SLOW = """#!/bin/sh
curl -s http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next
echo got it
sleep 600
"""


def test_a_signal_before_the_end_of_init_and_a_second_one_kill(tmp_path: Path) -> None:
    with serve("--attach", "nobody") as served:
        said = served.end()
        assert served.process.returncode == 128 + signal.SIGINT
        assert "ended by SIGINT: every process of the run was killed" in said
    slow = write(tmp_path / "bootstrap", SLOW)
    with serve("--function", slow, "--timeout", "600") as served, httpx.Client(timeout=0.2) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post(served.url)
        served.until("got it")
        served.process.send_signal(signal.SIGINT)
        served.until("under way")
        said = served.end()
        assert served.process.returncode == 128 + signal.SIGINT, said


def test_a_port_that_is_taken_is_named_with_the_option() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for mine, other in (("--port", "--api-port"), ("--api-port", "--port")):
            result = lambda_extension("serve", mine, port, other, "0")
            assert result.exit_code == 1
            assert f"port {port} cannot be had" in result.stderr
            assert mine in result.stderr


def test_an_attached_runtime_leaves_no_function_to_run() -> None:
    result = lambda_extension("serve", "--attach", "runtime", "--handler", "a:b")
    assert result.exit_code == 2
    assert "leaves the function to somebody else" in " ".join(result.stderr.split())
