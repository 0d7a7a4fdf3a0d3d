"""hypercorn under an anyio task: one socket, one app, a trigger that ends it, a limit on that end."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import anyio.to_thread
import sniffio

from lambda_extension.serving._asgi import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from hypercorn.config import Config

logger = logging.getLogger("lambda_extension.server")

# Effectively never: hypercorn's default would close the connection right after a thaw, and uvloop takes no infinity.
_FOREVER = 10 * 365 * 24 * 3600.0
# How far past hypercorn's own graceful time-out the whole server is cut off.
_LAST_RESORT = 0.5


async def serve_app(
    app: ASGIApp,
    sock: socket.socket,
    *,
    shutdown_trigger: Callable[[], Awaitable[object]],
    graceful_timeout: float = 1.0,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on a listening socket until `shutdown_trigger` returns.

    The socket is taken over and closed. Cancelling this function is the same as the trigger: hypercorn must never be
    cancelled in mid-flight (on asyncio it fails with an invalid-state error), so it is asked to end and given
    `graceful_timeout`; only past that, plus half a second, is it cut off.

    On trio, one broken connection can end all of hypercorn (a peer that leaves in the middle of a body makes it send
    and close at the same time): it is then started again on the same socket, in which new connections have queued.

    Args:
        app: An ASGI application; it only sees `http` scopes, lifespan is answered here.
        sock: A bound, listening TCP socket.
        shutdown_trigger: Awaited once; its return ends the server.
        graceful_timeout: Seconds that requests in flight may take once the server ends.
        task_status: Reported as started at once: the socket listens already, so requests queue from before this call.
    """
    task_status.started()
    # In a thread: this import is the longest of all, and connections queue in the socket meanwhile.
    serve = await anyio.to_thread.run_sync(_import_serve, sniffio.current_async_library())
    ending = anyio.Event()
    usable = True
    serving = anyio.CancelScope(shield=True)

    async def watch() -> None:
        try:
            await shutdown_trigger()
        finally:
            serving.deadline = anyio.current_time() + graceful_timeout + _LAST_RESORT
            ending.set()

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal usable
        if scope["type"] == "lifespan":
            usable = True
            await _answer_lifespan(receive, send)
        else:
            await app(scope, receive, send)

    with sock:
        async with anyio.create_task_group() as watchers:
            watchers.start_soon(watch, name="server shutdown trigger")
            with serving:
                while usable and not ending.is_set():
                    usable = False  # until hypercorn has got as far as starting the app
                    config = _config(sock.dup(), graceful_timeout)
                    try:
                        await serve(entry, config, shutdown_trigger=ending.wait, mode="asgi")
                    except Exception:  # of a group, in which hypercorn raises what a connection met
                        if not usable:  # pragma: no cover - it failed before it served anything
                            raise
                        logger.warning("a connection broke the server", exc_info=True)
            if serving.cancel_called:
                logger.warning("the server did not end within %.1f s and was cut off", graceful_timeout)
            watchers.cancel_scope.cancel()


async def _answer_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


def _config(sock: socket.socket, graceful_timeout: float) -> Config:
    from hypercorn.config import Config  # late: only an extension that listens pays for it

    config = Config()
    config.bind = [f"fd://{sock.detach()}"]
    config.keep_alive_timeout = _FOREVER
    config.keep_alive_max_requests = 2**62
    config.graceful_timeout = graceful_timeout
    config.include_date_header = False
    config.include_server_header = False
    config.errorlog = logger
    return config


def _import_serve(backend: str) -> Callable[..., Awaitable[None]]:
    """Import hypercorn's serve for a backend: the only place that tells the backends apart."""
    if backend == "trio":
        from hypercorn.trio import serve as trio_serve

        return trio_serve
    from hypercorn.asyncio import serve as asyncio_serve

    return asyncio_serve
