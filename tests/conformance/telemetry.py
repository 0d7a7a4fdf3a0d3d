"""Subscription and delivery of telemetry: items 28 to 46."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from conformance.platforms import Environment, Mode, Platform, holds
from conformance.puppets import Puppet
from conformance.receivers import Post, Receiver, open_receiver
from conformance.registration import BAD_IDENTIFIERS

EMULATED: Final[tuple[Mode, ...]] = ("managed",)
"""The emulator's standard mode has no telemetry."""


@holds(emulator=("on-demand",), simulator=("on-demand", "managed"))
async def test_unsupported_telemetry_is_answered_202(platform: Platform) -> None:
    async with platform.open(telemetry=False) as lambda_, open_receiver() as receiver:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        answer = await one.subscribe(receiver.subscription("platform"))
    assert (answer.status, answer.error_type) == (202, "Telemetry.NotSupported")


@holds(emulator=("on-demand",), simulator=("on-demand",))
async def test_unsupported_logs_are_answered_202(platform: Platform) -> None:
    async with platform.open(telemetry=False) as lambda_, open_receiver() as receiver:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        answer = await one.call("PUT", "/2020-08-15/logs", body=receiver.subscription("platform", schema="2020-08-15"))
    assert (answer.status, answer.error_type) == (202, "Logs.NotSupported")


@holds(emulator=("managed",), simulator=("managed",))
async def test_logs_api_is_absent_on_managed_instances(platform: Platform) -> None:
    async with platform.open() as lambda_:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        assert (await one.call("PUT", "/2020-08-15/logs", body={})).status == 404


