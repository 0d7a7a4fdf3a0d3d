"""The deprecated Logs API: its events, and its runner on the same receiver."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import msgspec
import pytest

from fake_lambda import FakeLambda, log, runtime_done
from lambda_extension import DecodeError, LogsSchemaVersion, LogsSubscription, ShutdownReason, TelemetryType
from lambda_extension._environment import Environment
from lambda_extension.delivery import EndOfInvocation
from lambda_extension.logs import (
    ExtensionLog,
    FunctionLog,
    LogsEvent,
    PlatformEnd,
    PlatformExtension,
    PlatformFault,
    PlatformLogsDropped,
    PlatformLogsSubscription,
    PlatformReport,
    PlatformRuntimeDone,
    PlatformStart,
    UnknownEvent,
    decode,
    run_logs,
)
from lambda_extension.simulator import ScriptedFunction, Simulator
from lambda_extension.simulator._apis._logs import as_logs

TIME = "2026-03-01T10:00:00.700Z"

RECORDS: dict[str, tuple[Any, type]] = {
    "platform.start": ({"requestId": "r", "version": "12"}, PlatformStart),
    "platform.end": ({"requestId": "r"}, PlatformEnd),
    "platform.report": (
        {
            "requestId": "r",
            "metrics": {"durationMs": 1.5, "billedDurationMs": 2, "memorySizeMB": 128, "maxMemoryUsedMB": 90},
        },
        PlatformReport,
    ),
    "platform.extension": ({"name": "x", "state": "Ready", "events": ["INVOKE"]}, PlatformExtension),
    "platform.logsSubscription": (
        {"name": "x", "state": "Subscribed", "types": ["platform"]},
        PlatformLogsSubscription,
    ),
    "platform.logsDropped": ({"reason": "slow", "droppedRecords": 1, "droppedBytes": 2}, PlatformLogsDropped),
    "platform.fault": ("RequestId: r Process exited before completing request", PlatformFault),
    "platform.runtimeDone": ({"requestId": "r", "status": "failure"}, PlatformRuntimeDone),
    "function": ("a line", FunctionLog),
    "extension": ("another", ExtensionLog),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_every_documented_event_has_its_type_and_survives_a_round_trip(kind: str) -> None:
    record, expected = RECORDS[kind]
    wire = [{"time": TIME, "type": kind, "record": record}]
    (event,) = decode(json.dumps(wire).encode())
    assert type(event) is expected
    assert event.timestamp is not None
    assert event.timestamp.microsecond == 700_000
    assert json.loads(msgspec.json.encode([event])) == wire


def test_what_only_the_telemetry_api_sends_is_kept_as_an_unknown_event() -> None:
    body = b'[{"time":"","type":"platform.initStart","record":{}},{"time":"","type":"function","record":"x"}]'
    unknown, known = decode(body)
    assert isinstance(unknown, UnknownEvent)
    assert unknown.type == "platform.initStart"
    assert isinstance(known, FunctionLog)


def test_a_body_that_is_no_array_is_refused() -> None:
    with pytest.raises(DecodeError, match="not a JSON array"):
        decode(b"{}")


class Keeper:
    """Keeps what it is given; `flushed` is how much there was at each flush."""

    def __init__(self) -> None:
        self.events: list[LogsEvent] = []
        self.flushed: list[int] = []
        self.reason: ShutdownReason | None = None

    async def process(self, events: Sequence[LogsEvent]) -> None:
        self.events += events

    async def flush(self) -> None:
        self.flushed.append(len(self.events))

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        self.reason = reason


def end(request_id: str) -> dict[str, Any]:
    return {"time": TIME, "type": "platform.end", "record": {"requestId": request_id}}


async def test_run_logs_subscribes_flushes_before_the_freeze_and_drains_at_shutdown() -> None:
    keeper = Keeper()
    async with FakeLambda() as platform:

        async def run() -> None:
            with pytest.warns(DeprecationWarning, match="Logs API") as warned:
                await run_logs(
                    keeper,
                    flush=EndOfInvocation(),
                    name="x",
                    environment=platform.environment,
                    http_client=platform.http,
                )
            assert {warning.filename for warning in warned} == {__file__}, "it points at whoever has to change"

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                await platform.waiting.wait()
                platform.invoke("r1")
                await platform.post([log("a"), runtime_done("r1")])
                await platform.wait_called("event/next", 2)
                assert keeper.flushed[-1] == 2
                platform.shut_down()
                await platform.post([end("r1")])
    (body,) = (body for name, body in platform.calls if name == "/2020-08-15/logs")
    assert body["schemaVersion"] == "2021-03-18"
    assert body["buffering"]["timeoutMs"] == 100
    assert [type(event) for event in keeper.events] == [FunctionLog, PlatformRuntimeDone, PlatformEnd]
    assert keeper.reason is ShutdownReason.SPINDOWN


async def test_a_schema_without_runtime_done_never_holds_an_invocation(caplog: pytest.LogCaptureFixture) -> None:
    keeper = Keeper()
    subscription = LogsSubscription(types=[TelemetryType.PLATFORM], schema_version=LogsSchemaVersion.V2020_08_15)
    async with FakeLambda() as platform:

        async def run() -> None:
            with pytest.warns(DeprecationWarning, match="Logs API"):
                await run_logs(
                    keeper,
                    flush=EndOfInvocation(),
                    logs=subscription,
                    name="x",
                    environment=platform.environment,
                    http_client=platform.http,
                )

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                await platform.waiting.wait()
                platform.invoke("r1", 60)
                await platform.wait_called("event/next", 2)
                platform.shut_down()
    assert "without platform.runtimeDone" in caplog.text


async def test_logs_of_the_simulator_arrive_typed() -> None:
    keeper = Keeper()

    async def extension(environment: Mapping[str, str]) -> None:
        with pytest.warns(DeprecationWarning, match="Logs API"):
            await run_logs(keeper, name="extension", environment=Environment.from_mapping(environment))

    async with Simulator([extension], ScriptedFunction(log_lines=["one", "two"])) as lambda_:
        result = await lambda_.invoke()
        await lambda_.invoke()
        await lambda_.shutdown()
    lines = [event.record for event in keeper.events if isinstance(event, FunctionLog)]
    assert lines == ["one", "two"] * 2
    done = [event.record.request_id for event in keeper.events if isinstance(event, PlatformRuntimeDone)]
    assert done[0] == result.request_id
    assert len(done) == 2
    assert not [event for event in keeper.events if isinstance(event, UnknownEvent)]
    types = [event.type for event in keeper.events]
    assert types.count("platform.end") == 2
    assert types.index("platform.logsSubscription") < types.index("platform.start")


async def test_a_crash_of_the_function_is_a_fault() -> None:
    keeper = Keeper()

    async def extension(environment: Mapping[str, str]) -> None:
        with pytest.warns(DeprecationWarning, match="Logs API"):
            await run_logs(keeper, name="extension", environment=Environment.from_mapping(environment))

    async with Simulator([extension], ScriptedFunction(exit_code=1)) as lambda_:
        result = await lambda_.invoke()
    (fault,) = (event for event in keeper.events if isinstance(event, PlatformFault))
    assert result.request_id in fault.record
    assert keeper.reason is ShutdownReason.FAILURE


def test_the_older_schema_knows_no_runtime_done() -> None:
    done = {"requestId": "r", "status": "error", "metrics": {}}
    assert as_logs("platform.runtimeDone", done, "2020-08-15") == []
    assert as_logs("platform.runtimeDone", done, "2021-03-18") == [
        ("platform.runtimeDone", {"requestId": "r", "status": "failure"})
    ]
