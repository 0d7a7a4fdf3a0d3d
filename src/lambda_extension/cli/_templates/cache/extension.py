"""A cache that the function asks: GET http://127.0.0.1:2773/ answers what CONFIG_URL has, without a journey."""

import functools
import logging
import os
import time
from typing import Any

import anyio
import httpx
from lambda_extension import open_extension
from lambda_extension.serving import serve

PORT = 2773
MOST_SECONDS = 60.0
logger = logging.getLogger(__name__)


class Cache:
    """One answer of one URL; an ASGI app that gives it.

    Its age is told by the wall clock, the only one that goes on while Lambda has the environment frozen: a timer would
    be late by as long as the freeze.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._content = b""
        self._fetched = -MOST_SECONDS
        self._lock = anyio.Lock()

    async def fetch(self) -> None:
        """Ask anew, by a connection of its own: one from before a freeze may be gone."""
        async with httpx.AsyncClient(timeout=1.0) as client:
            response = await client.get(self._url)
        response.raise_for_status()
        self._content, self._fetched = response.content, time.time()

    async def refresh(self) -> None:
        """Ask anew if the answer is old, once for all who wait; what is there stays if nothing better can be had."""
        async with self._lock:
            if time.time() - self._fetched < MOST_SECONDS:
                return
            try:
                await self.fetch()
            except httpx.HTTPError as error:
                logger.warning("the answer stays an old one: %r", error)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await self.refresh()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self._content})


async def main() -> None:
    cache = Cache(os.environ["CONFIG_URL"])
    await cache.fetch()  # before the extension registers, and so before the function's module is imported
    async with anyio.create_task_group() as tasks:
        await tasks.start(functools.partial(serve, cache, port=PORT))
        async with open_extension() as extension:
            async for _ in extension:
                await cache.refresh()
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
