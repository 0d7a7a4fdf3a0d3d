"""Real extensions, written with this library, on AWS's own emulator with a real Python function."""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest
from benchmarks.backend import backend as http_backend

from emulator.harness import OUTPUT, Emulator
from waiting import eventually

pytestmark = pytest.mark.emulator

PROGRAMS = Path(__file__).with_name("programs")
# Starts the extension as a layer's launcher would, and notes how and when it ended.
LAUNCHER = f"""#!/bin/sh
{sys.executable} /var/task/$(basename "$0")
code=$?
echo "$code $(date +%s%3N)" > {OUTPUT}/$(basename "$0").end
exit $code
"""
Start: TypeAlias = Callable[..., AbstractAsyncContextManager["Run"]]


class Run:
    """A run of the emulator with one extension of ours."""

    def __init__(self, emulator: Emulator, extension: str) -> None:
        self.emulator, self._extension = emulator, extension

    async def invoke(self, **event: Any) -> dict[str, Any]:
        answer = await self.emulator.invoke({"lines": 0, "tag": "none", **event})
        body: dict[str, Any] = answer.json()
        assert "requestId" in body, body
        return body

    async def shut_down(self) -> None:
        self.emulator.terminate()
        await self.emulator.wait()

    @property
    def notes(self) -> list[dict[str, Any]]:
        path = self.emulator.output / f"{self._extension}.jsonl"
        if not path.exists():
            return []
        # The extension writes while this reads: what follows the last line break is not a line yet.
        return [json.loads(line) for line in path.read_text().split("\n")[:-1]]

    def noted(self, key: str) -> list[Any]:
        return [note[key] for note in self.notes if key in note]

    def events(self, name: str) -> list[Any]:
        return [note["record"] for note in self.notes if note.get("event") == name]

    async def end(self) -> tuple[int, int]:
        """Wait for the extension's end; return its exit code and the time in epoch milliseconds."""
        path = self.emulator.output / f"{self._extension}.end"
        await eventually(lambda: path.exists() and path.read_text(), within=10)
        code, at = path.read_text().split()
        return int(code), int(at)

    async def wait_for(self, predicate: Callable[[Run], object], *, within: float = 15.0) -> None:
        await eventually(lambda: predicate(self), within=within)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # of the test; that of the extension is `backend`


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(emulator_binary: Path, tmp_path: Path, backend: str) -> Start:
    @asynccontextmanager
    async def run(*extensions: str, managed: bool, **environment: str) -> AsyncGenerator[Run]:
        programs = {path.name: path.read_text() for path in PROGRAMS.glob("*.py")}
        emulator = Emulator(
            emulator_binary,
            tmp_path,
            managed=managed,
            extensions=dict.fromkeys(extensions, LAUNCHER),
            bootstrap=f"#!{sys.executable}\n{programs['bootstrap.py']}",
            task=programs,
            timeout=20,
            concurrency=8,
            environment={"BACKEND": backend, "OUTPUT": str(OUTPUT), **environment},
        )
        try:
            async with emulator:
                yield Run(emulator, extensions[0])
        except Exception as error:
            error.add_note(f"the emulator's log:\n{emulator.log[-8000:]}")
            raise

    return run


