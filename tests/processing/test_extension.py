"""Extensions as objects with methods."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from fake_lambda import FakeLambda
from lambda_extension import Extension, ExtensionClient, InvokeEvent, ShutdownReason, run


class Recorder(Extension):
    def __init__(self, fail: str = "", also: str = "") -> None:
        self.seen: list[Any] = []
        self.failing = {fail, also}

    async def init(self, client: ExtensionClient) -> None:
        self.seen.append(("init", client.registration.function_name))
        self._maybe_fail("init")

    async def handle_invoke(self, event: InvokeEvent) -> None:
        self.seen.append(("invoke", event.request_id))
        self._maybe_fail("invoke")

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        self.seen.append(("shutdown", reason, type(error)))
        self._maybe_fail("shutdown")

    def _maybe_fail(self, phase: str) -> None:
        if phase in self.failing:
            raise KeyError(phase)


def settings(platform: FakeLambda) -> dict[str, Any]:
    return {"name": "x", "environment": platform.environment, "http_client": platform.http}


async def test_all_methods_in_their_order() -> None:
    recorder = Recorder()
    async with FakeLambda() as platform:
        platform.invoke("r1")
        platform.invoke("r2")
        platform.shut_down("failure")
        with anyio.fail_after(5):
            await run(recorder, **settings(platform))
    assert recorder.seen == [
        ("init", "orders"),
        ("invoke", "r1"),
        ("invoke", "r2"),
        ("shutdown", ShutdownReason.FAILURE, type(None)),
    ]


@pytest.mark.parametrize(("phase", "route"), [("init", "init/error"), ("invoke", "exit/error")])
async def test_an_error_is_given_to_shutdown_then_reported_once_then_raised(phase: str, route: str) -> None:
    class Watching(Recorder):
        async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
            assert not [name for name in platform.names if name.endswith("error")]
            await super().shutdown(reason, error)

    recorder = Watching(phase)
    async with FakeLambda() as platform:
        platform.invoke("r1")
        with anyio.fail_after(5), pytest.raises(KeyError, match=phase):
            await run(recorder, **settings(platform))
        assert platform.names[-1] == route
        assert sum(name.endswith("error") for name in platform.names) == 1
    assert recorder.seen[-1] == ("shutdown", ShutdownReason.EXTENSION_ERROR, KeyError)


async def test_an_error_of_the_shutdown_after_an_error_raises_both() -> None:
    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
            await run(Recorder("init", "shutdown"), **settings(platform))
    assert caught.group_contains(KeyError, match="init")
    assert caught.group_contains(KeyError, match="shutdown")


async def test_an_error_of_the_shutdown_alone_is_an_exit_error() -> None:
    async with FakeLambda() as platform:
        platform.shut_down()
        with anyio.fail_after(5), pytest.raises(KeyError, match="shutdown"):
            await run(Recorder("shutdown"), **settings(platform))
        assert platform.names[-1] == "exit/error"


async def test_only_the_methods_that_exist_are_called() -> None:
    class OnlyInit:
        async def init(self, client: ExtensionClient) -> None:
            self.client = client

    class OnlyInvoke:
        async def handle_invoke(self, event: InvokeEvent) -> None:
            pytest.fail("there was no invocation")

    for extension, events in [(OnlyInit(), ["SHUTDOWN"]), (OnlyInvoke(), ["INVOKE", "SHUTDOWN"])]:
        async with FakeLambda() as platform:
            platform.shut_down()
            with anyio.fail_after(5):
                await run(extension, **settings(platform))
            assert platform.calls[0][1] == {"events": events}


async def test_invocations_without_a_handler_are_passed_by() -> None:
    class OnlyShutdown:
        async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
            self.reason = reason

    extension = OnlyShutdown()
    async with FakeLambda() as platform:
        platform.invoke()
        platform.shut_down()
        with anyio.fail_after(5):
            await run(extension, events=["INVOKE", "SHUTDOWN"], **settings(platform))
    assert extension.reason == "spindown"


async def test_an_error_without_a_shutdown_method_is_raised_alone() -> None:
    class Failing:
        async def init(self, client: ExtensionClient) -> None:
            raise KeyError

    async with FakeLambda() as platform:
        with pytest.raises(KeyError):
            await run(Failing(), **settings(platform))


async def test_an_object_without_any_method_is_refused() -> None:
    with pytest.raises(TypeError, match="object has none of the methods init, handle_invoke, background, shutdown"):
        await run(object())
