"""The session: its order, its deadlines, its errors, and that nothing is left behind."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

import virtual_time
from fake_lambda import FakeLambda, error, log, report, runtime_done, start
from lambda_extension import (
    ContainerError,
    EventType,
    InvocationOutcome,
    SubscriptionError,
    TelemetryNotSupportedError,
    TelemetrySubscription,
    open_extension,
    open_telemetry,
)
from lambda_extension._budget import SHUTDOWN_MARGIN, wall_clock
from lambda_extension.serving import ServerName
from lambda_extension.telemetry import FunctionLog, PlatformReport, ReceiverSettings
from waiting import eventually


def settings(platform: FakeLambda) -> dict[str, Any]:
    return {"name": "x", "environment": platform.environment, "http_client": platform.http}


def texts(events: list[Any]) -> list[Any]:
    return [event.record for event in events if isinstance(event, FunctionLog)]


async def test_a_stream_from_start_to_end() -> None:
    async with FakeLambda() as platform:
        seen: list[Any] = []
        with anyio.fail_after(10):
            async with open_telemetry(**settings(platform)) as telemetry, anyio.create_task_group() as tasks:
                assert platform.names == ["register", "telemetry"]
                assert platform.calls[0][1] == {"events": ["SHUTDOWN"]}

                async def drive() -> None:
                    await platform.waiting.wait()
                    assert await platform.post([log("a"), log("b")]) == 200
                    assert await platform.post([start("r"), log("c")]) == 200
                    platform.shut_down()
                    # The last report comes while the environment shuts down.
                    await telemetry.session.wait_shutdown()
                    assert await platform.post([log("d"), report("r")]) == 200

                tasks.start_soon(drive)
                async for event in telemetry:
                    seen.append(event)
        assert texts(seen) == ["a", "b", "c", "d"]
        assert isinstance(seen[-1], PlatformReport)
        counts = telemetry.statistics()
        assert (counts.received_events, counts.delivered_events, counts.buffered_events) == (6, 6, 0)
        assert platform.names == ["register", "telemetry", "event/next"]


async def test_work_ends_a_margin_before_the_environment_does() -> None:
    async with FakeLambda() as platform:
        platform.shut_down()
        # With the event loop's clock for the wall's, the platform's time needs no conversion.
        token = wall_clock.set(anyio.current_time)
        try:
            with anyio.fail_after(5):
                async with open_extension(**settings(platform)) as extension:
                    async for _ in extension:
                        pytest.fail("there was no invocation")
                    assert extension.shutdown is not None
                    killed = extension.shutdown.event.deadline_ms / 1000
                    assert extension.shutdown.deadline == pytest.approx(killed - SHUTDOWN_MARGIN, abs=0.01)
        finally:
            wall_clock.reset(token)


async def test_an_invoke_that_was_not_asked_for_is_passed_by() -> None:
    async with FakeLambda() as platform:
        platform.invoke()
        platform.shut_down()
        with anyio.fail_after(5):
            async with open_telemetry(**settings(platform)) as telemetry:
                assert [event async for event in telemetry] == []
        assert platform.names.count("event/next") == 2


async def test_an_invocation_cut_short_by_a_signal_says_that_telemetry_ended() -> None:
    async with FakeLambda() as platform:
        platform.invoke("r1", 30)
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                async for invocation in extension:
                    os.kill(os.getpid(), signal.SIGTERM)
                    assert [event async for event in invocation.telemetry()] == []
                    assert invocation.outcome is InvocationOutcome.ENDED


async def test_the_first_read_ends_init() -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(10):
            async with open_telemetry(**settings(platform)) as telemetry:
                await anyio.wait_all_tasks_blocked()
                assert "event/next" not in platform.names
                platform.shut_down()
                assert [event async for event in telemetry] == []
                assert platform.names[-1] == "event/next"


async def test_invocation_by_invocation_and_the_rest_after_shutdown() -> None:
    async with FakeLambda() as platform:
        rows: list[tuple[str, list[Any], InvocationOutcome | None]] = []
        with anyio.fail_after(10):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                platform.invoke("r1")
                async for invocation in extension:
                    done = invocation.request_id
                    if done == "r1":
                        await platform.post([start("r1"), log("a"), runtime_done("r1"), log("after")])
                    else:
                        # A done that is late, of the request before, must not end this one.
                        await platform.post([runtime_done("r1"), log("b")])
                        await platform.post([runtime_done("r2")])
                    events = [event async for event in invocation.telemetry()]
                    rows.append((done, texts(events), invocation.outcome))
                    # The end has been seen: asked again, there is nothing to wait for.
                    assert [event async for event in invocation.telemetry()] == []
                    assert invocation.outcome is InvocationOutcome.RUNTIME_DONE
                    platform.invoke("r2") if done == "r1" else platform.shut_down()
                assert extension.shutdown is not None
                assert extension.shutdown.reason == "spindown"
                rest = [event async for event in extension.telemetry]
        assert rows == [
            ("r1", ["a"], InvocationOutcome.RUNTIME_DONE),
            ("r2", ["after", "b"], InvocationOutcome.RUNTIME_DONE),
        ]
        assert rest == []
        assert extension.registration.function_name == "orders"
        assert extension.environment is platform.environment


@pytest.mark.parametrize(
    ("seconds", "limit", "outcome"),
    [(1.0, 5.0, InvocationOutcome.DEADLINE), (5.0, 0.3, InvocationOutcome.LIMIT)],
)
async def test_a_missing_runtime_done_never_holds_an_invocation(
    seconds: float, limit: float, outcome: InvocationOutcome
) -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(4):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                platform.invoke("r1", seconds)
                async for invocation in extension:
                    await platform.post([log("a")])
                    assert texts([event async for event in invocation.telemetry(limit=limit)]) == ["a"]
                    assert invocation.outcome is outcome
                    platform.shut_down()


async def test_without_telemetry_the_wait_ends_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeLambda() as platform:
        platform.fail("telemetry", error(202, "Telemetry.NotSupported", "Telemetry API is not supported"))
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                platform.invoke()
                async for invocation in extension:
                    assert [event async for event in invocation.telemetry()] == []
                    assert invocation.outcome is InvocationOutcome.UNAVAILABLE
                    platform.shut_down()
                assert [event async for event in extension.telemetry] == []
        assert len([message for message in caplog.messages if "going on without telemetry" in message]) == 1


async def test_required_telemetry_that_is_missing_is_an_error() -> None:
    async with FakeLambda() as platform:
        platform.fail("telemetry", error(404))
        with pytest.raises(TelemetryNotSupportedError):
            async with open_telemetry(required=True, **settings(platform)):
                pytest.fail("must not be entered")
        assert platform.names == ["register", "telemetry", "init/error"]


async def test_a_refused_subscription_is_reported_and_raised_bare() -> None:
    async with FakeLambda() as platform:
        platform.fail("telemetry", error(400, "ValidationError", "no"))
        with pytest.raises(SubscriptionError):
            async with open_telemetry(**settings(platform)):
                pytest.fail("must not be entered")
        assert platform.names[-1] == "init/error"


async def test_a_port_in_use_is_reported_and_raised_bare() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for host in ("127.0.0.1", None):
            async with FakeLambda() as platform:
                receiver = ReceiverSettings(host=host, port=taken.getsockname()[1])
                with pytest.raises(OSError, match="in use"):
                    async with open_telemetry(receiver=receiver, **settings(platform)):
                        pytest.fail("must not be entered")
                assert platform.names == ["register", "init/error"]


async def test_cancelled_while_subscribing_leaves_nothing() -> None:
    async with FakeLambda() as platform:
        subscribing = anyio.Event()

        async def hang(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("telemetry"):
                subscribing.set()
                await anyio.sleep_forever()
            return await platform._handle(request)

        client = httpx.AsyncClient(transport=httpx.MockTransport(hang))

        async def use() -> None:
            async with open_telemetry(name="x", environment=platform.environment, http_client=client):
                pytest.fail("must not be entered")

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(use)
                await subscribing.wait()
                tasks.cancel_scope.cancel()
        assert platform.names == ["register"]
        await client.aclose()


async def test_no_telemetry_means_no_server_and_a_clear_error() -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with open_extension(**settings(platform)) as extension:
                with pytest.raises(RuntimeError, match="telemetry=TelemetrySubscription"):
                    _ = extension.telemetry
                platform.invoke()
                assert not extension.sees_ends
                async for invocation in extension:
                    with pytest.raises(RuntimeError, match="telemetry=TelemetrySubscription"):
                        invocation.telemetry()
                    assert invocation.outcome is None
                    platform.shut_down()
        assert "telemetry" not in platform.names


async def test_an_error_before_the_first_next_is_an_init_error() -> None:
    async with FakeLambda() as platform:
        with pytest.raises(KeyError):
            async with open_extension(**settings(platform)):
                raise KeyError("setting")
        assert platform.names == ["register", "init/error"]
        assert platform.calls[-1][1]["errorType"] == "Extension.KeyError"


async def test_an_error_after_the_first_next_is_an_exit_error() -> None:
    async with FakeLambda() as platform:
        platform.invoke()
        with pytest.raises(ValueError, match=r"^$"):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                async for _ in extension:
                    raise ValueError
        assert platform.names[-1] == "exit/error"


async def test_an_error_that_cannot_be_reported_still_propagates(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeLambda() as platform:
        platform.fail("init/error", error(500))
        with pytest.raises(KeyError):
            async with open_extension(**settings(platform)):
                raise KeyError
        assert "could not be reported" in caplog.text


async def test_a_platform_that_takes_no_report_does_not_hang_the_error(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeLambda() as platform:

        async def hang(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("error"):
                await anyio.sleep_forever()
            return await platform._handle(request)

        client = httpx.AsyncClient(transport=httpx.MockTransport(hang))
        with anyio.fail_after(5), pytest.raises(KeyError):
            async with open_extension(name="x", environment=platform.environment, http_client=client):
                raise KeyError
        assert "did not take the report" in caplog.text
        await client.aclose()


@pytest.mark.parametrize("reader", ["events", "batches"])
async def test_a_failed_platform_ends_the_stream_with_its_error(reader: str) -> None:
    async with FakeLambda() as platform:
        platform.fail("event/next", error(500, "InternalServerError"))
        with anyio.fail_after(5), pytest.raises(ContainerError):
            async with open_telemetry(**settings(platform)) as telemetry:
                async for _ in telemetry if reader == "events" else telemetry.batches():
                    pass


async def test_a_failed_platform_ends_the_invocations_with_its_error_again_and_again() -> None:
    async with FakeLambda() as platform:
        platform.fail("event/next", error(500, "InternalServerError"))
        async with open_extension(**settings(platform)) as extension:
            for _ in range(2):
                with anyio.fail_after(5), pytest.raises(ContainerError):
                    await extension.__anext__()
        assert platform.names.count("event/next") == 1


async def test_a_cancelled_step_loses_no_invocation() -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with open_extension(**settings(platform)) as extension:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(extension.__anext__)
                    await platform.waiting.wait()
                    tasks.cancel_scope.cancel()
                platform.invoke("kept")
                assert (await extension.__anext__()).request_id == "kept"
        assert platform.names.count("event/next") == 1


async def test_an_invocation_that_came_before_a_signal_is_still_given(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lambda_extension")
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with open_extension(**settings(platform)) as extension:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(extension.__anext__)
                    await platform.waiting.wait()
                    tasks.cancel_scope.cancel()
                platform.invoke("came")
                while not any("event/next was answered" in message for message in caplog.messages):
                    await anyio.lowlevel.checkpoint()
                os.kill(os.getpid(), signal.SIGTERM)
                await extension.wait_shutdown()
                assert [invocation.request_id async for invocation in extension] == ["came"]


async def test_two_tasks_cannot_wait_for_invocations_or_telemetry() -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(extension.__anext__)
                    tasks.start_soon(extension.telemetry.__anext__)
                    await anyio.wait_all_tasks_blocked()
                    with pytest.raises(anyio.BusyResourceError):
                        await extension.__anext__()
                    with pytest.raises(anyio.BusyResourceError):
                        await extension.telemetry.__anext__()
                    tasks.cancel_scope.cancel()


async def test_events_and_batches_share_one_cursor() -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                await platform.post([log("a"), log("b"), log("c")], sequence_id="s1")
                await platform.post([log("d")])
                await platform.post([])
                await platform.post([log("e")])
                telemetry = extension.telemetry
                first = await telemetry.__anext__()
                batches = telemetry.batches()
                rest = await batches.__anext__()
                second = await batches.__anext__()
                assert texts([first]) == ["a"]
                assert (texts(rest.events), rest.sequence_id) == (["b", "c"], "s1")
                assert texts(second.events) == ["d"]
                assert telemetry.statistics().delivered_events == 4
                assert telemetry.statistics().buffered_events == 1
                assert texts([await telemetry.__anext__()]) == ["e"]


async def test_work_past_the_shutdown_deadline_is_cancelled_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                await platform.post([log("a"), log("b")])
                await extension.telemetry.__anext__()
                platform.shut_down(seconds=0.5)
                async for _ in extension:
                    pytest.fail("there was no invocation")
                await anyio.sleep_forever()
        assert "the shutdown deadline cut the extension off: 1 events delivered, 1 left over" in caplog.text


async def test_a_deadline_that_has_passed_already_ends_at_once() -> None:
    async with FakeLambda() as platform:
        platform.shut_down(seconds=-1)
        with anyio.fail_after(3):
            async with open_telemetry(**settings(platform)) as telemetry:
                async for _ in telemetry:
                    pytest.fail("nothing was sent")


async def test_leaving_early_says_what_was_left_unread(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with open_telemetry(**settings(platform)) as telemetry:
                await platform.post([log("a"), log("b")])
                async for _ in telemetry:
                    break
        assert "telemetry was left unread: 1 events delivered, 1 left over" in caplog.text


async def test_a_stalled_consumer_pushes_back_and_what_was_acknowledged_is_kept() -> None:
    async with FakeLambda() as platform:
        acknowledged: list[int] = []
        full, refused = anyio.Event(), anyio.Event()
        receiver = ReceiverSettings(max_buffered_batches=2)
        with anyio.fail_after(10):
            async with (
                open_telemetry(receiver=receiver, **settings(platform)) as telemetry,
                anyio.create_task_group() as tasks,
            ):

                async def flood() -> None:
                    for number in range(1000):
                        if await platform.post([log(str(number))]) == 200:
                            acknowledged.append(number)
                            if number == 2:
                                full.set()
                        else:
                            refused.set()
                            return

                tasks.start_soon(flood)
                first = await telemetry.__anext__()
                await full.wait()
                platform.shut_down()
                # Stalled through half of the shutdown: what waits in the socket is refused, not lost.
                await refused.wait()
                assert telemetry.statistics().buffered_events == 2
                rest = [event async for event in telemetry]
                tasks.cancel_scope.cancel()
        assert texts([first, *rest]) == [str(number) for number in acknowledged]
        assert telemetry.statistics().rejected_batches == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_is_a_clean_shutdown(number: signal.Signals) -> None:
    async with FakeLambda() as platform:
        seen: list[Any] = []
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                await platform.post([log("a")])
                async with anyio.create_task_group() as tasks:

                    async def interrupt() -> None:
                        await platform.waiting.wait()
                        os.kill(os.getpid(), number)

                    tasks.start_soon(interrupt)
                    async for _ in extension:
                        pytest.fail("there was no invocation")
                assert extension.shutdown is not None
                assert extension.shutdown.reason == number.name
                # What the platform says after that changes nothing.
                platform.shut_down("timeout")
                platform.invoke()
                seen.extend([event async for event in extension.telemetry])
                assert extension.shutdown.reason == number.name
                with pytest.raises(StopAsyncIteration):
                    await extension.__anext__()
        assert texts(seen) == ["a"]


async def test_an_invocation_that_comes_after_a_signal_is_not_begun() -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with open_extension(**settings(platform)) as extension, anyio.create_task_group() as tasks:

                async def interrupt() -> None:
                    await platform.waiting.wait()
                    os.kill(os.getpid(), signal.SIGTERM)

                tasks.start_soon(interrupt)
                async for _ in extension:
                    pytest.fail("there was no invocation")
                platform.invoke()
                await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_second_signal_cancels_what_still_runs(name: str) -> None:
    async def use() -> None:
        virtual_time.use_virtual_wall_clock()
        async with FakeLambda() as platform, open_extension(**settings(platform)) as extension:
            os.kill(os.getpid(), signal.SIGTERM)
            async for _ in extension:
                pytest.fail("there was no invocation")
            os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep_forever()  # until the deadline, which the first signal set, unless the second counts
        assert anyio.current_time() == 0.0

    backend, options = virtual_time.backend(name)
    anyio.run(use, backend=backend, backend_options=options)


async def test_managed_instances_get_telemetry_without_invocations() -> None:
    async with FakeLambda(initialization_type="lambda-managed-instances") as platform:
        seen: list[Any] = []
        with anyio.fail_after(5):
            async with (
                open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension,
                anyio.create_task_group() as tasks,
            ):

                async def consume() -> None:
                    async for event in extension.telemetry:
                        seen.append(event)

                tasks.start_soon(consume)
                await platform.post([start("r1"), start("r2"), log("a"), report("r1"), report("r2")])
                platform.shut_down()
                async for _ in extension:
                    pytest.fail("there are no INVOKE events here")
        assert texts(seen) == ["a"]
        assert len(seen) == 5


async def test_an_internal_extension_runs_in_a_thread_of_its_own(anyio_backend: Any) -> None:
    backend, options = anyio_backend
    seen: list[str] = []

    async def main() -> None:
        async with FakeLambda() as platform:
            platform.invoke("r1")
            async with open_extension(events=[EventType.INVOKE], **settings(platform)) as extension:
                async for invocation in extension:
                    seen.append(invocation.request_id)
                    break

    def run() -> None:
        anyio.run(main, backend=backend, backend_options=options)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    await anyio.to_thread.run_sync(thread.join, 10)
    assert seen == ["r1"]


def own_listeners() -> set[socket.socket]:
    """Return the sockets of this process at which somebody can connect."""
    # Those of a thread that looks a name up, and was left to itself, may be closed at any moment: they are of one kind.
    kinds = {socket.AF_INET, socket.AF_INET6}
    sockets = [each for each in gc.get_objects() if type(each) is socket.socket and each.family in kinds]
    return {each for each in sockets if each.fileno() >= 0 and each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)}


def open_files() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - a count of names


MOMENTS = ["start", "subscribed", "waiting", "invoked", "received", "shutdown"]


@pytest.mark.parametrize("steps", [0, 1, 3, 8, 21])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_cancelled_at_any_step_nothing_is_left(moment: str, steps: int) -> None:
    """Cancel some scheduler steps after a moment: start-up, iteration and shutdown all come under the knife."""
    before, listeners = open_files(), own_listeners()
    reached = {name: anyio.Event() for name in MOMENTS}
    async with FakeLambda() as platform:
        reached |= {"subscribed": platform.subscribed, "waiting": platform.waiting}
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:

                async def use() -> None:
                    reached["start"].set()
                    platform.invoke()
                    async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                        async for invocation in extension:
                            reached["invoked"].set()
                            await platform.post([log("a"), runtime_done(invocation.request_id)])
                            reached["received"].set()
                            async for _ in invocation.telemetry():
                                pass
                            platform.shut_down()
                        reached["shutdown"].set()
                        async for _ in extension.telemetry:
                            pass

                tasks.start_soon(use)
                await reached[moment].wait()
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        # Not by connecting: somebody else may have got the port meanwhile.
        assert own_listeners() == listeners
    await eventually(lambda: open_files() <= before + 1)


async def test_the_listener_binds_what_sandbox_localdomain_resolves_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, released = socket.getaddrinfo, threading.Event()

    async def resolve(address: str) -> None:
        async with FakeLambda() as platform:

            def getaddrinfo(host: Any, *others: Any, **options: Any) -> Any:
                if host != b"sandbox.localdomain":  # what the event loop asks for others
                    return real(host, *others, **options)
                if address == "slow":
                    released.wait(20)
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

            limit = 0.05 if address == "slow" else 5.0  # a busy machine is no resolver that hangs
            monkeypatch.setattr("lambda_extension.telemetry._receiver.RESOLVE_LIMIT", limit)
            monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                assert await platform.post([log("a")]) == 200
                assert texts([await extension.telemetry.__anext__()]) == ["a"]
                platform.shut_down()
                assert [invocation async for invocation in extension] == []

    await resolve("127.0.0.1")
    await resolve("slow")
    released.set()
    assert caplog.messages == []
    await resolve("203.0.113.1")
    assert "sandbox.localdomain resolves to 203.0.113.1, which cannot be bound" in caplog.text


async def test_nothing_is_logged_in_an_ordinary_life(server: ServerName, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)  # of every logger, whoever's: servers like to say where they run
    async with FakeLambda() as platform:
        async with open_telemetry(receiver=ReceiverSettings(server=server), **settings(platform)) as telemetry:
            assert await platform.post([log("a")]) == 200
            platform.shut_down()
            assert texts([event async for event in telemetry]) == ["a"]
    # httpx is how this test speaks.
    assert [(name, text) for name, _, text in caplog.record_tuples if name != "httpx"] == []
