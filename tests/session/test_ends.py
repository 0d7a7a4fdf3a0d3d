"""How an extension ends, what Lambda is told of it, and in which form errors leave."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest

from fake_lambda import FakeLambda, error, log
from lambda_extension import (
    ContainerError,
    Extension,
    RegistrationError,
    SubscriptionError,
    TelemetryProcessor,
    TelemetrySubscription,
    open_extension,
    open_telemetry,
    run,
    run_telemetry,
)
from lambda_extension._session._open import open_session
from lambda_extension.telemetry import ReceiverSettings


def settings(platform: FakeLambda) -> dict[str, Any]:
    return {"name": "x", "environment": platform.environment, "http_client": platform.http}


def told(platform: FakeLambda) -> list[tuple[str, str, str]]:
    """Give what Lambda was told of errors: where, of which type, in which words."""
    return [
        (route, body["errorType"], body["errorMessage"]) for route, body in platform.calls if route.endswith("/error")
    ]


class Failing(Extension, TelemetryProcessor):
    async def init(self, _: Any) -> None:
        raise KeyError("mine")

    async def process(self, events: Any) -> None:
        """Never called."""


async def enter_extension(**settings: Any) -> None:
    async with open_extension(**settings):
        raise KeyError("mine")


async def enter_telemetry(**settings: Any) -> None:
    async with open_telemetry(**settings):
        raise KeyError("mine")


ENTRY_POINTS: list[Callable[..., Awaitable[None]]] = [
    enter_extension,
    enter_telemetry,
    lambda **settings: run(Failing(), **settings),
    lambda **settings: run_telemetry(Failing(), **settings),
]
entry_points = pytest.mark.parametrize("enter", ENTRY_POINTS, ids=["extension", "telemetry", "run", "run_telemetry"])


@entry_points
async def test_an_error_of_the_users_code_leaves_bare_from_every_entry_point(enter: Callable[..., Any]) -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(KeyError) as caught:
            await enter(**settings(platform))
        assert caught.value.args == ("mine",)
        assert told(platform) == [("init/error", "Extension.KeyError", "'mine'")]


@entry_points
async def test_a_refused_registration_leaves_bare_from_every_entry_point(enter: Callable[..., Any]) -> None:
    async with FakeLambda() as platform:
        platform.fail("register", error(403, "Extension.TooMany", "no"))
        with anyio.fail_after(5), pytest.raises(RegistrationError):
            await enter(**settings(platform))


@pytest.mark.parametrize("enter", [ENTRY_POINTS[1], ENTRY_POINTS[3]], ids=["telemetry", "run_telemetry"])
async def test_a_refused_subscription_leaves_bare_from_every_entry_point(enter: Callable[..., Any]) -> None:
    async with FakeLambda() as platform:
        platform.fail("telemetry", error(400, "ValidationError", "no"))
        with anyio.fail_after(5), pytest.raises(SubscriptionError):
            await enter(**settings(platform))
        assert [route for route, _, _ in told(platform)] == ["init/error"]


async def test_an_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with FakeLambda() as platform:
            with anyio.fail_after(5), pytest.raises(OSError, match=f"127.0.0.1:{port}") as caught:
                async with open_telemetry(receiver=ReceiverSettings(host="127.0.0.1", port=port), **settings(platform)):
                    pytest.fail("must not be entered")
            assert caught.value.errno is not None
            assert str(port) in told(platform)[0][2]


@pytest.mark.parametrize("past_init", [False, True])
async def test_an_exit_is_told_and_leaves_as_it_is(past_init: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with FakeLambda() as platform:
        platform.invoke()
        with anyio.fail_after(5), pytest.raises(SystemExit) as caught:
            async with open_extension(**settings(platform)) as extension:
                if past_init:
                    await extension.__anext__()
                sys.exit("no licence")
        assert caught.value.code == "no licence"
        route = "exit/error" if past_init else "init/error"
        assert told(platform) == [(route, "Extension.SystemExit", "no licence")]
        assert "the extension exits: no licence" in caplog.text


@pytest.mark.parametrize(("code", "reports"), [(0, 0), (None, 0), (3, 1)])
async def test_after_shutdown_only_an_exit_that_says_failure_is_told(code: int | None, reports: int) -> None:
    async with FakeLambda() as platform:
        platform.shut_down()
        with anyio.fail_after(5), pytest.raises(SystemExit):
            async with open_extension(**settings(platform)) as extension:
                async for _ in extension:
                    pytest.fail("there was no invocation")
                sys.exit(code)
        assert len(told(platform)) == reports


@pytest.mark.parametrize(("code", "reports"), [(0, 0), (3, 1)])
async def test_an_exit_within_a_task_group_is_told_as_one(
    code: int, reports: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeLambda() as platform:
        platform.shut_down()
        with anyio.fail_after(5), pytest.raises(BaseExceptionGroup) as caught:
            async with open_extension(**settings(platform)) as extension, anyio.create_task_group():
                async for _ in extension:
                    pytest.fail("there was no invocation")
                sys.exit(code)
        assert [each.code for each in caught.value.exceptions if isinstance(each, SystemExit)] == [code]
        assert [kind for _, kind, _ in told(platform)] == ["Extension.SystemExit"] * reports
        assert caplog.messages == ["the extension exits: 3"] * reports


@pytest.mark.parametrize("past_init", [False, True])
async def test_an_end_before_shutdown_is_told(past_init: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with FakeLambda() as platform:
        platform.invoke()
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                if past_init:
                    await extension.__anext__()
        route = "exit/error" if past_init else "init/error"
        words = "the extension's block ended before SHUTDOWN"
        assert told(platform) == [(route, "Extension.EndedBeforeShutdown", words)]
        assert words in caplog.text


async def test_an_end_after_a_failure_that_was_caught_is_told_as_that_failure() -> None:
    async with FakeLambda() as platform:
        platform.fail("event/next", error(500, "InternalServerError"))
        with anyio.fail_after(5):
            async with open_extension(**settings(platform)) as extension:
                with pytest.raises(ContainerError):
                    await extension.__anext__()
        assert [(route, kind) for route, kind, _ in told(platform)] == [("exit/error", "Extension.ContainerError")]


async def test_a_cancellation_before_shutdown_is_told() -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5), anyio.CancelScope() as scope:
            async with open_extension(**settings(platform)):
                scope.cancel()
                await anyio.sleep_forever()
        assert [(route, kind) for route, kind, _ in told(platform)] == [("init/error", "Extension.Cancelled")]


async def test_of_a_task_group_in_the_block_the_leaf_is_told_and_the_group_leaves() -> None:
    async with FakeLambda() as platform:

        async def fail() -> None:
            raise KeyError("mine")

        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
            async with open_extension(**settings(platform)) as extension, anyio.create_task_group() as tasks:
                tasks.start_soon(fail)
                async for _ in extension:
                    pytest.fail("there was no invocation")
        assert caught.group_contains(KeyError, depth=1)
        ((_, kind, words),) = told(platform)
        assert (kind, words) == ("Extension.KeyError", "'mine'")


async def test_an_error_within_a_cancellation_is_told() -> None:
    """On trio both leave in one group; what failed is what counts."""
    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught, anyio.CancelScope() as scope:
            async with open_extension(**settings(platform)), anyio.create_task_group() as tasks:

                async def fail() -> None:
                    try:
                        await anyio.sleep_forever()
                    finally:
                        raise KeyError("mine")

                tasks.start_soon(fail)
                tasks.start_soon(anyio.sleep_forever)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert caught.group_contains(KeyError)
        assert [kind for _, kind, _ in told(platform)] == ["Extension.KeyError"]


async def test_a_server_that_cannot_be_imported_is_an_error_of_init(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        await anyio.lowlevel.checkpoint()
        raise ImportError("half of it is missing")

    monkeypatch.setattr("lambda_extension.serving._serve._build", broken)
    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(ImportError, match="half of it"):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                async for _ in extension:
                    pytest.fail("there was no invocation")
        assert platform.names == ["register", "telemetry", "init/error"]


async def test_a_server_that_is_not_installed_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_extension.serving._serve.find_spec", lambda _: None)
    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(ImportError, match="hypercorn is not installed"):
            async with open_telemetry(**settings(platform)):
                pytest.fail("must not be entered")
        assert platform.names == ["register", "init/error"]


async def test_a_receiver_that_breaks_ends_the_stream_with_its_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    breaks = anyio.Event()

    async def serve(*_: object, task_status: anyio.abc.TaskStatus[None], **__: object) -> None:
        task_status.started()
        await breaks.wait()
        raise OSError("the socket is gone")

    monkeypatch.setattr("lambda_extension.telemetry._receiver.serve_app", serve)
    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(OSError, match="the socket is gone"):
            async with open_telemetry(**settings(platform)) as telemetry:
                with anyio.move_on_after(0):
                    await telemetry.__anext__()  # which has /next asked for
                await platform.waiting.wait()
                breaks.set()
                await telemetry.__anext__()
        assert [route for route, _, _ in told(platform)] == ["exit/error"]


async def test_an_invocation_that_comes_after_the_receiver_broke_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    breaks, broken = anyio.Event(), anyio.Event()

    async def serve(*_: object, task_status: anyio.abc.TaskStatus[None], **__: object) -> None:
        task_status.started()
        await breaks.wait()
        broken.set()
        raise OSError("the socket is gone")

    monkeypatch.setattr("lambda_extension.telemetry._receiver.serve_app", serve)
    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(OSError, match="the socket is gone"):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(extension.__anext__)  # which has /next asked for
                    await platform.waiting.wait()
                    tasks.cancel_scope.cancel()
                breaks.set()
                await broken.wait()
                platform.invoke()
                await anyio.wait_all_tasks_blocked()
                await extension.__anext__()


async def test_of_two_failures_the_first_is_raised_and_the_other_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(
        *_: object,
        shutdown_trigger: Callable[[], Awaitable[object]],
        task_status: anyio.abc.TaskStatus[None],
        **__: object,
    ) -> None:
        task_status.started()
        await shutdown_trigger()
        raise OSError("the socket is gone")

    monkeypatch.setattr("lambda_extension.telemetry._receiver.serve_app", serve)
    async with FakeLambda() as platform:
        platform.fail("event/next", error(500, "InternalServerError"))
        with anyio.fail_after(5), pytest.raises(ContainerError):
            async with open_telemetry(**settings(platform)) as telemetry:
                await telemetry.__anext__()
        assert "another failure while the extension ends" in caplog.text


async def test_a_start_that_fails_is_first_told_to_the_hook_then_to_lambda() -> None:
    order: list[Any] = []
    async with FakeLambda() as platform:
        platform.fail("telemetry", error(400, "ValidationError", "no"))

        async def hook(error: Exception) -> None:
            order.append((type(error), list(platform.names)))

        with anyio.fail_after(5), pytest.raises(SubscriptionError):
            async with open_session(default_telemetry=True, on_failed_start=hook, **settings(platform)):
                pytest.fail("must not be entered")
        assert order == [(SubscriptionError, ["register", "telemetry"])]
        assert platform.names[-1] == "init/error"


async def test_an_extension_without_telemetry_that_is_cut_off_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeLambda() as platform:
        platform.shut_down(seconds=0.35)
        with anyio.fail_after(5):
            async with open_extension(**settings(platform)) as extension:
                async for _ in extension:
                    pytest.fail("there was no invocation")
                await anyio.sleep_forever()
        assert caplog.messages == ["the shutdown deadline cut the extension off"]


async def test_the_last_line_is_written_though_the_receiver_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = anyio.Event()

    async def serve(*_: object, task_status: anyio.abc.TaskStatus[None], **__: object) -> None:
        task_status.started()
        with anyio.CancelScope(shield=True):
            await stop.wait()

    monkeypatch.setattr("lambda_extension.telemetry._receiver.serve_app", serve)
    async with FakeLambda() as platform:
        platform.shut_down(seconds=0.35)

        class Release(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                stop.set()

        monkeypatch.setattr(logging.getLogger("lambda_extension"), "handlers", [Release()])
        with anyio.fail_after(5):
            async with open_extension(telemetry=TelemetrySubscription(), **settings(platform)) as extension:
                async for _ in extension:
                    pytest.fail("there was no invocation")
                await anyio.sleep_forever()
        assert "the shutdown deadline cut the extension off: 0 events delivered" in caplog.text


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("telemetry", TelemetrySubscription),
        ("required", 1),
        ("receiver", {"port": 1}),
        ("name", 3),
        ("events", "INVOKE"),
        ("events", 3),
        ("account_id", "yes"),
        ("runtime_api", 9001),
        ("environment", {}),
        ("http_client", httpx.AsyncClient),
    ],
)
async def test_a_setting_of_another_type_is_refused_by_name(setting: str, value: Any) -> None:
    async with FakeLambda() as platform:
        with pytest.raises(TypeError, match=f"^{setting} must be"):
            async with open_extension(**{**settings(platform), setting: value}):
                pytest.fail("must not be entered")
        assert platform.names == []


async def test_an_http_client_before_httpx_is_imported_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "httpx")
    with pytest.raises(TypeError, match="http_client must be"):
        async with open_extension(runtime_api="127.0.0.1:1", http_client=object()):  # type: ignore[arg-type]
            pytest.fail("must not be entered")


async def test_an_unread_event_at_an_error_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(KeyError):
            async with open_telemetry(**settings(platform)):
                await platform.post([log("a")])
                raise KeyError
        assert "telemetry was left unread: 0 events delivered, 1 left over" in caplog.text
