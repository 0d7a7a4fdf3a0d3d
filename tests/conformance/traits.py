"""What real extensions met, beyond the lists."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import anyio

from conformance.platforms import Platform, holds
from conformance.receivers import Post, open_receiver
from conformance.registration import REGISTER


@holds(emulator=(), simulator=("on-demand",))
async def test_another_subscription_of_the_same_extension_is_taken(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as first, open_receiver() as second:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        requests = [first.subscription("platform"), second.subscription("function"), first.subscription("platform")]
        answers = [await one.subscribe(request) for request in requests]
        await one.next()
        await lambda_.invoked()
        await lambda_.begin({"lines": ["a line"]}).value()
        await second.wait_for(lambda it: it.records("function"))
        await first.wait_for(lambda it: len(it.records("platform.report")) == 2)
    assert [(answer.status, answer.body) for answer in answers] == [(200, b'"OK"')] * 3
    assert second.records("function") == ["a line"]
    # The same one again has changed nothing.
    subscriptions = first.records("platform.telemetrySubscription")
    assert [record["types"] for record in subscriptions] == [["platform"], ["function"]]


@holds(emulator=(), simulator=("on-demand",))
async def test_logs_subscription_is_no_event_of_the_telemetry_api(platform: Platform) -> None:
    async with platform.open("one.py", "two.py") as lambda_, open_receiver() as logs, open_receiver() as telemetry:
        await lambda_.settled("one.py", "SHUTDOWN", subscribe=telemetry.subscription("platform"))
        two = await lambda_.extension("two.py")
        await two.register("SHUTDOWN")
        request = logs.subscription("platform", schema="2021-03-18")
        assert (await two.call("PUT", "/2020-08-15/logs", body=request)).status == 200
        await two.next()
        await lambda_.invoked()
        await logs.wait_for(lambda it: it.records("platform.logsSubscription"))
        await telemetry.wait_for(lambda it: it.records("platform.report"))
    assert telemetry.records("platform.logsSubscription") == []
    assert logs.records("platform.telemetrySubscription") == []


@holds(emulator=())
async def test_what_is_written_during_shutdown_is_buffered_as_before(platform: Platform) -> None:
    async with platform.open() as lambda_:
        printed = anyio.Event()

        async def echo(post: Post) -> int:
            if len(receiver.posts) == 1:
                await one.print("said during shutdown")
                printed.set()
            return 200

        async with open_receiver(echo) as receiver:
            request = receiver.subscription("platform", "extension", timeoutMs=30_000)
            one, pending = await lambda_.settled("one.py", "SHUTDOWN", subscribe=request)
            await lambda_.invoked()
            ending = lambda_.begin_shutdown()
            await pending.answer()
            assert printed.is_set()
            await one.exit(0)
            await ending.value(within=5)
            assert len(receiver.posts) == 1


@holds()
async def test_the_runtime_is_told_the_handler_that_extensions_are_told(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        registered = (await one.register("SHUTDOWN")).json
        runtime = await lambda_.runtime()
    assert runtime.environment["_HANDLER"] == registered["handler"]


@holds(emulator=())
async def test_the_runtime_is_told_what_it_is(platform: Platform) -> None:
    async with platform.open() as lambda_:
        await lambda_.settled("one.py", "SHUTDOWN")
        runtime = await lambda_.runtime()
    assert runtime.environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_provided.al2023"


@holds(emulator=("managed",), simulator=("managed",))
async def test_managed_instances_log_in_json(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one = await lambda_.extension()
    assert one.environment["AWS_LAMBDA_LOG_FORMAT"].upper() == "JSON"


@holds(emulator=())
async def test_the_metadata_endpoint_answers_who_has_the_token(platform: Platform) -> None:
    path = "/2026-01-15/metadata/execution-environment"
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        token = one.environment["AWS_LAMBDA_METADATA_TOKEN"]
        answer = await one.call("GET", path, headers={"Authorization": f"Bearer {token}"})
        refused = await one.call("GET", path)
    assert one.environment["AWS_LAMBDA_METADATA_API"] == one.environment["AWS_LAMBDA_RUNTIME_API"]
    assert set(answer.json) == {"AvailabilityZoneID"}
    assert refused.status == 401


@holds()
async def test_bodies_are_compact_and_answers_dated(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        refused = await one.call("POST", REGISTER, body={"events": []})
        registered = await one.register("SHUTDOWN")
    for answer in (refused, registered):
        assert b'": ' not in answer.body
        assert b'", "' not in answer.body
        assert parsedate_to_datetime(answer.headers["Date"]).tzinfo is not None


@holds(emulator=(), simulator=("on-demand",))
async def test_the_span_of_the_function_is_the_parent_of_what_it_does(platform: Platform) -> None:
    async with platform.open(tracing=True) as lambda_, open_receiver() as receiver:
        one, pending = await lambda_.settled(subscribe=receiver.subscription("platform"))
        event: Any = (await pending.answer()).json
        await one.next()
        payload = (await lambda_.invoked()).payload
        await receiver.wait_for(lambda it: it.records("platform.report"))
    (start,), (report,) = receiver.records("platform.start"), receiver.records("platform.report")
    assert start["tracing"] == report["tracing"]
    assert start["tracing"]["value"] == event["tracing"]["value"]
    parts = dict(part.split("=") for part in start["tracing"]["value"].split(";"))
    assert payload["trace"] == f"Root={parts['Root']};Parent={start['tracing']['spanId']};Sampled=1"


@holds(emulator=("on-demand",), simulator=("on-demand",))
async def test_the_trace_header_of_an_invocation_reaches_the_extension(platform: Platform) -> None:
    trace = "Root=1-67c2d4a0-aabbccddeeff001122334455;Parent=0102030405060708;Sampled=1"
    async with platform.open() as lambda_:
        one, pending = await lambda_.settled()
        event: Any = (await pending.answer()).json
        assert "tracing" not in event
        pending = await one.next()
        await lambda_.invoked()
        traced = lambda_.begin(trace=trace)
        event = (await pending.answer()).json
        await one.next()
        assert (await traced.value()).error == ""
    assert event["tracing"] == {"type": "X-Amzn-Trace-Id", "value": trace}


@holds(emulator=(), simulator=("on-demand",))
async def test_deadlines_are_on_the_clock_of_the_process_whatever_the_platform_s_says(platform: Platform) -> None:
    async with platform.open(timeout=4) as lambda_:
        one, pending = await lambda_.settled()
        await pending.answer()
        pending = await one.next()
        await lambda_.invoked()
        await lambda_.jump(3 * 3600)
        again = lambda_.begin()
        invoked: Any = (await pending.answer()).json
        left = invoked["deadlineMs"] - time.time() * 1000
        pending = await one.next()
        await again.value()
        ending = lambda_.begin_shutdown()
        told: Any = (await pending.answer()).json
        left_at_the_end = told["deadlineMs"] - time.time() * 1000
        await one.exit(0)
        await ending.value()
    assert 0 < left <= 4000
    assert 0 < left_at_the_end <= 2000


@holds(emulator=(), simulator=("on-demand",))
async def test_a_kill_for_want_of_memory_looks_like_one(platform: Platform) -> None:
    async with platform.open(first={"exit": 137}) as lambda_, open_receiver() as receiver:
        _, pending = await lambda_.settled(subscribe=receiver.subscription("platform"))
        await pending.answer()
        assert lambda_.first is not None
        error = (await lambda_.first.value()).error
        await receiver.wait_for(lambda it: it.records("platform.report"))
    (report,) = receiver.records("platform.report")
    assert "Runtime.OutOfMemory" in error
    assert (report["status"], report["errorType"]) == ("error", "Runtime.OutOfMemory")
    assert report["metrics"]["maxMemoryUsedMB"] == report["metrics"]["memorySizeMB"]


@holds(emulator=())
async def test_tmp_of_an_environment_starts_empty(platform: Platform) -> None:
    left: list[list[str]] = []
    for _ in range(2):
        async with platform.open() as lambda_:
            one = await lambda_.extension()
            left.append(one.tmp)
            await one.leave("of an environment before")
    # The suite's own files are kept in sight, and nothing else.
    checkout = [parent.name for parent in Path(__file__).parents if parent.parent == Path("/tmp")]
    assert [name for name in left[0] if not name.startswith("pytest-of-") and name not in checkout] == []
    assert left[0] == left[1]
