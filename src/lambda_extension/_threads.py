"""Work in threads that nobody has to wait for, not even the interpreter's own end."""

from __future__ import annotations

import contextlib
import contextvars
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
from sniffio import current_async_library_cvar

T = TypeVar("T")


async def in_daemon_thread(function: Callable[..., T], *args: Any) -> T:
    """Call a function in a thread of its own, and wait for it; a cancelled call leaves the thread to itself.

    For what may take longer than a shutdown has time: the interpreter ends without daemon threads, whereas it joins
    anyio's worker threads on asyncio. The function sees the context variables of the caller. What it raises is raised
    here.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []
    done = anyio.Event()
    token = anyio.lowlevel.current_token()
    context = contextvars.copy_context()
    context.run(current_async_library_cvar.set, None)

    def work() -> None:
        try:
            outcome.append(context.run(function, *args))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            failure.append(error)
        # The event loop may have ended meanwhile.
        with contextlib.suppress(anyio.RunFinishedError, RuntimeError):
            anyio.from_thread.run_sync(done.set, token=token)

    threading.Thread(target=work, daemon=True, name="lambda_extension work").start()
    await done.wait()
    if failure:
        raise failure[0]
    return outcome[0]


async def look_up(host: str, port: int, *, family: int = socket.AF_UNSPEC) -> list[str]:
    """Give the addresses of a name, in the order in which they should be tried; an address is its own.

    A resolver that nobody answers takes half a minute to give up; on asyncio, the event loop's own look-up would hold
    up the end of the process for as long.

    Raises:
        OSError: It has none.
    """
    with contextlib.suppress(ValueError):
        return [str(ip_address(host))]
    # As bytes, where that is the same: for text the tables of IDNA are imported, 3 ms and half a MiB.
    name = host.encode() if host.isascii() else host
    found = await in_daemon_thread(socket.getaddrinfo, name, port, family, socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
