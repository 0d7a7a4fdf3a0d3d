"""Each test runs on asyncio and on trio, by anyio's pytest plugin."""

import functools
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from lambda_extension.serving import serve
from lambda_extension.simulator import ExtensionSpec, FunctionContext
from lambda_extension.simulator.pytest_plugin import SimulatorFactory

import extension

SCRIPT = Path(extension.__file__)


class Source:
    """An endpoint that counts how often it was asked, and answers with that."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self.status = 200

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.asked += 1
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"answer %d" % self.asked})


async def ask(port: int) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{port}/")).text


# Named before `simulator_factory` by every test that uses both: what is asked for first ends last.
@pytest.fixture
async def source() -> AsyncIterator[Source]:
    source = Source()
    async with anyio.create_task_group() as tasks:
        source.url = f"http://127.0.0.1:{await tasks.start(serve, source)}"
        yield source
        tasks.cancel_scope.cancel()


async def test_its_life_in_lambda(source: Source, simulator_factory: SimulatorFactory) -> None:
    async def handler(event: Any, context: FunctionContext) -> str:
        return await ask(extension.PORT)

    process = ExtensionSpec([sys.executable, str(SCRIPT)], name=SCRIPT.name, environment={"CONFIG_URL": source.url})
    lambda_ = await simulator_factory([process], handler, timeout=20)
    assert [result.payload for result in await lambda_.invoke_many(2)] == ["answer 1", "answer 1"]
    report = await lambda_.shutdown()
    assert report.exit_codes[SCRIPT.name] == 0
    assert lambda_.record.findings == []


async def test_what_is_old_is_fetched_anew_and_kept_if_it_cannot_be(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = extension.Cache(source.url)
    await cache.fetch()
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(functools.partial(serve, cache))
        assert await ask(port) == "answer 1"
        monkeypatch.setattr(extension, "MOST_SECONDS", 0.0)  # every answer is old: a freeze of hours
        assert await ask(port) == "answer 2"
        source.status = 500
        assert await ask(port) == "answer 2"
        tasks.cancel_scope.cancel()
