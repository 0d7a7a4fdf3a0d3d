from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from lambda_extension.simulator import KillFault, ScriptedFunction, Simulator

EXTENSION = Path(__file__).parent / "stdlib_extension.py"
API = "/2020-01-01/extension"


class Client:
    """An extension's calls, raw."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        base = f"http://{environment['AWS_LAMBDA_RUNTIME_API']}"
        self.http = httpx.AsyncClient(base_url=base, timeout=None, trust_env=False)
        self.me: dict[str, str] = {}

    async def register(self, name: str, *events: str) -> httpx.Response:
        headers = {"Lambda-Extension-Name": name}
        answer = await self.http.post(f"{API}/register", headers=headers, json={"events": events})
        identifier = answer.headers.get("Lambda-Extension-Identifier", "")
        self.me = {"Lambda-Extension-Identifier": identifier}
        return answer

    async def next(self) -> Any:
        return (await self.http.get(f"{API}/event/next", headers=self.me)).json()


async def polite(environment: Mapping[str, str]) -> None:
    client = Client(environment)
    async with client.http:
        await client.register("polite", "INVOKE", "SHUTDOWN")
        while (await client.next())["eventType"] == "INVOKE":
            pass


async def quitter(environment: Mapping[str, str]) -> None:
    client = Client(environment)
    async with client.http:
        await client.register("quitter", "INVOKE")
        await client.next()


async def sleeper(environment: Mapping[str, str]) -> None:
    client = Client(environment)
    async with client.http:
        await client.register("sleeper", "INVOKE", "SHUTDOWN")
        await client.next()
        await anyio.sleep_forever()


async def test_in_process_extension_lives_through_invocations_and_exits_in_time() -> None:
    async with Simulator([polite]) as lambda_:
        results = await lambda_.invoke_many(5, payload={"x": 1})
        report = await lambda_.shutdown()
    assert [result.status for result in results] == ["success"] * 5
    assert results[0].payload == {"x": 1}
    assert report.exit_codes["polite"] == 0
    assert report.late == ()
    assert lambda_.record.findings == []


async def test_real_process_receives_telemetry_up_to_the_last_report(tmp_path: Path) -> None:
    out = tmp_path / "events.jsonl"
    function = ScriptedFunction(log_lines=["one", "two"])
    environment = {"TELEMETRY_OUT": str(out)}
    async with Simulator([EXTENSION], function, environment=environment) as lambda_:
        result = await lambda_.invoke()
        report = await lambda_.shutdown()
    events = [json.loads(line) for line in out.read_text().splitlines()]
    types = [event["type"] for event in events]
    assert result.logs == ("one", "two")
    assert types[0] == "platform.initStart"
    assert "platform.telemetrySubscription" in types
    assert [event["record"] for event in events if event["type"] == "function"] == ["one", "two"]
    assert types[-2:] == ["platform.runtimeDone", "platform.report"]
    assert report.exit_codes["stdlib_extension.py"] == 0


async def test_frozen_process_continues_at_the_next_invocation(tmp_path: Path) -> None:
    environment = {"TELEMETRY_OUT": str(tmp_path / "events.jsonl")}
    async with Simulator([EXTENSION], environment=environment, freeze=True) as lambda_:
        await lambda_.invoke()
        assert (await lambda_.invoke()).status == "success"
        await lambda_.shutdown()
    assert lambda_.record.counts["freeze", "freeze"] == 3
    assert lambda_.record.counts["freeze", "thaw"] == 3


async def test_timeout_resets_and_the_next_invocation_starts_anew() -> None:
    function = ScriptedFunction(never_answers=True)
    async with Simulator([polite], function, timeout=0.1) as lambda_:
        result = await lambda_.invoke()
        assert (result.status, result.error_type) == ("timeout", "Sandbox.Timeout")
        await lambda_.invoke()
    assert lambda_.record.events("platform.initStart")[-1]["phase"] == "invoke"
    assert len(lambda_.record.find("process", "start", who="polite")) == 2


async def test_extension_that_exits_fails_the_invocation_with_crash() -> None:
    slow = ScriptedFunction(latency=0.2)
    async with Simulator([quitter], slow) as lambda_:
        result = await lambda_.invoke()
    assert result.error_type == "Extension.Crash"
    assert [finding.rule for finding in lambda_.record.findings] == ["exits-early"]


async def test_runtime_that_exits_is_a_failure() -> None:
    async with Simulator([polite], ScriptedFunction(exit_code=1)) as lambda_:
        result = await lambda_.invoke()
    assert (result.status, result.error_type) == ("failure", "Runtime.ExitError")


async def test_extension_past_the_deadline_is_blamed_and_late_at_shutdown() -> None:
    async with Simulator([sleeper], timeout=0.1) as lambda_:
        assert (await lambda_.invoke()).status == "timeout"
    rules = [finding.rule for finding in lambda_.record.findings]
    assert rules == ["exceeds-deadline", "late-at-shutdown"]


async def test_killed_extension_is_recorded() -> None:
    async with Simulator([polite], faults=[KillFault(participant="polite")]) as lambda_:
        assert (await lambda_.invoke()).error_type == "Extension.Crash"


async def test_managed_instances_run_invocations_side_by_side_without_runtime_done() -> None:
    async def quiet(environment: Mapping[str, str]) -> None:
        client = Client(environment)
        async with client.http:
            refused = await client.register("quiet", "INVOKE")
            assert refused.json()["errorType"] == "Extension.InvalidEventType"
            await client.register("quiet", "SHUTDOWN")
            assert (await client.next())["eventType"] == "SHUTDOWN"

    function = ScriptedFunction(latency=0.05)
    async with Simulator([quiet], function, mode="managed-instances", concurrency=64) as lambda_:
        with anyio.fail_after(5):
            results = await lambda_.invoke_many(128)
        assert {result.status for result in results} == {"success"}
    assert lambda_.record.events("platform.runtimeDone") == []
    assert len(lambda_.record.events("platform.report")) == 128


async def test_error_in_the_block_leaves_bare_and_ends_everybody() -> None:
    with pytest.raises(LookupError):
        async with Simulator([polite]) as lambda_:
            await lambda_.ready()
            raise LookupError
    assert lambda_.record.counts["process", "exit"] == 2


async def test_cancelled_block_leaves_no_process(tmp_path: Path) -> None:
    environment = {"TELEMETRY_OUT": str(tmp_path / "events.jsonl")}
    with anyio.CancelScope() as scope:
        async with Simulator([EXTENSION], environment=environment) as lambda_:
            await lambda_.ready()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert lambda_.record.find("process", "exit", who="stdlib_extension.py")
