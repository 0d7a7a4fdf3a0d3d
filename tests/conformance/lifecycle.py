"""Invocations, failures and the end: items 20 to 27."""

from __future__ import annotations

import time

import anyio

from conformance.platforms import Platform, holds
from conformance.registration import quiet


@holds(emulator=("on-demand",), simulator=("on-demand",))
async def test_invoke_event_carries_deadline_id_and_arn_of_the_runtime(platform: Platform) -> None:
    async with platform.open(timeout=4) as lambda_:
        one, pending = await lambda_.settled()
        answer = await pending.answer()
        before = time.time() * 1000
        await one.next()
        assert lambda_.first is not None
        payload = (await lambda_.first.value()).payload
    event = answer.json
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Lambda-Extension-Event-Identifier"]
    assert event["eventType"] == "INVOKE"
    assert event["requestId"] == payload["requestId"]
    assert event["invokedFunctionArn"] == payload["arn"]
    assert "tracing" not in event
    assert 0 < event["deadlineMs"] - before <= 4000


@holds(emulator=("on-demand",), simulator=("on-demand",))
async def test_invocation_lasts_until_the_slowest_extension_asks_for_next(platform: Platform) -> None:
    async with platform.open("one.py", "two.py") as lambda_:
        one, first = await lambda_.settled("one.py")
        two, second = await lambda_.settled("two.py")
        await first.answer()
        await second.answer()
        await one.next()
        await quiet()
        assert lambda_.first is not None
        assert not lambda_.first.done.is_set()
        await two.next()
        assert (await lambda_.first.value()).error == ""


@holds(emulator=("on-demand",), simulator=("on-demand",))
async def test_extension_that_exits_during_an_invocation_fails_it(platform: Platform) -> None:
    async with platform.open(first={"sleep": 0.5}) as lambda_:
        one, pending = await lambda_.settled()
        await pending.answer()
        await one.exit(0)
        assert lambda_.first is not None
        assert "Extension.Crash" in (await lambda_.first.value()).error


@holds(emulator=("on-demand",), simulator=("on-demand",))
async def test_time_out_shuts_down_and_the_next_invocation_has_new_processes(platform: Platform) -> None:
    async with platform.open(first={"sleep": 30}, timeout=1) as lambda_:
        one, pending = await lambda_.settled()
        await pending.answer()
        pending = await one.next()
        event = (await pending.answer()).json
        assert event["eventType"] == "SHUTDOWN"
        assert event["shutdownReason"].lower() == "timeout"
        await one.exit(0)
        assert lambda_.first is not None
        assert "timed out" in (await lambda_.first.value()).error
        second = lambda_.begin()
        again, pending = await lambda_.settled(number=1)
        await pending.answer()
        await again.next()
        assert (await second.value()).error == ""
    assert again.identifier != one.identifier


@holds()
async def test_shutdown_event_has_a_reason_and_about_two_seconds(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one, pending = await lambda_.settled("one.py", "SHUTDOWN")
        await lambda_.invoked()
        before = time.time() * 1000
        ending = lambda_.begin_shutdown()
        answer = await pending.answer()
        after = time.time() * 1000
        await one.exit(0)
        await ending.value(within=5)
    event = answer.json
    assert set(event) == {"eventType", "deadlineMs", "shutdownReason"}
    assert event["eventType"] == "SHUTDOWN"
    assert event["shutdownReason"]
    assert before + 1500 < event["deadlineMs"] < after + 2500
    assert "Lambda-Extension-Event-Identifier" not in answer.headers


@holds()
async def test_extension_without_shutdown_is_killed_when_the_others_get_it(platform: Platform) -> None:
    async with platform.open("one.py", "two.py") as lambda_:
        one, pending = await lambda_.settled("one.py", "SHUTDOWN")
        two = await lambda_.extension("two.py")
        await two.register()
        await two.next()
        await lambda_.invoked()
        ending = lambda_.begin_shutdown()
        await pending.answer()
        with anyio.fail_after(5):
            await two.gone.wait()
        assert not one.gone.is_set()
        await one.exit(0)
        await ending.value(within=5)


@holds()
async def test_what_lives_past_the_deadline_is_killed(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one, pending = await lambda_.settled("one.py", "SHUTDOWN")
        await lambda_.invoked()
        started = anyio.current_time()
        ending = lambda_.begin_shutdown()
        await pending.answer()
        await ending.value(within=8)
        with anyio.fail_after(5):
            await one.gone.wait()
    assert one.gone_at - started > 1.2


@holds()
async def test_runtime_ends_before_extensions_get_shutdown(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one, pending = await lambda_.settled("one.py", "SHUTDOWN")
        await lambda_.invoked()
        runtime = await lambda_.runtime()
        ending = lambda_.begin_shutdown()
        await pending.answer()
        assert runtime.terminated
        with anyio.fail_after(5):
            await runtime.gone.wait()
        assert not one.gone.is_set()
        await one.exit(0)
        await ending.value(within=5)
