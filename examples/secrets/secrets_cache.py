#!/usr/bin/env python3
"""Keep the function's secrets at hand: fetched while it boots, served on localhost, renewed when they are too old.

SECRETS_URL says where they come from, SECRETS_MAX_AGE after how many seconds they are fetched again (300), SECRETS_PORT
where the function finds them (2773).
"""

import functools
import logging
import os
import time
from typing import Any

import anyio

from lambda_extension import open_extension
from lambda_extension.serving import serve

PORT = int(os.environ.get("SECRETS_PORT", "2773"))
MAX_AGE = float(os.environ.get("SECRETS_MAX_AGE", "300"))


logger = logging.getLogger("secrets")


class Secrets:
    def __init__(self) -> None:
        self.body: bytes | None = None
        self.fetched = 0.0
        self.fetching = anyio.Lock()
        self.client: Any = None

    async def current(self) -> bytes | None:
        """Give the secrets, fetched again if they are too old; what there was if that fails."""
        async with self.fetching:  # who asks meanwhile waits for the one call
            # The wall clock, which goes on while the environment is frozen.
            if self.body is None or not 0 <= time.time() - self.fetched < MAX_AGE:
                try:
                    self.body = await self.fetch()
                    self.fetched = time.time()
                except Exception as error:  # noqa: BLE001 - old secrets are better than none
                    logger.warning("the secrets could not be fetched: %r", error)
            return self.body

    async def fetch(self) -> bytes:
        if self.client is None:
            import httpx  # after the extension has registered: it takes a while

            # No connection is kept: after a freeze it might be dead, and nobody would say so.
            self.client = httpx.AsyncClient(timeout=2, limits=httpx.Limits(max_keepalive_connections=0))
        content: bytes = (await self.client.get(os.environ["SECRETS_URL"])).raise_for_status().content
        return content

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer the function, as an ASGI app."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        body = await self.current()
        await send({"type": "http.response.start", "status": 503 if body is None else 200, "headers": []})
        await send({"type": "http.response.body", "body": body or b""})


async def main() -> None:
    secrets = Secrets()
    async with anyio.create_task_group() as tasks:
        # Before register, so that the function finds the port open however early it asks; it waits for the answer.
        await tasks.start(functools.partial(serve, secrets, port=PORT))
        async with open_extension() as extension:
            tasks.start_soon(secrets.current)  # while the function boots
            async for _ in extension:
                tasks.start_soon(secrets.current)  # beside the function, which may ask only later
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