@holds(emulator=EMULATED)
async def test_subscription_is_answered_ok_in_quotes(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        answer = await one.subscribe(receiver.subscription("platform", "function", "extension"))
    assert (answer.status, answer.body) == (200, b'"OK"')


@holds(emulator=EMULATED, simulator=("managed",))
async def test_other_schema_version_is_refused_on_managed_instances(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        for schema in ("2022-07-01", "2022-12-13", "2030-01-01"):
            answer = await one.subscribe(receiver.subscription("platform", schema=schema))
            assert answer.status == 400
            assert "ValidationError" in answer.error_type


@holds(emulator=EMULATED)
async def test_subscription_out_of_bounds_is_refused(platform: Platform) -> None:
    changes: list[dict[str, Any]] = [
        {"buffering": {"maxItems": 999}},
        {"buffering": {"maxItems": 10_001}},
        {"buffering": {"maxBytes": 262_143}},
        {"buffering": {"maxBytes": 1_048_577}},
        {"buffering": {"timeoutMs": 24}},
        {"buffering": {"timeoutMs": 30_001}},
        {"types": []},
        {"types": ["weather"]},
        {"destination": {"protocol": "HTTP", "URI": "http://example.com:4243"}},
        {"destination": {"protocol": "UDP", "port": 4243}},
        {"destination": {"protocol": "TCP"}},
        {"schemaVersion": None},
    ]
    async with platform.open() as lambda_, open_receiver() as receiver:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        for change in changes:
            request = {
                key: value for key, value in (receiver.subscription("platform") | change).items() if value is not None
            }
            answer = await one.subscribe(request)
            assert (change, answer.status) == (change, 400)
            assert "ValidationError" in answer.error_type


@holds(emulator=EMULATED)
async def test_subscription_with_a_bad_identifier_is_refused(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        one = await lambda_.extension()
        body = receiver.subscription("platform")
        for identifier, error_type in BAD_IDENTIFIERS.items():
            headers = {"Lambda-Extension-Identifier": identifier} if identifier else {}
            answer = await one.call("PUT", "/2022-07-01/telemetry", headers=headers, body=body)
            assert (answer.status, answer.error_type) == (403, error_type)


@holds(emulator=EMULATED)
async def test_destination_without_a_port_is_refused(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        request = receiver.subscription("platform")
        request["destination"]["URI"] = "http://sandbox.localdomain"
        assert (await one.subscribe(request)).status == 400


@holds(emulator=EMULATED)
async def test_destination_sandbox_without_domain_is_accepted(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        request = receiver.subscription("platform")
        request["destination"]["URI"] = f"http://sandbox:{receiver.port}/path"
        assert (await one.subscribe(request)).status == 200
        await receiver.wait_for(lambda it: it.posts)


@holds(emulator=EMULATED)
async def test_subscription_after_init_is_refused(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        one, _ = await lambda_.settled("one.py", "SHUTDOWN")
        await lambda_.invoked()
        answer = await one.subscribe(receiver.subscription("platform"))
    assert (answer.status, answer.error_type) == (403, "Telemetry.SubscriptionClosed")


@holds(emulator=("managed",), simulator=("managed",))
async def test_second_subscription_is_a_container_error(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        one = await lambda_.extension()
        await one.register("SHUTDOWN")
        await one.subscribe(receiver.subscription("platform"))
        answer = await one.subscribe(receiver.subscription("platform"))
    assert (answer.status, answer.error_type) == (500, "InternalServerError")


@holds(emulator=EMULATED)
async def test_init_events_come_in_order_with_what_was_before_the_subscription(platform: Platform) -> None:
    async with platform.open("one.py", "two.py") as lambda_, open_receiver() as receiver:
        await lambda_.settled("one.py", "SHUTDOWN", subscribe=receiver.subscription("platform", "function"))
        # The runtime starts only now, after the subscription.
        await lambda_.settled("two.py", "SHUTDOWN")
        await lambda_.invoked()
        await receiver.wait_for(lambda it: it.records("platform.report"))
    types = [event["type"] for event in receiver.accepted]
    assert types[:6] == [
        "platform.initStart",
        "platform.telemetrySubscription",
        "platform.initRuntimeDone",
        "platform.extension",
        "platform.extension",
        "platform.initReport",
    ]
    assert types.index("platform.start") > types.index("platform.initReport")
    assert receiver.records("platform.telemetrySubscription") == [
        {"name": "one.py", "state": "Subscribed", "types": ["platform", "function"]}
    ]
    states = sorted(receiver.records("platform.extension"), key=lambda record: str(record["name"]))
    assert states == [{"name": name, "state": "Ready", "events": ["SHUTDOWN"]} for name in ("one.py", "two.py")]
    assert all(set(event) == {"time", "type", "record"} for event in receiver.accepted)


@holds(emulator=EMULATED, simulator=("managed",))
async def test_managed_instances_events_have_their_own_shapes(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        await lambda_.settled("one.py", "SHUTDOWN", subscribe=receiver.subscription("platform"))
        outcome = await lambda_.invoke()
        await receiver.wait_for(lambda it: it.records("platform.report"))
    (start,), (report,) = receiver.records("platform.start"), receiver.records("platform.report")
    (init_start,), (init_report,) = receiver.records("platform.initStart"), receiver.records("platform.initReport")
    assert set(start) == {"requestId", "version", "functionArn"}
    assert start["requestId"] == report["requestId"] == outcome.payload["requestId"]
    assert set(report) == {"requestId", "status", "metrics", "spans"}
    assert set(report["metrics"]) == {"durationMs"}
    assert [span["name"] for span in report["spans"]] == ["responseLatency", "responseDuration"]
    assert init_start["initializationType"] == "lambda-managed-instances"
    assert set(init_start) == {
        "initializationType", "phase", "functionName", "functionVersion", "instanceId", "instanceMaxMemory",
        "runtimeVersion", "runtimeVersionArn",
    }  # fmt: skip
    assert init_start["instanceMaxMemory"] % (1024 * 1024) == 0
    assert (init_report["phase"], init_report["status"]) == ("init", "success")
    assert set(init_report) == {"initializationType", "phase", "status", "metrics"}
    assert receiver.records("platform.runtimeDone") == []


@holds(emulator=EMULATED)
async def test_printed_lines_arrive_one_per_event_and_in_order(platform: Platform) -> None:
    lines = ["first", "", "  indented", "sn\u00f6", '{"json": true}', "last"]
    async with platform.open(first={"lines": lines}) as lambda_, open_receiver() as receiver:
        await lambda_.settled("one.py", "SHUTDOWN", subscribe=receiver.subscription("function", "platform"))
        await lambda_.invoked({"lines": lines})
        await receiver.wait_for(lambda it: it.records("function")[-1:] == ["last"])
    # Where functions log in JSON, a line that is an object is one in the record; the emulator leaves it a string.
    texts = [record if isinstance(record, str) else json.dumps(record) for record in receiver.records("function")]
    assert texts == lines


@holds(emulator=EMULATED)
async def test_extension_lines_arrive_at_every_subscriber_the_writer_included(platform: Platform) -> None:
    async with platform.open("one.py", "two.py") as lambda_, open_receiver() as first, open_receiver() as second:
        one, _ = await lambda_.settled("one.py", "SHUTDOWN", subscribe=first.subscription("extension"))
        await lambda_.settled("two.py", "SHUTDOWN", subscribe=second.subscription("extension", "platform"))
        await lambda_.invoked()
        await one.print("said by one")
        for receiver in (first, second):
            await receiver.wait_for(lambda it: "said by one" in it.records("extension"))
    assert {event["type"] for event in first.accepted} == {"extension"}


async def _subscribed(lambda_: Environment, receiver: Receiver, **buffering: int) -> Puppet:
    request = receiver.subscription("extension") | {"buffering": buffering}
    puppet, _ = await lambda_.settled("one.py", "SHUTDOWN", subscribe=request)
    await lambda_.invoked()
    return puppet


@holds(emulator=EMULATED)
async def test_batch_is_sent_after_timeout_ms(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        one = await _subscribed(lambda_, receiver, timeoutMs=400)
        started = anyio.current_time()
        await one.print("a")
        await one.print("b", "c")
        await receiver.wait_for(lambda it: it.accepted)
    assert receiver.records("extension") == ["a", "b", "c"]
    assert receiver.posts[0].time - started > 0.35


@holds(emulator=EMULATED)
async def test_batch_is_sent_at_max_items(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        one = await _subscribed(lambda_, receiver, timeoutMs=30_000, maxItems=1000)
        await one.print(*(f"line {number}" for number in range(1000)))
        await receiver.wait_for(lambda it: it.posts)
    assert [len(post.events) for post in receiver.posts] == [1000]
    assert receiver.records("extension") == [f"line {number}" for number in range(1000)]


@holds(emulator=EMULATED)
async def test_batch_is_sent_at_max_bytes(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        one = await _subscribed(lambda_, receiver, timeoutMs=30_000, maxBytes=262_144)
        await one.print(*("x" * 10_000 for _ in range(40)))
        await receiver.wait_for(lambda it: it.posts)
    assert 262_144 <= len(receiver.posts[0].body) < 2 * 262_144


@holds(emulator=EMULATED)
async def test_each_post_carries_its_sequence_id(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        one = await _subscribed(lambda_, receiver, timeoutMs=100)
        await one.print("a")
        await receiver.wait_for(lambda it: it.posts)
        await one.print("b")
        await receiver.wait_for(lambda it: len(it.posts) > 1)
    for post in receiver.posts:
        assert post.method == "POST"
        assert post.headers["Content-Type"] == "application/json"
        assert post.headers["Sequence-Id"] == base64.b64encode(hashlib.sha256(post.body).digest()).decode()


def _holding(gate: anyio.Event) -> Callable[[Post], Awaitable[int]]:
    """Return a receiver's answer that waits for the gate once extension lines come."""

    async def hold(post: Post) -> int:
        if any(event["type"] == "extension" for event in post.events):
            await gate.wait()
        return 200

    return hold


def _dropped(receiver: Receiver) -> int:
    return sum(record["droppedRecords"] for record in receiver.records("platform.logsDropped"))


@holds(emulator=EMULATED)
async def test_slow_receiver_loses_events_and_subscribers_of_platform_learn_how_many(platform: Platform) -> None:
    gate = anyio.Event()
    async with (
        platform.open("one.py", "two.py") as lambda_,
        open_receiver(_holding(gate)) as slow,
        open_receiver() as watch,
    ):
        one, _ = await lambda_.settled("one.py", "SHUTDOWN", subscribe=slow.subscription("extension"))
        await lambda_.settled("two.py", "SHUTDOWN", subscribe=watch.subscription("platform"))
        await lambda_.invoked()
        await one.print("first")
        await slow.wait_for(lambda it: it.posts)
        # One batch is in flight; what comes now is more than the platform keeps.
        lines = ["x" * 50_000] * 12
        for line in lines:
            await one.print(line)
            await anyio.sleep(0.03)  # they come one by one
        gate.set()
        await anyio.sleep(0.15)  # the platform hears of the answer, of which it says nothing
        await one.print("last")
        await slow.wait_for(lambda it: it.records("extension")[-1:] == ["last"])
        await watch.wait_for(lambda it: _dropped(it) + len(slow.records("extension")) >= len(lines) + 2)
    dropped, arrived = watch.records("platform.logsDropped"), slow.records("extension")
    assert _dropped(watch) + len(arrived) == len(lines) + 2
    kept = sum(len(record) for record in arrived)
    sent = sum(map(len, lines)) + len("first") + len("last")
    lost = sum(record["droppedRecords"] for record in dropped)
    envelope = len('{"time":"2026-01-01T00:00:00.000Z","type":"extension","record":""}')
    assert sum(record["droppedBytes"] for record in dropped) == sent - kept + lost * envelope
    assert all("slower" in record["reason"] for record in dropped)
    assert arrived[0] == "first"


@holds(emulator=())
async def test_slow_receiver_learns_of_its_own_losses_and_they_add_up(platform: Platform) -> None:
    gate = anyio.Event()
    async with platform.open() as lambda_, open_receiver(_holding(gate)) as receiver:
        request = receiver.subscription("platform", "extension", timeoutMs=25)
        one, _ = await lambda_.settled("one.py", "SHUTDOWN", subscribe=request)
        await lambda_.invoked()
        await receiver.wait_for(lambda it: it.records("platform.report"))
        for start in range(0, 6000, 1000):
            await one.print(*(f"line {start + number}" for number in range(1000)))
        await anyio.sleep(0.2)  # the platform reads them, of which it says nothing
        gate.set()
        await one.print("last")

        await receiver.wait_for(lambda it: _dropped(it) and _dropped(it) + len(it.records("extension")) >= 6001)
        assert _dropped(receiver) + len(receiver.records("extension")) == 6001
    assert receiver.records("extension")[:1000] == [f"line {number}" for number in range(1000)]


@holds(emulator=EMULATED)
async def test_batch_answered_500_is_lost_and_reported(platform: Platform) -> None:
    async def fail(post: Post) -> int:
        return 500 if b"poison" in post.body else 200

    async with platform.open() as lambda_, open_receiver(fail) as receiver:
        request = receiver.subscription("platform", "extension")
        one, _ = await lambda_.settled("one.py", "SHUTDOWN", subscribe=request)
        await lambda_.invoked()
        await receiver.wait_for(lambda it: it.records("platform.report"))
        await one.print("poison")
        await receiver.wait_for(lambda it: any(b"poison" in post.body for post in it.posts))
        await anyio.sleep(0.2)  # the platform hears of the answer, of which it says nothing
        await one.print("after")
        await receiver.wait_for(lambda it: it.records("platform.logsDropped"))
        await receiver.wait_for(lambda it: "after" in it.records("extension"))
        (dropped,) = receiver.records("platform.logsDropped")
    assert dropped["droppedRecords"] == 1
    assert dropped["reason"].startswith("could not send events: ")


@holds(emulator=EMULATED)
async def test_tcp_destination_gets_one_json_object_per_line(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver(tcp=True) as receiver:
        request = receiver.subscription("platform", "extension", tcp=True)
        one, _ = await lambda_.settled("one.py", "SHUTDOWN", subscribe=request)
        await lambda_.invoked()
        await one.print("a", "b")
        await receiver.wait_for(lambda it: it.records("extension") == ["a", "b"])
    assert receiver.connections == 1
    assert all(set(json.loads(line)) == {"time", "type", "record"} for line in receiver.lines)


@holds(emulator=EMULATED)
async def test_last_report_is_delivered_by_the_time_of_shutdown(platform: Platform) -> None:
    async with platform.open() as lambda_, open_receiver() as receiver:
        request = receiver.subscription("platform", timeoutMs=30_000)
        one, pending = await lambda_.settled("one.py", "SHUTDOWN", subscribe=request)
        outcome = await lambda_.invoked()
        ending = lambda_.begin_shutdown()
        await pending.answer()
        await receiver.wait_for(lambda it: it.records("platform.report"), within=1.5)
        await one.exit(0)
        await ending.value(within=5)
    assert [record["requestId"] for record in receiver.records("platform.report")] == [outcome.payload["requestId"]]


@holds(emulator=EMULATED, simulator=("managed",))
async def test_64_invocations_at_once_have_each_its_start_and_report(platform: Platform) -> None:
    async with platform.open(concurrency=64) as lambda_, open_receiver() as receiver:
        await lambda_.settled("one.py", "SHUTDOWN", subscribe=receiver.subscription("platform", timeoutMs=1000))
        await lambda_.invoked()
        pending = [lambda_.begin({"sleep": 0.3}) for _ in range(64)]
        started = anyio.current_time()
        ids = {(await each.value()).payload["requestId"] for each in pending}
        took = anyio.current_time() - started
        await receiver.wait_for(lambda it: len(it.records("platform.report")) >= 65)
    assert len(ids) == 64
    assert took < 64 * 0.3  # which they take one after another
    for type_ in ("platform.start", "platform.report"):
        seen = [record["requestId"] for record in receiver.records(type_)]
        assert len(seen) == len(set(seen)) == 65
        assert ids < set(seen)
