"""A request of httpx that is cancelled while its body is being sent leaves nothing for the garbage collector."""

from __future__ import annotations

import gc
import socket

import anyio
import httpx
import pytest

from lambda_extension._api._httpx_body import send_whole

MORE_THAN_A_SOCKET_TAKES = b"x" * 30_000_000


# A warning of the collector's is an error here, as any other is (pyproject.toml).
async def test_cancelled_while_the_body_is_sent_no_generator_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        async with httpx.AsyncClient(trust_env=False, timeout=None) as http, anyio.create_task_group() as tasks:

            async def send() -> None:
                await send_whole(http, "POST", url, content=MORE_THAN_A_SOCKET_TAKES)

            tasks.start_soon(send)
            peer, _ = await anyio.to_thread.run_sync(silent.accept)
            with peer:
                await anyio.to_thread.run_sync(peer.recv, 1)  # the body has begun, and nobody reads on
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
    gc.collect()


@pytest.mark.parametrize("content", [b"", b"the whole"])
async def test_the_body_arrives_with_its_length(content: bytes) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        parts = [part async for part in request.stream]  # type: ignore[union-attr]  # an asynchronous one
        again = [part async for part in request.stream]  # type: ignore[union-attr]
        assert b"".join(parts) == b"".join(again) == content
        assert request.headers["content-length"] == str(len(content))
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), trust_env=False) as http:
        assert (await send_whole(http, "POST", "http://lambda.test/", content=content)).status_code == 200