async def test_200_invocations_lose_no_line_and_no_platform_event(start: Start, server: str) -> None:
    per_invocation = 5
    answers: list[dict[str, Any]] = []
    async with start("telemetry.py", managed=True, SERVER=server) as run:
        await run.wait_for(lambda it: it.noted("backend"))

        async def work(worker: int) -> None:
            for number in range(25):
                answers.append(await run.invoke(lines=per_invocation, tag=f"{worker}-{number}"))

        async with anyio.create_task_group() as workers:
            for worker in range(8):
                workers.start_soon(work, worker)
        # The emulator drops what it would flush at SHUTDOWN if a batch is still unanswered then.
        await run.wait_for(lambda it: len(it.events("PlatformReport")) >= 200)
        await run.shut_down()
        code, _ = await run.end()
        lines = run.events("FunctionLog")
        (statistics,) = run.noted("statistics")
        requests = {answer["requestId"] for answer in answers}
        starts, reports = run.events("PlatformStart"), run.events("PlatformReport")
        types = [note["event"] for note in run.notes if "event" in note]
    seen: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        kind, tag, number = _parse(line)
        seen[f"{kind} {tag}"].append(number)
    tags = [f"{worker}-{number}" for worker in range(8) for number in range(25)]
    wanted = {f"{kind} {tag}": [*range(per_invocation)] for tag in tags for kind in ("text", "json")}
    wanted |= {f"logged {tag}": [0] for tag in tags}
    assert seen == wanted
    assert len(requests) == 200
    assert sorted(each["requestId"] for each in starts) == sorted(requests)
    assert sorted(each["requestId"] for each in reports) == sorted(requests)
    assert all(each["status"] == "success" and each["metrics"]["durationMs"] > 0 for each in reports)
    assert types[:2] == ["PlatformInitStart", "PlatformTelemetrySubscription"]
    assert "UnknownEvent" not in types
    assert statistics["received_events"] == statistics["delivered_events"] == len(types)
    assert statistics["dropped_events"] == statistics["buffered_events"] == statistics["rejected_batches"] == 0
    assert code == 0


async def test_10_000_lines_are_delivered_to_a_real_backend_each_once(start: Start, server: str) -> None:
    with http_backend() as state:
        async with start("delivering.py", managed=True, URL=state.url, SERVER=server) as run:
            await run.wait_for(lambda it: it.noted("backend"))

            async def work(worker: int) -> None:
                for number in range(25):
                    await run.invoke(lines=50, tag=f"{worker}-{number}")

            async with anyio.create_task_group() as workers:
                for worker in range(4):
                    workers.start_soon(work, worker)
            tags = [f"{worker}-{number}" for worker in range(4) for number in range(25)]
            wanted = {(kind, tag, line) for kind in ("text", "json") for tag in tags for line in range(50)}

            def arrived() -> dict[tuple[str, str, int], int]:
                return {_parse(key): count for key, count in dict(state.copies).items() if "platform." not in key}

            await run.wait_for(lambda _: wanted <= arrived().keys())
            await run.shut_down()
            code, _ = await run.end()
            (statistics,) = run.noted("statistics")
    assert len(wanted) == 10_000
    copies = arrived()
    assert {copies[line] for line in wanted} == {1}
    assert statistics["received"] == statistics["delivered"]
    assert statistics["dropped"] == statistics["buffered"] == statistics["spilled"] == 0
    assert code == 0


def _parse(line: Any) -> tuple[str, str, int]:
    """Return kind, tag and number of a line of the function."""
    try:
        record = json.loads(line) if isinstance(line, str) else line
    except ValueError:
        kind, tag, number = line.split()
        return kind, tag, int(number)
    kind, words = ("json", record["json"].split()) if "json" in record else ("logged", record["message"].split()[1:])
    return kind, words[0], int(words[1])


async def test_last_events_arrive_during_shutdown_and_the_extension_ends_in_time(start: Start) -> None:
    async with start("telemetry.py", managed=True) as run:
        # The emulator leaves out what it would send while its batch before that is still under way.
        await run.wait_for(lambda it: "telemetry HTTP request completed" in it.emulator.log)
        answer = await run.invoke(lines=1, tag="last")
        await run.shut_down()
        code, _ = await run.end()
        assert [each["requestId"] for each in run.events("PlatformReport")] == [answer["requestId"]]
        assert "text last 0 " in run.events("FunctionLog")
    assert code == 0


