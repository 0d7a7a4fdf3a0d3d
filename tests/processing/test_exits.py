"""`sys.exit` in a method: told as such, after the hook, and it leaves as it was raised."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest

from fake_lambda import FakeLambda, error, log
from lambda_extension import (
    Extension,
    ExtensionClient,
    InvokeEvent,
    Registration,
    ShutdownReason,
    SubscriptionError,
    TelemetryProcessor,
    run,
    run_telemetry,
)
from lambda_extension.delivery import Continuous
from lambda_extension.telemetry import TelemetryEvent


def settings(platform: FakeLambda) -> dict[str, Any]:
    return {"name": "x", "environment": platform.environment, "http_client": platform.http}


class Leaving:
    """Exits in one of its methods."""

    def __init__(self, where: str, platform: FakeLambda, code: object = "no licence") -> None:
        self.where = where
        self.platform = platform
        self.code = code
        self.hook: list[Any] = []

    def maybe_exit(self, where: str) -> None:
        if where == self.where:
            sys.exit(self.code)  # type: ignore[arg-type]  # what users pass

    async def background(self) -> None:
        self.maybe_exit("background")
        await anyio.sleep_forever()

    async def shutdown(self, reason: ShutdownReason, error: Exception | None) -> None:
        self.hook += [reason, error, [name for name in self.platform.names if name.endswith("error")]]
        self.maybe_exit("shutdown")


class LeavingExtension(Leaving, Extension):
    async def init(self, client: ExtensionClient) -> None:
        self.maybe_exit("init")

    async def handle_invoke(self, event: InvokeEvent) -> None:
        self.maybe_exit("handle_invoke")


class LeavingProcessor(Leaving, TelemetryProcessor):
    async def init(self, registration: Registration) -> None:
        self.maybe_exit("init")

    async def process(self, events: Sequence[TelemetryEvent]) -> None:
        self.maybe_exit("process")

    async def flush(self) -> None:
        self.maybe_exit("flush")


async def feed(platform: FakeLambda) -> None:
    await platform.waiting.wait()
    platform.invoke("r1")
    with suppress(httpx.TransportError):  # the extension may be gone before it has answered
        await platform.post([log("a")])


CASES = [
    *(pytest.param(LeavingExtension, where, id=f"run-{where}") for where in ("init", "background", "handle_invoke")),
    *(
        pytest.param(LeavingProcessor, where, id=f"run_telemetry-{where}")
        for where in ("init", "background", "process", "flush")
    ),
]


@pytest.mark.parametrize(("kind", "where"), CASES)
@pytest.mark.parametrize("degrade", [False, True])
async def test_an_exit_reaches_the_hook_then_lambda_and_leaves_bare(
    kind: type[Leaving], where: str, degrade: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeLambda() as platform:
        leaving = kind(where, platform)
        code: list[object] = []

        async def lead() -> None:
            try:
                if isinstance(leaving, Extension):
                    await run(leaving, **settings(platform))
                else:
                    on_error: Any = "degrade" if degrade else "raise"
                    await run_telemetry(leaving, flush=Continuous(), on_error=on_error, **settings(platform))
            except SystemExit as left:
                code.append(left.code)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                if where == "handle_invoke":
                    platform.invoke()
                elif where in ("process", "flush"):
                    tasks.start_soon(feed, platform)
                await lead()
        told = [body for name, body in platform.calls if name.endswith("error")]
    assert code == ["no licence"]
    assert leaving.hook == [ShutdownReason.EXTENSION_ERROR, None, []]
    assert [(body["errorType"], body["errorMessage"]) for body in told] == [("Extension.SystemExit", "no licence")]
    assert caplog.messages.count("the extension exits: no licence") == 1


@pytest.mark.parametrize("kind", [LeavingExtension, LeavingProcessor])
@pytest.mark.parametrize(("code", "reports"), [(0, 0), (None, 0), (3, 1)])
async def test_of_an_exit_at_the_end_lambda_is_told_only_if_it_says_failure(
    kind: type[Leaving], code: int | None, reports: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeLambda() as platform:
        leaving = kind("shutdown", platform, code)
        platform.shut_down()
        with anyio.fail_after(5), pytest.raises(SystemExit) as caught:
            await (run if isinstance(leaving, Extension) else run_telemetry)(leaving, **settings(platform))
        assert caught.value.code == code
        assert sum(name.endswith("error") for name in platform.names) == reports
    assert "cut off" not in caplog.text


async def test_an_exit_of_the_hook_after_an_exit_raises_both() -> None:
    class Twice(LeavingExtension):
        async def init(self, client: ExtensionClient) -> None:
            sys.exit("first")

    async with FakeLambda() as platform:
        with anyio.fail_after(5), pytest.raises(BaseExceptionGroup) as caught:
            await run(Twice("shutdown", platform, "second"), **settings(platform))
    assert [str(each) for each in caught.value.exceptions] == ["first", "second"]


async def test_an_exit_of_the_hook_after_a_failed_start_hides_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeLambda() as platform:
        platform.fail("telemetry", error(400, "ValidationError", "no"))
        with anyio.fail_after(5), pytest.raises(SubscriptionError):
            await run_telemetry(LeavingProcessor("shutdown", platform), **settings(platform))
        assert platform.names[-1] == "init/error"
    assert "could not start, and its shutdown failed too" in caplog.text
