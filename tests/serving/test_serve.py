"""An extension's own endpoint: where it listens, its app's lifespan, and its end."""

from __future__ import annotations

import functools
import logging
from typing import Any

import anyio
import httpx
import pytest
from serving_for_tests import answer

from lambda_extension import serving
from lambda_extension.serving import LifespanError, ServerName
from waiting import eventually


class App:
    """An app with a lifespan, which answers with what its start has left.

    Attributes:
        heard: What it was told.
    """

    def __init__(self, *, start: str = "complete", end: str = "complete") -> None:
        self.heard: list[str] = []
        self._start = start
        self._end = end

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answer(send, scope["state"]["word"])
            return
        self.heard.append((await receive())["type"])
        if self._start == "hang":
            await anyio.sleep_forever()
        scope["state"]["word"] = b"cached"
        await send({"type": f"lifespan.startup.{self._start}", "message": "no cache"})
        if self._start == "failed":
            raise LookupError("which is said already")
        self.heard.append((await receive())["type"])
        if self._end == "hang":
            await anyio.sleep_forever()
        if self._end == "raise":
            raise LookupError("at the end")
        await send({"type": f"lifespan.shutdown.{self._end}"})
        await receive()  # which nobody should, and which never returns


async def ask(port: int) -> bytes:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        return (await client.get(f"http://127.0.0.1:{port}/")).content


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("complete", "was cut off"),  # since it waits for more than there is
        ("failed", "the app failed in its shutdown: no reason given"),
        ("hang", "was cut off"),
        ("raise", "the app failed in its lifespan"),
    ],
)
async def test_an_app_is_told_of_start_and_end(
    server: ServerName, end: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(end=end)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            port = await tasks.start(functools.partial(serving.serve, app, server=server))
            assert app.heard == ["lifespan.startup"]
            assert await ask(port) == b"cached"
            tasks.cancel_scope.cancel()
    assert app.heard == ["lifespan.startup", "lifespan.shutdown"]
    assert said in caplog.text


async def test_an_app_that_refuses_to_start_fails_the_start(server: ServerName) -> None:
    app = App(start="failed")
    with anyio.fail_after(10), pytest.raises(LifespanError, match="could not start: no cache"):
        await serving.serve(app, server=server)


async def test_a_start_that_is_cancelled_is_cut_off_at_once(caplog: pytest.LogCaptureFixture) -> None:
    app = App(start="hang")
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serving.serve, app)
            await eventually(lambda: app.heard)
            tasks.cancel_scope.cancel()
    assert app.heard == ["lifespan.startup"]
    assert caplog.text == ""


async def raises(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await answer(send, b"%d" % len(scope["state"]))


async def returns(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await answer(send, b"0")


@pytest.mark.parametrize("app", [raises, returns])
async def test_an_app_that_knows_no_lifespan_is_served_all_the_same(
    app: Any, server: ServerName, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            port = await tasks.start(functools.partial(serving.serve, app, server=server))
            assert await ask(port) == b"0"
            tasks.cancel_scope.cancel()
    assert caplog.text == ""


async def test_a_server_that_there_is_not_and_a_port_in_use_fail_before_the_app_is_started() -> None:
    app = App()
    with pytest.raises(ValueError, match="'hypercorn' or 'direct'"):
        await serving.serve(app, server="apache")  # type: ignore[arg-type]  # on purpose
    with serving._socket.listen_on("127.0.0.1") as sock, pytest.raises(OSError, match="in use"):
        await serving.serve(app, port=sock.getsockname()[1])
    assert app.heard == []
