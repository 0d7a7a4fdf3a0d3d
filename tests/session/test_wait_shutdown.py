"""Waiting for the shutdown beside the iteration."""

from __future__ import annotations

import anyio

from fake_lambda import FakeLambda
from lambda_extension import ShutdownReason, open_extension


async def test_whoever_works_beside_the_iteration_learns_of_the_shutdown() -> None:
    reasons: list[ShutdownReason] = []
    async with FakeLambda() as platform:
        with anyio.fail_after(5):
            async with (
                open_extension(name="x", environment=platform.environment, http_client=platform.http) as extension,
                anyio.create_task_group() as tasks,
            ):

                async def watch() -> None:
                    shutdown = await extension.wait_shutdown()
                    assert shutdown is extension.shutdown
                    reasons.append(shutdown.reason)

                tasks.start_soon(watch)
                await anyio.wait_all_tasks_blocked()
                assert extension.shutdown is None
                platform.shut_down("timeout")
                async for _ in extension:
                    raise AssertionError
                tasks.start_soon(watch)  # afterwards it returns at once
    assert reasons == [ShutdownReason.TIMEOUT] * 2
