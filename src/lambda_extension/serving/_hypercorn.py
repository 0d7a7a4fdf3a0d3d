"""hypercorn by the connection: its protocols on our accept loop, where a broken connection ends nothing but itself."""

from __future__ import annotations

import functools
import socket
from importlib import import_module
from typing import TYPE_CHECKING, Any, final

import anyio
import anyio.to_thread
import sniffio

from lambda_extension._budget import NEVER
from lambda_extension.serving._asgi import ASGIApp, Message, Receive, Scope, Send
from lambda_extension.serving._connections import ConnectionServer
from lambda_extension.serving._faults import Faults, logger

if TYPE_CHECKING:
    from hypercorn.config import Config
    from hypercorn.typing import AppWrapper

# It leaves some connections open whose peers have gone in the middle of something; a process has some 1,000 files.
_MOST_CONNECTIONS = 512


async def import_hypercorn(app: ASGIApp, faults: Faults) -> ConnectionServer:
    """Import hypercorn for this backend, in a thread: no import is longer, and connections queue in the socket."""
    flavour = "trio" if sniffio.current_async_library() == "trio" else "asyncio"
    module = await anyio.to_thread.run_sync(
        import_module, f"lambda_extension.serving._hypercorn_{flavour}", abandon_on_cancel=True
    )
    return HypercornServer(app, faults, module)


@final
class HypercornServer:
    """Hands each connection to hypercorn, and what breaks there to the log.

    hypercorn's own accept loop lets a connection's error end the whole server (on trio), or logs a traceback of each
    (on asyncio): a peer that leaves in the middle of a body makes it send and close at the same time.

    Args:
        app: An ASGI application.
        faults: Where is noted what goes wrong.
        flavour: The module for this backend.
        most_connections: For one more, the oldest is closed whose peer has gone, or that has no request under way.
    """

    def __init__(
        self, app: ASGIApp, faults: Faults, flavour: Any, *, most_connections: int = _MOST_CONNECTIONS
    ) -> None:
        from hypercorn.utils import wrap_app

        self._app = app
        self._faults = faults
        self._flavour = flavour
        self._wrapped: AppWrapper = wrap_app(self._enter, 0, "asgi")  # type: ignore[arg-type]  # its types of ASGI are narrower
        self._config = _config()
        self._context = flavour.WorkerContext(None)
        self._most = most_connections
        self._open: dict[socket.socket, tuple[anyio.CancelScope, object]] = {}  # with the peer's address
        self._busy: set[Any] = set()  # the addresses of peers that have a request under way
        self._leaving: dict[Any, anyio.CancelScope] = {}  # and of those that have gone meanwhile
        self._room = anyio.Event()

    async def wait_room(self) -> None:
        """Wait until there is room for one more connection, and make some where one can be spared."""
        while len(self._open) >= self._most:
            self._room = anyio.Event()
            spare = next((sock for sock in self._open if _is_gone(sock)), None) or next(
                (sock for sock, (_, peer) in self._open.items() if peer not in self._busy), None
            )
            if spare is not None:
                scope, _ = self._open[spare]
                scope.cancel()
            await self._room.wait()

    async def serve_connection(self, sock: socket.socket) -> None:
        """Serve one connection until it ends, and close it."""
        with sock, anyio.CancelScope() as scope:
            try:
                peer = sock.getpeername()[:2]
            except OSError:
                return  # gone already
            self._open[sock] = scope, peer
            try:
                await self._flavour.serve_connection(
                    self._wrapped, self._config, self._context, sock, functools.partial(self._let_go, peer, scope)
                )
            except Exception as error:  # noqa: BLE001 - of hypercorn, whose errors are many, alone or in groups
                self._faults.note(f"a connection broke: {_name(error)} in hypercorn")
            finally:
                del self._open[sock]
                self._leaving.pop(peer, None)
                self._room.set()

    async def run(self) -> None:
        """Return at once: a connection of hypercorn's needs nobody else."""

    async def end(self) -> None:
        """Close what is idle, and the rest once it has been answered."""
        await self._context.terminated.set()

    def _let_go(self, peer: Any, scope: anyio.CancelScope) -> None:
        """End the connection of a peer that has gone, once the app is done with what it has sent."""
        if peer in self._busy:
            self._leaving[peer] = scope
        else:
            scope.cancel()

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app; what hypercorn cannot send is the connection's fault, everything else the app's."""
        broken: list[Exception] = []
        peer = tuple(scope["client"] or ())
        self._busy.add(peer)

        async def send_or_note(message: Message) -> None:
            try:
                await send(message)
            except Exception as error:
                broken.append(error)
                raise

        try:
            await self._app(scope, receive, send_or_note)
        except Exception as error:  # noqa: BLE001 - of the app, whatever it may be
            if error in broken:
                self._faults.note(f"an answer could not be sent: {_name(error)} in hypercorn")
            else:
                self._faults.note("the app failed", error)
        finally:
            self._busy.discard(peer)
            if peer in self._leaving:
                self._leaving[peer].cancel()
            self._room.set()


def _is_gone(sock: socket.socket) -> bool:
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _name(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__


def _config() -> Config:
    from hypercorn.config import Config

    config = Config()
    config.keep_alive_timeout = NEVER
    config.keep_alive_max_requests = 2**62
    config.include_date_header = False
    config.include_server_header = False
    config.errorlog = logger
    return config
