"""An ASGI app on a listening socket, by the server that was asked for; a trigger that ends it, a limit on that end."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from importlib.util import find_spec

import anyio
import anyio.abc

from lambda_extension._budget import LIFESPAN_END, REQUESTS_END
from lambda_extension.serving._asgi import ASGIApp, Receive, Scope, Send, ServerName
from lambda_extension.serving._connections import ConnectionServer, accept_connections
from lambda_extension.serving._faults import Faults
from lambda_extension.serving._lifespan import Lifespan
from lambda_extension.serving._socket import listen_on

logger = logging.getLogger("lambda_extension.server")


async def serve(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    server: ServerName = "hypercorn",
    task_status: anyio.abc.TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app until cancelled: an extension's own endpoint, such as a cache that the function asks.

    The app is told of start and end by ASGI's lifespan, if it knows it. When cancelled, requests in flight have 0.1
    seconds to end, then the app's lifespan has as much; what is not done by then is cut off, so that all of it fits
    into what Lambda leaves a shutdown.

    Args:
        app: An ASGI application.
        host: Address to listen on.
        port: Port to listen on; 0 lets the kernel choose.
        server: Who serves it.
        task_status: Told the port, once the app has started and requests are taken.

    Raises:
        OSError: The address cannot be bound.
        ImportError: The server is not installed.
        LifespanError: The app refused to start.
    """
    check_server(server)
    with listen_on(host, port) as sock:
        lifespan = Lifespan(app)

        async def entry(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"] = lifespan.state.copy()
            await app(scope, receive, send)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lifespan.run, name="lambda_extension lifespan")
            try:
                await lifespan.settled.wait()
                if lifespan.failure is None:
                    task_status.started(sock.getsockname()[1])
                    await serve_app(
                        entry,
                        sock,
                        server=server,
                        shutdown_trigger=anyio.sleep_forever,
                        graceful_timeout=REQUESTS_END,
                    )
            finally:
                # After the last request, which may still use what the app closes at its end. The group waits for it.
                lifespan.end(LIFESPAN_END)
    if lifespan.failure is not None:
        raise lifespan.failure


async def serve_app(
    app: ASGIApp,
    sock: socket.socket,
    *,
    server: ServerName = "hypercorn",
    shutdown_trigger: Callable[[], Awaitable[object]],
    graceful_timeout: float = 1.0,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on a listening socket until `shutdown_trigger` returns.

    The socket is taken over and closed. Cancelling this function is the same as the trigger: requests in flight are
    given `graceful_timeout`, and only past that they are cut off.

    Args:
        app: An ASGI application; it only sees requests, no lifespan.
        sock: A bound, listening TCP socket.
        server: Who serves it.
        shutdown_trigger: Awaited once; its return ends the server.
        graceful_timeout: Seconds that requests in flight may take once the server ends.
        task_status: Reported as started once the server is imported, which is what can fail. The socket listens
            already, so requests queue from before this call.

    Raises:
        ImportError: The server is not installed; before anything has started.
    """
    check_server(server)
    faults = Faults()
    serving = anyio.CancelScope(shield=True)
    accepting = anyio.CancelScope()

    async def watch() -> None:
        try:
            await shutdown_trigger()
        finally:
            # A cancellation from outside does not get past the shield: here it becomes the same as the trigger. The
            # limit comes first, so that it holds for whatever the end of accepting sets off.
            serving.deadline = anyio.current_time() + graceful_timeout
            accepting.cancel()

    with sock:
        async with anyio.create_task_group() as watchers:
            watchers.start_soon(watch, name="lambda_extension server's end")
            with serving:
                connections = await _build(server, app, faults)
                task_status.started()
                await accept_connections(sock, connections, faults, accepting)
            # The server may have failed, or ended, without being asked to: then the trigger is waited for no longer.
            watchers.cancel_scope.cancel()
    faults.sum_up()
    if serving.cancelled_caught:
        logger.warning("the server did not end within %.1f s and was cut off", graceful_timeout)


def check_server(server: str) -> None:
    """Look whether a server is installed, without importing it.

    Raises:
        ImportError: It is not.
        ValueError: There is none of this name.
    """
    if server not in ("hypercorn", "direct"):
        msg = f"there is no server {server!r}: it is 'hypercorn' or 'direct'"
        raise ValueError(msg)
    if server == "direct" and find_spec("httptools") is None:
        msg = "the direct server needs httptools: pip install 'lambda-extension[direct]'"
        raise ModuleNotFoundError(msg, name=server if server == "hypercorn" else "httptools")
    if server == "hypercorn" and find_spec("hypercorn") is None:
        msg = "hypercorn is not installed: put it back, or choose the direct server"
        raise ModuleNotFoundError(msg, name=server if server == "hypercorn" else "httptools")


async def _build(server: ServerName, app: ASGIApp, faults: Faults) -> ConnectionServer:
    # Late: only who serves pays, and only for the one server.
    if server == "direct":
        from lambda_extension.serving._direct import DirectServer

        return DirectServer(app, faults)
    from lambda_extension.serving._hypercorn import import_hypercorn

    return await import_hypercorn(app, faults)
