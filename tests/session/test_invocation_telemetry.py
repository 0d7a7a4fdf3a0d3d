"""When `invocation.telemetry()` ends, and that it never holds an invocation for an end that cannot come."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from fake_lambda import TIME, FakeLambda, error, log, runtime_done
from lambda_extension import (
    InvocationOutcome,
    LogsSchemaVersion,
    LogsSubscription,
    TelemetrySubscription,
    open_extension,
    open_telemetry,
)


def settings(platform: FakeLambda) -> dict[str, Any]:
    return {"name": "x", "environment": platform.environment, "http_client": platform.http}


@pytest.mark.parametrize("types", [["function"], ["function", "extension"]])
async def test_without_the_platforms_records_the_wait_ends_at_once_with_one_warning(
    types: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeLambda() as platform:
        platform.invoke("r1", 3600)
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(types=types), **settings(platform)) as extension:
                assert not extension.sees_ends
                async for invocation in extension:
                    for _ in range(2):
                        assert [event async for event in invocation.telemetry()] == []
                        assert invocation.outcome is InvocationOutcome.UNAVAILABLE
                    if invocation.request_id == "r1":
                        platform.invoke("r2", 3600)
                    else:
                        platform.shut_down()
        assert len([text for text in caplog.messages if "does not bring platform.runtimeDone" in text]) == 1


@pytest.mark.filterwarnings("ignore:the Logs API is deprecated:DeprecationWarning")
async def test_with_the_oldest_schema_of_the_logs_api_the_wait_ends_at_once() -> None:
    subscription = LogsSubscription(schema_version=LogsSchemaVersion.V2020_08_15)
    async with FakeLambda() as platform:
        platform.invoke("r1", 3600)
        with anyio.fail_after(5):
            async with open_extension(telemetry=subscription, **settings(platform)) as extension:
                async for invocation in extension:
                    assert [event async for event in invocation.telemetry()] == []
                    assert invocation.outcome is InvocationOutcome.UNAVAILABLE
                    platform.shut_down()


async def test_where_there_is_no_telemetry_nothing_is_seen_and_nothing_said_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with FakeLambda() as platform:
        platform.fail("telemetry", error(202))
        platform.invoke("r1", 3600)
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                assert not extension.sees_ends
                async for invocation in extension:
                    assert [event async for event in invocation.telemetry()] == []
                    platform.shut_down()
        assert len(caplog.messages) == 1


ODD: list[dict[str, Any] | bytes] = [
    {"time": TIME, "type": "platform.runtimeDone", "record": {"requestId": "r1"}},
    {"time": TIME, "type": "platform.runtimeDone", "record": {"requestId": "r1", "status": 3, "metrics": {}}},
    {"time": TIME, "type": "platform.runtimeDone", "record": {"requestId": "r1", "status": "x", "spans": [{}]}},
    {"type": "platform.runtimeDone", "record": {"requestId": "r1", "status": "success", "metrics": {"x": 1.5}}},
    {"time": 3, "type": "platform.runtimeDone", "record": {"requestId": "r1", "metrics": {"producedBytes": 1.5}}},
    {"time": TIME, "type": "platform.runtimeDone", "record": {"requestId": "r1", "metrics": "none", "tracing": 3}},
]


@pytest.mark.parametrize("done", ODD)
async def test_the_type_and_the_request_id_end_an_invocation_whatever_else_is_odd(done: Any) -> None:
    async with FakeLambda() as platform:
        platform.invoke("r1", 3600)
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                async for invocation in extension:
                    await platform.post([runtime_done("another"), done, log("later")])
                    assert len([event async for event in invocation.telemetry()]) == 2
                    assert invocation.outcome is InvocationOutcome.RUNTIME_DONE
                    platform.shut_down()
                assert len([event async for event in extension.telemetry]) == 1


async def test_an_odd_end_without_a_request_id_ends_nothing() -> None:
    async with FakeLambda() as platform:
        platform.invoke("r1", 3600)
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                async for invocation in extension:
                    await platform.post([{"time": TIME, "type": "platform.runtimeDone", "record": 3}])
                    assert len([event async for event in invocation.telemetry(limit=0.05)]) == 1
                    assert invocation.outcome is InvocationOutcome.LIMIT
                    platform.shut_down()


async def test_a_batch_whose_events_take_time_ends_at_the_deadline_and_its_rest_waits() -> None:
    async with FakeLambda() as platform:
        platform.invoke("r1", 1)
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                async for invocation in extension:
                    await platform.post([log("a"), log("b"), runtime_done("r1")])
                    taken = 0
                    async for _ in invocation.telemetry():
                        taken += 1
                        await anyio.sleep_until(invocation.deadline)
                    assert taken == 1
                    assert invocation.outcome is InvocationOutcome.DEADLINE
                    platform.shut_down()
                assert len([event async for event in extension.telemetry]) == 2


async def test_a_loop_that_was_left_goes_on_and_the_outcome_cannot_be_set() -> None:
    async with FakeLambda() as platform:
        platform.invoke("r1", 3600)
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                async for invocation in extension:
                    await platform.post([log("a"), log("b"), runtime_done("r1")])
                    async for _ in invocation.telemetry():
                        break
                    assert invocation.outcome is None
                    assert len([event async for event in invocation.telemetry()]) == 2
                    with pytest.raises(AttributeError):
                        invocation.outcome = None  # type: ignore[misc]  # it is read-only
                    platform.shut_down()


async def test_reading_telemetry_polls_where_no_invoke_was_asked_for() -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with open_extension(
                events=["SHUTDOWN"], telemetry=TelemetrySubscription(), **settings(platform)
            ) as extension:
                await platform.post([log("a")])
                platform.invoke("not asked for")
                platform.shut_down()
                assert len([event async for event in extension.telemetry]) == 1
                assert extension.shutdown is not None
        assert platform.names.count("event/next") == 2


async def test_a_telemetry_stream_gives_its_session() -> None:
    async with FakeLambda(function_name="orders") as platform:
        platform.registration["accountId"] = "111122223333"
        platform.shut_down("failure")
        with anyio.fail_after(5):
            async with open_telemetry(account_id=True, **settings(platform)) as telemetry:
                assert telemetry.session.registration.account_id == "111122223333"
                assert telemetry.session.environment.function_name == "orders"
                assert telemetry.session.telemetry is telemetry
                assert [event async for event in telemetry] == []
                assert telemetry.session.shutdown is not None
                assert telemetry.session.shutdown.reason == "failure"


async def test_a_step_that_was_cancelled_before_it_began_asks_for_nothing() -> None:
    """A task that is woken as another one fails goes on to its next await: asked, Lambda would freeze the end."""
    async with FakeLambda() as platform:
        platform.invoke("r1", 3600)
        with anyio.fail_after(5):
            async with open_extension(**settings(platform)) as extension:
                await extension.__anext__()
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await extension.__anext__()
                assert scope.cancelled_caught
                await anyio.wait_all_tasks_blocked()
                assert platform.names.count("event/next") == 1
                platform.shut_down()
                with pytest.raises(StopAsyncIteration):
                    await extension.__anext__()