async def test_standard_mode_goes_on_without_telemetry_and_sees_200_invocations(start: Start) -> None:
    async with start("invocations.py", managed=False) as run:
        answers = [await run.invoke() for _ in range(200)]
        await run.shut_down()
        code, ended_at = await run.end()
        assert "going on without telemetry" in run.emulator.log
        assert run.noted("invocation") == [answer["requestId"] for answer in answers]
        assert {note["arn"] for note in run.notes if "invocation" in note} == {answers[0]["arn"]}
        assert {note["outcome"] for note in run.notes if "invocation" in note} == {"InvocationOutcome.UNAVAILABLE"}
        assert all(0 < note["left"] < 20 for note in run.notes if "invocation" in note)
        assert run.noted("shutdown") == ["SandboxTerminated"]
        assert 0 < run.notes[-1]["left"] < 2
        assert ended_at < run.notes[-1]["at"] + run.notes[-1]["left"] * 1000
    assert code == 0


async def test_trace_of_the_caller_reaches_the_extension(start: Start) -> None:
    trace = "Root=1-67c2d4a0-aabbccddeeff001122334455;Parent=0102030405060708;Sampled=1"
    async with start("invocations.py", managed=False) as run:
        await run.emulator.invoke({"lines": 0, "tag": "x"}, headers={"X-Amzn-Trace-Id": trace})
        assert run.noted("tracing") == [trace]
        await run.shut_down()


@pytest.mark.parametrize("managed", [False, True], ids=["standard", "managed"])
async def test_error_in_init_is_reported_as_init_error(start: Start, managed: bool) -> None:
    async with start("failing.py", managed=managed, FAILS="init") as run:
        if not managed:
            assert (await run.emulator.invoke({})).status_code == 502
        code, _ = await run.end()
        await run.wait_for(lambda it: re.search("Extension.InitError|INIT failed", it.emulator.log))
        log = run.emulator.log
    assert code == 1
    assert "/extension/init/error" in log
    assert "Extension.BrokenConfigError" in log
    assert "BrokenConfigError: no configuration" in log


@pytest.mark.parametrize("managed", [False, True], ids=["standard", "managed"])
async def test_error_after_init_is_reported_as_exit_error(start: Start, managed: bool) -> None:
    async with start("failing.py", managed=managed, FAILS="later") as run:
        if managed:
            # Only SHUTDOWN ends the loop there.
            await run.invoke()
            run.emulator.terminate()
        else:
            await run.invoke()
            await run.wait_for(lambda it: "Invoke DONE failed: Extension.ExitError" in it.emulator.log)
        code, _ = await run.end()
        log = run.emulator.log
    assert code == 1
    assert "/extension/exit/error" in log
    assert "Extension.BrokenConfigError" in log


async def test_slow_consumer_keeps_memory_bounded_and_loses_nothing_acknowledged(start: Start) -> None:
    """The producer pauses while batches end: the emulator stalls when it drops one in the middle of output."""
    count = 1000
    async with start("slow.py", "telemetry.py", managed=True, TYPES="function") as run:
        watch = Run(run.emulator, "telemetry.py")
        await run.wait_for(lambda it: it.noted("memory") and watch.noted("backend"))
        await run.invoke(lines=count, tag="fast", padding="x" * 1000, pause=0.2)

        def dropped() -> int:
            return sum(int(record["droppedRecords"]) for record in watch.events("PlatformLogsDropped"))

        await run.wait_for(lambda it: len(it.noted("line")) + dropped() >= 2 * count + 1)
        await run.shut_down()
        assert (await run.end())[0] == (await watch.end())[0] == 0
        (slow,), (watched,) = run.noted("statistics"), watch.noted("statistics")
        memory, arrived = run.noted("memory"), [_parse(line) for line in run.noted("line")]
    places = [2 * number + (kind == "json") for kind, _, number in arrived if kind != "logged"]
    assert places == sorted(set(places))
    assert slow["received_events"] == slow["delivered_events"] == len(arrived)
    assert slow["buffered_events"] == slow["rejected_batches"] == slow["repeated_batches"] == 0
    assert 0 < dropped() == watched["dropped_events"]
    assert len(arrived) + dropped() == 2 * count + 1
    assert max(memory) - memory[0] < 20_000
